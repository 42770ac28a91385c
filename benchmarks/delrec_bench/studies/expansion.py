"""Studies: which runs one asks for, and that its file says nothing else than it asks.

What stands above a file's profiles may be for other profiles than the one that is expanded, so it may name what that
one has not; what a profile says itself must hold in it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

from delrec_bench.arithmetic import Arithmetic
from delrec_bench.config import FORECAST, Device, Request, defaults, full_key, full_keys, settle, toml_value
from delrec_bench.errors import BenchError, nearest
from delrec_bench.methods.base import MethodTable
from delrec_bench.methods.stack import without_effect
from delrec_bench.metrics import metric_named
from delrec_bench.records import canonical_json
from delrec_bench.studies.draws import drawn
from delrec_bench.studies.file import (
    MOST_REPETITIONS,
    ContrastTable,
    FindingTable,
    PrimaryTable,
    in_package,
    is_page_of_package,
    study_file,
    study_path,
)
from delrec_bench.tasks.base import TaskTable

GROUPS = ("task", "training", "network", "seeds", "evaluation")

Axes = dict[str, list[Any]]
P = TypeVar("P", PrimaryTable, ContrastTable)


@dataclass(frozen=True)
class Wanted:
    """What the command line asks of a study; None leaves what the study says.

    Attributes:
        methods, tasks: Only these of the study's.
        repetitions: How many.
        data: Folder of a user's own files by task, as `run --data`.
        device: Where the networks are: "cpu", "cuda" or "auto".
        arithmetic: "portable" or "native".
    """

    methods: tuple[str, ...] | None = None
    tasks: tuple[str, ...] | None = None
    repetitions: int | None = None
    data: Mapping[str, str] = field(default_factory=dict)
    device: Device = "cpu"
    arithmetic: Arithmetic = "portable"


@dataclass(frozen=True)
class Study:
    """A study in one profile, expanded.

    Attributes:
        name, profile: What was asked for.
        requests: Every run, repetition by repetition, so that early results cover all methods.
        skipped: (method, task, reason) of pairs that do not apply.
        minutes: Time that the profile may take in all, or None.
        page: Its page: the study's name, and the profile where it is not the study's default.
        summary: What it is, in a line.
        question, finding: What its page is called, and what was found, where it says so.
        repetitions: Runs of each method on each task and point.
        axes: What is swept, by dotted setting or a name of the study's; a request's `point` says where it stands.
        drawn: What is drawn anew for each repetition, by dotted setting.
        primary: The pooled hypothesis, or None.
        contrasts: What else is compared.
        notes: What its readers must know.
        margin: By task: a smaller difference of scores is none, in the score's own unit.
        scored: Whether the page expects its runs.
        path: Its file.
        data: Folders of a user's own files by task.
        narrowed: The options of the command line by which it is less, or other, than its file declares.
    """

    name: str
    profile: str
    requests: tuple[Request, ...]
    skipped: tuple[tuple[str, str, str], ...] = ()
    minutes: float | None = None
    page: str = ""
    summary: str = ""
    question: str | None = None
    finding: FindingTable | None = None
    repetitions: int = 1
    axes: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    drawn: tuple[str, ...] = ()
    primary: PrimaryTable | None = None
    contrasts: tuple[ContrastTable, ...] = ()
    notes: tuple[str, ...] = ()
    margin: Mapping[str, float] = field(default_factory=dict)
    scored: bool = True
    path: str = ""
    data: Mapping[str, str] = field(default_factory=dict)
    narrowed: tuple[str, ...] = ()

    @property
    def argument(self) -> str:
        """What `--study` takes for it: for a user's own file, the file."""
        path = Path(self.path)
        return self.name if in_package(path) else path.name


