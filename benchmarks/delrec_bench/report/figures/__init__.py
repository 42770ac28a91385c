"""The figures of a page, each with what to see in it and from which records."""

from delrec_bench.report.content import Page
from delrec_bench.report.figures.costs import costs
from delrec_bench.report.figures.curves import curves
from delrec_bench.report.figures.forest import controls, forest
from delrec_bench.report.figures.style import Drawn


def draw(page: Page) -> tuple[Drawn, ...]:
    """Every figure that the page has something to show in, in the order of the page."""
    return tuple(drawn for figure in (forest, costs, curves, controls) if (drawn := figure(page)) is not None)
