"""What a score costs: score against parameters, latency and synaptic operations, with the Pareto front."""

from collections.abc import Sequence
from textwrap import wrap
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from delrec_bench.metrics import metric_named
from delrec_bench.report import words
from delrec_bench.report.content import Page
from delrec_bench.report.figures.style import BLUE, GREY, INK, MARKERS, Drawn, panels, plain_log, style, text_of, title
from delrec_bench.report.rows import Row

_AXES = {
    "parameters_total": "parameters",
    "latency_train_ms": "training step (ms)",
    "synaptic_operations": "synaptic operations a sample",
}
_LETTERS = 30  # of a name in a line: a longer one would push its panel together
_FIRST, _REST, _FEW = "may be first", "something is better", "not compared"
_PLACES = {_FIRST: BLUE, _REST: GREY, _FEW: "#c3c9d2"}


def costs(page: Page) -> Drawn | None:
    """A panel for each task and cost: marks are methods, the line joins those that nothing beats in both."""
    tasks = [t for t in page.tasks if any(r.records and r.kind == "run" for r in page.of(t))]
    shown = [c for c in _AXES if any(r[c] for t in tasks for r in page.of(t) if r.records and r.kind == "run")]
    if not tasks or not shown:
        return None
    with style():
        figure, axes = panels([2.5] * (len(tasks) * len(shown)), 3.4, len(shown), below=0.35)
        for i, task in enumerate(tasks):
            for j, cost in enumerate(shown):
                _panel(axes[i * len(shown) + j], page, task, cost, first=j == 0)
        runs = [r for t in tasks for r in page.of(t) if r.records and r.kind == "run"]
        kinds, places = {r.delays for r in runs}, {_place(r) for r in runs}
        handles = [Line2D([], [], marker=mark, color=INK, linestyle="", markeredgewidth=0,
                          label="no delays" if k == "none" else f"{k} delays")
                   for k, mark in MARKERS.items() if k in kinds]  # fmt: skip
        handles += [Line2D([], [], marker="o", color=c, linestyle="", markeredgewidth=0, label=label)
                    for label, c in _PLACES.items() if label in places]  # fmt: skip
        handles.append(Line2D([], [], color=INK, linewidth=1, label="Pareto front of the means"))
        floors = any(r.kind == "floor" for t in tasks for r in page.of(t))
        if floors:
            handles.append(Line2D([], [], color=INK, linewidth=0.9, linestyle="--", label="best floor"))
        figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8)
        svg = text_of(figure)
    measured = "; latency from the latency records beside them" if "latency_train_ms" in shown else ""
    few = ", pale is of up to three repetitions, or alone in having more, and not compared" if _FEW in places else ""
    caption = (
        "Up and left is better (down and left for an error). A mark is a method's mean over its repetitions: blue may "
        f"be first on its task, grey is resolved to be worse than some other{few}. On the line lie the methods "
        "that no other beats in both score and cost; two that are not told apart may change places on it. "
        f"{'Dashed: the best floor. ' if floors else ''}From all runs of the page{measured}."
    )
    return Drawn("costs", "What a score costs", caption, svg)


def _panel(axes: Axes, page: Page, task: str, cost: str, first: bool) -> None:
    rows = [r for r in page.of(task) if r.kind == "run" and r.records and r[cost]]
    metric = metric_named(page.of(task)[0]["metric"])
    if not rows:
        axes.text(0.5, 0.5, "not measured", ha="center", transform=axes.transAxes, alpha=0.6)
        axes.set_xticks([])
    else:
        frame = _frame(rows, cost)
        points: Any = {"x": "cost", "y": "score", "hue": "place", "style": "delays", "markers": MARKERS}
        sns.lineplot(  # without lines: marks that are drawn once and used again, a third of a scatter's text
            frame, palette=_PLACES, markersize=6.6, alpha=0.9, linestyle="", dashes=False,
            markeredgewidth=0, estimator=None, legend=False, ax=axes, **points,
        )  # fmt: skip
        front = pareto(frame, more_is_better=metric.more_is_better)
        axes.plot(front["cost"], front["score"], color=INK, linewidth=0.9, drawstyle="steps-post", alpha=0.7)
        if (
            not metric.more_is_better
            and metric.limits[1] is None
            and frame["score"].max() > 4 * frame["score"].min() > 0
        ):
            plain_log(axes, "y")
        _cost_axis(axes, frame["cost"].to_numpy())
        floors = [r for r in page.of(task) if r.kind == "floor"]
        if floors:
            axes.axhline(metric.shown(floors[0]["score_mean"]), color=INK, linewidth=0.8, linestyle="--", alpha=0.6)
        ends = front.iloc[[0, -1]].drop_duplicates("method")
        axes.autoscale_view()  # with the floor, which may be far: two names beside it would lie on each other
        heights = axes.transData.transform(ends[["cost", "score"]].to_numpy())[:, 1]
        level = float(np.ptp(heights)) < 0.15 * axes.bbox.height
        for i, (_, point) in enumerate(ends.iterrows()):
            _name(axes, point, frame, below=level and i == 0 and len(ends) > 1)
    axes.set_xlabel(_AXES[cost])
    axes.set_ylabel(words.label(metric.name) if first else "")
    if first:
        title(axes, task, "")
    else:
        axes.set_title(str(page.of(task)[0]["data"] or ""), loc="right", fontsize=7.5, fontweight="bold", alpha=0.75)


def _frame(rows: Sequence[Row], cost: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "method": [r["method"] for r in rows],
            "cost": [r[cost] for r in rows],
            "score": [metric_named(r["metric"]).shown(r["score_mean"]) for r in rows],
            "place": [_place(r) for r in rows],
            "delays": [r.delays for r in rows],
        }
    )


def _place(row: Row) -> str:
    if row["rank_group"] is None:
        return _FEW
    return _FIRST if str(row["rank_group"]).split("-")[0] == "1" else _REST


def pareto(frame: pd.DataFrame, *, more_is_better: bool) -> pd.DataFrame:
    """The rows that no other beats in cost and score, cheapest first."""
    ordered = frame.sort_values(["cost", "score"], ascending=[True, not more_is_better])
    best = ordered["score"].cummax() if more_is_better else ordered["score"].cummin()
    kept = ordered[(ordered["score"] == best) & (best != best.shift())]
    return kept


def _name(axes: Axes, point: Any, frame: pd.DataFrame, *, below: bool) -> None:
    right = point["cost"] > float(np.sqrt(frame["cost"].min() * frame["cost"].max()))
    offset: Any = {"xytext": (-4 if right else 4, -5 if below else 5), "textcoords": "offset points",
                   "ha": "right" if right else "left", "va": "top" if below else "bottom"}  # fmt: skip
    text = "\n".join(wrap(point["method"], _LETTERS, break_on_hyphens=False))
    axes.annotate(text, (point["cost"], point["score"]), fontsize=7.5, linespacing=0.95, **offset)


def _cost_axis(axes: Axes, values: Any) -> None:
    low, high = float(np.min(values)), float(np.max(values))
    log = high > 4 * low
    if log:
        axes.set_xscale("log")
    axes.margins(x=0.14, y=0.24)  # room for a name of two lines above the highest mark
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0), numticks=6) if log else MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v / 1000:g}k" if v >= 1000 else f"{v:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
