"""What a run takes for what: the confusion matrix of its test predictions, or forecasts beside the truth."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from delrec_bench.metrics import metric_named
from delrec_bench.records import Record
from delrec_bench.report.figures.style import BLUE, GREY, INK, Drawn, panels, style, text_of

_WRITTEN = 20  # classes at most for numbers in the cells
_SERIES = 300  # samples of a forecast


def confusion(record: Record) -> Drawn | None:
    """The matrix, rows that add up to 100 percent; of a forecast the first samples; None without predictions."""
    if record.predictions is None or record.targets is None:
        return None
    predictions, targets = np.asarray(record.predictions), np.asarray(record.targets)
    if not metric_named(record.metric).classifies:
        return _forecast(predictions, targets)
    counts = matrix(predictions, targets, int(record.data.get("classes") or 0))
    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    with style():
        size = min(6.4, 2.2 + 0.2 * len(counts))
        figure, (axis,) = panels([size], size + 0.4, 1)
        _cells(axis, shares)
        svg = text_of(figure)
    wrong = counts * (1 - np.eye(len(counts), dtype=int))
    true, taken = divmod(int(wrong.argmax()), len(counts))
    told = f" Most often, {wrong.max()} times, class {true} is taken for {taken}." if wrong.any() else ""
    caption = (
        "Of each true class (a line) the percent that is taken for each class (a column); the diagonal is right."
        f"{told} From the test predictions in the run's record, made once, after training."
    )
    return Drawn("confusion", "What is taken for what", caption, svg)


def matrix(predictions: np.ndarray, targets: np.ndarray, classes: int) -> np.ndarray:
    """(true, predicted) counts; a prediction of -1, no class at all, is in no column."""
    size = max(classes, int(targets.max()) + 1, int(predictions.max()) + 1)
    counts = np.zeros((size, size), dtype=int)
    known = predictions >= 0
    np.add.at(counts, (targets[known].astype(int), predictions[known].astype(int)), 1)
    return counts


def _cells(axis: Axes, shares: np.ndarray) -> None:
    clear = LinearSegmentedColormap.from_list("clear", [f"{BLUE}00", f"{BLUE}ff"])  # the page's own ground shows
    shown = np.ma.masked_less(shares, 0.5)
    axis.pcolormesh(shown, cmap=clear, vmin=0, vmax=100, edgecolor="none")
    if len(shares) <= _WRITTEN:
        for (i, j), value in np.ndenumerate(shares):
            if value >= 0.5:
                axis.text(j + 0.5, i + 0.5, f"{value:.0f}", ha="center", va="center", fontsize=7)
    ticks = np.arange(0, len(shares), 1 if len(shares) <= _WRITTEN else 5)
    axis.set_xticks(ticks + 0.5, ticks, fontsize=7)
    axis.set_yticks(ticks + 0.5, ticks, fontsize=7)
    axis.set_ylim(len(shares), 0)
    axis.set_aspect("equal")
    axis.grid(visible=False)
    axis.set_xlabel("taken for")
    axis.set_ylabel("true class")


def _forecast(predictions: np.ndarray, targets: np.ndarray) -> Drawn:
    with style():
        figure, axes = panels([2.4, 2.4], 3.8, 2)
        axes[0].plot(targets[:_SERIES], color=GREY, linewidth=1.6, label="truth")
        axes[0].plot(predictions[:_SERIES], color=BLUE, linewidth=1.0, label="forecast")
        axes[0].legend(fontsize=7.5, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
        axes[0].set_xlabel("test sample")
        ends = [float(targets.min()), float(targets.max())]
        axes[1].plot(ends, ends, color=INK, linewidth=0.7, alpha=0.6)
        axes[1].plot(targets[:_SERIES], predictions[:_SERIES], ".", color=BLUE, markersize=3.5, alpha=0.7)
        axes[1].set_xlabel("truth")
        axes[1].set_ylabel("forecast")
        svg = text_of(figure)
    caption = (
        f"Forecasts of the first {min(_SERIES, len(targets))} test samples beside the truth, and against it; on the "
        "line they are right. From the test predictions in the run's record, made once, after training."
    )
    return Drawn("confusion", "Forecasts and truth", caption, svg)
