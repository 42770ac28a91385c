"""Forest plots: the declared hypothesis over its tasks and pooled, and every row against its own control."""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from delrec_bench.metrics import metric_named
from delrec_bench.metrics.base import MINUS
from delrec_bench.report import words
from delrec_bench.report.content import Page
from delrec_bench.report.figures.style import INK, VERDICTS, Drawn, panels, style, text_of, title
from delrec_bench.report.judging import Difference
from delrec_bench.statistics.paired import Estimate, paired
from delrec_bench.statistics.pooled import log_ratios
from delrec_bench.statistics.sentences import percent_of_error
from delrec_bench.statistics.verdicts import Verdict

_MOST = 12  # pairs of one task that a forest is read with


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
        if pooled.prediction is not None:
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
        _percent_axis(axes, verdict)
        svg = text_of(figure)
    assert primary is not None
    caption = (
        f"Change of the error, {primary.method} against {primary.control}: left of 0 the method errs less. Rings are "
        "repetitions, paired by their seeds; bars are 95 percent t intervals; the diamond is the random-effects mean "
        "over tasks, the dashed line where a further such task is expected, the shaded band the margin. A diamond "
        "inside the band says equivalent; one that reaches 0 and beyond the band leaves the question open. From the "
        "test predictions of the two rows' records on each task."
    )
    return Drawn("forest", f"{primary.method} against {primary.control}", caption, svg)


def _line(
    axes: Axes, place: int, estimate: Estimate, each: Sequence[float], verdict: Verdict, weight: float | None
) -> None:
    colour = VERDICTS[verdict.verdict]
    if estimate.low is not None and estimate.high is not None:
        axes.plot([estimate.low, estimate.high], [place, place], color=colour, linewidth=1.8)
    _dots(axes, place, each)
    axes.plot(estimate.difference or 0.0, place, "s", color=colour, markersize=4 + 9 * math.sqrt(weight or 0.02))
    text = percent_of_error(estimate.difference or 0.0)
    _beside(axes, place, text if weight is None else f"{text}   weight {100 * weight:.0f} %")


def _dots(axes: Axes, place: int, each: Sequence[float]) -> None:
    ring: Any = {"markerfacecolor": "none", "markeredgecolor": INK, "markeredgewidth": 0.7, "alpha": 0.7}
    axes.plot(each, [place] * len(each), "o", markersize=4.2, zorder=4, **ring)


def _diamond(axes: Axes, place: int, verdict: Verdict) -> None:
    low, high, middle = verdict.low, verdict.high, verdict.difference
    if low is None or high is None or middle is None:
        return
    x, y = [low, middle, high, middle], [place, place - 0.22, place, place + 0.22]
    axes.fill(x, y, color=VERDICTS[verdict.verdict], linewidth=0)
    _beside(axes, place, f"{percent_of_error(middle)}   {verdict.verdict}")


def _beside(axes: Axes, place: float, text: str) -> None:
    where: Any = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": 8.5}
    axes.text(1.01, place, text, **where)


def _percent_axis(axes: Axes, verdict: Verdict) -> None:
    """Ticks that read as percent of the error, on the log scale on which tasks are pooled."""
    low, high = (max(-2.5, min(x, 2.5)) for x in axes.get_xlim())
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


def controls(page: Page) -> Drawn | None:
    """Every row minus its own control, a panel a task, in the score's own unit; all exploratory."""
    by_task = {t: [d for d in page.judged.differences if d.method["task"] == t and d.each] for t in page.tasks}
    by_task = {t: of for t, of in by_task.items() if of}
    if not by_task or sum(map(len, by_task.values())) == len(page.judged.of(_primary(page))):
        return None
    cut = {t: sorted(of, key=_strength, reverse=True)[:_MOST] for t, of in by_task.items()}
    cut = {t: [d for d in by_task[t] if d in of] for t, of in cut.items()}
    with style():
        figure, axes = panels([0.85 + 0.25 * len(of) for of in cut.values()], 8.6, 1)
        for axis, (task, shown) in zip(axes, cut.items(), strict=True):
            for place, d in enumerate(shown):
                _difference(axis, place, d)
            metric = metric_named(shown[0].method["metric"])
            axis.axvline(0, color=INK, linewidth=0.9)
            axis.set_yticks(range(len(shown)), [f"{d.method['method']} {MINUS} {d.control['method']}" for d in shown])
            axis.set_ylim(len(shown) - 0.5, -0.5)
            axis.grid(visible=False, axis="y")
            better = "right is better" if metric.more_is_better else "left is better"
            axis.set_xlabel(f"difference in {words.unit(metric.name)} ({better})")
            title(axis, task, str(shown[0].method["data"]))
        svg = text_of(figure)
    left = sum(len(by_task[t]) - len(of) for t, of in cut.items())
    more = f" The {left} smallest differences are in the table alone." if left else ""
    caption = (
        "Every method minus its own control, repetition by repetition (rings), with mean (diamond) and 95 percent t "
        "interval: green and red are told from 0, grey is open (up to "
        "three repetitions are never compared). Exploratory: nothing is corrected for their number, so "
        f"look for what is large on several tasks.{more} From all runs of the page."
    )
    return Drawn("controls", "Each method against its own control", caption, svg)


def _primary(page: Page) -> tuple[str, str]:
    primary = page.declared.primary
    return ("", "") if primary is None else (primary.method, primary.control)


def _strength(d: Difference) -> float:
    return abs(d.verdict.difference or 0.0)


def _difference(axes: Axes, place: int, d: Difference) -> None:
    factor, v = metric_named(d.method["metric"]).factor, d.verdict
    colour = VERDICTS[v.verdict]
    if v.low is not None and v.high is not None:
        axes.plot([factor * v.low, factor * v.high], [place, place], color=colour, linewidth=1.8)
    _dots(axes, place, [factor * x for _, x in d.each])
    axes.plot(factor * (v.difference or 0.0), place, "D", color=colour, markersize=5)
    _beside(axes, place, v.verdict)
