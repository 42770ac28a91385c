"""Measuring in processes of their own: pytest runs the suite, its JSON is imported, and what is done stays done.

A process measures a few methods of one task, about a minute's worth, so that one that is killed costs a minute, and a
large network leaves no memory behind.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from delrec_bench.arithmetic import POOLS, environment
from delrec_bench.config import Request
from delrec_bench.environment import machine
from delrec_bench.errors import BenchError
from delrec_bench.latency.importing import import_json
from delrec_bench.latency.networks import BASELINE, cells, resolved
from delrec_bench.methods.base import MethodTable
from delrec_bench.records import RESULTS_VERSION, Record, canonical_json, read_folder, write_record
from delrec_bench.records.finished import parse_json, read_limited
from delrec_bench.schema import Table, checked
from delrec_bench.tasks.base import TaskTable
from delrec_bench.workspace import Workspace

CHECKOUT = Path(__file__).parents[3]
SUITE = "benchmarks/latency/bench_methods.py"
OPTIONS = ("-q", "-s", "-p", "no:xdist", "-p", "no:cacheprovider", "-o", "addopts=--import-mode=importlib")
PROCESS_SECONDS = 60.0
_LEAST = 0.1
_PAIRS = ("overrides", "point")  # of a request: lists in JSON
_TAIL = 1500  # characters of pytest's output that an error shows

Say = Callable[[str], None]


class Plan(Table):
    """What a process of the suite is told, as JSON.

    Attributes:
        root, runs: Of the workspace.
        methods, tasks: Folders of more of them.
        requests: Networks and settings, the fields of `config.Request`; of each task the no-delay network first.
        measure: Which of them, by place; the others are only compared with.
        seconds: Time for one method on one task.
        command: The command that measures again.
    """

    root: str
    runs: str
    methods: list[str] = Field(default_factory=list)
    tasks: list[str] = Field(default_factory=list)
    requests: list[dict[str, Any]]
    measure: list[Annotated[int, Field(ge=0)]]
    seconds: Annotated[float, Field(gt=0)]
    command: str

    def as_requests(self) -> list[Request]:
        """The requests."""
        return [Request(**one | {name: _pairs(one.get(name, ())) for name in _PAIRS}) for one in self.requests]

    @staticmethod
    def read(path: Path) -> Plan:
        """The plan in a file. Raises BenchError."""
        return checked(Plan, parse_json(read_limited(path, 64 * 2**20), path), str(path))


def _pairs(values: Any) -> tuple[tuple[str, Any], ...]:
    return tuple((key, value) for key, value in values)


@dataclass(frozen=True)
class Order:
    """What is to be measured.

    Attributes:
        requests: Of a study, or made by `as_requests`; those that name one network on one task count once.
        methods, tasks: The tables.
        workspace: Where records are kept.
        folders: Folders of more methods, and of more tasks, for the processes.
        each: Seconds for one method on one task.
        quick: Three rounds each.
        again: Measure what is measured already, too; the newer one takes the place of an alike one.
        pytest: More options of pytest.
        command: The command that measures again.
    """

    requests: Sequence[Request]
    methods: MethodTable
    tasks: TaskTable
    workspace: Workspace
    folders: tuple[Sequence[str], Sequence[str]] = ((), ())
    each: float = 15.0
    quick: bool = False
    again: bool = False
    pytest: Sequence[str] = ()
    command: str = "delrec-bench bench"


@dataclass
class Outcome:
    """What came of an order.

    Attributes:
        records: One a method and task, in the order of the requests.
        measured: How many of them were measured now.
        failed: What could not be measured, and why, in a line each.
    """

    records: list[Record] = field(default_factory=list)
    measured: int = 0
    failed: list[str] = field(default_factory=list)


def can_measure(say: Say) -> bool:
    """Whether this is a checkout, which has the suite that measures; what is left out is said."""
    if (CHECKOUT / SUITE).is_file():
        return True
    say("latency is left out: it is measured in a checkout, not from an installed package")
    return False


def measure(order: Order, say: Say = lambda line: None) -> Outcome:
    """Measure what is not measured yet on this machine: training step, batch inference, batch 1.

    Raises:
        BenchError: Time that is not above 0, a request that is wrong, or a suite that cannot run.
    """
    if not order.each > 0:
        raise BenchError(f"latency: {order.each!r} seconds a method; it must be above 0")
    requests = cells(order.requests, order.methods, order.tasks)
    keys: dict[int, str] = {}
    outcome = Outcome()
    for place, request in enumerate(requests):
        try:
            keys[place] = resolved(request, order.methods, order.tasks, order.workspace).key
        except BenchError as error:
            outcome.failed.append(f"{request.method} on {request.task}: {error}")
    done = _done(order.workspace, say)
    waiting = [place for place, key in keys.items() if order.again or key not in done]
    for number, group in enumerate(groups := list(_groups(waiting, requests, order.each)), 1):
        names = ", ".join(requests[place].method for place in group)
        say(f"latency {number}/{len(groups)}: {requests[group[0]].task}: {names}")
        for record in _run(order, requests, group, outcome, say):
            write_record(order.workspace.runs / record.key / "record.json", record)
            done[record.result["run"]] = record
            outcome.measured += 1
    outcome.records = [done[key] for key in keys.values() if key in done]
    for line in outcome.failed:
        say(f"no latency of {line}")
    return outcome


def _done(workspace: Workspace, say: Say) -> dict[str, Record]:
    """The newest latency of each run that was measured on this machine by this version, by the run's key."""
    found = [r for r in read_folder(workspace.runs, say)[0] if r.kind == "latency"]
    found = [r for r in found if r.measured.get("host") == machine(r.device)]
    ours = [r for r in found if "run" in r.result and r.provenance.get("results_version") == RESULTS_VERSION]
    ours.sort(key=lambda r: str(r.measured.get("finished_at")))
    return {r.result["run"]: r for r in ours}


