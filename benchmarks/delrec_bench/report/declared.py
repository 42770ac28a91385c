"""What a page is: a study in one profile with its declared repetitions, and nothing else."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from delrec_bench.records import Failure


@dataclass(frozen=True)
class Expected:
    """A run that the page asks for.

    Attributes:
        method: The row it belongs to: the method's name, with the point of a sweep where there is one.
        control: The row that it is compared with, or None.
        base: The method of a point of a sweep; empty for the row's own name.
        point: Where the row stands on the axes that its method is swept along, (axis, value) pairs.
    """

    method: str
    control: str | None = None
    base: str = ""
    point: tuple[tuple[str, Any], ...] = ()


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
    """

    method: str
    control: str
    over: tuple[str, ...] = ()

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
        summaries: Task -> what is to be learned, in a line (`Task.summary`).
        overlaps: Task -> how many test samples in a row share values (`Task.overlap`), where they do.
        unscored: (task, method) of rows that are shown for their size, latency and published score alone.
        again: The command that makes the page.
        narrowed: Options by which the page is less, or other, than the study's file declares.
        notes: What the study wants its readers to know.
        diverged: Of the runs, those whose training left the finite numbers: they have no record, and are not awaited.
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
    summaries: Mapping[str, str] = field(default_factory=dict)
    overlaps: Mapping[str, int] = field(default_factory=dict)
    unscored: tuple[tuple[str, str], ...] = ()
    again: str = ""
    narrowed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    diverged: tuple[Failure, ...] = ()

    def margin(self, task: str) -> float | None:
        """The margin of a row's task: `shd:folder@1234` has that of `shd`."""
        return self.margins.get(task, self.margins.get(task.partition(":")[0]))

    def overlap(self, task: str) -> int:
        """How many test samples in a row of a row's task share values."""
        return self.overlaps.get(task.partition(":")[0], 1)

    def members(self, records: Iterable[Any]) -> list[Any]:
        """The runs and floors among `records` that the page asks for, each key once, in the order of repetitions."""
        found = {r.key: r for r in records if r.kind in ("run", "floor") and r.key in self.runs}
        return sorted(found.values(), key=lambda r: (r.task, r.method, r.repetition, r.key))

    def missing(self, records: Iterable[Any]) -> tuple[str, ...]:
        """Keys of the runs that have no record, and did not diverge."""
        there = {r.key for r in (*self.members(records), *self.diverged)}
        return tuple(key for key in self.runs if key not in there)
