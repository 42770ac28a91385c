"""Measuring in a process of its own, whose arithmetic is native: pytest runs the suite, which writes the records."""

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from delrec import count_parameters

from delrec_bench.arithmetic import POOLS, environment
from delrec_bench.config import Request
from delrec_bench.environment import machine
from delrec_bench.errors import BenchError
from delrec_bench.latency.subjects import BASELINE, MODES, Subject, planned, to_measure
from delrec_bench.latency.timing import QUICK, SLOW, Times, quartiles
from delrec_bench.records import RESULTS_VERSION, Record, latency_key, read_folder
from delrec_bench.runs.executors import Place, Planned
from delrec_bench.runs.recording import make_record
from delrec_bench.workspace import Workspace

CHECKOUT = Path(__file__).parents[3]
SUITE = "benchmarks/latency/bench_methods.py"
OPTIONS = ("-q", "-s", "-p", "no:xdist", "-p", "no:cacheprovider", "-o", "addopts=--import-mode=importlib")

Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Plan:
    """What a process of the suite is to measure; it is pickled."""

    runs: Sequence[Planned]  # the no-delay network of each task among them
    measure: Sequence[int]  # their places; the others are only compared with
    place: Place  # where records are kept, with the folders of more methods and tasks
    seconds: float  # for one method on one task
    command: str  # that measures again


class Outcome(NamedTuple):
    """A record for each method and task, how many of them were measured now, and why others have none, in a line."""

    records: list[Record]
    measured: int
    failed: list[str]


def measure(
    requests: Sequence[Request], place: Place, *, each: float = 15.0, quick: bool = False, again: bool = False,
    pytest: Sequence[str] = (), command: str = "delrec-bench bench", say: Say = lambda line: None,
) -> Outcome:  # fmt: skip
    """Measure what is not measured yet on this machine: training step, batch inference, batch 1.

    Requests that name one network on one task count once. `each` are the seconds for one method on one task, `quick` is
    three rounds. `again` measures what is measured already, too: the newer record takes the place of an alike one.
    `pytest` are more options of pytest.
    """
    if not (CHECKOUT / SUITE).is_file():
        raise BenchError(f"latency can only be measured in a clone: {CHECKOUT / SUITE} is missing")
    # the suite runs in the checkout, wherever a folder of files was named from
    requests = [r if r.data is None else replace(r, data=str(Path(r.data).absolute())) for r in requests]
    (methods, tasks), workspace, runs, failed = place.tables(), place.workspace, [], []
    for request in to_measure(requests, methods, tasks):
        try:
            runs.append(planned(request, methods, tasks, workspace))
        except BenchError as error:
            failed.append(f"{request.method} on {request.task}: {error}")
    before = done = _measured(workspace, say)
    keys = [run.asked.key for run in runs]
    waiting = [n for n, key in enumerate(keys) if again or key not in before or (_quick(before[key]) and not quick)]
    if waiting:
        plan = Plan(runs, waiting, place, each, command)
        code, text = _run_suite(plan, quick, pytest, say)
        if code > 1:
            raise BenchError(f"the latency suite could not run (pytest exit {code}): {text[-1500:].strip()}")
        done = _measured(workspace, say)
        for run in (runs[number] for number in waiting):
            if done.get(run.asked.key) == before.get(run.asked.key):
                name = f"[{label(run)}-"
                lines = [line for line in text.splitlines() if line.startswith(("FAILED ", "ERROR ")) and name in line]
                failed.append(f"{run}: {lines[0].partition(' - ')[2] if lines else f'pytest exit {code}'}")
    for line in failed:
        say(f"no latency of {line}")
    found = [done[run.asked.key] for run in runs if run.asked.key in done]
    return Outcome(found, sum(r != before.get(r.result["run"]) for r in found), failed)


def label(run: Planned) -> str:
    """What the suite calls a run."""
    return f"{run.asked.configuration['task']['name']}-{run.asked.method}"


def _measured(workspace: Workspace, say: Say) -> dict[str, Record]:
    """The newest latency of each run that was measured on this machine by this version, by the run's key."""
    found = [r for r in read_folder(workspace.runs, say)[0] if r.kind == "latency"]
    found = [r for r in found if r.measured.get("host") == machine(r.device)]
    ours = [r for r in found if "run" in r.result and r.provenance.get("results_version") == RESULTS_VERSION]
    return {r.result["run"]: r for r in sorted(ours, key=lambda r: r.finished)}


def _quick(record: Record) -> bool:
    """Whether it is of three rounds, though what it measured is not slow."""
    of = record.result
    return any(of.get(f"{mode}_rounds") == QUICK and of[f"{mode}_ms"] < 1e3 * SLOW for mode in MODES)


def _run_suite(plan: Plan, quick: bool, options: Sequence[str], say: Say) -> tuple[int, str]:
    """Run the suite in a process of its own, which ends with this one; return the exit code and what it said."""
    threads = str(plan.runs[plan.measure[0]].asked.configuration["threads"])
    # without the variables of a pytest around this one: a worker of xdist would record nothing
    outside = {name: value for name, value in environment("native").items() if not name.startswith("PYTEST_")}
    path = os.pathsep.join([str(CHECKOUT), *filter(None, sys.path)])
    env = {**outside, **dict.fromkeys(POOLS, threads), "PYTHONPATH": path, "COLUMNS": "400"}
    lines, more = [], [*["--quick"] * quick, *(options or ["--benchmark-quiet"])]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "plan").write_bytes(pickle.dumps(plan))
        words = ["--plan", f"{folder}/plan", "--threads", threads, *more]
        with subprocess.Popen(
            [sys.executable, "-m", "pytest", *OPTIONS, SUITE, *words],
            cwd=CHECKOUT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        ) as process:  # fmt: skip
            try:
                assert process.stdout is not None
                for line in process.stdout:
                    lines.append(line)
                    if options or " | " in line:
                        say(line.rstrip() if options else line.strip(" .\n"))
            except BaseException:
                process.terminate()
                raise
    return process.returncode, "".join(lines)


def record_of(subject: Subject, times: Mapping[str, Times], threads: int, command: str) -> Record:
    """The record of what was measured of a subject: times by mode, each against those of the no-delay network."""
    of, host = subject.resolved, machine(subject.resolved.device)
    engines = {mode: subject.engine(mode) for mode in times}
    result = {
        "run": of.key,
        "baseline": BASELINE,
        "batch": subject.inputs.shape[1],
        "published_batch": of.training.batch,
        "rates": subject.rates,
        "threads": threads,
        "engines": engines,
    }
    for mode in MODES:
        if mode not in times:
            result |= {f"{mode}_ratio": None, f"{mode}_ms": None}
            continue
        own, over = quartiles(times[mode].own), times[mode].over(BASELINE)
        result |= {
            f"{mode}_ms": 1e3 * own.median,
            f"{mode}_ms_iqr": [1e3 * own.low, 1e3 * own.high],
            f"{mode}_baseline_ms": 1e3 * quartiles(times[mode].against[BASELINE]).median,
            f"{mode}_ratio": over.median,
            f"{mode}_ratio_iqr": [over.low, over.high],
            f"{mode}_ratio_sure": list(over.sure),
            f"{mode}_rounds": own.count,
        }
    return make_record(
        of,
        kind="latency",
        key=latency_key(of.key, BASELINE, host, engines),
        result=result,
        measured={},
        engine=engines.get("train", next(iter(engines.values()))),
        parameters=count_parameters(subject.model),
        command=command,
    )
