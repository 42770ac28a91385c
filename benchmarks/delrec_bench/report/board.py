"""The board: one table of every method on every task, from the rows of a page that has them all."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from delrec_bench.methods.method import FAMILIES
from delrec_bench.metrics import metric_named
from delrec_bench.report import tables, words
from delrec_bench.report.content import Page
from delrec_bench.report.declared import Expected
from delrec_bench.report.published import published_for
from delrec_bench.report.rows import Row
from delrec_bench.report.tables import SINGLE, STEP, Cell, table
from delrec_bench.workspace import base_and_folder

FIELD = ("shd", "ssc", "ps-mnist")
"""The tasks of the field: they come first, with size, times and published values; of the others the score is shown."""
SCORE, SIZE = "test score", "trainable parameters"
TIMES = (STEP, SINGLE)
PUBLISHED = "published, on the official data"
README_ROWS = (
    "lif rlif dcls-fixed dcls delrec-axonal-fixed delrec-axonal silif delrec-axonal-silif-fixed c-silif time-slices"
).split()


class Line(NamedTuple):
    """A method of the board: the commands that make its rows again, whether it is a user's, and its cells."""

    asked: Expected
    commands: Sequence[str]
    new: bool
    cells: Mapping[tuple[str, str], Cell]  # by kind of column and task

    @property
    def size(self) -> Cell:
        """The number of trainable parameters on all tasks."""
        sizes = [cell.value for (kind, _), cell in self.cells.items() if kind == SIZE and cell.value]
        ends = dict.fromkeys((min(sizes), max(sizes))) if sizes else ()
        return Cell("–".join(map(words.number, ends)), value=max(ends, default=None))


@dataclass(frozen=True)
class Board:
    """What the board shows: its columns, a kind of them after the other, and its lines, family by family."""

    page: Page
    columns: Mapping[str, Sequence[str]]  # kind -> tasks
    lines: Sequence[Line]

    def head(self, task: str, kind: str = SCORE) -> str:
        """A task's name, with the metric where that is no accuracy; published values are of the official data."""
        if kind == PUBLISHED:
            return self.page.declared.about(task).called
        label = next((row.metric.label for row in self.page.of(task) if row["metric"]), "accuracy")
        return self.page.title_of(task) + (f", {label}" if not label.startswith("accuracy") else "")

    def part(self, kind: str) -> pd.DataFrame:
        """The columns of one kind."""
        return table(
            {"method": Cell(line.asked.called, f"`{line.asked.method}`{', new, run here' if line.new else ''}")}
            | {self.head(task, kind): line.cells[kind, task] for task in self.columns[kind]}
            for line in self.lines
        )

    def short(self, methods: Collection[str] | None = None) -> pd.DataFrame:
        """The scores on all tasks, the number of trainable parameters and the training step, in numbers alone."""
        lines = [line for line in self.lines if methods is None or line.asked.method in methods]
        timed = sorted(self.columns[STEP], key=lambda task: -sum(bool(line.cells[STEP, task]) for line in lines))
        return table(
            {"method": Cell(line.asked.called, "new, run here" if line.new else "")}
            | {self.head(task): line.cells[SCORE, task].bare for task in self.columns[SCORE]}
            | {f"{SIZE} (range over tasks)": line.size}
            | {f"{STEP}, {self.page.title_of(t).partition(' (')[0]}": line.cells[STEP, t].bare for t in timed[:1]}
            for line in lines
        )


def board_of(page: Page) -> Board:
    """The board of a page that has a row for every method on every task, some of them empty."""
    base = {task: base_and_folder(task)[0] for task in page.tasks}
    there = [task for task in page.tasks if any(row.records or row.diverged for row in page.of(task))]
    run = {base[task] for task in there}
    order = [*FIELD, *base.values()]
    tasks = [task for task in page.tasks if task in there or base[task] not in run]
    tasks.sort(key=lambda task: (order.index(base[task]), task))
    rows = {(row["method"], row["task"]): row for row in page.rows}
    asked = {row.asked.method: row.asked for row in page.rows}
    best_first = dict.fromkeys(row["method"] for task in tasks for row in page.of(task) if row.records) | asked
    lines = []
    for name in sorted(best_first, key=lambda name: FAMILIES.index(asked[name].family)):
        new = name in page.declared.new
        folder = page.declared.new.get(name, "")
        commands = [f"delrec-bench leaderboard{folder}"]
        if not new:
            again = page.declared.again.items()
            commands = [f"{one} --only-methods {name}" for one, of in again if any((name, task) in rows for task in of)]
        cells = {(kind, task): cell for task in tasks for kind, cell in _cells(task, name, rows).items()}
        timing = Cell(hint=f"delrec-bench bench{folder} --only-methods {name}")
        for kind, task in cells:
            if new and kind in TIMES and cells[SIZE, task] and not cells[kind, task]:
                cells[kind, task] = timing
        lines.append(Line(asked[name], commands, new, cells))

    def shown(kind: str, task: str) -> bool:
        if kind == SCORE and task in FIELD:  # also without runs: its cells give the commands that fill it
            return True
        return any(line.cells[kind, task] for line in lines) and (kind == SCORE or base[task] in FIELD)

    kinds = (SCORE, SIZE, *TIMES, PUBLISHED)
    return Board(page, {kind: [task for task in tasks if shown(kind, task)] for kind in kinds}, lines)


def _cells(task: str, method: str, rows: Mapping[tuple[str, str], Row]) -> dict[str, Cell]:
    """The cells of a method on a task, by kind of column; `rows` are those of the page by method and task."""
    row, official = (rows.get((method, name)) for name in (task, base_and_folder(task)[0]))
    published = published_for(base_and_folder(task)[0], None, method)
    cells = dict.fromkeys((SCORE, SIZE, *TIMES, PUBLISHED), Cell())
    if published is not None:
        notes = [f"chosen on {published.selection}" if published.selection else "selection not stated"]
        notes += [f"{published.parameters} parameters"] if published.parameters else []
        notes += [f"re-run by {published.rerun_by}"] if published.rerun_by else []
        text = metric_named(published.metric).format(published.value)
        cells[PUBLISHED] = Cell(text, ", ".join(notes), published.value, published.method, published.source)
    if row is None:
        hint = f"{official['command']} --data {base_and_folder(task)[1]}" if official else ""
        return cells | {SCORE: Cell(hint=hint)}
    runs, score = tables.runs_cell(row), tables.score_cell(row)
    counted = f"{runs.text} run{'' if runs.text == '1' else 's'}{'†' if runs.note else ''}" if runs else ""
    note = ": ".join(filter(None, (counted, tables.spread(row))))
    cells[SCORE] = Cell(score.text, note, score.value, row["command"] or "")
    times = {STEP: tables.time_cell(row, "train"), SINGLE: tables.time_cell(row, "batch1")}
    return cells | times | {SIZE: tables.parameters_cell(row)}
