"""Studies: which runs one asks for, what they will cost, and which finished runs belong to it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from delrec_bench.configuration import Request, Resolved, defaults, dotted, read_toml, resolve
from delrec_bench.errors import BenchError, nearest
from delrec_bench.methods.base import MethodTable
from delrec_bench.records import Record
from delrec_bench.tasks.base import TaskTable
from delrec_bench.workspace import Workspace, write_atomic

FOLDER = Path(__file__).parent / "studies"
MEMBERS = ".studies"  # below runs/: which keys belong to a study

# One core: what training costs, found on the quick profile. Feedforward delays cost some products of their window.
OPERATIONS_PER_SECOND = 2e10
SECONDS_PER_BATCH_STEP = 3e-5
PRODUCTS_OF_A_WINDOW = 0.2
START_SECONDS = 1.0
BYTES_OF_A_PROCESS = 600e6
BYTES_OF_A_RECORD = 100e3


@dataclass(frozen=True)
class Study:
    """A study in one profile, expanded.

    Attributes:
        name, profile: What was asked for.
        requests: Every run, repetition by repetition, so that early results cover all methods.
        skipped: (method, task, reason) of pairs that do not apply.
        minutes: Time that the profile may take in all, or None.
        sizes: (training samples, steps, channels) by task, for estimates without data.
    """

    name: str
    profile: str
    requests: tuple[Request, ...]
    skipped: tuple[tuple[str, str, str], ...] = ()
    minutes: float | None = None
    sizes: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Estimate:
    """What runs are expected to take: seconds of one core each, and bytes."""

    runs: int
    seconds: float
    longest: float
    memory: float
    disk: float

    def __str__(self) -> str:
        hours = self.seconds / 3600
        time = f"{hours:.1f} core hours" if hours >= 1 else f"{self.seconds / 60:.1f} core minutes"
        return (
            f"{self.runs} runs, {time}, {self.memory / 1e9:.1f} GB of memory a worker, {self.disk / 1e6:.0f} MB of disk"
        )


def studies() -> dict[str, dict[str, Any]]:
    """Every study by name, as its TOML file says."""
    return {path.stem: read_toml(path) for path in sorted(FOLDER.glob("*.toml"))}


def expand(name: str, profile: str, methods: MethodTable, tasks: TaskTable) -> Study:
    """The runs of a study in a profile.

    A table of the TOML file chooses `methods` and `tasks` (a list of names, or attributes and their values), the number
    of `repetitions`, another `profile` of presets, and settings of its own in `set`.

    Raises:
        BenchError: No such study, no such profile in it, or a table that chooses by something unknown.
    """
    known = studies()
    if name not in known:
        raise BenchError(f"no study '{name}'; {nearest(name, known)}")
    table = known[name].get(profile)
    if not isinstance(table, dict):
        has = [key for key, value in known[name].items() if isinstance(value, dict)]
        raise BenchError(f"study '{name}' has no profile '{profile}'; {nearest(profile, has)}")
    chosen_methods = _choose("methods", table.get("methods", {}), methods, name)
    chosen_tasks = _choose("tasks", table.get("tasks", {}), tasks, name)
    pairs, skipped = [], []
    for task in chosen_tasks:
        for method in chosen_methods:
            reason = methods[method].applicable(tasks[task])
            if reason is None:
                pairs.append((method, task))
            else:
                skipped.append((method, task, reason))
    settings = sorted(dotted(table.get("set", {})).items())
    own = {
        method: tuple((key, value) for key, value in settings if key in defaults(methods[method]))
        for method in chosen_methods
    }
    requests = tuple(
        Request(method, task, repetition, table.get("profile", profile), overrides=own[method], study=name)
        for repetition in range(table.get("repetitions", 3))
        for method, task in pairs
    )
    sizes = {task: (size[0], size[1], size[2]) for task, size in table.get("sizes", {}).items()}
    return Study(name, profile, requests, tuple(skipped), table.get("minutes"), sizes)


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


def estimate(
    requests: Iterable[Request],
    methods: MethodTable,
    tasks: TaskTable,
    records: Iterable[Record],
    sizes: Mapping[str, tuple[int, int, int]] | None = None,
) -> Estimate:
    """Time, memory and disk of runs: as measured where a record of the same profile exists, else from a formula.

    The formula counts 6 operations a weight, sample, step and epoch (forward and backward) and a time a step of a
    batch that no size removes. It is meant to be right within a factor of two or three.
    """
    measured: dict[tuple[str, str, str], list[float]] = {}
    for record in records:
        wall = record.measured.get("wall_seconds")
        if wall and record.kind != "latency":
            setting = (record.method, record.task, str(record.configuration.get("profile")))
            measured.setdefault(setting, []).append(float(wall))
    count, longest, total, memory, disk = 0, 0.0, 0.0, BYTES_OF_A_PROCESS, 0.0
    for request in requests:
        resolved = resolve(request, methods[request.method], tasks[request.task])
        seconds, held, stored = _formula(resolved, (sizes or {}).get(request.task, (2000, 100, 100)))
        seen = measured.get((request.method, request.task, request.profile))
        seconds = sum(seen) / len(seen) if seen else seconds
        count, total, longest = count + 1, total + seconds, max(longest, seconds)
        memory, disk = max(memory, BYTES_OF_A_PROCESS + held), disk + stored
    return Estimate(count, total, longest, memory, disk)


def _formula(resolved: Resolved, size: tuple[int, int, int]) -> tuple[float, float, float]:
    samples, steps, channels = size
    samples = min(samples, resolved.options.limit or samples)
    if resolved.method.build is None:
        return 5.0, 0.0, BYTES_OF_A_RECORD
    hidden = resolved.network.get("hidden") or [128]
    widths = [channels, *hidden]
    weights = sum(a * b for a, b in pairwise(widths)) + sum(h * h for h in hidden)
    training = resolved.training
    dense = 1 + PRODUCTS_OF_A_WINDOW * resolved.network.get("window", 0)
    operations = 6.0 * weights * dense * steps * samples * training.epochs
    updates = training.epochs * samples / training.batch
    seconds = (
        START_SECONDS + operations / OPERATIONS_PER_SECOND + updates * steps * SECONDS_PER_BATCH_STEP * len(hidden)
    )
    held = 4.0 * 6 * training.batch * steps * sum(widths)
    return seconds, held, BYTES_OF_A_RECORD + 8.0 * weights


def remember_members(workspace: Workspace, study: str, keys: Iterable[str]) -> None:
    """Note that runs belong to a study: a record is the same whoever asked for it, so this stands beside it."""
    path = workspace.runs / MEMBERS / f"{study}.json"
    known = set(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else set()
    together = sorted(known | set(keys))
    if set(together) != known:
        write_atomic(path, json.dumps(together, indent=1) + "\n")


def members(workspace: Workspace) -> dict[str, str]:
    """Study by key, of every run that a study asked for."""
    out: dict[str, str] = {}
    for path in sorted((workspace.runs / MEMBERS).glob("*.json")):
        for key in json.loads(path.read_text(encoding="utf-8")):
            out[key] = path.stem
    return out
