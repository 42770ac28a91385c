"""Studies: which runs one asks for."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from delrec_bench.arithmetic import Arithmetic
from delrec_bench.config import FORECAST, Device, Request, defaults, full_key
from delrec_bench.errors import BenchError, nearest
from delrec_bench.methods.base import MethodTable
from delrec_bench.studies.claims import check_margins, check_pairs, check_rows, placed
from delrec_bench.studies.draws import drawn
from delrec_bench.studies.file import (
    MOST_REPETITIONS,
    Contrast,
    FindingTable,
    Primary,
    in_package,
    pages_of_package,
    study_file,
    study_path,
)
from delrec_bench.studies.setting import check_set, settings_of
from delrec_bench.studies.sweep import axes_of, called, has, held, left_out, points, said
from delrec_bench.tasks.base import TaskTable


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

    @property
    def part(self) -> bool:
        """Whether only a part of the study's rows is asked for."""
        return any(wanted is not None for wanted in (self.methods, self.tasks))


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
        primary: The pooled hypothesis, or None.
        contrasts: What else is compared.
        notes: What its readers must know.
        margin: By task: a smaller difference of scores is none, in the score's own unit.
        scored: Whether the page expects its runs.
        exhibits: A breach of protocol that it shows on purpose, or None.
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
    primary: Primary | None = None
    contrasts: tuple[Contrast, ...] = ()
    notes: tuple[str, ...] = ()
    margin: Mapping[str, float] = field(default_factory=dict)
    scored: bool = True
    exhibits: str | None = None
    path: str = ""
    data: Mapping[str, str] = field(default_factory=dict)
    narrowed: tuple[str, ...] = ()

    @property
    def argument(self) -> str:
        """What `--study` takes for it: for a user's own file, the file."""
        path = Path(self.path)
        return self.name if in_package(path) else path.name

    @property
    def presets(self) -> str:
        """The profile of presets, which a study's table may name apart from its own."""
        return self.requests[0].profile if self.requests else self.profile


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
    wanted = wanted or Wanted()
    path = study_path(name)
    file, name = study_file(path), path.stem
    if profile is not None and profile not in file.profiles:
        raise BenchError(f"study '{name}' has no profile '{profile}'; {nearest(profile, file.profiles)}")
    profile, table = file.profile_named(profile)
    if not in_package(path) and (page := file.page(name, profile)) in pages_of_package():
        raise BenchError(f"study '{path}', profile '{profile}' would be page '{page}' of this package; rename the file")
    all_methods = _choose("methods", table.methods, methods, name)
    all_tasks = _choose("tasks", table.tasks, tasks, name)
    chosen_methods = _only("method", wanted.methods, all_methods, name)
    chosen_tasks = _only("task", wanted.tasks, all_tasks, name)
    said_here = file.profiles[
        profile
    ].model_fields_set  # what stands above is for the tasks and methods of all profiles
    _only("task", tuple(table.primary.over) if table.primary else (), all_tasks, name)
    _only("task", tuple(file.profiles[profile].data), all_tasks, name)
    _only("task", tuple(table.data), list(tasks), name)
    for method, of in table.without.items():
        _only("method", (method,), all_methods if "without" in said_here else list(methods), name)
        _only("task", tuple(of), all_tasks if "without" in said_here else list(tasks), name)
    _only("task", tuple(table.margin), list(tasks), name)  # it may stand above the profiles, for the tasks of all
    check_margins(table.margin, tasks, name)
    for pair in (table.primary, *table.contrasts):
        if pair is not None:
            _only("method", (pair.method, pair.control), all_methods, name)
    _only("task", tuple(wanted.data), chosen_tasks, name)
    data = {task: str(Path(folder).expanduser()) for task, folder in (table.data | dict(wanted.data)).items()}
    data = {task: folder for task, folder in data.items() if task in chosen_tasks}
    repetitions = table.repetitions if wanted.repetitions is None else wanted.repetitions
    if not 1 <= repetitions <= MOST_REPETITIONS:
        raise BenchError(f"--repetitions is {repetitions}; it must be from 1 to {MOST_REPETITIONS}")
    forecasts = any(tasks[task].family == "forecast" for task in all_tasks)
    names = {key for method in methods.values() for key in defaults(method) if forecasts or key not in FORECAST}
    above, own_set = (settings_of(layer, name, names, [*tasks, *methods]) for layer in file.sets(profile))
    settings = {owner: above.get(owner, {}) | own_set.get(owner, {}) for owner in {**above, **own_set}}
    for owner in filter(None, settings):
        if owner in own_set:  # what stands above the profiles may be of another one's
            what, of_study = ("method", all_methods) if owner in methods else ("task", all_tasks)
            _only(what, (owner,), of_study, name)
        for key in settings[owner] if owner in methods else ():
            if key not in (theirs := defaults(methods[owner])):
                raise BenchError(f"study '{name}', set.{owner}: it has no setting '{key}'; {nearest(key, theirs)}")
    axes = axes_of(table.sweep, name, names)
    beside = settings if "sweep" not in said_here else own_set  # on the sweep's level
    check_set(own_set, beside, axes, {m: methods[m] for m in all_methods}, name)
    for axis, values in axes.items():
        if not any(has(axis, values, defaults(methods[method])) for method in all_methods):
            none = ", ".join(all_methods)
            raise BenchError(f"study '{name}', sweep: none of {none} has {axis}; sweep another setting")
    primary = None if table.primary is None else placed(table.primary, axes, methods, name)
    contrasts = tuple(placed(contrast, axes, methods, name) for contrast in table.contrasts)
    _only("method", tuple(table.not_at), all_methods, name)
    not_at = {
        method: left_out(of, axes, defaults(methods[method]), f"study '{name}', not_at.{method}")
        for method, of in table.not_at.items()
    }
    firsts, skipped = [], []
    for task in chosen_tasks:
        for method in chosen_methods:
            without = "left out by the study" if task in table.without.get(method, ()) else None
            reason = without or methods[method].applicable(tasks[task])
            if reason is not None:
                skipped.append((method, task, reason))
                continue
            known = defaults(methods[method])
            merged = settings[None] | settings.get(task, {}) | settings.get(method, {})
            own = {key: said(value, known[key]) for key, value in merged.items() if key in known}
            first = Request(
                method, task, 0, table.profile or profile, data=data.get(task), device=wanted.device,
                arithmetic=wanted.arithmetic, study=name,
                exhibits=file.exhibits,
            )  # fmt: skip
            for point in points({key: values for key, values in axes.items() if has(key, values, known)}):
                if any(called(point[key]) in values for key, values in not_at.get(method, {}).items()):
                    continue
                swept = {key: value for at in point.items() for key, value in held(*at).items() if key in known}
                here = own | {key: said(value, known[key]) for key, value in swept.items()}
                place = tuple((key, called(value)) for key, value in point.items())
                request = replace(first, overrides=tuple(sorted(here.items())), point=place)
                firsts.append(request if request.derived else request.trained())
    check_rows(firsts, methods, tasks, {key for of in own_set.values() for key in of}, axes, name)
    check_pairs(primary, contrasts, firsts, chosen_tasks, chosen_methods, name)
    taken = {key for first in firsts for key, _ in first.overrides}
    space = _space(table.draw, names, taken, name)
    requests = tuple(_repeated(first, r, space, methods) for r in range(repetitions) for first in firsts)
    return Study(
        name=name,
        profile=profile,
        requests=requests,
        skipped=tuple(skipped),
        minutes=table.minutes,
        page=file.page(name, profile),
        summary=file.summary,
        question=table.question,
        finding=table.finding,
        repetitions=repetitions,
        axes=axes,
        primary=primary,
        contrasts=contrasts,
        notes=tuple(table.notes),
        margin=table.margin,
        scored=table.scored,
        exhibits=file.exhibits,
        path=str(path),
        data=data,
        narrowed=tuple(_narrowed(wanted, chosen_methods != all_methods, chosen_tasks != all_tasks, table.repetitions)),
    )


