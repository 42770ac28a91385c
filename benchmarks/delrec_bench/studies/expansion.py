"""Studies: the runs that one asks for, and those that answer it; a file that says something else is refused."""

import hashlib
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from shlex import quote
from typing import Any, TypeVar

from delrec_bench.arithmetic import Arithmetic
from delrec_bench.config import Device, Request, defaults, full_keys, profiles, settle
from delrec_bench.config.searched import folder_of, searched_settings
from delrec_bench.config.tree import toml_value
from delrec_bench.errors import BenchError, nearest
from delrec_bench.methods.method import MethodTable
from delrec_bench.metrics import metric_named
from delrec_bench.records import HOW, Failure, Record, canonical_json, version_of
from delrec_bench.schema import settings
from delrec_bench.studies.file import (
    ContrastTable,
    FindingTable,
    PrimaryTable,
    Repetitions,
    study_file,
    study_files,
    study_path,
)
from delrec_bench.tasks.task import TaskTable
from delrec_bench.workspace import base_and_folder

P = TypeVar("P", PrimaryTable, ContrastTable)


def drawn(space: Mapping[str, Any], *seed: str | int) -> dict[str, Any]:
    """Draw every setting of a space, each from u = SHA-256(seed, setting) / 2^256: the same on every machine.

    `space` is dotted setting -> a list of values, or {low, high}: even in the logarithm, to three digits.
    """
    out = {}
    for key, choice in space.items():
        text = ":".join(["delrec-bench", *map(str, seed), key])
        u = int.from_bytes(hashlib.sha256(text.encode()).digest(), "big") / 2**256
        if isinstance(choice, list):
            out[key] = choice[int(u * len(choice))]
        else:
            out[key] = float(f"{choice['low'] * (choice['high'] / choice['low']) ** u:.3g}")
    return out


@settings("--")
class Wanted:
    """What the command line asks of a study; None leaves what the study says."""

    methods: tuple[str, ...] | None = None  # only these of the study's
    tasks: tuple[str, ...] | None = None
    repetitions: Repetitions | None = None
    data: Mapping[str, str] = field(default_factory=dict)  # folder of a user's own files by task, as `run --data`
    device: Device = "cpu"
    arithmetic: Arithmetic = "portable"


@dataclass(frozen=True)
class Study:
    """A study in one profile, expanded; what is not said here is its profile's (`studies.file.Profile`)."""

    name: str
    profile: str
    requests: tuple[Request, ...]  # repetition by repetition, so that early results cover all methods
    skipped: tuple[tuple[str, str, str], ...] = ()  # (method, task, reason) of pairs that do not apply
    page: str = ""  # the study's name, and the profile where it is not the study's default
    argument: str = ""  # what `--study` takes for it: for a user's own file, the file
    summary: str = ""
    question: str | None = None
    finding: FindingTable | None = None
    axes: Mapping[str, Sequence[Any]] = field(default_factory=dict)  # by dotted setting, or a name of the study's
    primary: PrimaryTable | None = None
    contrasts: tuple[ContrastTable, ...] = ()
    notes: tuple[str, ...] = ()
    margin: Mapping[str, float] = field(default_factory=dict)
    scored: bool = True
    data: Mapping[str, str] = field(default_factory=dict)  # as `Wanted`
    narrowed: tuple[str, ...] = ()  # options of the command line by which it is other than its file declares


def expand(
    name: str, profile: str | None, methods: MethodTable, tasks: TaskTable, wanted: Wanted | None = None
) -> Study:
    """The runs of a study in a profile (None for its default), narrowed to what is wanted.

    `name` is a study of this package, or the path of a TOML file; a `BenchError` says what is wrong in it.
    """
    return _Expansion(study_path(name), profile, methods, tasks).study(wanted or Wanted())


