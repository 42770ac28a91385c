"""The figures of a page, each with what to see in it: one that answers, and the learning curves."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter

from delrec_bench.methods.method import FAMILIES
from delrec_bench.report import drawing, words
from delrec_bench.report.content import Page
from delrec_bench.report.drawing import Drawn
from delrec_bench.report.judging import Difference
from delrec_bench.report.rows import Row
from delrec_bench.statistics.verdicts import SHOWN_ONLY

VERDICTS = {"better": "#2a9d5c", "worse": "#d1495b", "equivalent": drawing.BLUE, "inconclusive": drawing.GREY}
COLOURS = dict(zip(FAMILIES, (
    "#0173b2", "#c77c02", "#02865f", "#d1495b", "#7b3fa0", "#8a5a2b", "#4b5563", "#c2185b", "#8a93a3",
), strict=True))  # fmt: skip
"""Family -> colour."""
_COMPUTES = " All networks have about the same number of trainable parameters; this shows how much they compute."
_COSTS = {
    "synaptic_operations": ("operations", "synaptic operations per sample", _COMPUTES),
    "latency_train_ratio": ("training-step", "training step, relative to LIF", ""),
}
"""What scores are drawn against -> the name of the picture, its label, and what its caption adds."""
_LOOKS = {"learned": "o-", "fixed": "s--", "spread": "D-.", "none": "^:"}  # of a line, by what its delays are
_SAID = {
    "learned": "Solid: learned delays",
    "fixed": "dashed: fixed",
    "spread": "dash-dotted: fixed, with the spread of learned ones",
    "none": "dotted: no delays",
}
_SCALES = {"greater": "linear", "smaller": "log"}  # errors differ by orders of magnitude
_FEW = 3  # rows of a task with a learning curve of their own colour
SWEEPS = ("delay-rate", "delay-rate-speech", "delay-rate-pixels")
"""Pages that README's figure shows below the board: first delays by the learning rate of delays."""
_FIXED_AT = 0.015  # where fixed delays stand on that figure's axis of rates
_SHOWN = {"lif": "C7s", "delrec-axonal-fixed": "C1o", "delrec-axonal": "C0o", "dcls": "C2^", "silif": "C4D"}
"""Method of README's figure -> its colour and mark."""


def draw(page: Page) -> tuple[Drawn, ...]:
    """Every figure that the page has something to show in.

    First stands what answers: of the board its pictures; else the course of a sweep, differences, or plain scores.
    """
    pictures = [picture(page, cost) for cost in _COSTS]
    first = pictures if page.declared.board else [sweep(page) or differences(page) or scores(page)]
    return tuple(drawn for drawn in (*first, curves(page)) if drawn is not None)


def picture(page: Page, cost: str) -> Drawn | None:
    """Accuracy against a cost, on the task with the most methods that have both, those of a user aside."""
    name, label, more = _COSTS[cost]
    found = ([r for r in page.of(task) if r.kind == "run" and r.records and r[cost]] for task in page.tasks)
    found = (rows for rows in found if rows and rows[0].metric.classifies)
    rows = max(found, key=lambda rows: sum(row["method"] not in page.declared.new for row in rows), default=[])
    if len(rows) < 2:
        return None
    task, metric, families = rows[0]["task"], rows[0].metric, [row.asked.family for row in rows]
    points = [(row[cost], metric.shown(row["score_mean"]), row.title, COLOURS[row.asked.family]) for row in rows]
    xs, ys, *_ = map(list, zip(*points, strict=True))
    with drawing.panels([5.4], drawing.BROAD) as (figure, (axes,)):
        order = sorted({*families}, key=FAMILIES.index)
        sns.scatterplot(x=xs, y=ys, hue=families, hue_order=order, palette=COLOURS, s=49, linewidth=0, ax=axes)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
        axes.legend().remove()
        if max(xs) > 4 * min(xs):
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.margins(0.12, 0.1)
        axes.set(xlabel=label, ylabel=f"test {metric.label}")
        for best in [row for row in page.of(task) if row.kind == "floor" and row.records][:1]:  # the best comes first
            _level(axes, best)
        drawing.label_points(axes, points)
        title = f"{page.title_of(task)}: accuracy against {label.partition(',')[0]}"
        caption = f"Points nearer the top left are better. Means over runs.{more}"
        return Drawn(name, title, caption, drawing.text_of(figure))


def _level(axes: Axes, row: Row) -> None:
    """A row that has no place along x, as a dashed line."""
    level = row.metric.shown(row["score_mean"])
    axes.axhline(level, color=drawing.GREY, linewidth=0.9, linestyle="--")
    at: Any = {"ha": "right", "va": "bottom", "transform": axes.get_yaxis_transform()}
    axes.text(0.995, level, row.title, fontsize=drawing.SMALL, **at)


