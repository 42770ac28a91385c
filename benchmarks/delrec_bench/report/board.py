"""The board: one table of every method on every task, from the rows of a page that has them all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from delrec_bench.methods.base import FAMILIES
from delrec_bench.metrics import metric_named
from delrec_bench.report import words
from delrec_bench.report.content import STAMPS, Page
from delrec_bench.report.published import DATASETS, published_for
from delrec_bench.report.rows import Row
from delrec_bench.report.tables import Cell, Table, runs_cell, score_cell, step_cell

FIELD = ("shd", "ssc", "ps-mnist")
"""The tasks of the field: they come first, with size, times and published values; of the others the score is shown."""
NOT_RUN, OF_THE_SUITE = "not run yet", "made by the suite, or shipped with it"
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
        task: As its rows name it.
        title: What people call it.
        brief: Whose data it is, how much, and whether it can be compared with published values.
        about: The same at length, with its source.
        head: The names of its columns.
    """

    task: str
    title: str
    brief: str
    about: str
    head: tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """A method of the board.

    Attributes:
        method: Its name for programs.
        title: What people call it.
        family: The group that it stands in.
        cells: Of all groups, in order.
        command: What makes its rows again.
        new: Whether it was made here, not published.
    """

    method: str
    title: str
    family: str
    cells: tuple[Cell, ...]
    command: str
    new: bool = False


@dataclass(frozen=True)
class Board:
    """What the board shows: `groups` of columns, and `lines` family by family."""

    groups: tuple[Group, ...]
    lines: tuple[Line, ...]

    @property
    def families(self) -> list[tuple[str, list[Line]]]:
        """The lines of each family."""
        names = dict.fromkeys(line.family for line in self.lines)
        return [(name, [line for line in self.lines if line.family == name]) for name in names]

    @property
    def width(self) -> int:
        """How many columns it has, the method's and the command's among them."""
        return 2 + sum(len(group.head) for group in self.groups)

    def _of(self, group: Group, line: Line) -> tuple[Cell, ...]:
        place = sum(len(other.head) for other in self.groups[: self.groups.index(group)])
        return line.cells[place : place + len(group.head)]

    def part(self, group: Group) -> Table:
        """The columns of one group."""
        cells = [self._of(group, line) for line in self.lines]
        columns = {name: [of[i] for of in cells] for i, name in enumerate(group.head)}
        return Table.of({"method": [Cell(line.title, f"`{line.method}`") for line in self.lines]} | columns)

    def short(self, methods: Sequence[str] | None = None) -> Table:
        """The scores on all tasks, the number of parameters and the training step."""
        lines = [line for line in self.lines if methods is None or line.method in methods]
        columns = {"method": [Cell(line.title, "new, run here" * line.new) for line in lines]}
        for group in self.groups:
            title = group.title if group.head[0].startswith("accuracy") else f"{group.title}, {group.head[0]}"
            columns[title] = [self._alone(group, line, 0) for line in lines]
        for name in ("parameters", "training step"):
            told = [group for group in self.groups if any(self._alone(group, line, name).text for line in lines)]
            if told:  # the one that knows the most
                group = max(told, key=lambda group: sum(bool(self._alone(group, line, name).text) for line in lines))
                columns[name] = [self._alone(group, line, name) for line in lines]
        return Table.of(columns)

    def _alone(self, group: Group, line: Line, name: str | int) -> Cell:
        """A cell without what stands small under it."""
        if isinstance(name, str) and name not in group.head:
            return Cell("")
        cell = self._of(group, line)[group.head.index(name) if isinstance(name, str) else name]
        return Cell(cell.text, value=cell.value)


