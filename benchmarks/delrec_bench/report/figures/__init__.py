"""The figures of a page, each with what to see in it: one that answers, and the learning curves."""

from delrec_bench.report.content import Page
from delrec_bench.report.figures.board import pictures
from delrec_bench.report.figures.curves import curves
from delrec_bench.report.figures.differences import differences
from delrec_bench.report.figures.scores import scores
from delrec_bench.report.figures.style import Drawn
from delrec_bench.report.figures.sweep import sweep


def answering(page: Page) -> Drawn | None:
    """The one figure that stands first: the course of a sweep, else the declared differences, else the scores."""
    return sweep(page) or differences(page) or scores(page)


def draw(page: Page) -> tuple[Drawn, ...]:
    """Every figure that the page has something to show in: the one that answers first."""
    if page.declared.board:
        return (*pictures(page), *filter(None, [curves(page)]))
    return tuple(drawn for figure in (answering, curves) if (drawn := figure(page)) is not None)