def _space(draw: Mapping[str, Any], names: Iterable[str], taken: set[str], study: str) -> dict[str, Any]:
    """What is drawn anew for each repetition, by dotted key."""
    where = f"study '{study}', draw"
    space = {full_key(key, names): choice for key, choice in draw.items()}
    for key in space:
        if not key.startswith(("network.", "training.")) or key == "training.epochs":
            raise BenchError(f"{where}: {key} is no hyperparameter; draw settings of network.* and training.*")
        if key in taken:
            raise BenchError(f"{where}: {key} is set or swept as well; leave one of them out")
    return space


def _repeated(first: Request, repetition: int, space: Mapping[str, Any], methods: MethodTable) -> Request:
    """A repetition of a run, with what is drawn for its task and repetition."""
    known = defaults(methods[first.method])
    values = {key: value for key, value in drawn(space, "study", first.task, repetition).items() if key in known}
    return replace(first, repetition=repetition, overrides=tuple(sorted({**dict(first.overrides), **values}.items())))


def _narrowed(wanted: Wanted, methods: bool, tasks: bool, repetitions: int) -> Iterable[str]:
    """What of the command line takes away methods, tasks or runs, or changes the repetitions."""
    if wanted.methods is not None and methods:
        yield f"--only-methods {','.join(wanted.methods)}"
    if wanted.tasks is not None and tasks:
        yield f"--only-tasks {','.join(wanted.tasks)}"
    if wanted.repetitions not in (None, repetitions):
        yield f"--repetitions {wanted.repetitions}"


def _only(what: str, names: tuple[str, ...] | None, known: list[str], study: str) -> list[str]:
    """The names asked for, in the study's order; all of them for None."""
    for name in names or ():
        if name not in known:
            raise BenchError(f"study '{study}' has no {what} '{name}'; {nearest(name, known)}")
    return known if names is None else [name for name in known if name in names]


def _choose(what: str, rule: Any, table: Mapping[str, Any], study: str) -> list[str]:
    if isinstance(rule, list):
        for name in rule:
            if name not in table:
                raise BenchError(f"study '{study}': no {what.removesuffix('s')} '{name}'; {nearest(name, table)}")
        return list(rule)
    names = []
    for name, entry in table.items():
        for attribute in rule:
            if not hasattr(entry, attribute):
                raise BenchError(
                    f"study '{study}': {what} have no attribute '{attribute}'; see methods/base.py, tasks/base.py"
                )
        if all(getattr(entry, attribute) == value for attribute, value in rule.items()):
            names.append(name)
    return names
