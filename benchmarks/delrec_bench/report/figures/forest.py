"""The declared comparison on each of its tasks: right is better."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from delrec_bench.metrics import metric_named
from delrec_bench.report import words
from delrec_bench.report.content import Page
from delrec_bench.report.figures.style import INK, VERDICTS, Drawn, beside, colours, dots, panels, style, text_of
from delrec_bench.report.judging import Difference


def forest(page: Page) -> Drawn | None:
    """Paired differences in the score's own unit, a panel per metric; None where nothing is declared."""
    shown = page.judged.primary
    if not shown:
        return None
    metrics = dict.fromkeys(d.method["metric"] for d in shown)
    by_metric = {metric: [d for d in shown if d.method["metric"] == metric] for metric in metrics}
    with style():
        figure, axes = panels([0.8 + 0.42 * len(of) for of in by_metric.values()], 8.0, 1)
        for axis, (metric, of) in zip(axes, by_metric.items(), strict=True):
            _panel(axis, metric, of, [page.declared.margin(d.method["task"]) for d in of])
        svg = text_of(figure)
    primary = page.declared.primary
    assert primary is not None
    margins = any(page.declared.margin(d.method["task"]) for d in shown)
    caption = (
        f"{primary.method} against {primary.control}, paired by repetition (rings), with the mean and its 95 percent t "
        f"interval: {colours(margins)}.{' Shaded: the margin.' if margins else ''} From the "
        "runs of the two rows."
    )
    return Drawn("forest", f"{primary.method} against {primary.control}", caption, svg)


def _panel(axis: Axes, metric: str, of: Sequence[Difference], margins: Sequence[float | None]) -> None:
    known = metric_named(metric)
    sign = known.factor * (1 if known.more_is_better else -1)
    for place, (d, margin) in enumerate(zip(of, margins, strict=True)):
        v = d.verdict
        if margin is not None:
            axis.fill_between(
                (-known.factor * margin, known.factor * margin), place - 0.38, place + 0.38,
                color=VERDICTS["equivalent"], alpha=0.1, linewidth=0,
            )  # fmt: skip
        if v.low is not None and v.high is not None:
            axis.plot([sign * v.low, sign * v.high], [place, place], color=VERDICTS[v.verdict], linewidth=1.8)
        dots(axis, place, [sign * x for _, x in d.each])
        axis.plot(sign * (v.difference or 0.0), place, "D", color=VERDICTS[v.verdict], markersize=6)
        beside(axis, place, v.verdict)
    axis.axvline(0, color=INK, linewidth=0.9)
    axis.set_yticks(range(len(of)), [f"{d.method['task']}  (n = {d.verdict.n})" for d in of])
    axis.set_ylim(len(of) - 0.5, -0.5)
    axis.grid(visible=False, axis="y")
    axis.set_xlabel(f"difference in {words.unit(metric)} (right is better)")
