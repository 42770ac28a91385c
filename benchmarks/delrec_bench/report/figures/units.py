"""The delays of one run, one by one: where each began, where it ended, and what it delays."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from delrec_bench.report import words
from delrec_bench.report.figures.style import BLUE, GREY, INK, Drawn, panels, style, text_of, title


def units(layers: Sequence[Any]) -> Drawn | None:
    """A line a layer: histograms, end against start, |weight| against end.

    Args:
        layers: As `Record.delays`.
    """
    if not layers:
        return None
    with style():
        figure, axes = panels([2.4] * (3 * len(layers)), 2.9, 3)
        for i, layer in enumerate(layers):
            start, end = (np.asarray(layer["units"][side]) for side in ("start", "end"))
            _histograms(axes[3 * i], start, end)
            _pairs(axes[3 * i + 1], start, end)
            _weights(axes[3 * i + 2], end, layer["units"].get("weight"))
            title(axes[3 * i], words.layer(layer["layer"], layer["kind"]), "")
            title(axes[3 * i + 1], "", f"{100 * layer['moved']:.0f} % moved")
        svg = text_of(figure)
    shown = [f"{len(x['units']['end']):,} of {x['count']:,}" for x in layers if len(x["units"]["end"]) < x["count"]]
    part = f" Shown are {', '.join(shown)} delays, evenly spaced among all." if shown else ""
    caption = (
        "Left: how delays are spread in steps, before training (grey) and at the chosen epoch (blue). Middle: each "
        "delay's end against its start; on the line it stayed. Right: the mean |weight| that a delay stands before "
        f"(an axonal delay: all that leave its neuron).{part} From the run's checkpoint and the seed of its "
        "initialisation, or from its record where the checkpoint is not at hand."
    )
    return Drawn("units", "Where delays began and ended", caption, svg)


def _histograms(axis: Axes, start: np.ndarray, end: np.ndarray) -> None:
    low, high = min(start.min(), end.min()), max(start.max(), end.max())
    edges = np.linspace(low, max(high, low + 1), 25)
    for values, colour in ((start, GREY), (end, BLUE)):
        axis.stairs(np.histogram(values, edges)[0], edges, color=colour, fill=True, alpha=0.35)
        axis.stairs(np.histogram(values, edges)[0], edges, color=colour, linewidth=1.2)
    axis.set_xlabel("delay in steps")
    axis.set_ylabel("delays")


def _pairs(axis: Axes, start: np.ndarray, end: np.ndarray) -> None:
    ends = [min(start.min(), end.min()), max(start.max(), end.max())]
    axis.plot(ends, ends, color=INK, linewidth=0.7, alpha=0.6)
    axis.plot(start, end, ".", color=BLUE, markersize=3.5, alpha=0.7)
    axis.set_xlabel("at the start")
    axis.set_ylabel("at the end")


def _weights(axis: Axes, end: np.ndarray, weight: Sequence[float] | None) -> None:
    if weight is None:
        axis.text(0.5, 0.5, "its weights are not kept", ha="center", transform=axis.transAxes, alpha=0.6, fontsize=8)
        axis.set_xticks([])
        axis.set_yticks([])
        return
    axis.plot(end, weight, ".", color=BLUE, markersize=3.5, alpha=0.7)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("delay at the end")
    axis.set_ylabel("mean |weight|")
