"""The forest plot: the declared hypothesis over its tasks, and pooled."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from delrec_bench.report.content import Page
from delrec_bench.report.figures.style import INK, VERDICTS, Drawn, beside, colours, dots, panels, style, text_of, under
from delrec_bench.report.judging import Difference
from delrec_bench.statistics.paired import Estimate, paired
from delrec_bench.statistics.pooled import Pooled, log_margin, log_ratios
from delrec_bench.statistics.sentences import percent_of_error
from delrec_bench.statistics.verdicts import Verdict

MOST = 12  # as many times the error, or as small a part of it: further lies no difference that is looked at


def forest(page: Page) -> Drawn | None:
    """The page's hypothesis: change of the error on each task, and pooled; None where nothing is declared."""
    primary = page.declared.primary
    pair = None if primary is None else (primary.method, primary.control)
    if pair is None or pair not in page.judged.pooled:
        return None
    verdict, pooled = page.judged.pooled[pair]
    shown = [d for d in page.judged.of(pair) if d.errors is not None]
    further = pooled.prediction if not verdict.reason else None
    narrow, _ = _drawn(shown, verdict, pooled, further, narrow=True)
    svg, cut = _drawn(shown, verdict, pooled, further, narrow=False)
    assert primary is not None
    reading = "A diamond that holds 0 leaves the question open."
    if verdict.margin is not None:
        reading = "A diamond inside its margin says equivalent; one that holds 0 and leaves the margin, open."
    if verdict.reason:
        reading = f"It decides nothing: {verdict.reason}."
    dashed = "" if further is None else ", the dashed line where a further such task is expected"
    margins = any(d.errors is not None and d.errors.margin is not None for d in shown)
    band = " Shaded on each line: its own margin." if margins else ""
    end = f"The axis ends at a factor of {MOST}: what is beyond is not seen. " if cut else ""
    caption = (
        f"Change of the error, {primary.method} against {primary.control}: left of 0 the method errs less. Rings are "
        f"repetitions, paired by their seeds; bars are 95 percent t intervals, coloured by the verdict on the task: "
        f"{colours(margins)}. The diamond is the random-effects mean over tasks{dashed}.{band} {end}{reading} From the "
        "test predictions of the two rows' records on each task."
    )
    return Drawn("forest", f"{primary.method} against {primary.control}", caption, svg, narrow)


def _drawn(
    shown: Sequence[Difference], verdict: Verdict, pooled: Pooled, further: tuple[float, float] | None, narrow: bool
) -> tuple[str, bool]:
    """The figure, and whether it cuts something off; a narrow one says its numbers under the names of its lines."""
    weights, labels, said = dict(pooled.weights), [], []
    with style():
        lines = len(shown) + 1 + (further is not None)
        figure, (axes,) = panels([1.1 + (0.5 if narrow else 0.42) * lines], 4.5 if narrow else 8.6, 1)
        for place, d in enumerate(shown):
            assert d.errors is not None
            a, b = log_ratios(d.errors)
            weight = weights.get(d.errors.task)
            said.append(_line(axes, place, paired(a, b), [float(x) for x in a - b], d.verdict, weight))
            labels.append(f"{d.method['task']}  (n = {d.verdict.n})")
        said.append(_diamond(axes, len(shown), verdict))
        labels.append("pooled")
        if further is not None:
            axes.plot(further, [lines - 1, lines - 1], color=INK, linewidth=1.2, linestyle=(0, (4, 2)))
            labels.append("a further such task")
        if verdict.margin is not None:
            _shade(axes, len(shown), (-verdict.margin, verdict.margin))
        ends = axes.get_xlim()
        for place, d in enumerate(shown):
            if d.errors is not None and d.errors.margin is not None:
                _shade(axes, place, _margin(d.errors.margin, float(np.mean(np.exp(log_ratios(d.errors)[1])))))
        axes.set_xlim(ends)
        axes.axvline(0, color=INK, linewidth=0.9)
        axes.axhline(len(shown) - 0.5, color=INK, linewidth=0.5, alpha=0.5)
        for place, text in enumerate(said):
            (under if narrow else beside)(axes, place, text)
        axes.set_yticks(range(lines), labels)
        axes.set_ylim(lines - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        cut = _percent_axis(axes, verdict, ticks=5 if narrow else 9, parted="\n" if narrow else " ")
        return text_of(figure), cut


def _margin(margin: float, error: float) -> tuple[float, float]:
    """A margin in the task's own unit as log ratios of a control's error, down (to nothing, if it is more) and up."""
    return (math.log1p(-margin / error) if margin < error else -10.0), log_margin(margin, error)


def _shade(axes: Axes, place: int, ends: tuple[float, float]) -> None:
    axes.fill_between(ends, place - 0.38, place + 0.38, color=VERDICTS["equivalent"], alpha=0.1, linewidth=0)


def _line(
    axes: Axes, place: int, estimate: Estimate, each: Sequence[float], verdict: Verdict, weight: float | None
) -> str:
    """A task: its repetitions, its mean with its interval; what is said of it in numbers."""
    colour = VERDICTS[verdict.verdict]
    if estimate.low is not None and estimate.high is not None:
        axes.plot([estimate.low, estimate.high], [place, place], color=colour, linewidth=1.8)
    dots(axes, place, each)
    axes.plot(estimate.difference or 0.0, place, "s", color=colour, markersize=4 + 9 * math.sqrt(weight or 0.02))
    text = percent_of_error(estimate.difference or 0.0)
    return text if weight is None else f"{text}   weight {100 * weight:.0f} %"


def _diamond(axes: Axes, place: int, verdict: Verdict) -> str:
    """The pooled estimate; what is said of it."""
    low, high, middle = verdict.low, verdict.high, verdict.difference
    if low is None or high is None or middle is None:
        return ""
    x, y = [low, middle, high, middle], [place, place - 0.22, place, place + 0.22]
    axes.fill(x, y, color=VERDICTS[verdict.verdict], linewidth=0)
    return f"{percent_of_error(middle)}   {verdict.verdict}"


def _percent_axis(axes: Axes, verdict: Verdict, ticks: int, parted: str) -> bool:
    """Ticks that read as percent of the error, on the log scale on which tasks are pooled; whether something is cut."""
    whole, end = axes.get_xlim(), math.log(MOST)
    low, high = (max(-end, min(x, end)) for x in whole)
    axes.set_xlim(low, high)
    reach = high - low
    steps = [1, 2, 5, 10, 20, 30, 50, 75, 100, 200, 400, 900]
    round_ones = [math.log1p(s * p / 100) for p in steps for s in (-1, 1) if s * p > -100]
    kept: list[float] = [0.0]
    for tick in sorted(round_ones, key=abs, reverse=True):
        if low <= tick <= high and all(abs(tick - other) > reach / ticks for other in kept):
            kept.append(tick)
    kept.sort()
    axes.set_xticks(kept, [percent_of_error(t).replace(".0 %", " %") for t in kept])
    shaded = "" if verdict.margin is None else "; shaded: margin"
    axes.set_xlabel(f"change of the error{parted}(left is better){shaded}")
    return (low, high) != whole