def expand(
    name: str, profile: str | None, methods: MethodTable, tasks: TaskTable, wanted: Wanted | None = None
) -> Study:
    """The runs of a study in a profile, as its file (`delrec_bench.studies.file`) says.

    Args:
        name: A study of this package, or the path of a TOML file.
        profile: One of its tables; None for its default.
        methods, tasks: The tables.
        wanted: What to narrow it to.

    Raises:
        BenchError: No such study, no such profile in it, or a table or `wanted` that names something unknown.
    """
    return _Expansion(study_path(name), profile, methods, tasks).study(wanted or Wanted())


class _Expansion:
    """A study file in one profile, read against the tables of methods and tasks."""

    def __init__(self, path: Path, profile: str | None, methods: MethodTable, tasks: TaskTable) -> None:
        self.path, self.name, self.methods, self.tasks = path, path.stem, methods, tasks
        self.file = file = study_file(path)
        if profile is not None and profile not in file.profiles:
            raise self.wrong(f" has no profile '{profile}'; {nearest(profile, file.profiles)}")
        self.profile, self.table = file.profile_named(profile)
        self.own = file.profiles[self.profile].model_fields_set
        self.page = file.page(self.name, self.profile)
        if not in_package(path) and is_page_of_package(self.page):
            raise self.wrong(f", profile '{self.profile}' would be page '{self.page}' of this package; rename the file")
        self.all_methods = self.choose("methods", self.table.methods, methods)
        self.all_tasks = self.choose("tasks", self.table.tasks, tasks)
        self.known = {name: defaults(method) for name, method in methods.items()}
        forecasts = any(tasks[task].family == "forecast" for task in self.all_tasks)
        self.keys = {key for of in self.known.values() for key in of if forecasts or key not in FORECAST}

    def wrong(self, text: str) -> BenchError:
        """The error of this study."""
        return BenchError(f"study '{self.name}'{text}")

    def study(self, wanted: Wanted) -> Study:
        """The study, narrowed to what is wanted."""
        table = self.table
        methods = self.only("method", wanted.methods, self.all_methods)
        tasks = self.only("task", wanted.tasks, self.all_tasks)
        self.check_names()
        self.only("task", wanted.data, tasks)
        data = {task: str(Path(folder).expanduser()) for task, folder in (table.data | dict(wanted.data)).items()}
        repetitions = table.repetitions if wanted.repetitions is None else wanted.repetitions
        if not 1 <= repetitions <= MOST_REPETITIONS:
            raise BenchError(f"--repetitions is {repetitions}; it must be from 1 to {MOST_REPETITIONS}")
        axes = self.axes()
        settings, set_here = self.settings(axes)
        primary = None if table.primary is None else self.placed(table.primary, axes)
        contrasts = tuple(self.placed(contrast, axes) for contrast in table.contrasts)
        firsts, skipped = self.rows(methods, tasks, data, wanted, axes, settings)
        self.check_rows(firsts, axes, set_here)
        self.check_pairs(primary, contrasts, firsts, tasks, methods)
        space = self.space({key for first in firsts for key, _ in first.overrides})
        narrowed = [
            f"--only-{what} {','.join(asked)}"
            for what, asked, chosen, all_ in (
                ("methods", wanted.methods, methods, self.all_methods),
                ("tasks", wanted.tasks, tasks, self.all_tasks),
            )
            if asked is not None and chosen != all_
        ]
        narrowed += [f"--repetitions {repetitions}"] if repetitions != table.repetitions else []
        return Study(
            name=self.name,
            profile=self.profile,
            requests=tuple(self.repeated(first, r, space) for r in range(repetitions) for first in firsts),
            skipped=tuple(skipped),
            minutes=table.minutes,
            page=self.page,
            summary=self.file.summary,
            question=table.question,
            finding=table.finding,
            repetitions=repetitions,
            axes=axes,
            primary=primary,
            contrasts=contrasts,
            notes=tuple(table.notes),
            margin=table.margin,
            scored=table.scored,
            path=str(self.path),
            data={task: folder for task, folder in data.items() if task in tasks},
            narrowed=tuple(narrowed),
            drawn=tuple(space),
        )

    # names

    def choose(self, what: str, rule: Any, table: Mapping[str, Any]) -> list[str]:
        """The methods or tasks of the study: those that it names, or those with the attributes that it asks for."""
        if isinstance(rule, list):
            for name in rule:
                if name not in table:
                    raise self.wrong(f": no {what.removesuffix('s')} '{name}'; {nearest(name, table)}")
            return list(rule)
        for attribute in rule:
            if any(not hasattr(entry, attribute) for entry in table.values()):
                raise self.wrong(f": {what} have no attribute '{attribute}'; see methods/base.py, tasks/base.py")
        return [name for name, of in table.items() if all(getattr(of, key) == value for key, value in rule.items())]

    def only(self, what: str, names: Collection[str] | None, known: list[str]) -> list[str]:
        """The names asked for, in the study's order; all of them for None."""
        for name in names or ():
            if name not in known:
                raise self.wrong(f" has no {what} '{name}'; {nearest(name, known)}")
        return known if names is None else [name for name in known if name in names]

    def check_names(self) -> None:
        """Refuse methods and tasks that the study has not, and a margin that no difference of scores can exceed."""
        table, every_method, every_task = self.table, list(self.methods), list(self.tasks)
        for pair in (table.primary, *table.contrasts):
            self.only("method", (pair.method, pair.control) if pair else (), self.all_methods)
        self.only("task", table.primary.over if table.primary else (), self.all_tasks)
        self.only("task", self.file.profiles[self.profile].data, self.all_tasks)
        self.only("task", table.data, every_task)
        self.only("method", table.not_at, self.all_methods)
        for method, of in table.without.items():
            self.only("method", (method,), self.all_methods if "without" in self.own else every_method)
            self.only("task", of, self.all_tasks if "without" in self.own else every_task)
        self.only("task", table.margin, every_task)
        for task, value in table.margin.items():
            metric = metric_named(self.tasks[task].metric)
            low, high = metric.limits
            if low is not None and high is not None and value >= high - low:
                raise self.wrong(
                    f": margin.{task} is {value:g}, but {metric.name} lies in {low:g} to {high:g}: every difference is "
                    f"within it; {metric.format(0.01)} {metric.unit} is 0.01"
                )

    # settings and axes

    def axes(self) -> Axes:
        """What is swept, by dotted key."""
        where, holders = f"study '{self.name}', sweep", dict[str, str]()
        axes: Axes = {}
        for key, values in self.table.sweep.items():
            if isinstance(values[0], dict):
                given = [{name: value for name, value in point.items() if name != "name"} for point in values]
                settings = [full_keys(of, self.keys, where) for of in given]
                axes[key] = [{"name": point["name"], **of} for point, of in zip(values, settings, strict=True)]
                held = {name for of in settings for name in of}
            else:
                held = set(of := full_keys({key: values}, self.keys, where))
                axes |= of
            for name in held:
                self.no_seed(name, ", sweep")
                if holders.setdefault(name, key) != key:
                    raise BenchError(f"{where}: {holders[name]} and {key} both hold {name}; sweep it once")
        for axis, values in axes.items():
            if not any(_has(axis, values, self.known[method]) for method in self.all_methods):
                none = ", ".join(self.all_methods)
                raise BenchError(f"{where}: none of {none} has {axis}; sweep another setting")
        return axes

    def no_seed(self, key: str, where: str) -> None:
        """Refuse a seed: repetitions would be copies of one run."""
        if key.startswith("seeds."):
            raise self.wrong(f"{where}: {key} belongs to the repetitions; leave it out")

    def settings(self, axes: Axes) -> tuple[dict[str | None, dict[str, Any]], dict[str | None, dict[str, Any]]]:
        """What `set` says for every run (None), each task and each method; and what of it the profile says itself."""
        above, here = (self.said(table) for table in self.file.sets(self.profile))
        settings = {owner: above.get(owner, {}) | here.get(owner, {}) for owner in {**above, **here}}
        for owner in here.keys() - {None}:
            what, of_study = ("method", self.all_methods) if owner in self.methods else ("task", self.all_tasks)
            self.only(what, (str(owner),), of_study)
        for owner in settings:
            for key in settings[owner] if owner in self.methods else ():
                if key not in (theirs := self.known[str(owner)]):
                    raise self.wrong(f", set.{owner}: it has no setting '{key}'; {nearest(key, theirs)}")
        beside = (
            settings if "sweep" not in self.own else here
        )  # on the sweep's level; elsewhere one goes over the other
        for owner, key in ((owner, key) for owner, of in beside.items() for key in of):
            if any(all(key in _held(axis, value) for value in values) for axis, values in axes.items()):
                raise self.wrong(f": {key} is swept and stands in {_set(owner)}; leave one of them out")
        swept = {key for method in self.all_methods for key in self.known[method]}
        for owner, key in [(owner, key) for owner, of in here.items() for key in of]:
            if key not in swept:
                raise self.wrong(f", {_set(owner)}: none of {', '.join(self.all_methods)} has {key}; leave it out")
        return settings, here

    def said(self, table: Mapping[str, Any]) -> dict[str | None, dict[str, Any]]:
        """One table `set` by dotted key."""
        owners = [*self.tasks, *self.methods]
        for name, value in table.items():
            if isinstance(value, dict) and name not in owners and name not in GROUPS:
                raise self.wrong(f": unknown table 'set.{name}'; {nearest(name, [*owners, *GROUPS])}")
            if name in owners and not isinstance(value, dict):
                raise self.wrong(f": set.{name} is {value!r}; it must be a table of settings")
        parts: dict[str | None, Mapping[str, Any]] = {None: {k: v for k, v in table.items() if k not in owners}}
        parts |= {owner: values for owner, values in table.items() if owner in owners}
        found = {owner: full_keys(of, self.keys, f"study '{self.name}', {_set(owner)}") for owner, of in parts.items()}
        for owner, of in found.items():
            for key in of:
                self.no_seed(key, f", {_set(owner)}")
        return found

    def space(self, taken: Collection[str]) -> dict[str, Any]:
        """What is drawn anew for each repetition, by dotted key."""
        space = {full_key(key, self.keys): choice for key, choice in self.table.draw.items()}
        for key in space:
            if not key.startswith(("network.", "training.")) or key == "training.epochs":
                raise self.wrong(f", draw: {key} is no hyperparameter; draw settings of network.* and training.*")
            if key in taken:
                raise self.wrong(f", draw: {key} is set or swept as well; leave one of them out")
        return space

    # rows

    def rows(
        self,
        methods: list[str],
        tasks: list[str],
        data: Mapping[str, str],
        wanted: Wanted,
        axes: Axes,
        settings: Mapping[str | None, Mapping[str, Any]],
    ) -> tuple[list[Request], list[tuple[str, str, str]]]:
        """Repetition 0 of every row, and (method, task, reason) of the pairs that do not apply."""
        table, firsts, skipped = self.table, [], []
        not_at = {method: self.left_out(method, axes) for method in table.not_at}
        for task, method in product(tasks, methods):
            without = "left out by the study" if task in table.without.get(method, ()) else None
            reason = without or self.methods[method].applicable(self.tasks[task])
            if reason is not None:
                skipped.append((method, task, reason))
                continue
            known = self.known[method]
            merged = settings[None] | settings.get(task, {}) | settings.get(method, {})  # type: ignore[operator]
            first = Request(
                method, task, 0, table.profile or self.profile, data=data.get(task), device=wanted.device,
                arithmetic=wanted.arithmetic, study=self.name, exhibits=self.file.exhibits,
            )  # fmt: skip
            theirs = {axis: values for axis, values in axes.items() if _has(axis, values, known)}
            for values in product(*theirs.values()):
                point = tuple((axis, _called(value)) for axis, value in zip(theirs, values, strict=True))
                if any(value in not_at.get(method, {}).get(axis, ()) for axis, value in point):
                    continue
                swept = {k: v for at in zip(theirs, values, strict=True) for k, v in _held(*at).items()}
                # the word "none" is None, as for `--set`, where the setting is no word
                here = {
                    key: None if value == "none" and not isinstance(known[key], str) else value
                    for key, value in (merged | swept).items()
                    if key in known
                }
                request = replace(first, overrides=tuple(sorted(here.items())), point=point)
                firsts.append(request if request.derived else request.trained())
        return firsts, skipped

    def left_out(self, method: str, axes: Axes) -> dict[str, list[Any]]:
        """Where on the axes a method is left out: axis -> values as a request's `point` has them."""
        where, out = f"study '{self.name}', not_at.{method}", {}
        for axis, values in full_keys(self.table.not_at[method], axes, where).items():
            if not _has(axis, axes[axis], self.known[method]):
                raise BenchError(f"{where}: it is not swept along {axis}; leave that out")
            there = [_called(value) for value in axes[axis]]
            asked = [_called(value) for value in values] if isinstance(values, list) else [values]
            if not asked or any(value not in there for value in asked) or all(value in asked for value in there):
                raise BenchError(f"{where}.{axis} is {values!r}; it must be a part of what is swept: {there}")
            out[axis] = asked
        return out

    def repeated(self, first: Request, repetition: int, space: Mapping[str, Any]) -> Request:
        """A repetition of a run, with what is drawn for its task and repetition."""
        values = {
            k: v for k, v in drawn(space, "study", first.task, repetition).items() if k in self.known[first.method]
        }
        overrides = tuple(sorted({**dict(first.overrides), **values}.items()))
        return replace(first, repetition=repetition, overrides=overrides)

    def check_rows(self, firsts: Iterable[Request], axes: Axes, here: Mapping[str | None, Mapping[str, Any]]) -> None:
        """Refuse settings without effect, and two points that settle to one run: one row, under the name of the later.

        Args:
            firsts: A request of every row.
            axes: What is swept.
            here: What the profile itself sets.
        """
        there: dict[str, Request] = {}
        vain: dict[str, str] = {}  # setting -> why, and where
        works: set[str] = set()
        for request in firsts:
            try:
                settled = settle(request, self.methods[request.method], self.tasks[request.task])
            except BenchError:  # which the run itself will say
                continue
            of, idle = f"of {request.method} on {request.task}", without_effect(settled.network)
            for key in dict(request.overrides).keys() & idle.keys():
                vain.setdefault(key, f"{key} {of} has no effect {idle[key]}")
                if key in axes:
                    raise self.wrong(f", sweep: {vain[key]}; sweep the two together, as points with a name")
            works |= dict(request.overrides).keys() - idle.keys()
            other = there.setdefault(canonical_json(settled.values), request) if request.point else request
            if other is not request:
                a, b = (", ".join(f"{axis} {value}" for axis, value in one.point) for one in (other, request))
                raise self.wrong(f", sweep: {a} and {b} {of} are one and the same run; leave one of them out")
        for key in sorted(vain.keys() & {key for table in here.values() for key in table} - works):
            raise self.wrong(f": {vain[key]}; change that, or leave {key} out")

    # comparisons

    def placed(self, pair: P, axes: Axes) -> P:
        """The hypothesis, or a contrast, with dotted keys, checked to stand at one point of the axes."""
        name = "primary" if isinstance(pair, PrimaryTable) else "contrasts"

        def place(given: Mapping[str, Any], where: str) -> dict[str, Any]:
            found = full_keys(given, axes, f"study '{self.name}', {name}.{where}")
            at = {key: _called(value) for key, value in found.items()}
            for key, value in at.items():
                if value not in (known := [_called(value) for value in axes[key]]):
                    raise self.wrong(f": {name}.{where}.{key} is {value!r}; it is swept over {known}")
            return at

        at = place(pair.at, "at")
        control_at = place(pair.control_at, "control_at")
        sides = []
        for side, there in ((pair.method, at), (pair.control, at | control_at)):
            along = [axis for axis, values in axes.items() if _has(axis, values, self.known[side])]
            for axis in along:
                if axis not in there and len(axes[axis]) > 1:
                    raise self.wrong(f": {name}.at lacks '{axis}', which {side} is swept along; give its value")
            sides.append((side, {axis: there[axis] for axis in along if axis in there}))
        if sides[0] == sides[1]:
            raise self.wrong(f": {name} compares {pair.method} with itself; name another control, or control_at")
        minus_at = place(pair.minus_at, "minus_at") if isinstance(pair, PrimaryTable) and pair.minus_at else {}
        if minus_at and at | minus_at == at:
            raise self.wrong(f": {name}.minus_at is the place of {name}.at; give another one")
        more = {"minus_at": minus_at} if minus_at else {}
        return pair.model_copy(update={"at": at, "control_at": control_at, **more})

    def check_pairs(
        self,
        primary: PrimaryTable | None,
        contrasts: Sequence[ContrastTable],
        firsts: Sequence[Request],
        tasks: list[str],
        methods: list[str],
    ) -> None:
        """Refuse a comparison that is asked for twice, or has a side without runs where it is to be judged.

        Args:
            primary, contrasts: Placed.
            firsts: A request of every row.
            tasks, methods: What is asked for of the study's; of what the command line leaves out nothing is said.
        """

        def is_there(task: str, method: str, at: Mapping[str, Any]) -> bool:
            points = (dict(r.point) for r in firsts if (r.method, r.task) == (method, task))
            return any(all(at.get(key, value) == value for key, value in point.items()) for point in points)

        asked: list[tuple[Any, ...]] = []
        for pair in (*([primary] if primary else []), *contrasts):
            name = "primary" if isinstance(pair, PrimaryTable) else "contrasts"
            sides = ((pair.method, pair.at), (pair.control, pair.at | pair.control_at))
            if sides in asked:
                raise self.wrong(f": {name} compares {pair.method} with {pair.control} twice; leave one out")
            if not (isinstance(pair, PrimaryTable) and pair.minus_at):  # that one is of four rows
                asked.append(sides)
            over = pair.over if isinstance(pair, PrimaryTable) else tasks
            if len(set(over)) < len(over):
                raise self.wrong(f": primary.over has a task twice: {', '.join(over)}")
            if not {pair.method, pair.control} <= set(methods):
                continue
            lacking = [(task, *side) for task in over if task in tasks for side in sides if not is_there(task, *side)]
            if lacking and (isinstance(pair, PrimaryTable) or {task for task, _, _ in lacking} >= set(over)):
                task, side, at = lacking[0]
                place = f" at {', '.join(f'{key} {value}' for key, value in at.items())}" if at else ""
                raise self.wrong(
                    f": {name} needs {side}{place} on {task}, where it has no run (left out by the study, or not "
                    "applicable); take another point, or leave the task out"
                )


def _set(owner: str | None) -> str:
    return f"set.{owner}" if owner else "set"


def _held(axis: str, value: Any) -> dict[str, Any]:
    """The settings of one value of an axis."""
    return {k: v for k, v in value.items() if k != "name"} if isinstance(value, dict) else {axis: value}


def _called(value: Any) -> Any:
    """What stands for one value of an axis in a request's `point`: itself, a table's name, a list's text."""
    if isinstance(value, list):
        return toml_value(value)
    return value["name"] if isinstance(value, dict) else value


def _has(axis: str, values: Sequence[Any], known: Collection[str]) -> bool:
    """Whether a method with the settings `known` has an axis."""
    return any(key in known for value in values for key in _held(axis, value))
