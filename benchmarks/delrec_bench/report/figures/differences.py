"""The declared comparison on each of its tasks: right is better."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from delrec_bench.metrics import metric_named
from delrec_bench.report import words
from delrec_bench.report.content import Page, judged
from delrec_bench.report.figures.style import GREY, INK, RING, VERDICTS, Drawn, panels, style, text_of
from delrec_bench.report.judging import Difference


def differences(page: Page) -> Drawn | None:
    """Paired differences in the score's own unit, a panel per metric; None where nothing is declared."""
    shown = page.judged.primary
    if not shown:
        return None
    metrics = dict.fromkeys(d.method["metric"] for d in shown)
    by_metric = {metric: [d for d in shown if d.method["metric"] == metric] for metric in metrics}
    with style():
        figure, axes = panels([0.75 + 0.36 * len(of) for of in by_metric.values()], 7.6)
        for axis, (metric, of) in zip(axes, by_metric.items(), strict=True):
            draw_differences(axis, page, metric, of)
        svg = text_of(figure)
    name = f"{shown[0].method.title} minus {shown[0].control.title}"
    margins = any(page.declared.margin(d.method["task"]) for d in shown)
    caption = (
        "Diamonds are means of paired differences, lines 95 % intervals, rings single runs."
        + " Shaded: too small to matter, as set beforehand." * margins
    )
    return Drawn("differences", name, caption, svg)


def draw_differences(axes: Axes, page: Page, metric: str, of: Sequence[Difference]) -> None:
    """A line for each difference, with its mean and number of runs on the right."""
    known = metric_named(metric)
    sign = known.factor * (1 if known.more_is_better else -1)
    for place, d in enumerate(of):
        v, margin = d.verdict, page.declared.margin(d.method["task"])
        colour = VERDICTS[v.verdict] if judged(d) else GREY
        if margin is not None:
            ends = (-known.factor * margin, known.factor * margin)
            axes.fill_between(ends, place - 0.36, place + 0.36, color=VERDICTS["equivalent"], alpha=0.12, linewidth=0)
        if judged(d) and v.low is not None and v.high is not None:
            axes.plot([sign * v.low, sign * v.high], [place, place], color=colour, linewidth=2)
        axes.plot([sign * x for _, x in d.each], [place] * len(d.each), "o", **RING)
        axes.plot(sign * (v.difference or 0.0), place, "D", color=colour, markersize=6)
        said = known.format_difference(v.difference or 0.0)
        word = f", {v.verdict}" if judged(d) else ""
        axes.text(1.02, place, f"{said} ({words.plural(v.n, 'run')}){word}", transform=axes.get_yaxis_transform(),
                  va="center", fontsize=8.5)  # fmt: skip
    axes.axvline(0, color=INK, linewidth=0.9)
    axes.set_yticks(range(len(of)), [page.declared.task_title(d.method["task"]) for d in of])
    axes.set_ylim(len(of) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"difference in {words.unit(metric)} (right is better)")
