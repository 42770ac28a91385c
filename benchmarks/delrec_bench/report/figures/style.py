"""What all figures share: ink that follows the page's theme, panels, and SVG text that depends on the page alone."""

import html
import io
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter
from scour import scour

INK, FAINT = "#010203", "#040506"  # placeholders: text, and what stays in the background
BLUE, ORANGE, GREEN, RED, GREY = "#3b76d6", "#d9822b", "#2a9d5c", "#d1495b", "#8a93a3"
VERDICTS = {"better": GREEN, "worse": RED, "equivalent": BLUE, "inconclusive": GREY}
MARKERS: Any = {"learned": "o", "fixed": "X", "none": "s"}
_SMALL = scour.parse_args(
    "--set-precision=4 --strip-xml-prolog --remove-metadata --enable-id-stripping --shorten-ids --indent=none "
    "--no-line-breaks --disable-style-to-xml --quiet".split()
)
_PLAIN = {INK: "#1f2937", FAINT: "#d5dae1"}
_PAPER = '<rect width="100%" height="100%" fill="#fff"/>'
_OF_PAGE = {INK: "currentColor", FAINT: "var(--grid)"}
_MARKUP = re.compile(r"<style>[^<]*</style>|<[^>]*>")
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "delrec-bench",
    "font.size": 9.5,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
}


def colours(margins: bool) -> str:
    """What the colours of verdicts say; only where there are margins is anything equivalent."""
    blue = "blue equivalent (within the margin, whichever side of 0), " if margins else ""
    return f"green better, red worse, {blue}grey inconclusive"


@dataclass(frozen=True)
class Drawn:
    """A figure.

    Attributes:
        name: Of its file, without ending.
        title: What it is.
        caption: What to see in it, and from which records it is.
        svg: Its text, with placeholder colours.
        narrow: The same for a phone, where it does not go without scrolling sideways.
    """

    name: str
    title: str
    caption: str
    svg: str
    narrow: str = ""

    def standalone(self) -> str:
        """As a file of its own: dark ink on white."""
        text = _in_markup(f"{INK}|{FAINT}", lambda m: _PLAIN[m[0]], self.svg)
        return text.replace("</style>", f"</style>{_PAPER}", 1)

    def inline(self, narrow: bool = False) -> str:
        """As an element of a page, in the page's own colours; ids and classes carry the figure's name, so that none is
        twice."""
        svg = _in_markup(f"{INK}|{FAINT}", lambda m: _OF_PAGE[m[0]], self.narrow if narrow else self.svg)
        names = r'(\bid="|href="#|url\(#|class="|(?<=[>}])\.(?=c\d+\{))'
        own = f"{self.name}-narrow-" if narrow else f"{self.name}-"
        opening, inside = _in_markup(names, rf"\g<1>{own}", svg).split(">", 1)
        said = dict(re.findall(r'([\w-]+)="([^"]*)"', opening))
        points = float(said["viewBox"].split()[2])
        said = {name: said[name] for name in ("viewBox", "font-family")} | {
            "style": f"min-width:{0 if narrow else min(1.25 * points, 1080):.0f}px;max-width:{1.6 * points:.0f}px",
            "role": "img",
            "aria-label": html.escape(self.title),
        }
        return "".join(["<svg", *(f' {name}="{value}"' for name, value in said.items()), ">", inside])


@contextmanager
def style() -> Iterator[None]:
    """Seaborn's quiet axes in the page's ink."""
    with matplotlib.rc_context(), sns.axes_style("whitegrid", rc=_STYLE), matplotlib.rc_context(_STYLE):
        yield


def text_of(figure: Figure) -> str:
    """A figure as SVG text: no date, no random ids, a third of what matplotlib writes."""
    for axes in figure.axes:
        sns.despine(ax=axes)
    out = io.StringIO()
    FigureCanvasSVG(figure)
    figure.savefig(out, format="svg", transparent=True, bbox_inches="tight", pad_inches=0.08, metadata={"Date": None})
    text = _in_markup(r' transform="rotate\(-0 [^"]*\)"|<!DOCTYPE[^>]*>', "", out.getvalue())
    text = _in_markup(r'( [xy]="-?\d+\.\d)\d+"', r'\1"', text)  # a tenth of a point is seen by nobody
    return _with_classes(scour.scourString(text, _SMALL))


