"""The declared comparison on each of its tasks, and the scores of all rows: a line each, right is better."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from delrec_bench.metrics import metric_named
from delrec_bench.report import words
from delrec_bench.report.content import Page
from delrec_bench.report.figures.style import GREY, INK, RING, VERDICTS, Drawn, panels, style, text_of
from delrec_bench.report.judging import Difference


def differences(page: Page) -> Drawn | None:
    """Paired differences in the score's own unit, a panel per metric; None where nothing is declared."""
    shown = page.judged.primary
    if not shown:
        return None
    metrics = dict.fromkeys(d.method["metric"] for d in shown)
    by_metric = {metric: [d for d in shown if d.method["metric"] == metric] for metric in metrics}
    with style():
        figure, axes = panels([0.75 + 0.36 * len(of) for of in by_metric.values()], 7.6)
        for axis, of in zip(axes, by_metric.values(), strict=True):
            draw_differences(axis, page, of)
        svg = text_of(figure)
    name = f"{shown[0].method.title} minus {shown[0].control.title}"
    margins = any(page.declared.margin(d.method["task"]) for d in shown)
    caption = (
        "Diamonds are mean paired differences, lines 95 % intervals, rings single runs."
        + " Shaded: too small to matter (set in advance)." * margins
    )
    return Drawn("differences", name, caption, svg)


def draw_differences(axes: Axes, page: Page, of: Sequence[Difference]) -> None:
    """A line for each difference of one metric, with its mean and number of runs on the right."""
    metric = of[0].method["metric"]
    known = metric_named(metric)
    sign = known.factor * (1 if known.more_is_better else -1)
    for place, d in enumerate(of):
        v, margin = d.verdict, page.declared.margin(d.method["task"])
        colour = VERDICTS[v.verdict] if v.compared else GREY
        if margin is not None:
            ends = (-known.factor * margin, known.factor * margin)
            axes.fill_between(ends, place - 0.36, place + 0.36, color=VERDICTS["equivalent"], alpha=0.12, linewidth=0)
        if v.compared and v.low is not None and v.high is not None:
            axes.plot([sign * v.low, sign * v.high], [place, place], color=colour, linewidth=2)
        axes.plot([sign * x for x in d.each], [place] * len(d.each), "o", **RING)
        axes.plot(sign * (v.difference or 0.0), place, "D", color=colour, markersize=6)
        said = f"{known.format_difference(v.difference or 0.0)} ({words.plural(v.n, 'run')})"
        said += f", {v.verdict}" * v.compared
        axes.text(1.02, place, said, transform=axes.get_yaxis_transform(), va="center", fontsize=8.5)
    axes.axvline(0, color=INK, linewidth=0.9)
    name_lines(axes, [page.declared.task_title(d.method["task"]) for d in of])
    axes.set_xlabel(f"difference in {words.unit(metric)} (right is better)")


def name_lines(axes: Axes, names: Sequence[str]) -> None:
    """Names along y, the first on top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")


def scores(page: Page) -> Drawn | None:
    """The score of every row, a panel per task, the best on top; None where a task has less than two with a score."""
    found = {task: [row for row in page.of(task) if row.records] for task in page.tasks}
    found = {task: rows for task, rows in found.items() if len(rows) > 1}
    if not found:
        return None
    with style():
        figure, axes = panels([0.75 + 0.24 * len(rows) for rows in found.values()], 7.6)
        for axis, (task, rows) in zip(axes, found.items(), strict=True):
            metric = metric_named(rows[0]["metric"])
            rows = sorted(rows, key=lambda row: metric.rank(row["score_mean"]))
            for place, row in enumerate(rows):
                colour = GREY if row.kind == "floor" else VERDICTS["equivalent"]
                if row["score_low"] is not None:
                    ends = [metric.shown(row[end]) for end in ("score_low", "score_high")]
                    axis.plot(ends, [place, place], color=colour, linewidth=2)
                single = [metric.shown(score) for score in row.scores.values()]
                axis.plot(single, [place] * len(single), "o", **RING)
                axis.plot(metric.shown(row["score_mean"]), place, "D", color=colour, markersize=5.5)
            name_lines(axis, [row.title for row in rows])
            axis.set_xlabel(metric.label)
            axis.set_title(page.declared.task_title(task))
        svg = text_of(figure)
    return Drawn("scores", "Scores", "Diamonds are means, lines 95 % intervals, rings single runs.", svg)


PAIR = ("delrec-axonal", "delrec-axonal-fixed-spread")  # differ by the learning alone
_SHOWN = {
    "lif": (GREY, "s"),
    "delrec-axonal-fixed": ("#d9822b", "o"),
    "delrec-axonal": ("#3b76d6", "o"),
    "dcls": ("#2a9d5c", "^"),
    "silif": ("#7b3fa0", "D"),
}


def findings(board: Page) -> Drawn | None:
    """Panels for what there are runs of; None where the board has no task with two of the methods."""
    rows = [row for row in board.rows if row["method"] in _SHOWN and row.records]
    rows = [row for row in rows if metric_named(row["metric"]).classifies]
    tasks = [task for task in board.tasks if sum(row["task"] == task for row in rows) > 1]
    if not tasks:
        return None
    pairs = [d for d in board.judged.differences if (d.method["method"], d.control["method"]) == PAIR]
    pairs = [d for d in pairs if d.method["task"] in tasks]
    count = 1 + bool(pairs)
    with style():
        figure, axes = panels([1.5 + 0.34 * len(tasks)] * count, 4.7, count, below=0.3)
        named = set()
        for row in sorted((row for row in rows if row["task"] in tasks), key=lambda row: tasks.index(row["task"])):
            colour, marker = _SHOWN[row["method"]]
            value = metric_named(row["metric"]).shown(row["score_mean"])
            label = None if row.title in named else row.title
            named.add(row.title)
            axes[0].plot(value, tasks.index(row["task"]), marker, color=colour, markersize=7, alpha=0.9, label=label)
        axes[0].set_yticks(range(len(tasks)), [board.declared.task_title(task) for task in tasks])
        axes[0].set_ylim(len(tasks) - 0.5, -0.5)
        axes[0].set_xlabel("test accuracy (%)")
        axes[0].set_title("Accuracy at equal parameters")
        if pairs:
            draw_differences(axes[1], board, pairs)
            axes[1].set_title("DelRec: learned minus fixed delays")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8.5)
        svg = text_of(figure)
    title = "Effect of delays and of learning them"
    return Drawn("findings", title, "Means over runs; rings are single runs.", svg)
