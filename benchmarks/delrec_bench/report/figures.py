"""The figures of a page, each with what to see in it: one that answers, and the learning curves."""

from collections.abc import Sequence

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter

from delrec_bench.methods.method import FAMILIES
from delrec_bench.metrics import metric_named
from delrec_bench.report import words
from delrec_bench.report.board import FIELD
from delrec_bench.report.content import Page
from delrec_bench.report.drawing import (
    BLUE,
    BROAD,
    GREY,
    INK,
    RING,
    SMALL,
    Drawn,
    label_points,
    lines_height,
    name_lines,
    panels,
    text_of,
)
from delrec_bench.report.judging import Difference
from delrec_bench.report.rows import Row
from delrec_bench.workspace import base_and_folder

VERDICTS = {"better": "#2a9d5c", "worse": "#d1495b", "equivalent": BLUE, "inconclusive": GREY}
COLOURS = dict(
    zip(
        FAMILIES,
        ("#0173b2", "#c77c02", "#02865f", "#d1495b", "#7b3fa0", "#8a5a2b", "#4b5563", "#c2185b", "#8a93a3"),
        strict=True,
    )
)
"""Family -> colour."""
_COSTS = {
    "parameters_total": ("parameters", "parameters"),
    "synaptic_operations": ("operations", "synaptic operations per sample"),
    "latency_train_ratio": ("training-step", "training step, relative to LIF"),
}
_SPREAD = 1.5  # parameters that span less say nothing: all networks have the same budget
_LOOKS = {"learned": "o-", "fixed": "s--", "none": "^:"}
_FEW = 3  # rows of a task with a learning curve of their own colour
PAIR = ("delrec-axonal", "delrec-axonal-fixed-spread")  # differ by the learning alone
_SHOWN = {
    "lif": (GREY, "s"),
    "delrec-axonal-fixed": ("#d9822b", "o"),
    "delrec-axonal": (BLUE, "o"),
    "dcls": ("#2a9d5c", "^"),
    "silif": ("#7b3fa0", "D"),
}


def draw(page: Page) -> tuple[Drawn, ...]:
    """Every figure that the page has something to show in.

    First stands what answers: of the board its pictures; else the course of a sweep, or the declared differences, or
    the scores.
    """
    first = pictures(page) if page.declared.board else [sweep(page) or differences(page) or scores(page)]
    return tuple(drawn for drawn in (*first, curves(page)) if drawn is not None)


def pictures(page: Page) -> list[Drawn]:
    """Accuracy against parameters (operations, where all networks have as many parameters) and the training step."""
    sizes = [row.trainable or 0 for row in _main(page, "parameters_total")[1]]
    first = "parameters_total" if sizes and max(sizes) > _SPREAD * min(sizes) else "synaptic_operations"
    return [drawn for cost in (first, "latency_train_ratio") if (drawn := _picture(page, cost)) is not None]


def _main(page: Page, cost: str) -> tuple[str, list[Row]]:
    """The task with the most methods that have both a score and this cost; of several the first of the field."""
    found = {task: [r for r in page.of(task) if r.kind == "run" and r.records and r[cost]] for task in page.tasks}
    found = {t: rows for t, rows in found.items() if rows and metric_named(rows[0]["metric"]).classifies}

    def order(task: str) -> tuple[int, int]:
        base, ours = base_and_folder(task)[0], [r for r in found[task] if r["method"] not in page.declared.new]
        return -len(ours), FIELD.index(base) if base in FIELD else len(FIELD)

    task = min(found, key=order, default="")
    return task, found.get(task, [])


