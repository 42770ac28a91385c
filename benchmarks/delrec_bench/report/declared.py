"""What a page is: a study in one profile (the board: in all of them), and nothing else."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from delrec_bench.records import Failure


@dataclass(frozen=True)
class Expected:
    """A row that the page asks for.

    Attributes:
        method: Its name: the method's, with the point of a sweep where there is one.
        control: The row that it is compared with, or None.
        base: The method of a point of a sweep; empty for the row's own name.
        point: Where the row stands on the axes that its method is swept along, (axis, value) pairs.
        title: What people call it; empty for its name.
        family: The group that it stands in.
    """

    method: str
    control: str | None = None
    base: str = ""
    point: tuple[tuple[str, Any], ...] = ()
    title: str = ""
    family: str = "other methods"


@dataclass(frozen=True)
class Empty:
    """A row that the page shows though nothing may have been run: its size, latency and published score.

    Attributes:
        task: Name.
        expected: The row.
        command: What fills it.
        budget: The parameters that its network is given, or None.
    """

    task: str
    expected: Expected
    command: str = ""
    budget: int | None = None


@dataclass(frozen=True)
class Contrast:
    """Two rows that a study wants compared, though neither is the other's own control; exploratory.

    Attributes:
        method, control: Rows.
        about: What the two share or differ in, in a few words that stand before what was found.
    """

    method: str
    control: str
    about: str


@dataclass(frozen=True)
class Primary:
    """The one comparison that the study's repetitions are meant for.

    Attributes:
        method, control: Rows.
        over: Tasks; empty for all of the page.
        minus: Rows whose difference is taken off that of the two: the claim is then an interaction.
    """

    method: str
    control: str
    over: tuple[str, ...] = ()
    minus: tuple[str, str] | None = None

    def covers(self, task: str) -> bool:
        """Whether a row's task is one of those: `shd:folder@1234` is `shd`."""
        return not self.over or task in self.over or task.partition(":")[0] in self.over


@dataclass(frozen=True)
class Finding:
    """What people found in a study, see `report.finding`.

    Attributes:
        text: With placeholders for numbers.
        verdicts: Task -> the verdict that the text relies on.
    """

    text: str
    verdicts: Mapping[str, str]


@dataclass(frozen=True)
class About:
    """What a page must know of a task.

    Attributes:
        title: What people call it.
        summary: What is to be learned, in a line.
        source: Where its data comes from.
        overlap: How many test samples in a row share values.
    """

    title: str
    summary: str = ""
    source: str = ""
    overlap: int = 1


@dataclass(frozen=True)
class Declaration:
    """What was declared before the runs.

    Attributes:
        page: Name of the page: the study's, with its profile where that is not the default.
        title: The question.
        study, profile: Their names.
        runs: Key of every run of the expansion -> the row it belongs to. No other record is on the page.
        primary: The declared comparison, or None.
        finding: What was found, or None.
        contrasts: What else is compared than each row with its own control.
        margins: Task -> the largest difference of scores that does not matter, in the score's own unit.
        tasks: Task -> what the page must know of it.
        empty: Rows that are shown also without runs.
        again: The command that makes the page.
        narrowed: Options by which the page is less, or other, than the study's file declares.
        notes: What the study wants its readers to know.
        drawn: Dotted settings in which the repetitions of a row differ.
        diverged: Of the runs, those whose training left the finite numbers: they have no record, and are not awaited.
        board: Whether the page is the board, `report.board`.
        new: Methods of the board that are not the suite's -> the folder that they are in.
    """

    page: str
    title: str
    study: str
    profile: str
    runs: Mapping[str, Expected]
    primary: Primary | None = None
    finding: Finding | None = None
    contrasts: tuple[Contrast, ...] = ()
    margins: Mapping[str, float] = field(default_factory=dict)
    tasks: Mapping[str, About] = field(default_factory=dict)
    empty: tuple[Empty, ...] = ()
    again: str = ""
    narrowed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    drawn: tuple[str, ...] = ()
    diverged: tuple[Failure, ...] = ()
    board: bool = False
    new: Mapping[str, str] = field(default_factory=dict)

    def margin(self, task: str) -> float | None:
        """The margin of a row's task: `shd:folder@1234` has that of `shd`."""
        return self.margins.get(task, self.margins.get(task.partition(":")[0]))

    def about(self, task: str) -> About:
        """What there is to know of a row's task."""
        base = task.partition(":")[0]
        return self.tasks.get(base, About(base))

    def task_title(self, task: str) -> str:
        """What people call a row's task: other files in the layout of SHD are called by their folder."""
        title, folder = self.about(task).title, task.partition(":")[2].rpartition("@")[0]
        return f"{folder} (in {title}'s layout)" if folder else title

    def title_of(self, name: str) -> str:
        """What people call a row."""
        rows = (*self.runs.values(), *(one.expected for one in self.empty))
        return next((row.title or row.method for row in rows if row.method == name), name)

    def members(self, records: Iterable[Any]) -> list[Any]:
        """The runs and floors among `records` that the page asks for, each key once, in the order of repetitions."""
        found = {r.key: r for r in records if r.kind in ("run", "floor") and r.key in self.runs}
        return sorted(found.values(), key=lambda r: (r.task, r.method, r.repetition, r.key))

    def missing(self, records: Iterable[Any]) -> tuple[str, ...]:
        """Keys of the runs that have no record, and did not diverge."""
        there = {r.key for r in (*self.members(records), *self.diverged)}
        return tuple(key for key in self.runs if key not in there)
