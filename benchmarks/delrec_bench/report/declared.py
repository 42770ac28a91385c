"""What a page is: a study in one profile (the board: in all of them), and nothing else."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from delrec_bench.config import Request, Spot
from delrec_bench.config.tree import is_set
from delrec_bench.methods.method import MethodTable
from delrec_bench.metrics.metric import find_metrics
from delrec_bench.records import Failure, Record
from delrec_bench.report import words
from delrec_bench.studies.expansion import Study, expand, keys_of
from delrec_bench.studies.file import Pair, study_file, study_path
from delrec_bench.tasks.task import Task, TaskTable
from delrec_bench.workspace import base_and_folder

BOARD = "leaderboard"
"""The study whose page is the board, over all of its profiles."""


class Expected(NamedTuple):
    """A row that the page asks for."""

    method: str  # its name: the method's, with the point of a sweep where there is one
    control: str | None = None  # the row that it is compared with
    base: str = ""  # its method, also of a point of a sweep
    point: tuple[tuple[str, Any], ...] = ()  # (axis, value) pairs along which its method is swept
    title: str = ""  # what people call it; empty for its name
    family: str = "other methods"  # the group that it stands in
    task: str = ""  # also where nothing has been run: the row is then empty, but for
    command: str = ""  # what fills it,
    given: str = ""  # with the options that name folders of a user's methods and tasks,
    budget: int | None = None  # and a latency of the network of this size

    @property
    def called(self) -> str:
        """What people call its method, at whatever point of a sweep."""
        return self.title.removesuffix(words.place(self.point)) or self.method


class Comparison(NamedTuple):
    """Two rows that the study wants compared, by name."""

    method: str
    control: str
    about: str = ""  # what the two share or differ in, in a few words
    over: tuple[str, ...] = ()  # tasks of the declared comparison
    minus: tuple[str, ...] = ()  # rows whose difference is taken off that of the two: an interaction


@dataclass(frozen=True)
class Declaration:
    """What was declared before the runs."""

    study: Study  # expanded in the profile of the page
    runs: Mapping[str, Expected]  # key of every run of the expansion -> its row; no other record is on the page
    awaited: Sequence[str] = ()  # those of them without which the page is not complete
    tasks: Mapping[str, Task] = field(default_factory=dict)  # those of the page among others
    primary: Comparison | None = None  # the one that the study's repetitions are meant for
    contrasts: tuple[Comparison, ...] = ()  # beside those of each row with its own control; exploratory
    diverged: tuple[Failure, ...] = ()  # training left the finite numbers: they have no record, and are not awaited
    again: Mapping[str, Collection[str]] = field(default_factory=dict)  # commands that make the runs -> their tasks
    new: Mapping[str, str] = field(default_factory=dict)  # methods of a user on the board -> option for their folder

    @property
    def board(self) -> bool:
        """Whether the page is the board, `report.board`."""
        return self.study.page == BOARD

    @property
    def title(self) -> str:
        """The question."""
        study = self.study
        title = study.question or study.summary or study.name
        profile = f" ({study.profile})" if study.page != study.name else ""
        return title[:1].upper() + title[1:] + profile

    def about(self, task: str) -> Task:
        """A row's task."""
        return self.tasks[base_and_folder(task)[0]]


def page_of(
    study: Study,
    methods: MethodTable,
    tasks: TaskTable,
    records: Sequence[Record] = (),
    failures: Sequence[Failure] = (),
    new: Mapping[str, str] | None = None,
    keys: Sequence[str] | None = None,
) -> Declaration:
    """What the page of a study declares: of the leaderboard the board, in all its profiles and on all data.

    `new` are methods that are added to the board -> the option that names their folder; `keys` those of the study's
    requests, where they are known (else they are found by their settings; those of the board always).
    """
    failures = [failure for failure in failures if failure.diverged]  # any other may end well when it is tried again
    runs: list[Record | Failure] = [*records, *failures]
    scored, profiles = study.scored, [study]
    if study.name == BOARD:
        profiles = [expand(BOARD, profile, methods, tasks) for profile in study_file(study_path(BOARD)).profiles]
        study, keys = _whole_board(study, profiles, methods, tasks, runs)
    keys = keys or keys_of(study.requests, methods, tasks, runs)
    keyed = list(zip(study.requests, keys, strict=True))
    there = {one.key for one in runs}
    awaited: dict[tuple[Spot, int], str] = {}
    for request, key in keyed if scored else ():
        place = (request.spot, request.repetition)  # of several data sets; the one that has a run is preferred
        if awaited.get(place) not in there:
            awaited[place] = key
    names = names_of(study)
    whole = _whole_rows(study, names)
    first = {request.spot: request for request in reversed(study.requests)}
    rows = {
        spot: Expected(
            method=name,
            control=whole.get(spot) or _named(names, methods[spot[0]].control, dict(spot[2]), spot[1]),
            base=spot[0],
            point=_point(spot, study),
            title=methods[spot[0]].called + words.place(_point(spot, study)),
            family=methods[spot[0]].family,
            task=spot[1],
            command=first[spot].command(),
            given=methods.option(spot[0])
            + tasks.option(task := base_and_folder(spot[1])[0])
            + find_metrics().option(tasks[task].metric),
            budget=dict(first[spot].overrides).get("budget"),
        )
        for spot, name in names.items()
    }
    primary = None
    if (asked := study.primary) is not None:
        elsewhere = asked.model_copy(update={"at": asked.at | asked.minus_at})
        minus = _rows_of(elsewhere, names) if asked.minus_at else ()
        primary = Comparison(*_rows_of(asked, names), over=tuple(asked.over), minus=minus)
    return Declaration(
        study=study,
        runs={key: rows[request.spot] for request, key in keyed},
        awaited=tuple(awaited.values()),
        tasks=tasks,
        primary=primary,
        contrasts=tuple(Comparison(*_rows_of(contrast, names), contrast.about) for contrast in study.contrasts),
        diverged=tuple(_diverged(keyed, failures, {record.key for record in records})),
        again={_command(one, methods, tasks): {request.task for request in one.requests} for one in profiles},
        new=new or {},
    )


