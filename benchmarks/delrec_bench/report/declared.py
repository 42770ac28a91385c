"""What a page is: a study in one profile (the board: in all of them), and nothing else."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from delrec_bench.config import Spot
from delrec_bench.config.evaluation import is_set
from delrec_bench.methods.method import MethodTable
from delrec_bench.records import Failure, Record
from delrec_bench.report import words
from delrec_bench.studies.expansion import Study, expand
from delrec_bench.studies.file import Pair, study_file, study_path
from delrec_bench.studies.selecting import keys_of
from delrec_bench.tasks.task import Task, TaskTable
from delrec_bench.workspace import base_and_folder

BOARD = "leaderboard"
"""The study whose page is the board, over all of its profiles."""


class Expected(NamedTuple):
    """A row that the page asks for.

    Attributes:
        method: Its name: the method's, with the point of a sweep where there is one.
        control: The row that it is compared with, or None.
        base: The method of a point of a sweep; empty for the row's own name.
        point: Where the row stands on the axes that its method is swept along, (axis, value) pairs.
        title, family: What people call it (empty for its name), and the group that it stands in.
    """

    method: str
    control: str | None = None
    base: str = ""
    point: tuple[tuple[str, Any], ...] = ()
    title: str = ""
    family: str = "other methods"


class Empty(NamedTuple):
    """A row that is shown though nothing may have been run: the command that fills it, and its network's budget."""

    task: str
    expected: Expected
    command: str = ""
    budget: int | None = None


class Comparison(NamedTuple):
    """Two rows that the study wants compared, by name.

    Attributes:
        about: What the two share or differ in, in a few words.
        over: Tasks; empty for all of the page.
        minus: Rows whose difference is taken off that of the two: the claim is then an interaction.
    """

    method: str
    control: str
    about: str = ""
    over: tuple[str, ...] = ()
    minus: tuple[str, ...] = ()

    def covers(self, task: str) -> bool:
        """Whether a row's task is one of those: `shd:folder@1234` is `shd`."""
        return not self.over or base_and_folder(task)[0] in self.over


@dataclass(frozen=True)
class Declaration:
    """What was declared before the runs.

    Attributes:
        study: Expanded in the profile of the page.
        runs: Key of every run of the expansion -> the row it belongs to. No other record is on the page.
        tasks: Those of the page among others.
        primary: The one comparison that the study's repetitions are meant for, or None.
        contrasts: What else is compared than each row with its own control; exploratory.
        empty: Rows that are shown also without runs.
        diverged: Of the runs, those whose training left the finite numbers: they have no record, and are not awaited.
        new: Methods of the board that are not the suite's -> the folder that they are in.
        official: Tasks whose files, though a user's own, are official ones.
    """

    study: Study
    runs: Mapping[str, Expected]
    tasks: Mapping[str, Task] = field(default_factory=dict)
    primary: Comparison | None = None
    contrasts: tuple[Comparison, ...] = ()
    empty: tuple[Empty, ...] = ()
    diverged: tuple[Failure, ...] = ()
    new: Mapping[str, str] = field(default_factory=dict)
    official: frozenset[str] = frozenset()

    @property
    def page(self) -> str:
        """Its name: the study's, with its profile where that is not the default."""
        return self.study.page

    @property
    def board(self) -> bool:
        """Whether the page is the board, `report.board`."""
        return self.page == BOARD

    @property
    def title(self) -> str:
        """The question."""
        study = self.study
        title = study.question or study.summary[:1].upper() + study.summary[1:] or study.name
        return title + f" ({study.profile})" * (study.page != study.name)

    @property
    def again(self) -> str:
        """The command that makes the page."""
        words = ["delrec-bench", "reproduce", "--study", self.study.argument]
        words += ["--all"] if self.board else ["--profile", self.study.profile]
        return " ".join([*words, *(f"--data {task}=DIR" for task in self.study.data), *self.study.narrowed])

    def margin(self, task: str) -> float | None:
        """The margin of a row's task: `shd:folder@1234` has that of `shd`."""
        return self.study.margin.get(base_and_folder(task)[0])

    def about(self, task: str) -> Task:
        """A row's task."""
        return self.tasks[base_and_folder(task)[0]]

    def task_title(self, task: str) -> str:
        """What people call a row's task: other files in the layout of SHD are a stand-in, called by their folder."""
        title, folder = self.about(task).called, base_and_folder(task)[1]
        return f"{title} stand-in ({folder})" if folder and task not in self.official else title

    def title_of(self, name: str) -> str:
        """What people call a row."""
        rows = (*self.runs.values(), *(one.expected for one in self.empty))
        return next((row.title or row.method for row in rows if row.method == name), name)

    def members(self, records: Iterable[Record]) -> list[Record]:
        """The runs and floors among `records` that the page asks for, each key once, in the order of repetitions."""
        found = {r.key: r for r in records if r.kind in ("run", "floor") and r.key in self.runs}
        return sorted(found.values(), key=lambda r: (r.task, r.method, r.repetition, r.key))

    def missing(self, records: Iterable[Record]) -> tuple[str, ...]:
        """Keys of the runs that have no record, and did not diverge."""
        there = {r.key for r in self.members(records)} | {f.key for f in self.diverged}
        return tuple(key for key in self.runs if key not in there)


