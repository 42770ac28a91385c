"""Score along the axis of a sweep: one line per method, one panel per task and point on the other axes."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import seaborn as sns
from matplotlib.axes import Axes

from delrec_bench.metrics import metric_named
from delrec_bench.report import words
from delrec_bench.report.content import Page
from delrec_bench.report.figures.style import GREY, INK, Drawn, panels, style, text_of
from delrec_bench.report.rows import Row

MOST_COLOURS, MOST_PANELS = 6, 12
LOOKS: Any = {"learned": ("o", "-"), "fixed": ("s", "--"), "none": ("^", ":")}


class Sweep(NamedTuple):
    """How a page's sweep is laid out.

    Attributes:
        axis: What runs along x: the axis with the most values.
        values: Its values; numbers in order, names as the study lists them.
        panels: (task, place on the other axes) -> method -> its rows along x.
    """

    axis: str
    values: Sequence[Any]
    panels: Mapping[tuple[str, tuple[tuple[str, Any], ...]], Mapping[str, Sequence[Row]]]

    def x(self, row: Row) -> float:
        """Where a row stands along x."""
        value = dict(row.asked.point)[self.axis]
        return float(value) if _numbers(self.values) else float(self.values.index(value))


def _numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def sweep_of(page: Page) -> Sweep | None:
    """The layout of a page's sweep; None of a page without one."""
    rows = [row for row in page.rows if row.records and row.asked.point]
    there = {row.asked.point for row in rows}
    axes: dict[str, dict[Any, None]] = {}  # in the order of the study
    for point in (expected.point for expected in page.declared.runs.values() if expected.point in there):
        for axis, value in point:
            axes.setdefault(axis, {})[value] = None
    swept = {axis: sorted(of) if _numbers([*of]) else [*of] for axis, of in axes.items() if len(of) > 1}
    if not swept:
        return None
    along = max(swept, key=lambda axis: len(swept[axis]))
    others = [[(axis, value) for value in of] for axis, of in swept.items() if axis != along]
    found: dict[Any, dict[str, list[Row]]] = {}
    for task, place in product(page.tasks, product(*others)):
        for row in rows:
            at = dict(row.asked.point)
            if row["task"] == task and along in at and all(at.get(axis, value) == value for axis, value in place):
                found.setdefault((task, place), {}).setdefault(row.base, []).append(row)
    return Sweep(along, swept[along], found)


def colours(layout: Sweep) -> dict[str, str]:
    """Method -> colour: one with fixed delays shares that of its method with learned ones."""
    bases = list(dict.fromkeys(base for lines in layout.panels.values() for base in lines))
    groups = list(dict.fromkeys(base.partition("-fixed")[0] for base in bases))
    palette = [*sns.color_palette("colorblind", MOST_COLOURS).as_hex(), *[GREY] * len(groups)]
    return {base: palette[groups.index(base.partition("-fixed")[0])] for base in bases}


def sweep(page: Page) -> Drawn | None:
    """Mean score and interval at every point; None of a page without a sweep."""
    layout = sweep_of(page)
    if layout is None:
        return None
    shown = list(layout.panels.items())[:MOST_PANELS]
    look = colours(layout)
    with style():
        columns = min(3, len(shown))
        figure, axes = panels([2.9] * len(shown), 3.6 if columns > 1 else 6.0, columns, 0.3 * len(look))
        for axis, ((task, place), lines) in zip(axes, shown, strict=True):
            _draw_lines(axis, layout, lines, look)
            levels = [row for row in page.of(task) if row.records and not row.asked.point and row.kind == "run"]
            for row in levels[:1]:
                level, across = metric_named(row["metric"]).shown(row["score_mean"]), axis.get_yaxis_transform()
                axis.axhline(level, color=INK, linewidth=0.8, linestyle="--", alpha=0.6)
                axis.text(1, level, row.title, ha="right", va="bottom", fontsize=7.5, transform=across)
            axis.set_title(", ".join([page.declared.task_title(task), *(words.setting_at(a, v) for a, v in place)]))
        handles = {label: line for axis in axes for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2, fontsize=8.5)
        svg = text_of(figure)
    left_out = len(layout.panels) - len(shown)
    left = f" {words.plural(left_out, 'more panel')} only in the table." * (left_out > 0)
    caption = f"Mean test score; bars are 95 % intervals. Solid: learned delays, dashed: fixed, dotted: none.{left}"
    return Drawn("sweep", f"Score by {words.setting(layout.axis)}", caption, svg)


def _draw_lines(axes: Axes, layout: Sweep, lines: Mapping[str, Sequence[Row]], look: Mapping[str, str]) -> None:
    """The lines of one panel, up is better or as the label of the score says."""
    metric = metric_named(next(iter(lines.values()))[0]["metric"])
    for base, of in lines.items():
        rows = sorted(of, key=layout.x)
        marker, dash = LOOKS[rows[0].delays]
        ys = [metric.shown(row["score_mean"]) for row in rows]
        bars = [
            [0.0 if row[end] is None else abs(metric.shown(row[end]) - y) for row, y in zip(rows, ys, strict=True)]
            for end in ("score_low", "score_high")
        ]
        title = rows[0].title.partition(" (")[0]
        axes.errorbar([layout.x(row) for row in rows], ys, bars, color=look[base], marker=marker, linestyle=dash,
                      markersize=5, capsize=2, linewidth=1.5, label=title)  # fmt: skip
    axes.set_ylabel(metric.label)
    axes.set_xlabel(words.setting(layout.axis))
    if not _numbers(layout.values):
        axes.set_xticks(range(len(layout.values)), [str(v) for v in layout.values], rotation=30, ha="right", fontsize=8)
        return
    values = [float(v) for v in layout.values]
    if min(values) >= 0 and max(values) > 8 * min([v for v in values if v > 0], default=1.0):
        axes.set_xscale("symlog", linthresh=min(v for v in values if v > 0))
    axes.set_xticks(values, [f"{v:g}" for v in values])
    axes.set_xticks([], minor=True)