def board_of(page: Page) -> Board:
    """The board of a page that has a row for every method on every task, some of them empty."""
    order = [*FIELD, *(task for task in page.tasks if task.partition(":")[0] not in FIELD)]
    tasks = sorted(page.tasks, key=lambda task: (order.index(task.partition(":")[0]), task))
    rows = {(row["task"], row["method"]): row for row in page.rows}
    scored = {task for task in tasks if any(row.records for row in page.of(task))}
    groups = [
        _group(page, task)
        for task in tasks
        if task in scored
        or not any(t.partition(":")[0] == task for t in scored)  # official and empty beside a stand-in
    ]
    asked = {row.asked.method: row.asked for row in page.rows}
    names = sorted(asked, key=lambda name: (FAMILIES.index(asked[name].family), _best(page, groups, name)))
    lines = []
    for name in names:
        cells = [cell for group in groups for cell in _cells(group, rows, name)]
        command = f"delrec-bench reproduce --only-methods {name} --all"
        one = asked[name]
        lines.append(Line(name, one.title or name, one.family, tuple(cells), command, name in page.declared.new))
    return Board(tuple(groups), tuple(lines))


def _best(page: Page, groups: Sequence[Group], name: str) -> tuple[float, str]:
    """Within a family the best on the first task with scores comes first."""
    rows = [row for group in groups for row in page.of(group.task) if row["method"] == name and row.records]
    return (metric_named(rows[0]["metric"]).rank(rows[0]["score_mean"]) if rows else 0.0, name)


def _group(page: Page, task: str) -> Group:
    base, about = task.partition(":")[0], page.declared.about(task)
    metrics = {row["metric"] for row in page.of(task) if row["metric"]}
    label = metric_named(metrics.pop()).label if metrics else "accuracy (%)"
    head = (label, "runs", "parameters", "training step", "batch 1", "published") if base in FIELD else (label, "runs")
    stamp, folder = page.stamp(task), task.partition(":")[2].partition("@")[0]
    size = page.size_line(task)
    if not stamp:
        return Group(task, about.title, NOT_RUN, f"{about.summary}; {about.source}; {NOT_RUN}", head)
    if stamp != "STAND-IN":
        brief = {"EMBEDDED": OF_THE_SUITE}.get(stamp, STAMPS[stamp])
        return Group(
            task, about.title, f"{brief}; {size}", f"{about.summary}; {STAMPS[stamp]}; {size}; {about.source}", head
        )
    what = STAND_INS.get(folder, "files of a user")
    title = f"{about.title} stand-in: {folder}"
    how = "To make a similar set: convert the recordings with lauscher, the program that made SHD and SSC"
    return Group(
        task,
        title,
        f"{what}; {size}; not comparable with published values",
        f"{what}; {size}; {STAMPS[stamp]}. {how}",
        head,
    )


def _cells(group: Group, rows: Mapping[tuple[str, str], Row], method: str) -> list[Cell]:
    published = _published(group.task, method)
    row = rows.get((group.task, method))
    if row is None:  # of other files than the official ones
        official, folder = (
            rows.get((group.task.partition(":")[0], method)),
            group.task.partition(":")[2].partition("@")[0],
        )
        hint = f"{official['command']} --data {folder}" if official is not None and official["command"] else ""
        return [Cell("", hint=hint), *[Cell("")] * (len(group.head) - 2), published]
    hint = row["command"] or ""
    score = score_cell(row)
    cells = [Cell(score.text, score.note, score.value, hint), runs_cell(row)]
    if len(group.head) == 2:
        return cells
    size, time = row["parameters_total"], row["latency_batch1_ms"]
    return [
        *cells,
        Cell(words.count(size), value=size),
        step_cell(row),
        Cell(words.milliseconds(time), value=time),
        published,
    ]


def _published(task: str, method: str) -> Cell:
    """What was published of a method on the official data of a task: never compared with ours."""
    value = published_for(DATASETS.get(task.partition(":")[0]), method, {})
    if value is None:
        return Cell("")
    chosen = f"chosen on {value.selection}" if value.selection else "selection not stated"
    size = f", {value.parameters} parameters" if value.parameters else ""
    return Cell(words.score(value.metric, value.value), f"{chosen}{size}", value.value, value.method, value.source)
