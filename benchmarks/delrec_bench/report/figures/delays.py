"""Where delays began and where training left them, layer by layer."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from delrec_bench.report import words
from delrec_bench.report.content import Page
from delrec_bench.report.figures.style import BLUE, GREY, Drawn, panels, room, style, text_of, title
from delrec_bench.report.rows import Row

_FEW = 5  # methods of a task

Layers = Mapping[tuple[str, str], Sequence[Any]]
"""(layer, kind) -> that layer of `Record.delays` in each repetition."""


def layers_of(row: Row) -> Layers:
    """The delays of a row's records, layer by layer."""
    found: dict[tuple[str, str], list[Any]] = {}
    for record in row.records:
        for layer in record.delays or ():
            found.setdefault((layer["layer"], layer["kind"]), []).append(layer)
    return found


def learned(page: Page) -> dict[str, list[Row]]:
    """By task, up to `_FEW` rows whose records say where their learned delays went: the hypothesis's first."""
    primary = page.declared.primary
    first = () if primary is None else (primary.method, primary.control)
    out = {}
    for task in page.tasks:
        rows = [r for r in page.of(task) if r.delays == "learned" and layers_of(r)]
        rows.sort(key=lambda r: r["method"] not in first)  # stable: then from best to worst
        if rows:
            out[task] = rows[:_FEW]
    return out


def delays(page: Page) -> Drawn | None:
    """A panel a task, two bars a layer: at the start and at the end."""
    by_task = learned(page)
    if not by_task:
        return None
    lines = {t: [(row, *of) for row in rows for of in layers_of(row).items()] for t, rows in by_task.items()}
    with style():
        width = max(5.1, 3.2 + room((row["method"] for rows in by_task.values() for row in rows), 7))
        figure, axes = panels([0.85 + 0.34 * len(of) for of in lines.values()], width, 2 if width < 7 else 1, below=0.3)
        for axis, (task, of) in zip(axes, lines.items(), strict=True):
            labels = []
            for place, (row, (layer, kind), records) in enumerate(of):
                _bar(axis, place - 0.16, _quantiles(records, "start"), GREY)
                _bar(axis, place + 0.16, _quantiles(records, "end"), BLUE)
                moved = 100 * float(np.mean([r["moved"] for r in records]))
                where: Any = {"transform": axis.get_yaxis_transform(), "va": "center", "fontsize": 7.5}
                axis.text(1.01, place, f"{moved:.0f} %{_by(records)}", **where)
                labels.append(f"{row['method']}\n{words.layer(layer, kind)}")
            axis.set_yticks(range(len(of)), labels, fontsize=7, multialignment="right")
            axis.set_ylim(len(of) - 0.4, -0.6)
            axis.grid(visible=False, axis="y")
            axis.set_xlabel("delay in steps")
            title(axis, task, "moved, by steps")
        handles = [
            Line2D([], [], color=c, linewidth=4, label=n) for c, n in ((GREY, "at the start"), (BLUE, "at the end"))
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8)
        svg = text_of(figure)
    caption = (
        "Learned delays of a layer, before training (grey) and at the chosen epoch (blue): the thick bar holds the "
        "middle 60 percent, the thin one all, the mark is the median; means over repetitions. On the right the share "
        "that deploys to another step than it began at, and the median number of steps by which a delay moved: delays "
        "that cross hide in bars that lie on each other. "
        f"Of each task at most {_FEW} methods, the hypothesis's first, then the best. From the delays in "
        "the records of their runs."
    )
    return Drawn("delays", "Where delays began and ended", caption, svg)


def _by(records: Sequence[Any]) -> str:
    """The median way of the delays that a record keeps one by one, in steps; the mean over repetitions."""
    ways = [np.abs(np.subtract(r["units"]["end"], r["units"]["start"])) for r in records if r.get("units")]
    return f", {np.mean([np.median(way) for way in ways]):.1f}" if ways else ""


def _quantiles(records: Sequence[Any], side: str) -> np.ndarray:
    return np.mean([r[side] for r in records], axis=0)  # of equally many delays each


def _bar(axis: Axes, place: float, q: np.ndarray, colour: str) -> None:
    axis.plot([q[0], q[10]], [place, place], color=colour, linewidth=0.9)
    axis.plot([q[2], q[8]], [place, place], color=colour, linewidth=4.5, solid_capstyle="butt")
    axis.plot(q[5], place, "|", color="#ffffff", markersize=5, markeredgewidth=1.3)