def _groups(waiting: Sequence[int], requests: Sequence[Request], each: float) -> Iterator[list[int]]:
    size = max(1, int(PROCESS_SECONDS / max(each, _LEAST)))
    settings = dict.fromkeys((requests[p].task, requests[p].data, requests[p].threads) for p in waiting)
    for alike in settings:
        of_task = [p for p in waiting if (requests[p].task, requests[p].data, requests[p].threads) == alike]
        yield from (of_task[i : i + size] for i in range(0, len(of_task), size))


def _run(order: Order, requests: Sequence[Request], group: Sequence[int], outcome: Outcome, say: Say) -> list[Record]:
    """Measure a group in a process and import what it wrote; what failed is noted."""
    if not (CHECKOUT / SUITE).is_file():
        raise BenchError(
            f"latency is measured in a checkout: {CHECKOUT / SUITE} is not there; leave it out (--no-latency)"
        )
    first = requests[group[0]]
    where = (first.task, first.data)
    yardstick = next(i for i, r in enumerate(requests) if r.method == BASELINE and (r.task, r.data) == where)
    chosen = list(dict.fromkeys([yardstick, *group]))
    with tempfile.TemporaryDirectory() as folder:
        plan, out = Path(folder) / "plan.json", Path(folder) / "benchmark.json"
        content = {
            "root": str(order.workspace.root),
            "runs": str(order.workspace.runs),
            "methods": list(order.folders[0]),
            "tasks": list(order.folders[1]),
            "requests": [asdict(_placed(requests[i])) for i in chosen],
            "measure": [chosen.index(place) for place in group],
            "seconds": float(order.each),
            "command": order.command,
        }
        plan.write_text(canonical_json(content), encoding="utf-8")
        words = ["--plan", str(plan), "--benchmark-json", str(out), "--threads", str(first.threads)]
        words += ["--quick"] if order.quick else []
        code, text = run_suite([*words, *order.pytest], first.threads, say)
        records = import_json(out) if out.is_file() else []
    measured = {(r.method, r.task.partition(":")[0]) for r in records}
    lost = [requests[p] for p in group if (requests[p].method, requests[p].task) not in measured]
    if code not in (0, 1) and not records:
        raise BenchError(f"the latency suite could not run (pytest exit {code}): {text[-_TAIL:].strip()}")
    reasons = [line for line in text.splitlines() if line.startswith("E   ")]
    outcome.failed += [f"{r.method} on {r.task}: {' '.join(reasons)[:300] or f'pytest exit {code}'}" for r in lost]
    return records


def _placed(request: Request) -> Request:
    """The request with its folder of files as seen from everywhere: the suite runs in the checkout."""
    return request if request.data is None else replace(request, data=str(Path(request.data).absolute()))


def run_suite(words: Sequence[str], threads: int, say: Say) -> tuple[int, str]:
    """Run the suite in a process of its own, at its threads; return the exit code and what it said.

    Each measurement is passed on as its line comes, and pytest-benchmark's own tables where a comparison is asked for.
    The process ends with this one.
    """
    # without the variables of a pytest around this one: a worker of xdist would record nothing
    outside = {name: value for name, value in environment("native").items() if not name.startswith("PYTEST_")}
    env = {**outside, **dict.fromkeys(POOLS, str(threads))}
    env["PYTHONPATH"] = os.pathsep.join([str(CHECKOUT), *filter(None, sys.path)])
    quiet = [] if any(word.startswith("--benchmark-compare") for word in words) else ["--benchmark-quiet"]
    command = [sys.executable, "-m", "pytest", *OPTIONS, *quiet, SUITE, *words]
    lines, in_table = [], False
    with subprocess.Popen(
        command, cwd=CHECKOUT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                in_table = in_table or (line.startswith("---") and " benchmark" in line)
                if in_table or " | " in line:
                    say(line.rstrip() if in_table else line.strip(" .\n"))
        except BaseException:
            process.terminate()
            raise
    return process.returncode, "".join(lines)
