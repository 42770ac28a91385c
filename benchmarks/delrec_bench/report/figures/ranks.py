"""Every method of a task in the order of its score, with the places that are not ruled out."""

from typing import Any

from matplotlib.axes import Axes

from delrec_bench.metrics import metric_named
from delrec_bench.report import words
from delrec_bench.report.content import Page
from delrec_bench.report.figures.style import (
    BLUE,
    GREY,
    INK,
    Drawn,
    head_room,
    panels,
    plain_log,
    room,
    style,
    text_of,
    title,
)
from delrec_bench.report.rows import Row

_FEWEST = 3  # methods of a task whose order is worth a figure


def ranks(page: Page) -> Drawn | None:
    """A panel a task; None where a sweep's curves show the same, or no task has enough methods."""
    if any(row.point for row in page.rows):
        return None
    tasks = {t: [r for r in page.of(t) if r.kind == "run" and r.records] for t in page.tasks}
    tasks = {t: of for t, of in tasks.items() if len(of) >= _FEWEST}
    if not tasks:
        return None
    with style():
        names = room((r["method"] for of in tasks.values() for r in of), 7.5)
        headed = max(head_room(task, str(of[0]["data"] or "")) for task, of in tasks.items())
        width = max(3.6, 2.4 + names, 0.4 + names + headed)
        figure, axes = panels([0.75 + 0.15 * len(of) for of in tasks.values()], width, 3 if width < 5 else 2)
        for axis, (task, rows) in zip(axes, tasks.items(), strict=True):
            _panel(axis, page, task, rows)
        svg = text_of(figure)
    floor = "Dashed: the best method-free floor. " if any(r.kind == "floor" for t in tasks for r in page.of(t)) else ""
    caption = (
        "Methods from best to worst mean, with the 95 percent t interval of the mean; on the right the places that the "
        "runs do not rule out. Blue: nothing is told to be better, so any of these may be first. Neighbours in the "
        f"order are mostly not told apart: read the places, not the order. {floor}From all runs of the page."
    )
    return Drawn("ranks", "Who may be first", caption, svg)


def _panel(axis: Axes, page: Page, task: str, rows: list[Row]) -> None:
    metric = metric_named(rows[0]["metric"])
    where: Any = {"transform": axis.get_yaxis_transform(), "va": "center", "fontsize": 7.5}
    for first, colour in ((True, BLUE), (False, GREY)):
        of = [(i, r) for i, r in enumerate(rows) if (_place(r) == "1") == first]
        spans = [(i, *(metric.shown(r[s]) for s in ("score_low", "score_high"))) for i, r in of
                 if r["score_low"] is not None]  # fmt: skip
        if spans:
            places, lows, highs = zip(*spans, strict=True)
            axis.hlines(places, lows, highs, color=colour, linewidth=1.1)
        means = [metric.shown(r["score_mean"]) for _, r in of]
        axis.plot(means, [i for i, _ in of], "o", color=colour, markersize=3.6, markeredgewidth=0)
    for i, row in enumerate(rows):
        axis.text(1.01, i, row["rank_group"] or "", alpha=0.8, **where)
    floors = [r for r in page.of(task) if r.kind == "floor"]
    if floors:
        axis.axvline(metric.shown(floors[0]["score_mean"]), color=INK, linewidth=0.8, linestyle="--", alpha=0.6)
    means = [metric.shown(r["score_mean"]) for r in rows]
    if not metric.more_is_better and metric.limits[1] is None and max(means) > 4 * min(means) > 0:
        plain_log(axis, "x")
    axis.set_yticks(range(len(rows)), [r["method"] for r in rows], fontsize=7.5)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.grid(visible=False, axis="y")
    axis.set_xlabel(words.label(metric.name))
    title(axis, task, str(rows[0]["data"] or ""))


def _place(row: Row) -> str:
    return str(row["rank_group"]).split("-")[0]