def sweep(page: Page) -> Drawn | None:
    """Mean score and interval along the axis with the most values, a panel per task; None of a page without a sweep."""
    points = dict.fromkeys(pair for row in page.declared.runs.values() for pair in row.point)  # in the study's order
    values = {axis: [value for name, value in points if name == axis] for axis, _ in points}
    along = max(values, key=lambda axis: len(values[axis]), default="")
    rows = [row for row in page.rows if row.records and along in dict(row.asked.point)]
    if len({dict(row.asked.point)[along] for row in rows}) < 2:
        return None
    numbers = all(isinstance(value, int | float) for value in values[along])
    places = sorted(values[along]) if numbers else values[along]
    frame = pd.DataFrame([_mark(row, along, places) for row in rows]).sort_values("place", kind="stable")
    groups = frame.group.unique()
    colours = sns.color_palette("colorblind" if len(groups) <= 10 else "husl", len(groups))  # the first has ten
    palette = dict(zip(groups, colours, strict=True))
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    frame["line"] = [drawing.wrapped(line, drawing.TITLE) for line in frame.line]
    lines = frame.line.unique()
    apart = min(0.06, 0.5 / len(lines))  # else bars hide each other
    beside = {line: apart * number for number, line in enumerate(lines)}
    with drawing.panels([2.8 + 0.25 * len("\n".join(lines).splitlines()) / len(tasks)] * len(tasks)) as (figure, axes):
        for axis, task in zip(axes, tasks, strict=True):
            for (line, group, delays), of in frame[frame.task == task].groupby(["line", "group", "delays"], sort=False):
                of = of.set_index("place").reindex(range(of.place.min(), of.place.max() + 1))  # a gap breaks the line
                x = of.index + beside[line] - max(beside.values()) / 2
                axis.errorbar(x, of.score, [of.below, of.above], fmt=_LOOKS[delays], color=palette[group],
                              capsize=2, label=line)  # fmt: skip
            for row in [row for row in page.of(task) if row.kind == "run" and row.records and not row.asked.point][:1]:
                _level(axis, row)
            metric = page.of(task)[0].metric
            axis.set(title=page.title_of(task), ylabel=metric.label, yscale=_SCALES[metric.direction])
            shown = list(map(words.setting_value, places))
            axis.set_xticks(range(len(places)), shown, rotation=40 * (max(map(len, shown)) > 5))
        axes[-1].set_xlabel(words.setting(along))
        handles = {label: line for axis in axes for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
        figure.legend(handles.values(), handles.keys(), loc="outside lower center")
        looks = [said for delays, said in _SAID.items() if (frame.delays == delays).any()]
        bars = dict.fromkeys("95 % intervals" if row.compared else "ranges of few runs" for row in rows)
        caption = f"Mean test score; bars are {' or '.join(bars)}. {', '.join(looks)}."
        return Drawn("sweep", f"Score by {words.setting(along)}", caption, drawing.text_of(figure))


def _mark(row: Row, along: str, places: Sequence[Any]) -> dict[str, Any]:
    """A row in a sweep: its place along an axis, and its line; a method and the same with fixed delays are a group."""
    point = dict(row.asked.point)
    place, elsewhere = places.index(point.pop(along)), words.place(point.items())
    line, group = row.asked.called + elsewhere, row.asked.base.partition("-fixed")[0] + elsewhere
    ends = [row["score_mean"] if end is None else end for end in row.ends]
    low, high, score = map(row.metric.shown, (*ends, row["score_mean"]))
    delays = "spread" if row.asked.base.endswith("-fixed-spread") else row.delays
    told = {"task": row["task"], "line": line, "group": group, "delays": delays, "place": place}
    return told | {"score": score, "below": score - low, "above": high - score}


class _Line(NamedTuple):
    """A line of a panel, in the units that are shown: the mean, single runs, the interval, and a margin around 0."""

    name: str
    mean: float
    each: Sequence[float] = ()
    ends: Sequence[float] = ()  # empty where there are too few runs
    colour: str = drawing.BLUE
    margin: float = 0.0


def differences(page: Page) -> Drawn | None:
    """Paired differences, a panel per comparison and metric (or with all comparisons on the one task).

    They are those of the declared comparison; without one, all.
    """
    shown = page.primary or page.differences
    titles = {d.title for d in shown}
    several = len(titles) > 1
    apart = several and len({d.method["task"] for d in shown}) > 1
    panels: dict[tuple[str, str], list[_Line]] = {}
    for d in shown:
        metric = d.method.metric
        label = f"difference in {metric.difference_unit or metric.unit}\n(right is better)"
        name = d.title if several and not apart else page.title_of(d.method["task"])
        panels.setdefault((d.title * apart, label), []).append(_difference(d, name))
    caption = _marks("paired differences", max((d.verdict.n for d in shown), default=0))
    if any(d.verdict.margin for d in shown):
        caption += " Shaded: too small to matter (set in advance)."
    return _drawn("differences", "Differences between methods" if several else "".join(titles), caption, panels)


def _difference(d: Difference, name: str) -> _Line:
    """A comparison on one task, better to the right."""
    v, metric = d.verdict, d.method.metric
    sign = metric.factor * (1 if metric.more_is_better else -1)
    name += f"\n{metric.format_difference(v.difference or 0.0)}, "
    name += v.verdict if v.compared else words.plural(v.n, "run")
    ends = [sign * end for end in (v.low, v.high) if v.compared and end is not None]
    colour = VERDICTS[v.verdict] if v.compared else drawing.GREY
    each, mean = [sign * (a - b) for a, b in zip(*d.scores, strict=True)], sign * (v.difference or 0.0)
    return _Line(name, mean, each, ends, colour, metric.factor * (v.margin or 0.0))


def scores(page: Page) -> Drawn | None:
    """The scores of all rows, a panel per task, where there is nothing to compare; of rows without any, the times."""
    panels: dict[tuple[str, str], list[_Line]] = {}
    rows = [row for row in page.rows if row.records]
    for row in rows:
        shown = row.metric.shown
        ends = [shown(end) for end in (row["score_low"], row["score_high"]) if end is not None]
        line = _Line(row.title, shown(row["score_mean"]), list(map(shown, row.scores.values())), ends)
        panels.setdefault((page.title_of(row["task"]), row.metric.label), []).append(line)
    if rows:
        return _drawn("scores", "Scores", _marks("test scores", max(row["n"] for row in rows)), panels)
    for row in (row for row in page.rows if row["latency_train_ms"] is not None):
        line = _Line(row.title, row["latency_train_ms"])
        panels.setdefault((page.title_of(row["task"]), "training step (ms)"), []).append(line)
    return _drawn("times", "Training step", "Medians over rounds; left is better.", panels)


def _marks(what: str, runs: int) -> str:
    """What is drawn of rows of so many runs at most."""
    if runs < 2:
        return f"Diamonds are {what} of single runs."
    return f"Diamonds are mean {what}, lines 95 % intervals (of five runs or more), rings single runs."


def _drawn(name: str, title: str, caption: str, panels: Mapping[tuple[str, str], Sequence[_Line]]) -> Drawn | None:
    """The figure of panels, each under a title and the label of its axis; None without any line."""
    if not panels:
        return None
    heights = [drawing.lines_height([line.name for line in of], above) for (above, _), of in panels.items()]
    with drawing.panels(heights) as (figure, axes):
        for axis, ((above, label), lines) in zip(axes, panels.items(), strict=True):
            _draw_lines(axis, lines, above, label)
        return Drawn(name, title, caption, drawing.text_of(figure))


def _draw_lines(axes: Axes, lines: Sequence[_Line], title: str, label: str) -> None:
    for place, line in enumerate(lines):
        if line.margin:
            ends = -line.margin, line.margin
            axes.fill_between(ends, place - 0.36, place + 0.36, color=drawing.BLUE, alpha=0.12, linewidth=0)
        axes.plot(line.ends, [place] * len(line.ends), color=line.colour, linewidth=2)
        axes.plot(line.each, [place] * len(line.each), "o", markersize=3.6, markerfacecolor="none",
                  markeredgecolor=drawing.INK, markeredgewidth=0.6, alpha=0.45)  # fmt: skip
        axes.plot(line.mean, place, "D", color=line.colour, markersize=6)
    if "difference" in label:
        axes.axvline(0, color=drawing.INK, linewidth=0.9)
    drawing.name_lines(axes, [line.name for line in lines])
    axes.set_xlabel(label)
    axes.set_title(drawing.wrapped(title, drawing.TITLE))


def curves(page: Page) -> Drawn | None:
    """Learning curves, a panel per task; None where nothing was trained for more than one epoch."""
    told = [
        (row["task"], row.title, entry["epoch"], row.metric.shown(value))
        for row in page.rows
        if row.kind == "run"
        for record in row.records
        for entry in record.history
        if (value := entry.get(f"valid_{record.metric}")) is not None
    ]
    frame = pd.DataFrame(told, columns=["task", "row", "epoch", "score"])
    frame = frame[frame.groupby("task").epoch.transform("max") > 1]
    if frame.empty:
        return None
    with drawing.panels([4.0] * frame.task.nunique()) as (figure, axes):
        for axis, task in zip(axes, frame.task.unique(), strict=True):
            of, metric = frame[frame.task == task], page.of(task)[0].metric
            rows = [(name, curve.groupby("epoch").score.mean()) for name, curve in of.groupby("row", sort=False)]
            for _, curve in rows[_FEW:]:
                axis.plot(curve, color=drawing.GREY, linewidth=0.6)
            for (name, curve), colour in zip(rows, sns.color_palette("colorblind", _FEW), strict=False):
                axis.plot(curve, color=colour, linewidth=1.6, label=drawing.wrapped(str(name), drawing.TITLE))
            axis.set(title=page.title_of(task), ylabel=f"validation {metric.label}", yscale=_SCALES[metric.direction])
            axis.set_xlabel("epoch")
            axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22))
        caption = "Validation score after each epoch"
        if any(len(row.records) > 1 for row in page.rows):
            caption += ", mean over runs"
        if frame.groupby("task").row.nunique().max() > _FEW:
            caption += f"; the best {_FEW} rows of each task in colour"
        caption += ". A curve that still rises at the end suggests that longer training would help."
        return Drawn("curves", "Learning curves", caption, drawing.text_of(figure))


