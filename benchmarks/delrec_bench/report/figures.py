"""The figures, as SVG text: every repetition is shown, every panel carries its data's stamp.

Text and axes are drawn in one placeholder colour which becomes ``currentColor`` on the page, so that a figure
follows the page's light or dark theme, or a fixed ink on white in a file of its own.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from delrec_bench.metrics import metric_named
from delrec_bench.metrics.base import MINUS
from delrec_bench.report import words
from delrec_bench.report.findings import Findings, best_floor
from delrec_bench.report.rows import Row
from delrec_bench.statistics import Comparison

_INK, _FAINT = "#010203", "#040506"  # placeholders: text, and lines that stay in the background
_PLAIN = {_INK: "#1f2937", _FAINT: "#d5dae1"}
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "delrec-bench",
    "font.size": 9.5,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _FAINT,
    "grid.linewidth": 0.6,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
}
_LEGEND_COLUMNS = 4
_DASHES: Any = ("--", ":", "-.")  # the floors, the best one first
_MARKERS: Any = {"learned": "o", "fixed": "X", "none": "s"}


@dataclass(frozen=True)
class Figures:
    """All figures of a page as SVG text with placeholder colours; None where there is nothing to draw."""

    scatter: str | None
    strips: str | None
    forest: str | None


def draw(findings: Findings) -> Figures:
    """Draws every figure once."""
    return Figures(accuracy_against_parameters(findings), every_repetition(findings), differences(findings))


@contextmanager
def _style() -> Iterator[None]:
    with matplotlib.rc_context(_STYLE):
        yield


def standalone(svg: str) -> str:
    """The figure as a file of its own: dark ink on white."""
    for placeholder, colour in _PLAIN.items():
        svg = svg.replace(placeholder, colour)
    return svg.replace("<defs>", '<rect width="100%" height="100%" fill="#ffffff"/>\n <defs>', 1)


def inline(svg: str, title: str) -> str:
    """The figure as an element of a page, in the page's own colours."""
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor").replace(_FAINT, "var(--grid, #8883)")
    svg = re.sub(
        r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', rf'<svg viewBox="\1" role="img" aria-label="{title}">', svg, count=1
    )
    return re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)


def _svg(figure: Figure) -> str:
    out = io.StringIO()
    FigureCanvasSVG(figure)
    figure.savefig(out, format="svg", transparent=True, bbox_inches="tight", pad_inches=0.08, metadata={"Date": None})
    return re.sub(r"[ \t]+\n", "\n", out.getvalue())


def family_colours(findings: Findings) -> dict[str, Any]:
    """Method -> colour; a method and its fixed variant share one."""
    methods = sorted({row["method"] for row in findings.rows if row.kind == "run"})
    bases = list(dict.fromkeys(m.removesuffix("-fixed") for m in methods))
    named = "colorblind" if len(bases) <= 8 else "tab20"
    palette = sns.color_palette(named, len(bases)) if len(bases) <= 20 else sns.husl_palette(len(bases), l=0.6)
    by_base = dict(zip(bases, palette, strict=True))
    return {m: by_base[m.removesuffix("-fixed")] for m in methods}


def _display(row: Row, value: float) -> float:
    return metric_named(row["metric"]).shown(value)


def _points(rows: Sequence[Row]) -> pd.DataFrame:
    """Long form: one line per repetition."""
    return pd.DataFrame(
        [
            {
                "method": row["method"],
                "delays": row.delays,
                "parameters": row["parameters_total"],
                "score": _display(row, record.score),
                "mean": _display(row, row["score_mean"]),
            }
            for row in rows
            for record in row.records
        ]
    )


def _title(axes: Axes, findings: Findings, task: str) -> None:
    axes.set_title(task, fontweight="bold")
    axes.set_title(findings.stamp(task), loc="right", fontsize=8, fontweight="bold")


