"""What the figures of a sweep share: which axis runs along x, a panel for each place on the others, a look a method."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from delrec_bench.report import words
from delrec_bench.report.content import Page
from delrec_bench.report.figures.style import GREY, INK, MARKERS
from delrec_bench.report.rows import Row

MOST_COLOURS = 6
MOST_PANELS = 24
DASHES: Any = {"learned": "-", "fixed": (0, (4, 2)), "none": (0, (1, 1.5))}


@dataclass(frozen=True)
class Panel:
    """One task at one place on the axes that do not run along x.

    Attributes:
        task: Its name.
        place: (axis, value) of the other axes.
        lines: Method -> its rows along x, in order.
        flat: Rows of methods that are not swept along x: one value for all of it.
    """

    task: str
    place: tuple[tuple[str, Any], ...]
    lines: Mapping[str, tuple[Row, ...]]
    flat: tuple[Row, ...]

    @property
    def name(self) -> str:
        """The task, and the place."""
        return ", ".join([self.task, *(f"{axis} {value}" for axis, value in self.place)])


@dataclass(frozen=True)
class Sweep:
    """How a page's sweep is laid out.

    Attributes:
        axis: What runs along x: the axis with the most values.
        values: Its values; numbers in order, names as the study lists them.
        panels: By task, then by place.
        left_out: How many places on the other axes have no panel.
    """

    axis: str
    values: tuple[Any, ...]
    panels: tuple[Panel, ...]
    left_out: int

    @property
    def numeric(self) -> bool:
        """Whether x is a scale of numbers."""
        return all(isinstance(v, int | float) and not isinstance(v, bool) for v in self.values)

    @property
    def grid(self) -> tuple[float, int]:
        """Width of a panel in inches, which names need more of, and panels beside each other."""
        width = 3.4 if self.numeric else max(3.4, 1.0 + 0.34 * len(self.values))
        return width, max(1, int(10.2 // width))

    def x(self, row: Row) -> float:
        """Where a row stands along x."""
        value = dict(row.point)[self.axis]
        return float(value) if self.numeric else float(self.values.index(value))

    def beside(self, place: int, lines: int) -> float:
        """How far the marks of a line stand beside a name, that the lines do not hide each other; 0 on a scale."""
        return 0.0 if self.numeric else 0.6 * ((place + 0.5) / lines - 0.5)


def sweep_of(page: Page) -> Sweep | None:
    """The layout of a page's sweep; None of a page without one."""
    rows = [row for row in page.rows if row.kind == "run" and row.records]
    axes: dict[str, list[Any]] = {}
    for row in sorted(rows, key=_declared(page)):
        for axis, value in row.point:
            if value not in axes.setdefault(axis, []):
                axes[axis].append(value)
    axes = {axis: _in_order(values) for axis, values in axes.items() if len(values) > 1}
    if not axes:
        return None
    along = max(axes, key=lambda axis: len(axes[axis]))
    others = [axis for axis in axes if axis != along]
    places = list(_places({axis: axes[axis] for axis in others}))
    most = max(1, MOST_PANELS // len(page.tasks))
    panels = [
        panel
        for task in page.tasks
        for place in places[:most]
        if (panel := _panel([r for r in rows if r["task"] == task], task, place, along)).lines
    ]
    return Sweep(along, tuple(axes[along]), tuple(panels), max(0, len(places) - most))


def _declared(page: Page) -> Any:
    """The order in which the study lists its rows."""
    order = {key: i for i, key in enumerate(page.declared.runs)}
    return lambda row: min(order[record.key] for record in row.records)


def _in_order(values: list[Any]) -> list[Any]:
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    return sorted(values) if numbers else values


def _places(axes: Mapping[str, Sequence[Any]]) -> Iterator[tuple[tuple[str, Any], ...]]:
    if not axes:
        yield ()
        return
    (axis, values), *rest = axes.items()
    for value in values:
        for place in _places(dict(rest)):
            yield ((axis, value), *place)


def _panel(rows: Sequence[Row], task: str, place: tuple[tuple[str, Any], ...], along: str) -> Panel:
    at = dict(place)
    here = [r for r in rows if all(at.get(axis, value) == value for axis, value in r.point)]
    lines: dict[str, list[Row]] = {}
    for row in here:
        if along in dict(row.point):
            lines.setdefault(row.base, []).append(row)
    flat = tuple(row for row in here if along not in dict(row.point))
    return Panel(task, place, {base: tuple(of) for base, of in sorted(lines.items())}, flat)


def looks(page: Page, sweep: Sweep) -> dict[str, tuple[str, str]]:
    """Method -> (colour, kind of its delays): a method and its control share a colour, so that kinds tell them apart.

    The methods of the hypothesis come first; beyond `MOST_COLOURS` methods are grey.
    """
    rows = [row for panel in sweep.panels for of in panel.lines.values() for row in of]
    kinds = {row.base: row.delays for row in rows}
    names = {row["method"]: row.base for row in page.rows}
    leader: dict[str, str] = {}
    for row in rows:
        control = names.get(row.control or "")
        if row.delays == "learned" and control in kinds and kinds[control] == "fixed":
            leader.setdefault(control, row.base)
    primary = page.declared.primary
    first = [] if primary is None else [names.get(n, n) for n in (primary.method, primary.control)]
    order = [b for b in dict.fromkeys([*first, *sorted(kinds)]) if b in kinds]
    groups = list(dict.fromkeys(leader.get(base, base) for base in order))
    palette = sns.color_palette("colorblind", MOST_COLOURS).as_hex()
    colours = {group: palette[i] if i < MOST_COLOURS else GREY for i, group in enumerate(groups)}
    return {base: (colours[leader.get(base, base)], kinds[base]) for base in order}


def x_axis(axes: Axes, sweep: Sweep) -> None:
    """Ticks at the swept values; numbers that span much on a log scale, which is linear below the smallest."""
    axes.set_xlabel(words.setting(sweep.axis))
    if not sweep.numeric:
        turned: Any = {"rotation": 20 if len(sweep.values) < 5 else 45, "rotation_mode": "anchor", "ha": "right"}
        axes.set_xticks(range(len(sweep.values)), [str(v) for v in sweep.values], fontsize=8, **turned)
        axes.set_xlim(-0.5, len(sweep.values) - 0.5)
        axes.grid(visible=False, axis="x")
        return
    values = [float(v) for v in sweep.values]
    positive = [v for v in values if v > 0]
    if min(values) >= 0 and positive and max(values) > 8 * min(positive):
        if min(values) > 0:
            axes.set_xscale("log")
            axes.set_xlim(min(values) / 1.3, max(values) * 1.3)
        else:
            axes.set_xscale("symlog", linthresh=min(positive))
            axes.set_xlim(-0.3 * min(positive), max(values) * 1.5)
    axes.set_xticks(values, _apart(axes, values))
    axes.set_xticks([], minor=True)


def _apart(axes: Axes, values: Sequence[float]) -> list[str]:
    """What stands at numbers on the axis: nothing where the number before is too near to read both."""
    places = axes.transScale.transform([(v, 1.0) for v in values])[:, 0]
    reach = float(np.ptp(axes.transScale.transform([(v, 1.0) for v in axes.get_xlim()])[:, 0])) or 1.0
    texts, last = [], -math.inf
    for value, place in zip(values, places, strict=True):
        text = f"{value:g}"
        near = (place - last) / reach < 0.02 + 0.028 * len(text)
        texts.append("" if near else text)
        last = last if near else place
    return texts


def interval(
    axes: Axes, sweep: Sweep, xs: Sequence[float], lows: Sequence[float], highs: Sequence[float], colour: str
) -> None:
    """Where an interval is known: a band along a scale; bars at names, between which there is nothing, and at one x."""
    known = [(x, a, b) for x, a, b in zip(xs, lows, highs, strict=True) if not (math.isnan(a) or math.isnan(b))]
    if len(known) > 1 and sweep.numeric:
        x, low, high = zip(*known, strict=True)
        axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
    elif known:
        axes.vlines(*zip(*known, strict=True), color=colour, linewidth=1.2, alpha=0.6)


def line(axes: Axes, sweep: Sweep, xs: Sequence[float], ys: Sequence[float], look: tuple[str, str]) -> None:
    """A method along x; between names a thin line leads the eye, and means nothing else."""
    colour, kind = look
    mark: Any = {"color": colour, "marker": MARKERS[kind], "markersize": 4.5}
    if not sweep.numeric:
        axes.plot(xs, ys, color=colour, linestyle=DASHES[kind], linewidth=0.6, alpha=0.55)
    axes.plot(xs, ys, linestyle=DASHES[kind] if sweep.numeric else "", linewidth=1.5, **mark)


def legend(shown: Mapping[str, tuple[str, str]], flat: str = "") -> list[Line2D]:
    """A handle for every method, and for the level of what is not swept, by what it is."""
    handles = [
        Line2D([], [], color=colour, linestyle=DASHES[kind], marker=MARKERS[kind], markersize=4.5, label=base)
        for base, (colour, kind) in shown.items()
    ]
    if flat:
        handles.append(Line2D([], [], color=INK, linewidth=0.9, alpha=0.6, label=f"not swept: {flat}"))
    return handles
