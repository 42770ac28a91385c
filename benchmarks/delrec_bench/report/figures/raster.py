"""Spikes of one sample in a trained network, with its delays and with none."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from delrec_bench.report import words
from delrec_bench.report.figures.style import BLUE, GREY, ORANGE, Drawn, panels, style, text_of, title

RASTER = "raster"  # what names of these figures begin with
_NEURONS, _SPIKES = 60, 1500  # of a panel at most: more is a grey field


def raster(
    what: str,
    sample: str,
    inputs: np.ndarray,
    layers: Sequence[str],
    spikes: Sequence[np.ndarray],
    without: Sequence[np.ndarray] | None,
    name: str = RASTER,
) -> Drawn | None:
    """A line a layer, the network as deployed on the left, the same with every delay 0 on the right.

    Args:
        what: Which run.
        sample: Which sample.
        inputs: (T, channels) of it.
        layers: Their names.
        spikes: (T', neurons) of each layer.
        without: The same without delays, or None.
        name: Of the figure's file.
    """
    if not layers:
        return None
    columns = [("as trained", inputs, spikes, BLUE)]
    if without is not None:
        columns.append(("every delay 0", inputs, without, ORANGE))
    with style():
        count = (1 + len(layers)) * len(columns)
        figure, axes = panels([1.5] * count, 3.8, len(columns))
        for j, (how, x, of, colour) in enumerate(columns):
            for i, (label, values) in enumerate([("input", x), *zip(layers, of, strict=True)]):
                axis = axes[i * len(columns) + j]
                _panel(axis, values, GREY if i == 0 else colour)
                rate = "" if i == 0 else f"{float((values != 0).mean()):.3f} a step"
                title(axis, how if i == 0 else "", rate)
                axis.set_ylabel("input" if i == 0 else words.layer(label))
                axis.set_xlim(0, max(len(v) for v in (x, *of)))
                axis.set_xlabel("step" if i == len(layers) else "")
        svg = text_of(figure)
    beside = (
        " On the right the same network with every delay set to 0, nothing else changed: what differs is what its "
        "delays do."
        if without is not None
        else ""
    )
    caption = (
        f"{what}: spikes of {sample} (which training did not learn from, or where there is no validation data, did); "
        f"time runs to the right, a line is a neuron, up to {_NEURONS} of each layer. Above each layer stands its rate "
        f"of spikes a neuron and step.{beside} From the run's checkpoint."
    )
    return Drawn(name, "One sample, with delays and without", caption, svg)


def _panel(axis: Axes, values: np.ndarray, colour: str) -> None:
    """Marks where a value is not 0, of evenly spaced neurons, few enough to be seen; one path, so that it is light."""
    chosen = np.unique(np.linspace(0, values.shape[1] - 1, min(_NEURONS, values.shape[1])).round().astype(int))
    while len(chosen) > 4 and np.count_nonzero(values[:, chosen]) > _SPIKES:
        chosen = chosen[::2]
    steps, neurons = np.nonzero(values[:, chosen])
    if values.shape[1] == 1:  # one channel of grey values is a line
        axis.plot(values[:, 0], color=colour, linewidth=0.9)
    elif len(steps):
        ends = [point for t, n in zip(steps, neurons, strict=True) for point in ((t, n - 0.4), (t, n + 0.4))]
        axis.add_patch(PathPatch(Path(ends, [Path.MOVETO, Path.LINETO] * len(steps)), edgecolor=colour, linewidth=1.1))
        axis.set_ylim(-1, len(chosen))
    axis.set_yticks([])
    axis.grid(visible=False, axis="y")
