"""The score of every row, task by task: what a page without a sweep or a declared comparison shows."""

from delrec_bench.metrics import metric_named
from delrec_bench.report.content import Page
from delrec_bench.report.figures.style import GREY, RING, VERDICTS, Drawn, panels, style, text_of


def scores(page: Page) -> Drawn | None:
    """A panel per task, the best row on top; None where a task has less than two rows with a score."""
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
            axis.set_yticks(range(len(rows)), [row.title for row in rows])
            axis.set_ylim(len(rows) - 0.5, -0.5)
            axis.grid(visible=False, axis="y")
            axis.set_xlabel(metric.label)
            axis.set_title(page.declared.task_title(task))
        svg = text_of(figure)
    return Drawn("scores", "Score of every row", "Diamonds are means, lines 95 % intervals, rings single runs.", svg)
