"""The figure of the README: what delays add, and what learning them adds, on every task of the board."""

from delrec_bench.metrics import metric_named
from delrec_bench.report.content import Page
from delrec_bench.report.figures.differences import draw_differences
from delrec_bench.report.figures.style import GREY, Drawn, panels, style, text_of

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