class _Expansion:
    """A study file in one profile, read against the tables of methods and tasks."""

    def __init__(self, path: Path, profile: str | None, methods: MethodTable, tasks: TaskTable) -> None:
        self.path, self.name, self.methods, self.tasks = path, path.stem, methods, tasks
        self.file = file = study_file(path)
        self.profile = file.usual if profile is None else profile
        if self.profile not in file.profiles:
            raise self.wrong(f" has no profile '{profile}'; {nearest(self.profile, file.profiles)}")
        self.table = file.profiles[self.profile]
        self.only("profile of presets (key profile)", [self.table.profile or self.profile], list(profiles()))
        self.all_methods = self.choose("method", self.table.methods, methods)
        self.all_tasks = self.choose("task", self.table.tasks, tasks)
        forecasts = any(tasks[task].family == "forecast" for task in self.all_tasks)
        self.known = {  # seeds belong to the repetitions
            name: {key: value for key, value in defaults(method, forecasts).items() if not key.startswith("seeds.")}
            for name, method in methods.items()
        }
        self.keys = set().union(*(self.known[method] for method in self.all_methods))
        self.axes = self.swept()

    def wrong(self, text: str) -> BenchError:
        """The error of this study."""
        return BenchError(f"study '{self.name}'{text}")

    def full(self, values: Mapping[str, Any], known: Collection[str], where: str) -> dict[str, Any]:
        """The values by full key; an error says where in the study they stand."""
        return full_keys(values, known, f"study '{self.name}', {where}")

    def study(self, wanted: Wanted) -> Study:
        """The study, narrowed to what is wanted."""
        table = self.table
        methods = self.only("method", wanted.methods, self.all_methods)
        tasks = self.only("task", wanted.tasks, self.all_tasks)
        self.check_names()
        for task in self.only("task", wanted.data, tasks):
            if not self.tasks[task].accepts_data:
                self.tasks[task].folder(wanted.data[task])
        data = dict(wanted.data)
        repetitions = table.repetitions if wanted.repetitions is None else wanted.repetitions
        firsts, skipped = self.rows(methods, tasks, data, wanted)
        space = self.space({key for first in firsts for key, _ in first.overrides})
        narrowed = [f"--only-methods {','.join(methods)}"] if methods != self.all_methods else []
        narrowed += [f"--only-tasks {','.join(tasks)}"] if tasks != self.all_tasks else []
        narrowed += [f"--repetitions {repetitions}"] if repetitions != table.repetitions else []
        return Study(
            name=self.name,
            profile=self.profile,
            requests=tuple(self.repeated(first, r, space) for r in range(repetitions) for first in firsts),
            skipped=tuple(skipped),
            page=self.name if self.profile == self.file.usual else f"{self.name}-{self.profile}",
            argument=self.name if self.path in study_files().values() else quote(os.path.relpath(self.path)),
            summary=self.file.summary,
            axes={axis: list(points) for axis, points in self.axes.items()},
            primary=None if table.primary is None else self.placed("primary", table.primary),
            contrasts=tuple(self.placed("contrasts", contrast) for contrast in table.contrasts),
            notes=(*self.file.notes, *table.notes),
            data=data,
            narrowed=tuple(narrowed),
            **{name: getattr(table, name) for name in ("question", "finding", "margin", "scored")},
        )

    # names

    def choose(self, what: str, rule: Any, table: Mapping[str, Any]) -> list[str]:
        """The methods or tasks of the study: those that it names, or those with the attributes that it asks for."""
        if isinstance(rule, list):
            self.only(what, rule, list(table))
            return rule
        if not rule:
            raise self.wrong(f" says no {what}s; give {what}s = [...], or attributes of {what}s and their values")
        for attribute in rule:
            if any(not hasattr(entry, attribute) for entry in table.values()):
                raise self.wrong(f": a {what} has no attribute '{attribute}'; see {what}s/{what}.py")
        found = [name for name, of in table.items() if all(getattr(of, key) == value for key, value in rule.items())]
        if not found:
            asked = ", ".join(f"{key} = {value!r}" for key, value in rule.items())
            raise self.wrong(f": no {what} has {asked}; see `delrec-bench list {what}s`")
        return found

    def only(self, what: str, names: Collection[str] | None, known: list[str]) -> list[str]:
        """The names asked for, in the study's order; all of them for None."""
        for name in names or ():
            if name not in known:
                raise self.wrong(f" has no {what} '{name}'; {nearest(name, known)}")
        return known if names is None else [name for name in known if name in names]

    def check_names(self) -> None:
        """Refuse methods and tasks that the study has not, and a margin that no difference of scores can exceed."""
        table = self.table
        for pair in (table.primary, *table.contrasts):
            self.only("method", (pair.method, pair.control) if pair else (), self.all_methods)
        if (primary := table.primary) is not None:
            self.only("task", primary.over, self.all_tasks)
            for task, method in product(primary.over, (primary.method, primary.control)):
                if (reason := self.reason(method, task)) is not None:
                    raise self.wrong(f": primary is over '{task}', but {method} has no run there ({reason})")
        if table.finding is not None:
            self.only("task in primary.over for its finding:", table.finding.tasks, primary.over if primary else [])
        # these may stand above the profiles, and be for others
        self.only("method", table.searched, list(self.methods))
        self.only("method", table.without, list(self.methods))
        self.only("task", [*table.margin, *(task for of in table.without.values() for task in of)], list(self.tasks))
        for task, value in table.margin.items():
            metric = metric_named(self.tasks[task].metric)
            low, high = metric.limits
            if low is not None and high is not None and value >= high - low:
                raise self.wrong(f": margin.{task} is {value:g}, but {metric.name} lies in {low:g} to {high:g}")

    # settings and axes

    def swept(self) -> dict[str, dict[Any, dict[str, Any]]]:
        """What is swept: axis -> value, as a request's `point` has it -> the settings that hold there."""
        axes: dict[str, dict[Any, dict[str, Any]]] = {}
        for key, values in self.table.sweep.items():
            if isinstance(values[0], dict):
                axes[key] = {
                    point["name"]: self.full({k: v for k, v in point.items() if k != "name"}, self.keys, "sweep")
                    for point in values
                }
            else:
                (axis,) = self.full({key: values}, self.keys, "sweep")
                axes[axis] = {_called(value): {axis: value} for value in values}
        held = [key for points in axes.values() for key in {key for of in points.values() for key in of}]
        if len(axes) < len(self.table.sweep) or len(set(held)) < len(held):
            raise self.wrong(f", sweep: a setting is held by two of {', '.join(self.table.sweep)}; sweep it once")
        return axes

    def along(self, method: str) -> list[str]:
        """The axes that a method has."""
        known = self.known[method]
        return [axis for axis, points in self.axes.items() if any(key in known for of in points.values() for key in of)]

    def settings(self) -> dict[str | tuple[str, str] | None, dict[str, Any]]:
        """What `set` says for every run (None), a task, a method or both, the profile's over what stands above."""
        found: dict[str | tuple[str, str] | None, dict[str, Any]] = {None: {}}
        above = set().union(*self.known.values())  # for the methods and tasks of any profile
        groups = {key.partition(".")[0] for key in above}
        everyone, ours = (self.methods, self.tasks, above), (self.all_methods, self.all_tasks, self.keys)
        for said, (methods, tasks, keys) in ((self.file.set, everyone), (self.table.set, ours)):
            own = {k: v for k, v in said.items() if isinstance(v, dict) and k not in groups}
            self.only("setting, method or task", own, [*groups, *methods, *tasks])
            found[None].update(self.full({k: v for k, v in said.items() if k not in own}, keys, "set"))
            for owner, of in own.items():
                known = self.known.get(owner, keys)
                places = {k: v for k, v in of.items() if isinstance(v, dict) and k not in groups}
                self.only(f"setting or task in set.{owner}:", places, [*groups, *(tasks if owner in methods else ())])
                everywhere = {k: v for k, v in of.items() if k not in places}
                found.setdefault(owner, {}).update(self.full(everywhere, known, f"set.{owner}"))
                for task, values in places.items():
                    found.setdefault((owner, task), {}).update(self.full(values, known, f"set.{owner}.{task}"))
        return found

    def space(self, taken: Collection[str]) -> dict[str, Any]:
        """What is drawn anew for each repetition, by dotted key."""
        space = {key: of for name, of in self.table.draw.items() for key in self.full({name: 0}, self.keys, "draw")}
        for key in space:
            if not key.startswith(("network.", "training.")) or key == "training.epochs":
                raise self.wrong(f", draw: {key} is not a hyperparameter; draw settings of network.* and training.*")
            if key in taken:
                raise self.wrong(f", draw: {key} is also set or swept; remove one")
        return space

    # rows

    def reason(self, method: str, task: str) -> str | None:
        """Why a method has no runs on a task; None where it has."""
        left_out = task in self.table.without.get(method, ())
        return "left out by the study" if left_out else self.methods[method].reason(self.tasks[task])

    def rows(
        self, methods: list[str], tasks: list[str], data: Mapping[str, str], wanted: Wanted
    ) -> tuple[list[Request], list[tuple[str, str, str]]]:
        """Repetition 0 of every row, and (method, task, reason) of the pairs that do not apply."""
        table, said, firsts, skipped = self.table, self.settings(), [], []
        for task, method in product(tasks, methods):
            if (reason := self.reason(method, task)) is not None:
                skipped.append((method, task, reason))
                continue
            known, theirs = self.known[method], self.along(method)
            merged = said[None] | said.get(task, {}) | said.get(method, {}) | said.get((method, task), {})
            first = Request(
                method, task, 0, table.profile or self.profile, data=data.get(task), device=wanted.device,
                arithmetic=wanted.arithmetic, study=self.name,
            )  # fmt: skip
            for values in product(*(self.axes[axis] for axis in theirs)):
                point = tuple(zip(theirs, values, strict=True))
                here = dict(merged)
                for axis, value in point:
                    here |= self.axes[axis][value]
                # the word "none" is None, as for `--set`, where the setting is no word
                overrides = tuple(
                    (key, None if value == "none" and not isinstance(known[key], str) else value)
                    for key, value in sorted(here.items())
                    if key in known
                )
                request = replace(first, overrides=overrides, point=point)
                firsts.append(request if request.derived else request.trained())
        return firsts, skipped

    def repeated(self, first: Request, repetition: int, space: Mapping[str, Any]) -> Request:
        """A repetition of a run, with what is drawn, or was found by a search, for its task and repetition."""
        known, method, seed = self.known[first.method], self.methods[first.method], repetition + 1
        values = drawn(space, "study", first.task, repetition)
        own = {key: value for key, value in values.items() if key in known}
        if first.method in self.table.searched:
            has = known | dict(first.overrides)
            found = searched_settings(method, first.task, first.profile, first.data, has, seed)
            if found is None:
                command = f"delrec-bench search {first.method} {first.task} --seed {seed}, at this size and profile"
                raise self.wrong(f", searched: repetition {repetition} lacks its search; run {command}")
            own |= found[1]
        return replace(first, repetition=repetition, overrides=tuple(sorted((dict(first.overrides) | own).items())))

    # comparisons

    def placed(self, name: str, pair: P) -> P:
        """The hypothesis, or a contrast, with dotted keys, checked to stand at one point of the axes."""
        places: dict[str, dict[str, Any]] = {}
        for where in (known for known in ("at", "control_at", "minus_at") if hasattr(pair, known)):
            found = self.full(getattr(pair, where), self.axes, f"{name}.{where}")
            places[where] = {key: _called(value) for key, value in found.items()}
            for key, value in places[where].items():
                if value not in self.axes[key]:
                    raise self.wrong(f": {name}.{where}.{key} is {value!r}; it is swept over {list(self.axes[key])}")
        if pair.method == pair.control and places["at"] | places["control_at"] == places["at"]:
            raise self.wrong(f": {name} compares {pair.method} with itself; give control_at, or another control")
        if (minus := places.get("minus_at")) and places["at"] | minus == places["at"]:
            raise self.wrong(f": {name}.minus_at is where both rows are already; give another value")
        for method, at in ((pair.method, places["at"]), (pair.control, places["at"] | places["control_at"])):
            for axis in self.along(method):
                if axis not in at and len(self.axes[axis]) > 1:
                    raise self.wrong(f": {name}.at lacks '{axis}', which {method} is swept along; give its value")
        return pair.model_copy(update=places)


