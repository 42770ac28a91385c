"""The board: one table of every method on every task, from the rows of a page that has them all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from delrec_bench.methods.base import FAMILIES
from delrec_bench.metrics import metric_named
from delrec_bench.report import words
from delrec_bench.report.content import STAMPS, Page
from delrec_bench.report.declared import base_and_folder
from delrec_bench.report.published import DATASETS, published_for
from delrec_bench.report.tables import Cell, Table, parameters_cell, runs_cell, score_cell, step_cell

FIELD = ("shd", "ssc", "ps-mnist")
"""The tasks of the field: they come first, with size, times and published values; of the others the score is shown."""
OF_THE_SUITE = "made by the suite, or shipped with it"
STEP = "training step"
STAND_INS = {
    "spoken-digits": "the digits 0 to 9 spoken by 6 people (Free Spoken Digit Dataset, CC BY-SA 4.0), through SHD's "
    "cochlea model",
    "commands10": "ten words of Google's Speech Commands v0.02 (CC BY 4.0), through SSC's cochlea model",
}
"""Folder of a stand-in that we used -> what it is."""
README_ROWS = (
    *("lif", "rlif", "dcls", "delrec-axonal-fixed", "delrec-axonal", "delrec-dcls", "se-adlif", "silif"),
    *("delrec-axonal-silif-fixed", "time-slices"),
)


@dataclass(frozen=True)
class Group:
    """The columns of one task's data.

    Attributes:
        task, title: Its name in rows, and what people call it.
        label: What its score is called.
        brief, about: Whose data it is, how much, and whether published values compare with it; and that at length.
        head: The names of its columns; those that no line fills are left out.
    """

    task: str
    title: str
    label: str
    brief: str
    about: str
    head: tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """A method of the board.

    Attributes:
        method, title, family: Its name, what people call it, and the group that it stands in.
        cells: By task and name of the column.
        parameters: How many of its parameters are trained, on each task.
        command: What makes its rows again.
        new: Whether it is none of ours.
    """

    method: str
    title: str
    family: str
    cells: Mapping[tuple[str, str], Cell]
    parameters: tuple[int, ...]
    command: str
    new: bool = False


@dataclass(frozen=True)
class Board:
    """What the board shows: `groups` of columns, and `lines` family by family; `waiting` are tasks without runs."""

    groups: tuple[Group, ...]
    lines: tuple[Line, ...]
    waiting: tuple[str, ...]

    @property
    def families(self) -> list[tuple[str, list[Line]]]:
        """The lines of each family."""
        names = dict.fromkeys(line.family for line in self.lines)
        return [(name, [line for line in self.lines if line.family == name]) for name in names]

    @property
    def width(self) -> int:
        """How many columns it has, the method's and the command's among them."""
        return 2 + sum(len(group.head) for group in self.groups)

    def part(self, group: Group) -> Table:
        """The columns of one group."""
        columns = {name: [line.cells[group.task, name] for line in self.lines] for name in group.head}
        return Table.of({"method": [Cell(line.title, f"`{line.method}`") for line in self.lines]} | columns)

    def short(self, methods: Sequence[str] | None = None) -> Table:
        """The scores on all tasks, the number of trainable parameters and the training step."""
        lines = [line for line in self.lines if methods is None or line.method in methods]
        columns = {"method": [Cell(line.title, "new, run here" * line.new) for line in lines]}

        def alone(group: Group, name: str) -> list[Cell]:  # without what stands small under it
            cells = [line.cells[group.task, name] for line in lines]
            return [Cell(cell.text, value=cell.value) for cell in cells]

        for group in self.groups:
            title = group.title if group.label.startswith("accuracy") else f"{group.title}, {group.label}"
            if group.label in group.head:
                columns[title] = alone(group, group.label)
        ends = [sorted({min(line.parameters), max(line.parameters)}) if line.parameters else [] for line in lines]
        columns["trainable parameters"] = [Cell("–".join(map(words.count, pair))) for pair in ends]
        timed = [(group, alone(group, STEP)) for group in self.groups if STEP in group.head]
        if timed:  # on the task with the most
            group, cells = max(timed, key=lambda pair: sum(bool(cell.text) for cell in pair[1]))
            columns[f"{STEP}, {group.title}"] = cells
        return Table.of(columns)


def board_of(page: Page) -> Board:
    """The board of a page that has a row for every method on every task, some of them empty."""
    order = [*FIELD, *(task for task in page.tasks if base_and_folder(task)[0] not in FIELD)]
    tasks = sorted(page.tasks, key=lambda task: (order.index(base_and_folder(task)[0]), task))
    scored = {task for task in tasks if any(row.records for row in page.of(task))}
    run = {base_and_folder(task)[0] for task in scored}
    tasks = [task for task in tasks if task in scored or base_and_folder(task)[0] not in run]
    asked = {row.asked.method: row.asked for row in page.rows}

    def best(name: str) -> tuple[float, str]:  # within a family the best on the first task with scores comes first
        rows = [row for task in tasks for row in page.of(task) if row["method"] == name and row.records]
        return (metric_named(rows[0]["metric"]).rank(rows[0]["score_mean"]) if rows else 0.0, name)

    names = sorted(asked, key=lambda name: (FAMILIES.index(asked[name].family), best(name)))
    cells = {(name, task): _cells(page, task, name) for task in tasks for name in names}
    lines = []
    for name in names:
        folder = page.declared.new.get(name)
        again = f"delrec-bench reproduce --only-methods {name} --all"
        rows = [row for row in page.rows if row["method"] == name and row["task"] in tasks]
        lines.append(
            Line(
                method=name,
                title=asked[name].title or name,
                family=asked[name].family,
                cells={(task, head): cell for task in tasks for head, cell in cells[name, task].items()},
                parameters=tuple(row.trainable for row in rows if row.trainable),
                command=again if folder is None else f"delrec-bench leaderboard --methods {folder}",
                new=folder is not None,
            )
        )
    groups = [_group(page, task, [cells[name, task] for name in names]) for task in tasks]
    waiting = tuple(page.declared.about(task).called for task in tasks if task not in scored)
    return Board(tuple(group for group in groups if group.head), tuple(lines), waiting)


def _label(page: Page, task: str) -> str:
    return next((metric_named(row["metric"]).label for row in page.of(task) if row["metric"]), "accuracy (%)")


def _group(page: Page, task: str, cells: Sequence[Mapping[str, Cell]]) -> Group:
    about, folder = page.declared.about(task), base_and_folder(task)[1]
    title, stamp, size = about.called, page.stamp(task), page.size_line(task)
    if not stamp:
        brief = long = "not run yet"
    elif stamp == "STAND-IN":
        title = f"{title} stand-in: {folder}"
        what = f"{STAND_INS.get(folder, 'files of a user')}; {size}"
        brief = f"{what}; not comparable with published values"
        how = "To make a similar set: convert the recordings with lauscher, the program that made SHD and SSC"
        long = f"{what}; {STAMPS[stamp]}. {how}"
    else:
        brief = f"{OF_THE_SUITE if stamp == 'EMBEDDED' else STAMPS[stamp]}; {size}"
        long = f"{about.summary}; {STAMPS[stamp]}; {size}; {about.source}"
    head = tuple(name for name in cells[0] if any(of[name].text for of in cells))
    return Group(task, title, _label(page, task), brief, long, head)


def _cells(page: Page, task: str, method: str) -> dict[str, Cell]:
    """The cells of a method on a task, by the name of their column; of the tasks of the field all that is known."""
    base, folder = base_and_folder(task)
    rows = {row["task"]: row for row in page.rows if row["method"] == method}
    row = rows.get(task)
    if row is None:  # of other files than the official ones
        command = rows[base]["command"] if base in rows else None
        score, runs, size, step, once = Cell("", hint=f"{command} --data {folder}" * bool(command)), *[Cell("")] * 4
    else:
        shown, time = score_cell(row), row["latency_batch1_ms"]
        score = Cell(shown.text, shown.note, shown.value, row["command"] or "")
        runs, size, step = runs_cell(row), parameters_cell(row), step_cell(row)
        once = Cell(words.milliseconds(time), value=time)
    cells = {_label(page, task): score, "runs": runs}
    if base not in FIELD:
        return cells
    head = "published" if task == base else f"published, on {DATASETS[base]} (official)"
    more = {"trainable parameters": size, STEP: step, "batch 1": once}
    return cells | more | {head: _published(base, method)}


def _published(task: str, method: str) -> Cell:
    """What was published of a method on the official data of a task: never compared with ours."""
    value = published_for(DATASETS[task], method, {})
    if value is None:
        return Cell("")
    notes = [f"chosen on {value.selection}" if value.selection else "selection not stated"]
    notes += [f"{value.parameters} parameters"] if value.parameters else []
    notes += [f"re-run by {value.rerun_by}"] if value.rerun_by else []
    return Cell(words.score(value.metric, value.value), ", ".join(notes), value.value, value.method, value.source)
