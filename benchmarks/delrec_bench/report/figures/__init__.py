"""The figures of a page, each with what to see in it: one that answers, and the learning curves."""

from delrec_bench.report.content import Page
from delrec_bench.report.figures.costs import pictures
from delrec_bench.report.figures.curves import curves
from delrec_bench.report.figures.differences import differences, scores
from delrec_bench.report.figures.style import Drawn
from delrec_bench.report.figures.sweep import sweep


def draw(page: Page) -> tuple[Drawn, ...]:
    """Every figure that the page has something to show in.

    First stands what answers: of the board its pictures; else the course of a sweep, or the declared differences, or
    the scores.
    """
    first = pictures(page) if page.declared.board else [sweep(page) or differences(page) or scores(page)]
    return tuple(drawn for drawn in (*first, curves(page)) if drawn is not None)