def page_of(
    study: Study,
    methods: MethodTable,
    tasks: TaskTable,
    records: Sequence[Record],
    failures: Sequence[Failure] = (),
    new: Mapping[str, str] | None = None,
) -> Declaration:
    """What the page of a study declares: of the leaderboard the board, in all its profiles and on all data.

    Args:
        study: Expanded in one profile.
        methods, tasks: The tables.
        records, failures: What there is.
        new: Methods that are added to the board -> the folder that they are in.
    """
    if study.name != BOARD:
        keys = keys_of(study.requests, methods, tasks, records, failures)
        return declaration(study, keys, methods, tasks, records, failures)
    profiles = study_file(study_path(BOARD)).profiles
    expanded = [expand(BOARD, profile, methods, tasks) for profile in profiles]
    own = {base_and_folder(one.task) for one in (*records, *failures)}
    awaited = {(r.spot, r.repetition): r for r in study.requests}
    requests = [
        replace(awaited.get((r.spot, r.repetition), r), data=data)
        for one in expanded
        for r in one.requests
        for data in (None, *sorted(folder for task, folder in own if folder and task == r.task))
    ]
    keys = keys_of(requests, methods, tasks, records, failures)
    margin = {task: value for one in expanded for task, value in one.margin.items()}
    profile = " ".join(profiles)
    whole = replace(study, requests=tuple(requests), page=BOARD, profile=profile, scored=False, margin=margin)
    declared = declaration(whole, keys, methods, tasks, records, failures)
    rows = {(one.task, one.expected.method): one.expected for one in declared.empty}
    empty: dict[tuple[str, str], Empty] = {}
    missing: dict[str, Expected] = {}
    for request, key in zip(requests, keys, strict=True):
        row = request.task, request.method
        if request.data is None and request.repetition == 0:
            budget = dict(request.overrides).get("budget")
            empty.setdefault(row, Empty(request.task, rows[row], request.command(), budget))
        if awaited.get((request.spot, request.repetition)) == request:  # of the other profiles nothing is awaited
            missing[key] = rows[row]
    return replace(declared, runs={**missing, **declared.runs}, empty=tuple(empty.values()), new=new or {})


