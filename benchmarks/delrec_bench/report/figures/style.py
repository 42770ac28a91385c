"""What all figures share: one look, panels, and SVG text that depends on the page alone."""

import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator

INK, GREY = "#1f2937", "#8a93a3"
VERDICTS = {"better": "#2a9d5c", "worse": "#d1495b", "equivalent": "#3b76d6", "inconclusive": GREY}
RING: Any = {
    "markersize": 3.6,
    "markerfacecolor": "none",
    "markeredgecolor": INK,
    "markeredgewidth": 0.6,
    "alpha": 0.45,
}
"""A single run."""
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "delrec-bench",
    "font.size": 9.5,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.6,
    "grid.color": "#e3e7ee",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
}


@dataclass(frozen=True)
class Drawn:
    """A figure: the name of its file without ending, a title, what to see in it, and its SVG text."""

    name: str
    title: str
    caption: str
    svg: str

    @property
    def uri(self) -> str:
        """The figure as an address that needs no file."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg.encode()).decode()


@contextmanager
def style() -> Iterator[None]:
    """Seaborn's quiet axes."""
    with matplotlib.rc_context(), sns.axes_style("whitegrid", rc=_STYLE), matplotlib.rc_context(_STYLE):
        yield


def text_of(figure: Figure) -> str:
    """A figure as SVG text on white: no date, no random ids."""
    for axes in figure.axes:
        sns.despine(ax=axes)
    out = io.StringIO()
    FigureCanvasSVG(figure)
    figure.savefig(out, format="svg", bbox_inches="tight", pad_inches=0.08, metadata={"Date": None})
    return out.getvalue()


def panels(heights: Sequence[float], width: float, columns: int = 1, below: float = 0.0) -> tuple[Figure, list[Axes]]:
    """A grid of panels in lines of at most so many columns, each as high as its highest panel; inches.

    `below` is room for a legend.
    """
    columns = min(columns, len(heights))
    lines = [max(heights[i : i + columns]) for i in range(0, len(heights), columns)]
    figure = Figure(figsize=(width * columns, sum(lines) + below), layout="constrained")
    grid = figure.add_gridspec(len(lines), columns, height_ratios=lines)
    return figure, [figure.add_subplot(grid[i // columns, i % columns]) for i in range(len(heights))]


def cost_axis(axes: Axes, values: Sequence[float]) -> None:
    """A cost along x with plain numbers, on a log scale where it spans much."""
    if max(values) > 4 * min(values):
        axes.set_xscale("log")
        steps = np.concatenate([10.0**k * np.array([1, 2, 5]) for k in range(-3, 10)])
        axes.set_xticks([v for v in steps if min(values) * 0.8 <= v <= max(values) * 1.25])
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v / 1000:g}k" if v >= 1000 else f"{v:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def label_points(axes: Axes, points: Sequence[tuple[float, float, str, str]]) -> None:
    """Write the name of every (x, y, name, colour) by its mark, where no other name or mark is in the way."""
    figure = axes.figure
    assert isinstance(figure, Figure)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    figure.set_layout_engine("none")  # places are in pixels of this very layout
    marks = axes.transData.transform([(x, y) for x, y, *_ in points])
    taken: list[tuple[float, ...]] = [(mx - 4, my - 4, mx + 4, my + 4) for mx, my in marks]
    taken += [tuple(text.get_window_extent(renderer).extents) for text in axes.texts]
    frame = axes.get_window_extent(renderer)
    sides = [(dx, dy) for dx in (1, -1, 0) for dy in (0, 1, -1) if (dx, dy) != (0, 0)]
    reach = [(far * dx, far * dy) for far in (7, 14, 24, 36, 50, 66) for dx, dy in sides]

    def write(point: tuple[float, float, str, str], dx: int, dy: int) -> tuple[Text, tuple[float, ...]]:
        x, y, name, colour = point
        text = axes.annotate(
            name, (x, y), xytext=(dx * 0.72, dy * 0.72), textcoords="offset points", fontsize=7.2, color=colour,
            ha="left" if dx > 0 else "right" if dx < 0 else "center",
            va="center" if dy == 0 else "bottom" if dy > 0 else "top",
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.4, "shrinkA": 0, "shrinkB": 3}
            if abs(dx) + abs(dy) > 14 else None,
        )  # fmt: skip
        text.update_positions(renderer)
        return text, tuple(Text.get_window_extent(text, renderer).extents)  # without its arrow

    def cost(point: tuple[float, float, str, str], dx: int, dy: int) -> float:
        text, (x0, y0, x1, y1) = write(point, dx, dy)
        text.remove()
        outside = max(0.0, frame.x0 - x0, x1 - frame.x1) + max(0.0, frame.y0 - y0, y1 - frame.y1)
        return sum(_overlap((x0, y0, x1, y1), other) for other in taken) + 20 * outside + 0.05 * (abs(dx) + abs(dy))

    for point in points:
        best = min(reach, key=lambda at: cost(point, *at))
        taken.append(write(point, *best)[1])


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
