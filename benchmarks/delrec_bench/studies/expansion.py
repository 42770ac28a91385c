"""Studies: which runs one asks for."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from delrec_bench.config import Request, defaults, dotted, full_key, read_toml
from delrec_bench.errors import BenchError, nearest
from delrec_bench.methods.base import MethodTable
from delrec_bench.records import is_number
from delrec_bench.studies.search import Search, parse
from delrec_bench.studies.sharding import Shard, shard
from delrec_bench.tasks.base import TaskTable

FOLDER = Path(__file__).parent


# What a study's table may hold: a key, what it must be, and whether it is.
KEYS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "methods": ("a list of names, or attributes and their values", lambda v: isinstance(v, dict) or _words(v)),
    "tasks": ("a list of names, or attributes and their values", lambda v: isinstance(v, dict) or _words(v)),
    "repetitions": ("a whole number of at least 1", lambda v: isinstance(v, int) and not isinstance(v, bool) and v > 0),
    "profile": ("the name of a profile", lambda v: isinstance(v, str)),
    "set": ("a table of settings", lambda v: isinstance(v, dict)),
    "search": ("a table of trials and perhaps a space", lambda v: isinstance(v, dict)),
    "data": ("folders by task", lambda v: isinstance(v, dict) and _words(list(v.values()))),
    "minutes": ("a number", is_number),
    "sizes": ("three numbers by task", lambda v: isinstance(v, dict) and all(map(_three_numbers, v.values()))),
}
MERGED = ("set", "data", "sizes")  # of these a profile adds to what stands above the tables
GROUPS = ("task", "training", "network", "seeds")


@dataclass(frozen=True)
class Wanted:
    """What the command line asks of a study; None leaves what the study says.

    Attributes:
        methods, tasks: Only these of the study's.
        repetitions: How many.
        data: Folder of a user's own files by task, as `run --data`.
        shard: Only the i-th of n parts, see `studies.sharding`.
        device: Where the networks are.
    """

    methods: tuple[str, ...] | None = None
    tasks: tuple[str, ...] | None = None
    repetitions: int | None = None
    data: Mapping[str, str] = field(default_factory=dict)
    shard: Shard | None = None
    device: str | None = None

    @property
    def part(self) -> bool:
        """Whether only a part of the study's rows is asked for."""
        return any(wanted is not None for wanted in (self.methods, self.tasks, self.shard))


@dataclass(frozen=True)
class Study:
    """A study in one profile, expanded.

    Attributes:
        name, profile: What was asked for.
        requests: Every run, repetition by repetition, so that early results cover all methods.
        skipped: (method, task, reason) of pairs that do not apply.
        minutes: Time that the profile may take in all, or None.
        sizes: (training samples, steps, channels) by task, for estimates without data.
        search: What is tried before the runs, whose settings it chooses; None for none.
        page: Folder below reports/ for a study with a page of its own; None for the leaderboard's.
    """

    name: str
    profile: str
    requests: tuple[Request, ...]
    skipped: tuple[tuple[str, str, str], ...] = ()
    minutes: float | None = None
    sizes: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    search: Search | None = None
    page: str | None = None

    @property
    def presets(self) -> str:
        """The profile of presets, which a study's table may name apart from its own."""
        return self.requests[0].profile if self.requests else self.profile


def studies() -> dict[str, dict[str, Any]]:
    """Every study by name, as its TOML file says."""
    return {path.stem: read_toml(path) for path in sorted(FOLDER.glob("*.toml"))}


def pages() -> list[str]:
    """Studies whose rows are a page of their own, reports/<study>/: `own_page = true` in the file."""
    return [name for name, content in studies().items() if content.get("own_page") is True]


