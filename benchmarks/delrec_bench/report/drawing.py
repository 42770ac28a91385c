"""What all figures share: one look, panels, and SVG text that depends on the page alone."""

import base64
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from textwrap import fill
from typing import Any

import matplotlib
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK, GREY, BLUE = "#1f2937", "#8a93a3", "#3b76d6"
WIDTH = 4.8  # inches; on a telephone, in a column of 370 pixels, letters of 10.5 points are 11 pixels high
BROAD = 7.4  # of a figure that scrolls there: its letters of 8.5 points are 11 pixels high
LETTERS, SMALL = 10.5, 8.5
TITLE = 44  # letters on a line of a title or a legend
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "delrec-bench",
    "font.size": LETTERS,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.6,
    "grid.color": "#e3e7ee",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "axes.titlesize": LETTERS,
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
def panels(heights: Sequence[float], width: float = WIDTH) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure with a panel below the other, each of a height in inches, in the look of all figures."""
    with matplotlib.rc_context(sns.axes_style("whitegrid") | _STYLE):
        figure = Figure(figsize=(width, sum(heights)), layout="constrained")
        axes = figure.subplots(len(heights), height_ratios=heights, squeeze=False)[:, 0]
        yield figure, list(axes)


def text_of(figure: Figure) -> str:
    """A figure as SVG text on white: no date, no random ids, and no more digits than an eye can see."""
    for axes in figure.axes:
        sns.despine(ax=axes)
    out = io.StringIO()
    FigureCanvasSVG(figure)
    figure.savefig(out, format="svg", metadata={"Date": None})
    return re.sub(r'="[^"]*"', lambda attribute: re.sub(r"(\.\d\d)\d+", r"\1", attribute[0]), out.getvalue())


def name_lines(axes: Axes, names: Sequence[str]) -> None:
    """Names along y, the first on top; each line of a name is a text of its own, so that any font aligns them."""
    axes.set_yticks(range(len(names)), [""] * len(names))
    place: Any = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "annotation_clip": False}
    for y, name in enumerate(names):
        for row, line in enumerate(lines := wrapped(name).splitlines()):
            above = LETTERS * (0.6 * (len(lines) - 1) - 1.2 * row)
            axes.annotate(line, (0, y), (-7, above), ha="right", va="center", **place)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")


def wrapped(name: str, width: int = 24) -> str:
    """A name in lines that leave its axes room."""
    return "\n".join(fill(line, width, break_on_hyphens=False) for line in name.splitlines())


def lines_height(names: Sequence[str], title: str = "") -> float:
    """The height of a panel with these names along y, in inches."""
    lines = max(1 + wrapped(name).count("\n") for name in names)
    return 1.1 + 0.18 * wrapped(title, TITLE).count("\n") + len(names) * (0.1 + 0.18 * lines)


def label_points(axes: Axes, points: Sequence[tuple[float, float, str, str]]) -> None:
    """Write the name of every (x, y, name, colour) to the right of the panel, by height, with a line to its mark."""
    for place, (x, y, name, colour) in enumerate(sorted(points, key=lambda point: point[1])):
        line = {"arrowstyle": "-", "color": colour, "linewidth": 0.4, "relpos": (0, 0.5), "shrinkA": 1, "shrinkB": 3}
        at: Any = {"xytext": (1.06, (place + 0.5) / len(points)), "textcoords": "axes fraction", "va": "center"}
        axes.annotate(name, (x, y), fontsize=SMALL, color=colour, arrowprops=line, **at)