def _picture(page: Page, cost: str) -> Drawn | None:
    task, rows = _main(page, cost)
    if len(rows) < 2:
        return None
    (name, label), metric = _COSTS[cost], metric_named(rows[0]["metric"])
    points = [(row[cost], metric.shown(row["score_mean"]), row.title, COLOURS[row.asked.family]) for row in rows]
    with panels([5.4], BROAD) as (figure, (axes,)):
        for x, y, _, colour in points:
            axes.plot(x, y, "o", color=colour, markersize=7, markeredgewidth=0)
        if max(point[0] for point in points) > 4 * min(point[0] for point in points):
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.margins(0.12, 0.1)
        axes.set_xlabel(label)
        axes.set_ylabel(f"test {metric.label}")
        for best in [row for row in page.of(task) if row.kind == "floor" and row.records][:1]:  # the best comes first
            _level(axes, metric.shown(best["score_mean"]), best.title)
        there = sorted({row.asked.family for row in rows}, key=FAMILIES.index)
        handles = [Line2D([], [], marker="o", linestyle="", color=COLOURS[f], label=f) for f in there]
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
        label_points(axes, points)
        svg = text_of(figure)
    why = " All networks have about the same number of trainable parameters; this shows how much they compute."
    caption = "Up and left is better. Means over runs." + why * (cost == "synaptic_operations")
    return Drawn(name, f"{page.declared.task_title(task)}: accuracy against {label.partition(',')[0]}", caption, svg)


def _level(axes: Axes, level: float, title: str) -> None:
    """A row that has no place along x, as a dashed line."""
    axes.axhline(level, color=GREY, linewidth=0.9, linestyle="--")
    axes.text(0.995, level, title, ha="right", va="bottom", fontsize=SMALL, transform=axes.get_yaxis_transform())


