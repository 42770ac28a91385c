"""Learned delays against the weights that they delay: whether long delays carry much or little."""

import numpy as np
import seaborn as sns
from matplotlib.lines import Line2D

from delrec_bench.report.content import Page
from delrec_bench.report.figures.delays import layers_of, learned
from delrec_bench.report.figures.style import INK, Drawn, panels, style, text_of, title
from delrec_bench.report.rows import Row

_BINS = 6
_BANDS = 2  # lines of a panel with a band: more are mud


def weights(page: Page) -> Drawn | None:
    """A panel a task, a line a method: median |weight| in groups of delays; None where no record holds both."""
    by_task = {
        t: {r["method"]: found for r in rows if (found := binned(r)) is not None} for t, rows in learned(page).items()
    }
    by_task = {t: of for t, of in by_task.items() if of}
    if not by_task:
        return None
    names = list(dict.fromkeys(m for of in by_task.values() for m in of))
    colours = dict(zip(names, sns.color_palette("colorblind", len(names)), strict=True))
    with style():
        figure, axes = panels([2.5] * len(by_task), 3.4, 3, below=0.3 + 0.2 * (len(names) // 3))
        for i, (axis, (task, of)) in enumerate(zip(axes, by_task.items(), strict=True)):
            for place, (method, (delay, low, middle, high)) in enumerate(of.items()):
                if place < _BANDS:
                    axis.fill_between(delay, low, high, color=colours[method], alpha=0.15, linewidth=0)
                axis.plot(delay, middle, "o-", color=colours[method], linewidth=1.5, markersize=3.5)
            axis.axhline(1, color=INK, linewidth=0.8, alpha=0.6)
            axis.set_ylim(bottom=0)
            axis.set_xlabel("delay in steps, at the end")
            axis.set_ylabel("|weight|, 1 is the layer's mean" if i % 3 == 0 else "")
            title(axis, task, "")
        handles = [Line2D([], [], color=colours[n], marker="o", markersize=3.5, label=n) for n in names]
        figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8)
        svg = text_of(figure)
    caption = (
        f"Delays after training in {_BINS} groups of equally many, from short to long, against the weights that they "
        "delay (an axonal delay: the mean over all that leave its neuron), relative to their layer's mean: the "
        f"median, and of the first {_BANDS} methods of a panel the middle half. A line that falls says that the "
        "network hears little of its long delays, one that rises that it rests on them. From up to 64 delays of each "
        "layer in the records of the runs shown above."
    )
    return Drawn("weights", "Delays against the weights that they delay", caption, svg)


def binned(row: Row) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
    """(delay, lower quartile, median, upper quartile of |weight|) in groups; None without weights or spread."""
    delays, sizes = [], []
    for of in layers_of(row).values():
        for layer in of:
            size = np.asarray(layer["units"].get("weight", []))
            if size.size and size.mean() > 0:
                delays += layer["units"]["end"]
                sizes += list(size / size.mean())
    if len(delays) < 4 * _BINS or min(delays) == max(delays):
        return None
    order = np.argsort(delays, kind="stable")
    groups = [(np.asarray(delays)[part], np.asarray(sizes)[part]) for part in np.array_split(order, _BINS)]
    quartiles = np.array([np.quantile(size, (0.25, 0.5, 0.75)) for _, size in groups]).T
    return np.array([delay.mean() for delay, _ in groups]), quartiles[0], quartiles[1], quartiles[2]