def _panels(heights: Sequence[float], width: float, columns: int, below: float = 0.0) -> tuple[Figure, list[Axes]]:
    """A grid of panels, each line of it as high as its highest panel, with room `below` for a legend (inches)."""
    columns = min(columns, len(heights))
    lines = [max(heights[i : i + columns]) for i in range(0, len(heights), columns)]
    figure = Figure(figsize=(width * columns, sum(lines) + below), layout="constrained")
    grid = figure.add_gridspec(len(lines), columns, height_ratios=lines)
    return figure, [figure.add_subplot(grid[i // columns, i % columns]) for i in range(len(heights))]


def _floor_lines(axes: Axes, rows: Sequence[Row], horizontal: bool) -> None:
    for row, style in zip([r for r in rows if r.kind == "floor"], _DASHES, strict=False):
        value = _display(row, row["score_mean"])
        if horizontal and not axes.get_ylim()[0] <= value <= axes.get_ylim()[1]:
            continue
        draw = axes.axhline if horizontal else axes.axvline
        draw(value, color=_INK, linewidth=0.9, linestyle=style, alpha=0.75, zorder=1)
        if horizontal:
            place: Any = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "bottom"}
            axes.text(0.995, value, row["method"], fontsize=7.5, style="italic", **place)


def accuracy_against_parameters(findings: Findings) -> str | None:
    """Score against trainable size, a panel a task: small marks are repetitions, large ones their mean."""
    tasks = [t for t in findings.tasks if any(r.kind == "run" and r["parameters_total"] for r in findings.of(t))]
    if not tasks:
        return None
    colours = family_colours(findings)
    with _style():
        handles = _handles(findings, colours)
        columns = 3 if len(tasks) % 3 == 0 else 2
        figure, panels = _panels([3.2] * len(tasks), 4.4, columns, below=0.2 * -(-len(handles) // _LEGEND_COLUMNS))
        for axes, task in zip(panels, tasks, strict=True):
            rows = [r for r in findings.of(task) if r.kind == "run" and r["parameters_total"]]
            frame = _points(rows)
            means = frame.drop_duplicates("method")
            shared: Any = {
                "x": "parameters",
                "hue": "method",
                "palette": colours,
                "style": "delays",
                "markers": _MARKERS,
            }
            sns.scatterplot(frame, y="score", s=16, alpha=0.5, legend=False, linewidth=0, ax=axes, **shared)
            sns.scatterplot(means, y="mean", s=85, legend=False, linewidth=0, alpha=0.92, ax=axes, **shared)
            _parameter_axis(axes, frame["parameters"].to_numpy())
            axes.set_ylabel(words.label(rows[0]["metric"]))
            _score_limits(axes, findings.of(task))
            _floor_lines(axes, findings.of(task), horizontal=True)
            _title(axes, findings, task)
        figure.legend(handles=handles, loc="outside lower center", ncols=_LEGEND_COLUMNS, fontsize=8.5)
        return _svg(figure)


def _score_limits(axes: Axes, rows: Sequence[Row]) -> None:
    """Room for every repetition and the best floor; a floor far below would press the methods together."""
    floor = best_floor(rows)
    values = [_display(row, record.score) for row in rows if row.kind == "run" for record in row.records]
    values += [_display(floor, floor["score_mean"])] if floor else []
    room = 0.1 * max(max(values) - min(values), 1e-9)
    axes.set_ylim(min(values) - room, max(values) + room)


def _parameter_axis(axes: Axes, values: Any) -> None:
    low, high = float(np.min(values)), float(np.max(values))
    log = high > 4 * low
    if log:
        axes.set_xscale("log")
    axes.set_xlabel("parameters" + (" (log)" if log else ""))
    axes.margins(x=0.12)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=7) if log else MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v / 1000:g}k" if v >= 1000 else f"{v:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _handles(findings: Findings, colours: dict[str, Any]) -> list[Line2D]:
    """The legend's entries: methods by colour and shape, floors by their dashes."""
    shape = {row["method"]: _MARKERS[row.delays] for row in findings.rows if row.kind == "run"}
    style: Any = {"linestyle": "", "markersize": 7, "markeredgewidth": 0}
    handles = [Line2D([], [], marker=shape[m], color=colours[m], label=m, **style) for m in colours]
    floors = list(dict.fromkeys(row["method"] for row in findings.rows if row.kind == "floor"))
    handles += [
        Line2D([], [], color=_INK, linewidth=0.9, linestyle=s, label=f"{m} (no network)")
        for m, s in zip(floors, _DASHES, strict=False)
    ]
    return handles


def every_repetition(findings: Findings) -> str | None:
    """Each method's repetitions on a line, its mean as a tick and its 95 percent t interval as a bar."""
    tasks = [t for t in findings.tasks if any(r.kind == "run" for r in findings.of(t))]
    if not tasks:
        return None
    colours = family_colours(findings)
    heights = [1.0 + 0.27 * sum(r.kind == "run" for r in findings.of(t)) for t in tasks]
    with _style():
        figure, panels = _panels(heights, 4.8 if len(tasks) > 1 else 7.5, 2)
        for axes, task in zip(panels, tasks, strict=True):
            rows = [r for r in findings.of(task) if r.kind == "run"]
            for place, row in enumerate(rows):
                colour = colours[row["method"]]
                if row["score_low"] is not None:
                    ends = [_display(row, row["score_low"]), _display(row, row["score_high"])]
                    axes.plot(ends, [place, place], color=colour, alpha=0.3, linewidth=5, solid_capstyle="butt")
                axes.plot(_display(row, row["score_mean"]), place, "|", color=colour, markersize=12, markeredgewidth=2)
            sns.stripplot(
                _points(rows), x="score", y="method", hue="method", palette=colours, jitter=False, size=4.5, ax=axes,
                legend=False, linewidth=0.4, edgecolor=_INK,
            )  # fmt: skip
            _limits(axes, findings.of(task))
            _floor_lines(axes, findings.of(task), horizontal=False)
            axes.set_xlabel(words.label(rows[0]["metric"]))
            axes.set_ylabel("")
            axes.grid(visible=False, axis="y")
            _title(axes, findings, task)
        return _svg(figure)


def _limits(axes: Axes, rows: Sequence[Row]) -> None:
    """Room for every point and floor; an interval of three may run far outside and is cut."""
    values = [_display(row, record.score) for row in rows for record in row.records]
    low, high = min(values), max(values)
    room = max(high - low, 1e-9) * 0.25
    metric = metric_named(rows[0]["metric"])
    least, most = (None if limit is None else metric.shown(limit) for limit in metric.limits)
    axes.set_xlim(
        low - room if least is None else max(least, low - room), high + room if most is None else min(most, high + room)
    )


def differences(findings: Findings) -> str | None:
    """Method minus control: every paired difference, the mean, and the interval that decides; 0 is no effect."""
    tasks = [t for t in findings.tasks if any(c.task == t for c in findings.comparisons)]
    if not tasks:
        return None
    by_task = {t: [c for c in findings.comparisons if c.task == t] for t in tasks}
    with _style():
        figure, panels = _panels([0.85 + 0.27 * len(by_task[t]) for t in tasks], 8.8, 1)
        for axes, task in zip(panels, tasks, strict=True):
            shown = by_task[task]
            for place, c in enumerate(shown):
                _draw_difference(axes, place, c)
            axes.axvline(0, color=_INK, linewidth=0.9)
            axes.set_yticks(range(len(shown)), [f"{c.method} {MINUS} {c.control}" for c in shown])
            axes.set_ylim(len(shown) - 0.5, -0.5)
            axes.grid(visible=False, axis="y")
            better = "right is better" if metric_named(shown[0].metric).more_is_better else "left is better"
            axes.set_xlabel(f"difference in {words.unit(shown[0].metric)} ({better})")
            _title(axes, findings, task)
        return _svg(figure)


def _draw_difference(axes: Axes, place: int, c: Comparison) -> None:
    factor = metric_named(c.metric).factor
    colour = {"better": "#2a9d5c", "worse": "#d1495b"}.get(c.verdict, "#8a93a3")
    if c.interval.low is not None and c.interval.high is not None:
        axes.plot([factor * c.interval.low, factor * c.interval.high], [place, place], color=colour, linewidth=1.8)
    values = [factor * d for _, d in c.differences]
    axes.plot(values, [place] * c.n, "o", color=colour, alpha=0.55, markersize=4)
    axes.plot(factor * c.interval.mean, place, "D", color=colour, markersize=6)
    p = f"  (p {words.probability(c.p_holm)})" if c.p_holm is not None else ""
    where: Any = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": 8.5}
    axes.text(1.01, place, c.verdict + p, **where)