def _called(value: Any) -> Any:
    """What stands for one value of an axis in a request's `point`: itself, or a list's text."""
    return toml_value(value) if isinstance(value, list) else value


def keys_of(
    requests: Sequence[Request], methods: MethodTable, tasks: TaskTable, runs: Iterable[Record | Failure]
) -> list[str]:
    """The key of the run that each request is answered by; of none that is there the request's command.

    Where a run is there several times, that of the newest results version is taken; of several by another engine,
    device, number of threads or arithmetic the one that is most like the request, and a run before a failure; of one
    key the first counts. Runs on several corpora that answer one request (folders of one name, or one whose files
    changed) are a `BenchError`.
    """
    known: dict[str, list[Record | Failure]] = {}
    for one in runs:
        if isinstance(one, Failure) or one.kind in ("run", "floor"):
            known.setdefault(_settings(one.configuration), []).append(one)
    keys = []
    for request in requests:
        values = settle(request, methods[request.method], tasks[request.task]).values
        folder = folder_of(request.data)
        found = [one for one in known.get(_settings(values), ()) if base_and_folder(one.task)[1] == folder]
        if len(corpora := sorted({one.task for one in found})) > 1:
            listed = " and ".join(corpora)
            raise BenchError(f"there are runs on {listed}; name the folder: --data {request.task}=DIR")
        best = min(found, key=lambda one: _rank(one, request), default=None)
        keys.append(request.command() if best is None else best.key)
    return keys


def _settings(configuration: Mapping[str, Any]) -> str:
    """What a run and its request have in common: neither how it was computed, nor the widths that a budget gave."""
    kept = {name: value for name, value in configuration.items() if name not in HOW}
    if kept.get("budget"):
        kept["network"] = {name: value for name, value in kept["network"].items() if name != "hidden"}
    return canonical_json(kept)


def _rank(one: Record | Failure, request: Request) -> tuple[Any, ...]:
    how = {name: one.configuration.get(name) for name in HOW}
    asked = ("device", "arithmetic", "threads", "engine")
    unlike = sum(how[name] not in (getattr(request, name), None) for name in asked)
    return -version_of(one), isinstance(one, Failure), unlike, canonical_json(how)