def expand(name: str, profile: str, methods: MethodTable, tasks: TaskTable, wanted: Wanted | None = None) -> Study:
    """The runs of a study in a profile.

    A table of the TOML file is a profile. It chooses `methods` and `tasks` (a list of names, or attributes and their
    values), the number of `repetitions`, another `profile` of presets, folders of `data` by task, a `search`, and
    settings of its own in `set`: for every run, in `set.TASK` for one task, and over both in `set.METHOD` for one
    method. What stands above the tables goes for every profile that does not say otherwise.

    Raises:
        BenchError: No such study, no such profile in it, or a table or `wanted` that names something unknown.
    """
    wanted = wanted or Wanted()
    table = _table(name, profile)
    all_methods = _choose("methods", table.get("methods", {}), methods, name)
    all_tasks = _choose("tasks", table.get("tasks", {}), tasks, name)
    chosen_methods = _only("method", wanted.methods, all_methods, name)
    chosen_tasks = _only("task", wanted.tasks, all_tasks, name)
    _only("task", tuple(table.get("data", {})), all_tasks, name)
    data = {task: str(Path(folder).expanduser()) for task, folder in (table.get("data", {}) | wanted.data).items()}
    _only("task", tuple(wanted.data), chosen_tasks, name)
    repetitions = table.get("repetitions", 3) if wanted.repetitions is None else wanted.repetitions
    if repetitions < 1:
        raise BenchError(f"--repetitions is {repetitions}; it must be at least 1")
    names = {key for method in methods.values() for key in defaults(method)}
    settings = _settings(table.get("set", {}), name, names, [*tasks, *methods])
    for owner in filter(None, settings):
        what, of_study = ("method", all_methods) if owner in methods else ("task", all_tasks)
        _only(what, (owner,), of_study, name)
        for key in settings[owner] if owner in methods else ():
            if key not in (has := defaults(methods[owner])):
                raise BenchError(f"study '{name}', set.{owner}: it has no setting '{key}'; {nearest(key, has)}")
    search = parse(table["search"], f"study '{name}'", names) if "search" in table else None
    firsts, skipped = [], []
    for task in chosen_tasks:
        for method in chosen_methods:
            reason = methods[method].applicable(tasks[task])
            if reason is not None:
                skipped.append((method, task, reason))
                continue
            known = defaults(methods[method])
            merged = settings[None] | settings.get(task, {}) | settings.get(method, {})
            own = tuple((key, value) for key, value in sorted(merged.items()) if key in known)
            presets = table.get("profile", profile)
            firsts.append(Request(method, task, 0, presets, data=data.get(task), overrides=own, study=name))
    if wanted.device is not None:
        firsts = [replace(first, device=wanted.device) for first in firsts]
    requests = tuple(replace(first, repetition=r) for r in range(repetitions) for first in firsts)
    if wanted.shard is not None:
        requests = tuple(shard(requests, wanted.shard, methods, tasks))
    sizes = {task: (size[0], size[1], size[2]) for task, size in table.get("sizes", {}).items()}
    page = name if name in pages() else None
    return Study(name, profile, requests, tuple(skipped), table.get("minutes"), sizes, search, page)


def _table(name: str, profile: str) -> dict[str, Any]:
    known = studies()
    if name not in known:
        raise BenchError(f"no study '{name}'; {nearest(name, known)}")
    content = known[name]
    has = [key for key, value in content.items() if isinstance(value, dict) and key not in KEYS]
    if profile not in has:
        raise BenchError(f"study '{name}' has no profile '{profile}'; {nearest(profile, has)}")
    table = {key: value for key, value in content.items() if key in KEYS}
    for key, value in content[profile].items():
        if key not in KEYS:
            raise BenchError(f"study '{name}', profile '{profile}': unknown key '{key}'; {nearest(key, KEYS)}")
        both = key in MERGED and isinstance(value, dict) and isinstance(table.get(key), dict)
        table[key] = table[key] | value if both else value
    for key, value in table.items():
        wanted, right = KEYS[key]
        if not right(value):
            raise BenchError(f"study '{name}', profile '{profile}': {key} is {value!r}; it must be {wanted}")
    return table


def _words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


def _three_numbers(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(map(is_number, value))


def _settings(
    table: Mapping[str, Any], study: str, known: Iterable[str], owners: Collection[str]
) -> dict[str | None, dict[str, Any]]:
    """What `set` says by dotted key: for every run (None), and for the tasks and methods that it names."""
    for name, value in table.items():
        if isinstance(value, dict) and name not in owners and name not in GROUPS:
            raise BenchError(f"study '{study}': unknown table 'set.{name}'; {nearest(name, [*owners, *GROUPS])}")

    def named(values: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return {full_key(key, known): value for key, value in dotted(values).items()}
        except BenchError as error:
            raise BenchError(f"study '{study}', set: {error}") from error

    general = {key: value for key, value in table.items() if key not in owners}
    found: dict[str | None, dict[str, Any]] = {None: named(general)}
    return found | {owner: named(values) for owner, values in table.items() if owner in owners}


def _only(what: str, names: tuple[str, ...] | None, known: list[str], study: str) -> list[str]:
    """The names asked for, in the study's order; all of them for None."""
    for name in names or ():
        if name not in known:
            raise BenchError(f"study '{study}' has no {what} '{name}'; {nearest(name, known)}")
    return known if names is None else [name for name in known if name in names]


def _choose(what: str, rule: Any, table: Mapping[str, Any], study: str) -> list[str]:
    if isinstance(rule, list):
        for name in rule:
            table[name]  # an unknown name is an error that names the nearest
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
