"""The figures of a page, each with what to see in it and from which records. One figure, one file."""

from collections.abc import Sequence

from delrec_bench.report.content import Page
from delrec_bench.report.figures.ablation import ablation
from delrec_bench.report.figures.controls import controls
from delrec_bench.report.figures.costs import costs
from delrec_bench.report.figures.curves import curves
from delrec_bench.report.figures.delays import delays
from delrec_bench.report.figures.forest import forest
from delrec_bench.report.figures.gains import gains
from delrec_bench.report.figures.rates import rates
from delrec_bench.report.figures.style import Drawn

FIGURES = (forest, ablation, gains, costs, curves, controls, delays, rates)
_ANSWERING = ("forest", "ablation", "controls")  # one of them stands beside the answer
_OF_A_HYPOTHESIS = ("forest", "controls", "ablation")


def draw(page: Page) -> tuple[Drawn, ...]:
    """Every figure that the page has something to show in, in the order of the page."""
    return tuple(drawn for figure in FIGURES if (drawn := figure(page)) is not None)


def parted(page: Page, drawn: Sequence[Drawn]) -> tuple[list[Drawn], list[Drawn]]:
    """The figure that stands before the table, beside the answer, and those after it.

    Of a hypothesis that is its paired differences, also where there is one task and so no forest.
    """
    there = {figure.name: figure for figure in drawn}
    names = _ANSWERING if page.declared.primary is None else _OF_A_HYPOTHESIS
    first = [there[name] for name in names if name in there][:1]
    return first, [figure for figure in drawn if figure not in first]
