"""The figure of the README: what delays add, and what learning them adds, on every task of the board."""

from matplotlib.axes import Axes

from delrec_bench.metrics import metric_named
from delrec_bench.report.content import Page
from delrec_bench.report.figures.differences import draw_differences
from delrec_bench.report.figures.style import GREY, Drawn, panels, style, text_of

PAIR = ("delrec-axonal", "delrec-axonal-fixed-spread")  # differ by the learning alone
_SHOWN = {"lif": (GREY, "s"), "delrec-axonal-fixed": ("#d9822b", "o"), "delrec-axonal": ("#3b76d6", "o"),
          "dcls": ("#2a9d5c", "^"), "silif": ("#7b3fa0", "D")}  # fmt: skip


def findings(board: Page) -> Drawn | None:
    """Panels for what there are runs of; None where the board has no task with two of the methods."""
    tasks = [
        task for task in board.tasks if sum(row["method"] in _SHOWN and bool(row.records) for row in board.of(task)) > 1
    ]
    tasks = [task for task in tasks if metric_named(str(board.of(task)[0].records[0].metric)).classifies]
    if not tasks:
        return None
    pairs = [d for d in board.judged.differences if (d.method["method"], d.control["method"]) == PAIR]
    pairs = [d for d in pairs if d.method["task"] in tasks]
    count = 1 + bool(pairs)
    with style():
        figure, axes = panels([1.5 + 0.34 * len(tasks)] * count, 4.7, count, below=0.3)
        _scores(axes[0], board, tasks)
        if pairs:
            draw_differences(axes[1], board, "accuracy", pairs)
            axes[1].set_title("DelRec: learned minus fixed delays")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8.5)
        svg = text_of(figure)
    return Drawn(
        "findings", "What delays add, and what learning them adds", "Means over runs; rings are single runs.", svg
    )


def _scores(axes: Axes, board: Page, tasks: list[str]) -> None:
    told = set()
    for place, task in enumerate(tasks):
        for row in board.of(task):
            if row["method"] in _SHOWN and row.records:
                colour, marker = _SHOWN[row["method"]]
                value = metric_named(row["metric"]).shown(row["score_mean"])
                label = None if row.title in told else row.title
                axes.plot(value, place, marker, color=colour, markersize=7, alpha=0.9, linestyle="", label=label)
                told.add(row.title)
    axes.set_yticks(range(len(tasks)), [board.declared.task_title(task) for task in tasks])
    axes.set_ylim(len(tasks) - 0.5, -0.5)
    axes.set_xlabel("test accuracy (%)")
    axes.set_title("Accuracy at equal parameters")