def declaration(
    study: Study,
    keys: Sequence[str],
    methods: MethodTable,
    tasks: TaskTable,
    records: Sequence[Record] = (),
    failures: Sequence[Failure] = (),
) -> Declaration:
    """What a study in a profile declares of its page.

    Args:
        study: Expanded.
        keys: Key of each of its requests.
        methods, tasks: The tables.
        records: What there is: of a study whose page does not expect its runs, those that are there are declared.
        failures: Runs that failed; those of its own that diverged are told on the page.
    """
    names = names_of(study)
    whole = _whole_rows(study, names)
    rows = {
        spot: Expected(
            method=name,
            control=whole.get(spot) or _control_row(spot, methods[spot[0]].control, names),
            base=spot[0],
            point=_point(spot, study),
            title=methods[spot[0]].called + words.place(_point(spot, study)),
            family=methods[spot[0]].family,
        )
        for spot, name in names.items()
    }
    runs = {key: rows[request.spot] for request, key in zip(study.requests, keys, strict=True)}
    if not study.scored:
        made = {r.key for r in records} | {f.key for f in failures}
        runs = {key: expected for key, expected in runs.items() if key in made}
    primary = None
    if (asked := study.primary) is not None:
        elsewhere = asked.model_copy(update={"at": asked.at | asked.minus_at})
        minus = _rows_of(elsewhere, names) if asked.minus_at else ()
        primary = Comparison(*_rows_of(asked, names), over=tuple(asked.over), minus=minus)
    return Declaration(
        study=study,
        runs=runs,
        tasks=tasks,
        primary=primary,
        contrasts=tuple(Comparison(*_rows_of(contrast, names), contrast.about) for contrast in study.contrasts),
        empty=() if study.scored else tuple(Empty(spot[1], expected) for spot, expected in rows.items()),
        diverged=tuple(_diverged(study, keys, failures, runs)),
        official=official_tasks(records),
    )


def official_tasks(records: Iterable[Record]) -> frozenset[str]:
    """The tasks whose files, though a user's own, are official ones."""
    return frozenset(record.task for record in records if str(record.data.get("stamp")).startswith("OFFICIAL"))


def _diverged(
    study: Study, keys: Sequence[str], failures: Iterable[Failure], runs: Mapping[str, Expected]
) -> Iterable[Failure]:
    """The runs of a page whose training left the finite numbers, and those that are derived from such a run."""
    gone = {failure.key: failure for failure in failures if failure.diverged and failure.key in runs}
    trained = {r.command(): gone[key] for r, key in zip(study.requests, keys, strict=True) if key in gone}
    for request, key in zip(study.requests, keys, strict=True):
        if key in gone:
            yield gone[key]
        elif request.derived and (failure := trained.get(request.trained().command())) is not None:
            yield failure.model_copy(update={"key": key, "command": request.command()})


def names_of(study: Study) -> dict[Spot, str]:
    """The names of its rows: the method, and where it stands on its axes."""
    spots = dict.fromkeys(request.spot for request in study.requests)
    points = {spot: ", ".join(f"{axis} {value}" for axis, value in _point(spot, study)) for spot in spots}
    return {spot: f"{spot[0]} ({point})" if point else spot[0] for spot, point in points.items()}


def _point(spot: Spot, study: Study) -> tuple[tuple[str, Any], ...]:
    """Where a spot stands on the axes of its method that the study sweeps, by their last name.

    What is left out on a task, or not asked for, changes no name: a hypothesis pools rows of one name over tasks.
    """
    return tuple((key.rpartition(".")[2], value) for key, value in spot[2] if len(study.axes[key]) > 1)


def _control_row(spot: Spot, control: str | None, names: Mapping[Spot, str]) -> str | None:
    """The row of a method's control at the same point, equal on the axes that both have; None where it is left out."""
    theirs = {other: name for other, name in names.items() if other[:2] == (control, spot[1])}
    return next((name for other, name in theirs.items() if _at(other, dict(spot[2]))), None if theirs else control)


def _whole_rows(study: Study, names: Mapping[Spot, str]) -> dict[Spot, str]:
    """Of rows whose trained delays were changed, or deployed in another way: the row of the same network left whole."""
    first = [request for request in study.requests if request.repetition == 0]
    plain = {request.command(): names[request.spot] for request in first if not request.derived}
    return {
        request.spot: plain[whole]
        for request in first
        if any(is_set(key, value) and not key.endswith("condition") for key, value in request.overrides)
        and (whole := request.trained().command()) in plain
    }


def _at(spot: Spot, place: Mapping[str, Any]) -> bool:
    """Whether a spot stands at `place` on the axes that both have."""
    return all(place.get(key, value) == value for key, value in spot[2])


def _rows_of(asked: Pair, names: Mapping[Spot, str]) -> tuple[str, str]:
    """The rows of the two that a study wants compared."""

    def row(method: str, at: Mapping[str, Any]) -> str:
        return next((name for spot, name in names.items() if spot[0] == method and _at(spot, at)), method)

    return row(asked.method, asked.at), row(asked.control, {**asked.at, **asked.control_at})