def _in_markup(pattern: str, put: str | Callable[[re.Match[str]], str], svg: str) -> str:
    """`re.sub` in elements' tags and the shared looks alone: what a label says is shown as it is."""
    return _MARKUP.sub(lambda markup: re.sub(pattern, put, markup[0]), svg)


def _with_classes(svg: str) -> str:
    """What many elements share is said once, the typeface by all of them: half of what is left are these again."""
    tags = "".join(_MARKUP.findall(svg))
    face = next(iter(Counter(re.findall(r"font-family:([^;\"]*)", tags)).most_common(1)), ("sans-serif", 0))[0]
    face_said = rf"font-family:{re.escape(face)}(?:;|(?=\"))"
    looks = Counter(re.findall(r' style="([^"]*)"', re.sub(face_said, "", tags)))
    svg = _in_markup(face_said, "", svg)
    names = {look: f"c{i}" for i, (look, count) in enumerate(looks.items()) if count > 1}
    svg = _in_markup(r' style="([^"]*)"', lambda m: f' class="{names[m[1]]}"' if m[1] in names else m[0], svg)
    rules = "".join(f".{name}{{{look}}}" for look, name in names.items())
    return svg.replace(">", f' font-family="{face}"><style>{rules}</style>', 1)


def panels(heights: Sequence[float], width: float, columns: int, below: float = 0.0) -> tuple[Figure, list[Axes]]:
    """A grid of panels, at most so many columns, none of which a last line leaves emptier than it must.

    Each line is as high as its highest panel, with room `below` for a legend (inches).
    """
    columns = math.ceil(len(heights) / math.ceil(len(heights) / columns))
    lines = [max(heights[i : i + columns]) for i in range(0, len(heights), columns)]
    figure = Figure(figsize=(width * columns, sum(lines) + below), layout="constrained")
    grid = figure.add_gridspec(len(lines), columns, height_ratios=lines)
    return figure, [figure.add_subplot(grid[i // columns, i % columns]) for i in range(len(heights))]


def room(names: Iterable[str], size: float) -> float:
    """Inches that names take beside an axis, in letters of `size` points: some half as wide as they are high."""
    longest = max((len(line) for name in names for line in name.split("\n")), default=0)
    return 0.56 * size / 72 * longest


def head_room(task: str, stamp: str) -> float:
    """Inches that a panel's head takes: a task on a user's own files has a long name, and its stamp beside it."""
    return 1.08 * room([task], 10.5) + room([stamp], 8) + 0.15


def title(axes: Axes, task: str, stamp: str) -> None:
    """The task on the left, its stamp on the right."""
    axes.set_title(task, fontweight="bold")
    axes.set_title(stamp, loc="right", fontsize=7.5, fontweight="bold", alpha=0.75)


def plain_log(axes: Axes, which: Literal["x", "y"]) -> None:
    """A log scale with plain numbers: at most five of them, none above another."""
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(FixedLocator(log_ticks(*axis.get_view_interval())))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def log_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers between two, at most `most`: of decades or finer steps; evenly spaced where the two are near."""
    chosen: list[float] = []
    for steps in ((1,), (1, 3), (1, 2, 5)):
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        ticks = [float(f"{step * 10.0**k:.6g}") for k in decades for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        chosen = ticks if len(ticks) <= most else chosen or ticks[:: math.ceil(len(ticks) / most)]
    if len(chosen) < 3:
        even = MaxNLocator(most - 2, steps=[1, 2, 5, 10]).tick_values(low, high)
        chosen = [float(f"{tick:.6g}") for tick in even if low <= tick <= high] if high < 4 * low else chosen
    return chosen


def dots(axes: Axes, place: float, each: Sequence[float]) -> None:
    """Rings for single repetitions."""
    ring: Any = {"markerfacecolor": "none", "markeredgecolor": INK, "markeredgewidth": 0.7, "alpha": 0.7}
    axes.plot(each, [place] * len(each), "o", markersize=4.2, zorder=4, **ring)


def beside(axes: Axes, place: float, text: str) -> None:
    """Words on the right of a line of a forest."""
    where: Any = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": 8.5}
    axes.text(1.01, place, text, **where)


def above(axes: Axes, place: float, text: str) -> None:
    """Words above a line of a forest, within the panel."""
    where: Any = {"transform": axes.get_yaxis_transform(), "va": "bottom", "ha": "left", "fontsize": 7.5}
    axes.text(0.005, place - 0.17, text, **where)