def sweep(page: Page) -> Drawn | None:
    """Mean score and interval along the axis with the most values, a panel per task; None of a page without a sweep."""
    rows = [row for row in page.rows if row.records and row.asked.point]
    axes_of = dict.fromkeys(pair for of in page.declared.runs.values() for pair in of.point)  # in the study's order
    values = {axis: [value for name, value in axes_of if name == axis] for axis, _ in axes_of}
    along = max(values, key=lambda axis: len(values[axis]), default="")
    rows = [row for row in rows if along in dict(row.asked.point)]
    if len({dict(row.asked.point)[along] for row in rows}) < 2:
        return None
    places = values[along]
    if all(isinstance(value, int | float) for value in places):
        places = sorted(places)
    lines: dict[str, dict[str, list[Row]]] = {}
    groups: dict[str, str] = {}  # a method and the same with fixed delays have one colour
    for row in rows:
        elsewhere = words.place(pair for pair in row.asked.point if pair[0] != along)
        title = row.title.partition(" (")[0] + elsewhere
        groups[title] = row.base.partition("-fixed")[0] + elsewhere
        lines.setdefault(row["task"], {}).setdefault(title, []).append(row)
    found = dict.fromkeys(groups.values())
    palette = dict(zip(found, sns.color_palette("colorblind", len(found)).as_hex(), strict=True))
    with panels([2.8 + 0.2 * len(groups) * (i == 0) for i, _ in enumerate(lines)]) as (figure, axes):
        for axis, (task, of) in zip(axes, lines.items(), strict=True):
            metric = metric_named(next(iter(of.values()))[0]["metric"])
            for title, points in of.items():
                points.sort(key=lambda row: places.index(dict(row.asked.point)[along]))
                xs = [places.index(dict(row.asked.point)[along]) for row in points]
                ys = [metric.shown(row["score_mean"]) for row in points]
                ends = [[row[end] if row[end] is not None else row["score_mean"] for row in points]
                        for end in ("score_low", "score_high")]  # fmt: skip
                bars = [[abs(metric.shown(e) - y) for e, y in zip(of_end, ys, strict=True)] for of_end in ends]
                look = _LOOKS[points[0].delays]
                axis.errorbar(xs, ys, bars, fmt=look, color=palette[groups[title]], capsize=2, label=title)
            for row in [row for row in page.of(task) if row.records and not row.asked.point and row.kind == "run"][:1]:
                _level(axis, metric.shown(row["score_mean"]), row.title)
            axis.set_ylabel(metric.label)
            axis.set_title(page.declared.task_title(task))
            shown = [f"{value:g}" if isinstance(value, float) else str(value) for value in places]
            axis.set_xticks(range(len(places)), shown, rotation=40 * (max(map(len, shown)) > 5))
        axes[-1].set_xlabel(words.setting(along))
        handles = {label: line for axis in axes for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
        figure.legend(handles.values(), handles.keys(), loc="outside lower center")
        svg = text_of(figure)
    caption = "Mean test score; bars are 95 % intervals. Solid: learned delays, dashed: fixed, dotted: none."
    return Drawn("sweep", f"Score by {words.setting(along)}", caption, svg)


def differences(page: Page) -> Drawn | None:
    """Paired differences in the score's own unit, a panel per metric; None where nothing is declared."""
    shown = page.judged.primary
    if not shown:
        return None
    by_metric: dict[str, list[Difference]] = {}
    for d in shown:
        by_metric.setdefault(d.method["metric"], []).append(d)
    with panels([lines_height(_difference_names(page, of)) for of in by_metric.values()]) as (figure, axes):
        for axis, of in zip(axes, by_metric.values(), strict=True):
            _draw_differences(axis, page, of)
        svg = text_of(figure)
    margins = any(page.declared.margin(d.method["task"]) for d in shown)
    caption = "Diamonds are mean paired differences, lines 95 % intervals, rings single runs."
    caption += " Shaded: too small to matter (set in advance)." * margins
    return Drawn("differences", f"{shown[0].method.title} minus {shown[0].control.title}", caption, svg)


def _difference_names(page: Page, of: Sequence[Difference]) -> list[str]:
    told = []
    for d in of:
        size = metric_named(d.method["metric"]).format_difference(d.verdict.difference or 0.0)
        what = d.verdict.verdict if d.verdict.compared else words.plural(d.verdict.n, "run")
        told.append(f"{page.declared.task_title(d.method['task'])}\n{size}, {what}")
    return told


def _draw_differences(axes: Axes, page: Page, of: Sequence[Difference]) -> None:
    """A line for each difference of one metric."""
    metric = metric_named(of[0].method["metric"])
    sign = metric.factor * (1 if metric.more_is_better else -1)
    for place, d in enumerate(of):
        v, margin = d.verdict, page.declared.margin(d.method["task"])
        colour = VERDICTS[v.verdict] if v.compared else GREY
        if margin is not None:
            ends = (-metric.factor * margin, metric.factor * margin)
            axes.fill_between(ends, place - 0.36, place + 0.36, color=BLUE, alpha=0.12, linewidth=0)
        if v.compared and v.low is not None and v.high is not None:
            axes.plot([sign * v.low, sign * v.high], [place, place], color=colour, linewidth=2)
        axes.plot([sign * x for x in d.each], [place] * len(d.each), "o", **RING)
        axes.plot(sign * (v.difference or 0.0), place, "D", color=colour, markersize=6)
    axes.axvline(0, color=INK, linewidth=0.9)
    name_lines(axes, _difference_names(page, of))
    axes.set_xlabel(f"difference in {words.unit(metric.name)}\n(right is better)")


def scores(page: Page) -> Drawn | None:
    """The score of every row, a panel per task, the best on top; None where no task has two with a score."""
    found = {task: [row for row in page.of(task) if row.records] for task in page.tasks}
    found = {task: rows for task, rows in found.items() if len(rows) > 1}
    if not found:
        return None
    with panels([lines_height([row.title for row in rows]) for rows in found.values()]) as (figure, axes):
        for axis, (task, rows) in zip(axes, found.items(), strict=True):
            metric = metric_named(rows[0]["metric"])
            rows = sorted(rows, key=lambda row: metric.rank(row["score_mean"]))
            for place, row in enumerate(rows):
                colour = GREY if row.kind == "floor" else BLUE
                if row["score_low"] is not None:
                    ends = [metric.shown(row[end]) for end in ("score_low", "score_high")]
                    axis.plot(ends, [place, place], color=colour, linewidth=2)
                axis.plot([metric.shown(score) for score in row.scores.values()], [place] * row["n"], "o", **RING)
                axis.plot(metric.shown(row["score_mean"]), place, "D", color=colour, markersize=5.5)
            name_lines(axis, [row.title for row in rows])
            axis.set_xlabel(metric.label)
            axis.set_title(page.declared.task_title(task))
        svg = text_of(figure)
    return Drawn("scores", "Scores", "Diamonds are means, lines 95 % intervals, rings single runs.", svg)


def curves(page: Page) -> Drawn | None:
    """Learning curves, a panel per task; None where nothing was trained for more than one epoch."""
    found = {}
    for task in page.tasks:
        of = [(row, curve) for row in page.of(task) if row.kind == "run" and len(curve := _curve(row)) > 1]
        if of:
            found[task] = of
    if not found:
        return None
    with panels([3.2] * len(found)) as (figure, axes):
        for axis, (task, of) in zip(axes, found.items(), strict=True):
            for (row, curve), colour in zip(
                of, [*sns.color_palette("colorblind", _FEW), *[GREY] * len(of)], strict=False
            ):
                named = colour != GREY
                axis.plot(*zip(*curve, strict=True), color=colour, linewidth=1.6 if named else 0.6, zorder=2 + named,
                          label=row.title if named else None)  # fmt: skip
            metric = metric_named(of[0][0]["metric"])
            if not metric.more_is_better and metric.limits[1] is None:
                axis.set_yscale("log")
            axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axis.set_xlabel("epoch")
            axis.set_ylabel(f"validation {metric.label}")
            axis.set_title(page.declared.task_title(task))
            axis.legend()
        svg = text_of(figure)
    caption = (
        f"Validation score after each epoch, mean over runs; the best {_FEW} rows of each task in colour. "
        "A curve that still rises at the end suggests that longer training would help."
    )
    return Drawn("curves", "Learning curves", caption, svg)


def _curve(row: Row) -> list[tuple[int, float]]:
    """(epoch, mean over runs of the validation score; of the training score where there is no validation)."""
    found: dict[int, list[float]] = {}
    for record in row.records:
        metric = metric_named(record.metric)
        for entry in record.history:
            value = entry.get(f"valid_{metric.name}", entry.get(f"train_{metric.name}"))
            if value is not None:
                found.setdefault(entry["epoch"], []).append(metric.shown(value))
    return [(epoch, sum(of) / len(of)) for epoch, of in sorted(found.items())]


def findings(board: Page) -> Drawn | None:
    """README's figure: five methods on all tasks with runs of two of them, and learned minus fixed delays."""
    rows = [row for row in board.rows if row["method"] in _SHOWN and row.records]
    rows = [row for row in rows if metric_named(row["metric"]).classifies]
    tasks = [task for task in board.tasks if sum(row["task"] == task for row in rows) > 1]
    if not tasks:
        return None
    pairs = [d for d in board.judged.differences if (d.method["method"], d.control["method"]) == PAIR]
    pairs = [d for d in pairs if d.method["task"] in tasks]
    names, of_pairs = [board.declared.task_title(task) for task in tasks], _difference_names(board, pairs)
    heights = [lines_height(names) + 0.2 * len(_SHOWN), *([lines_height(of_pairs)] if pairs else [])]
    with panels(heights) as (figure, axes):
        for name, (colour, marker) in _SHOWN.items():
            of = [row for row in rows if row["method"] == name and row["task"] in tasks]
            xs = [metric_named(row["metric"]).shown(row["score_mean"]) for row in of]
            places = [tasks.index(row["task"]) for row in of]
            axes[0].plot(xs, places, marker, color=colour, markersize=7, alpha=0.9, label=of[0].title if of else None)
        name_lines(axes[0], names)
        axes[0].set_xlabel("test accuracy (%)")
        axes[0].set_title("Accuracy at equal parameters")
        axes[0].legend(loc="upper center", bbox_to_anchor=(0.2, -0.18))
        if pairs:
            _draw_differences(axes[1], board, pairs)
            axes[1].set_title("DelRec: learned minus fixed delays")
        svg = text_of(figure)
    return Drawn("findings", "Effect of delays and of learning them", "Means over runs; rings are single runs.", svg)
