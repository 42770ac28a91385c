"""One run, epoch by epoch: loss, scores, firing rates, and how many delays moved."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from delrec_bench.metrics import metric_named
from delrec_bench.records import Record
from delrec_bench.report import words
from delrec_bench.report.figures.style import BLUE, GREEN, GREY, INK, ORANGE, Drawn, panels, style, text_of, title

Lines = dict[str, list[float | None]]
_COLOURS = (BLUE, ORANGE, GREEN, GREY)


def history(record: Record) -> Drawn | None:
    """A panel for each kind of number that the run kept; None of a run without epochs."""
    shown = {name: lines for name, lines in _panels(record).items() if any(_known(of) for of in lines.values())}
    if not shown:
        return None
    best = record.result.get("best_epoch")
    with style():
        figure, axes = panels([2.4] * len(shown), 3.6, 2)
        for axis, (name, lines) in zip(axes, shown.items(), strict=True):
            _draw(axis, lines)
            if best:
                axis.axvline(best, color=INK, linewidth=0.8, linestyle="--", alpha=0.6)
            axis.set_xlabel("epoch")
            title(axis, name, "")
        svg = text_of(figure)
    caption = (
        "The run epoch by epoch; the dashed line is the epoch that was taken, by validation. A training score that "
        "leaves the validation score behind is overfitting; a validation score that still rises at the end wants more "
        "epochs. From the history in the run's record."
    )
    return Drawn("history", "Learning curves", caption, svg)


def _panels(record: Record) -> dict[str, Lines]:
    metric = metric_named(record.metric)

    def of(key: str) -> list[float | None]:
        return [entry.get(key) for entry in record.history]

    def score(key: str) -> list[float | None]:
        return [None if v is None else metric.shown(v) for v in of(f"{key}_{metric.name}")]

    layers = max((len(entry.get("rates") or ()) for entry in record.history), default=0)
    rates = {f"layer {i + 1}": [(e.get("rates") or [None] * layers)[i] for e in record.history] for i in range(layers)}
    total = record.parameters.get("delays") or 0
    moved = [None if v is None or not total else 100 * v / total for v in of("delays_changed")]
    return {
        "loss": {"training": of("loss"), "validation": of("valid_loss")},
        words.label(metric.name): {"training": score("train"), "validation": score("valid")},
        "spikes a neuron and step": rates,
        "delays that changed their step (%)": {"": moved} if any(moved) else {},
    }


def _known(values: Sequence[float | None]) -> bool:
    return any(v is not None for v in values)


def _draw(axis: Axes, lines: Lines) -> None:
    for (name, values), colour in zip(lines.items(), _COLOURS, strict=False):
        points = [(i, v) for i, v in enumerate(values, 1) if v is not None]
        if points:
            axis.plot(*zip(*points, strict=True), ".-", color=colour, linewidth=1.4, markersize=3.5, label=name)
    if len(lines) > 1:
        axis.legend(fontsize=7.5, loc="best")
    axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
