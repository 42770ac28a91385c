"""The pictures of the board: what accuracy costs, every method by name, a colour for each family."""

from matplotlib.lines import Line2D

from delrec_bench.methods.method import FAMILIES
from delrec_bench.metrics import metric_named
from delrec_bench.report.board import FIELD
from delrec_bench.report.content import Page
from delrec_bench.report.figures.style import GREY, Drawn, cost_axis, label_points, panels, style, text_of
from delrec_bench.report.rows import Row
from delrec_bench.workspace import base_and_folder

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
    with style():
        figure, (axes,) = panels([5.4], 9.2)
        for x, y, _, colour in points:
            axes.plot(x, y, "o", color=colour, markersize=7, markeredgewidth=0)
        cost_axis(axes, [x for x, *_ in points])
        axes.margins(0.12, 0.1)
        axes.set_xlabel(label)
        axes.set_ylabel(f"test {metric.label}")
        for best in [row for row in page.of(task) if row.kind == "floor" and row.records][:1]:  # the best comes first
            level, across = metric.shown(best["score_mean"]), axes.get_yaxis_transform()
            axes.axhline(level, color=GREY, linewidth=0.9, linestyle="--")
            axes.text(0.995, level, best.title, ha="right", va="bottom", fontsize=7.2, transform=across)
        there = sorted({row.asked.family for row in rows}, key=FAMILIES.index)
        handles = [Line2D([], [], marker="o", linestyle="", color=COLOURS[f], label=f) for f in there]
        figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8.5)
        label_points(axes, points)
        svg = text_of(figure)
    title = f"{page.declared.task_title(task)}: accuracy against {label.partition(',')[0]}"
    why = (
        " All networks have about the same number of trainable parameters; this shows how much they compute."
        if cost == "synaptic_operations"
        else ""
    )
    return Drawn(name, title, f"Up and left is better. Means over runs.{why}", svg)