def _command(study: Study, methods: MethodTable, tasks: TaskTable) -> str:
    """The command that makes the runs of a study in its profile; `DIR` stands for files of a user."""
    own: Iterable[str] = study.data
    if study.name == BOARD:
        own = dict.fromkeys(request.task for request in study.requests if not tasks[request.task].embedded)
    words = ["delrec-bench reproduce --study", study.argument, "--profile", study.profile, *study.narrowed]
    words += [*(f"--data {task}=DIR" for task in own), *(["--all"] if study.name == BOARD else [])]
    # every folder: what a part of a study leaves out must be there all the same
    given = (table.option(name) for table in (methods, tasks, find_metrics()) for name in table)
    return " ".join(words) + "".join(dict.fromkeys(given))


def _whole_board(
    study: Study, profiles: Sequence[Study], methods: MethodTable, tasks: TaskTable, runs: Sequence[Record | Failure]
) -> tuple[Study, list[str]]:
    """The leaderboard in all its profiles, on its own data and on every corpus that there are runs on; and its keys."""
    own = {(r.spot, r.repetition): r for r in study.requests}
    corpora = {one.task for one in runs if ":" in one.task}
    requests: list[Request] = []
    keys: list[str] = []
    for corpus in ("", *sorted(corpora)):
        base, folder = base_and_folder(corpus)
        asked = [
            replace(own.get((r.spot, r.repetition), r), data=folder or None)
            for one in profiles
            for r in one.requests
            if base in ("", r.task)
        ]
        here = [one for one in runs if (one.task if ":" in one.task else "") == corpus]
        found = keys_of(asked, methods, tasks, here)
        requests, keys = requests + asked, keys + found
    margin = {task: value for one in profiles for task, value in one.margin.items()}
    notes = tuple(dict.fromkeys(note for one in profiles for note in one.notes))
    more: dict[str, Any] = {"page": BOARD, "scored": False, "margin": margin, "notes": notes}
    profile = " ".join(one.profile for one in profiles)
    return replace(study, requests=tuple(requests), profile=profile, **more), keys


def _diverged(
    keyed: Sequence[tuple[Request, str]], failures: Iterable[Failure], done: Collection[str]
) -> Iterable[Failure]:
    """The runs of a page whose training left the finite numbers, and those that are derived from such a run."""
    gone = {failure.key: failure for failure in failures if failure.key not in done}
    trained = {request.command(): gone[key] for request, key in keyed if key in gone}
    for request, key in keyed:
        if key in gone:
            yield gone[key]
        elif request.derived and key not in done and (failure := trained.get(request.trained().command())) is not None:
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


def _named(names: Mapping[Spot, str], method: str | None, at: Mapping[str, Any], task: str | None = None) -> str | None:
    """The row of a method, on a task or on any, that stands at `at` on the axes that it has; None where there is none.

    A row that has not the axis stands everywhere along it.
    """
    theirs = (spot for spot in names if spot[0] == method and task in (None, spot[1]))
    return next((names[spot] for spot in theirs if all(at.get(key, value) == value for key, value in spot[2])), None)


def _rows_of(asked: Pair, names: Mapping[Spot, str]) -> tuple[str, str]:
    """The rows of the two that a study wants compared."""
    control = _named(names, asked.control, {**asked.at, **asked.control_at})
    return _named(names, asked.method, asked.at) or asked.method, control or asked.control
