"""The forest plot: the declared hypothesis over its tasks, and pooled."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes

from delrec_bench.report.content import Page
from delrec_bench.report.figures.style import INK, VERDICTS, Drawn, beside, dots, panels, style, text_of
from delrec_bench.statistics.paired import Estimate, paired
from delrec_bench.statistics.pooled import log_ratios
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
    weights = dict(pooled.weights)
    with style():
        figure, (axes,) = panels([1.1 + 0.42 * (len(shown) + 2)], 8.6, 1)
        for place, d in enumerate(shown):
            assert d.errors is not None
            a, b = log_ratios(d.errors)
            _line(axes, place, paired(a, b), [float(x) for x in a - b], d.verdict, weights.get(d.errors.task))
        place = len(shown)
        _diamond(axes, place, verdict)
        labels = [f"{d.method['task']}  (n = {d.verdict.n})" for d in shown] + ["pooled"]
        if pooled.prediction is not None and not verdict.reason:
            place += 1
            axes.plot(pooled.prediction, [place, place], color=INK, linewidth=1.2, linestyle=(0, (4, 2)))
            labels.append("a further such task")
        if verdict.margin is not None:
            axes.axvspan(-verdict.margin, verdict.margin, color=VERDICTS["equivalent"], alpha=0.08, linewidth=0)
        axes.axvline(0, color=INK, linewidth=0.9)
        axes.axhline(len(shown) - 0.5, color=INK, linewidth=0.5, alpha=0.5)
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        cut = _percent_axis(axes, verdict)
        svg = text_of(figure)
    assert primary is not None
    reading = "A diamond that holds 0 leaves the question open."
    if verdict.margin is not None:
        reading = "A diamond inside the band says equivalent; one that holds 0 and leaves the band, open."
    if verdict.reason:
        reading = f"It decides nothing: {verdict.reason}."
    further = ", the dashed line where a further such task is expected" if len(labels) > len(shown) + 1 else ""
    band = ", the shaded band the margin" if verdict.margin is not None else ""
    end = f"The axis ends at a factor of {MOST}: what is beyond is not seen. " if cut else ""
    caption = (
        f"Change of the error, {primary.method} against {primary.control}: left of 0 the method errs less. Rings are "
        "repetitions, paired by their seeds; bars are 95 percent t intervals; the diamond is the random-effects mean "
        f"over tasks{further}{band}. {end}{reading} From the test predictions of the two rows' records on each task."
    )
    return Drawn("forest", f"{primary.method} against {primary.control}", caption, svg)


def _line(
    axes: Axes, place: int, estimate: Estimate, each: Sequence[float], verdict: Verdict, weight: float | None
) -> None:
    colour = VERDICTS[verdict.verdict]
    if estimate.low is not None and estimate.high is not None:
        axes.plot([estimate.low, estimate.high], [place, place], color=colour, linewidth=1.8)
    dots(axes, place, each)
    axes.plot(estimate.difference or 0.0, place, "s", color=colour, markersize=4 + 9 * math.sqrt(weight or 0.02))
    text = percent_of_error(estimate.difference or 0.0)
    beside(axes, place, text if weight is None else f"{text}   weight {100 * weight:.0f} %")


def _diamond(axes: Axes, place: int, verdict: Verdict) -> None:
    low, high, middle = verdict.low, verdict.high, verdict.difference
    if low is None or high is None or middle is None:
        return
    x, y = [low, middle, high, middle], [place, place - 0.22, place, place + 0.22]
    axes.fill(x, y, color=VERDICTS[verdict.verdict], linewidth=0)
    beside(axes, place, f"{percent_of_error(middle)}   {verdict.verdict}")


def _percent_axis(axes: Axes, verdict: Verdict) -> bool:
    """Ticks that read as percent of the error, on the log scale on which tasks are pooled; whether something is cut."""
    whole, end = axes.get_xlim(), math.log(MOST)
    low, high = (max(-end, min(x, end)) for x in whole)
    axes.set_xlim(low, high)
    reach = high - low
    steps = [1, 2, 5, 10, 20, 30, 50, 75, 100, 200, 400, 900]
    ticks = [math.log1p(s * p / 100) for p in steps for s in (-1, 1) if s * p > -100]
    kept: list[float] = [0.0]
    for tick in sorted(ticks, key=abs, reverse=True):
        if low <= tick <= high and all(abs(tick - other) > reach / 9 for other in kept):
            kept.append(tick)
    kept.sort()
    axes.set_xticks(kept, [percent_of_error(t).replace(".0 %", " %") for t in kept])
    axes.set_xlabel(f"change of the error (left is better){'' if verdict.margin is None else '; shaded: margin'}")
    return (low, high) != whole