def findings(board: Page, sweeps: Sequence[Mapping[str, Any]]) -> str | None:
    """README's figure, as SVG text: five methods on every task with runs of two, and DelRec by its rate of delays.

    `sweeps` are the published pages `SWEEPS`, as `writing.to_json` has them.
    """
    rows = [row for row in board.rows if row["method"] in _SHOWN and row.records and row.metric.classifies]
    few = {row["task"] for row in rows if not row.compared}
    tasks = [task for task in board.tasks if sum(row["task"] == task for row in rows) > 1]
    tasks.sort(key=lambda task: task in few)
    frame = pd.json_normalize([row for page in sweeps for row in page["rows"] if row["n"]])
    if not tasks or frame.empty:
        return None
    frame["method"] = frame.method.str.partition(" ")[0]  # without its point of the sweep
    lines = [board.title_of(task) + (" (some: under five runs)" if task in few else "") for task in tasks]
    heights = [drawing.lines_height(lines) + 0.2 * len(_SHOWN), 4.2]
    with drawing.panels(heights) as (figure, (above, below)):
        for name, look in _SHOWN.items():
            of = [row for row in rows if row["method"] == name and row["task"] in tasks]
            xs, ys = [row.metric.shown(row["score_mean"]) for row in of], [tasks.index(row["task"]) for row in of]
            above.plot(xs, ys, look, markersize=7, alpha=0.9, label=of[0].title if of else None)
        drawing.name_lines(above, lines)
        above.set_xlabel("test accuracy (%)")
        above.set_title("Accuracy (equal trainable parameters)")
        above.legend(loc="upper center", bbox_to_anchor=(0.2, -0.18))
        shown = [task for task in tasks if (frame.task == task).any()]
        for task, colour in zip(shown, sns.color_palette("colorblind", len(shown)), strict=True):
            _draw_rates(below, frame[frame.task == task], board.title_of(task), colour)
        below.set_xscale("log")
        below.set_xticks([_FIXED_AT, *(ticks := [0.05, 0.2, 0.5, 2, 5])], ["fixed", *map("{:g}".format, ticks)])
        below.xaxis.set_minor_formatter(NullFormatter())
        below.set(xlabel="learning rate of delays", ylabel="test accuracy (%)")
        below.set_title("DelRec (dashed: fixed long delays)")
        below.legend(loc="upper center", bbox_to_anchor=(0.4, -0.22))
        return drawing.text_of(figure)


def _draw_rates(axes: Axes, rows: pd.DataFrame, title: str, colour: Any) -> None:
    """A line from short fixed delays along the learning rates of learned ones, and a level for long fixed delays."""
    fixed, starts = rows.method == "delrec-axonal-fixed", rows["point.delay_high"].astype(float)
    short = rows[(starts == starts.min()) & (fixed | (rows.method == "delrec-axonal"))]
    line = short.assign(rate=short["point.lr_delays"].mask(fixed, _FIXED_AT)).sort_values("rate")
    label = f"{title}: up to {starts.min():g} steps, dashed {starts.max():g}"
    axes.plot(line.rate, 100 * line.score_mean, "o-", color=colour, label=label)
    few = line[line.n <= SHOWN_ONLY]
    axes.plot(few.rate, 100 * few.score_mean, "o", color=colour, markerfacecolor="white")
    for level in rows.score_mean[fixed & (starts == starts.max())]:
        axes.axhline(100 * level, color=colour, linestyle="--")
