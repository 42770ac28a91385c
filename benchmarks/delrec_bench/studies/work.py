"""The work of a study or a search: which requests lack a record, the time they take, and doing them.

The expected time is the median of past runs of that method and task, by epochs, samples and hidden neurons. A method
that never ran on a task is guessed by the others that did.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

from delrec_bench.config import Request, settle
from delrec_bench.environment import machine
from delrec_bench.errors import RunError
from delrec_bench.methods.method import MethodTable
from delrec_bench.records import Record, finished_record
from delrec_bench.runs.executors import Done, Executor, Place, Planned
from delrec_bench.tasks.task import TaskTable
from delrec_bench.tracking import follow

UNKNOWN_SECONDS = 60.0  # of a run of a task without any past


@dataclass(frozen=True)
class Cost:
    """The expected time of runs."""

    runs: int = 0
    known: int = 0  # of a method and task that have past runs; the others are guessed
    seconds: float = 0.0  # of one core, in all
    longest: float = 0.0  # of one core, of the longest run

    def __add__(self, other: "Cost") -> "Cost":
        runs, known = self.runs + other.runs, self.known + other.known
        return Cost(runs, known, self.seconds + other.seconds, max(self.longest, other.longest))

    def __str__(self) -> str:
        hours = self.seconds / 3600
        time = f"{hours:.1f} core hours" if hours >= 1 else f"{self.seconds / 60:.1f} core minutes"
        return f"{self.runs} runs ({self.known} estimated from past runs), {time}"


class _Run(NamedTuple):
    amount: int  # samples times epochs
    each: float  # core seconds for an epoch of one sample
    neurons: int
    budget: int
    here: bool  # on this machine


class Past:
    """Past runs by method, task and whether they were scored anew; best are those of one budget, on this machine."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._runs: dict[tuple[str, str, bool], list[_Run]] = defaultdict(list)
        self._samples: dict[str, int] = defaultdict(int)
        for record in (r for r in records if r.kind != "latency" and r.measured.get("wall_seconds")):
            task, derived = record.task.partition(":")[0], "evaluation" in record.configuration
            samples = record.data.get("sizes", {}).get("train", 0)
            epochs = 0 if derived else record.configuration.get("training", {}).get("epochs", 0)
            # less than the clock says on a machine that others use as well
            cpu = record.measured.get("cpu_seconds") if record.device == "cpu" else None
            amount = max(1, epochs * samples)
            each = (cpu or record.measured["wall_seconds"]) / amount
            size = _neurons(record.configuration), record.configuration.get("budget", 0)
            here = record.measured.get("host") == machine(record.device)
            self._runs[record.method, task, derived].append(_Run(amount, each, *size, here))
            self._samples[task] = max(self._samples[task], samples)

    def cost(self, configuration: Mapping[str, Any]) -> Cost:
        """The expected time of one run, by its configuration."""
        task, derived = configuration["task"]["name"], "evaluation" in configuration
        own = self._runs.get((configuration["method"], task, derived))
        known = int(own is not None)
        runs = own or [run for key, of in self._runs.items() if key[1:] == (task, derived) for run in of]
        if not runs:
            return Cost(1, known, UNKNOWN_SECONDS, UNKNOWN_SECONDS)
        runs = [run for run in runs if run.budget == configuration["budget"]] or runs
        longest = max(run.amount for run in runs)
        runs = [run for run in runs if run.amount >= longest / 10]  # a shorter one is mostly its start
        runs = [run for run in runs if run.here] or runs
        samples = min(whole := self._samples[task], configuration["limit"] or whole)
        epochs = 0 if derived else configuration["epochs"]
        asked = 0 if configuration["budget"] else _neurons(configuration)  # a budget gives about as many as before
        each = median(run.each * (asked / run.neurons if asked and run.neurons else 1) for run in runs)
        seconds = each * max(1, epochs * samples)
        return Cost(1, known, seconds, seconds)


def _neurons(configuration: Mapping[str, Any]) -> int:
    return sum(configuration.get("network", {}).get("hidden", ()))


def with_trained(requests: Sequence[Request]) -> list[Request]:
    """Requests, and the trained runs that they are derived from where these are not among them, each once.

    What is trained comes before what is derived, both in the order in which they were asked for.
    """
    plain = {request.command(): request for request in requests if not request.derived}
    for request in requests:
        if request.derived:
            plain.setdefault(request.trained().command(), request.trained())
    return [*plain.values(), *(request for request in requests if request.derived)]


class Job(NamedTuple):
    """A run to do."""

    request: Request
    plan: Planned
    cost: Cost


@dataclass(frozen=True)
class Work:
    """Where and how requests are done."""

    place: Place
    methods: MethodTable
    tasks: TaskTable
    executor: Executor
    past: Past  # that tells durations
    say: Callable[[str], None]  # a line of progress

    def estimate(self, requests: Sequence[Request]) -> Cost:
        """The expected time of requests, as if none had been done; no data is read for it."""
        of = [settle(r, self.methods[r.method], self.tasks[r.task]).values for r in with_trained(requests)]
        return sum(map(self.past.cost, of), Cost())

    def missing(self, requests: Sequence[Request]) -> tuple[list[Job], list[str]]:
        """The runs without a record that must be done for requests, each key once, and the keys of all requests.

        A run that is not asked for but that one is derived from is among them; what is derived comes last.
        """
        missing: dict[str, Job] = {}
        found = {}
        for request in with_trained(requests):
            plan = self.place.plan(request)
            key = found[request.command()] = plan.asked.key
            if key not in missing and finished_record(self.place.workspace.runs, key) is None:
                missing[key] = Job(request, plan, self.past.cost(plan.asked.configuration))
        return list(missing.values()), [found[request.command()] for request in requests]

    def do(self, jobs: Sequence[Job]) -> list[dict[str, str]]:
        """Do what `missing` gave; return method, task, message and command of those that failed."""
        if not jobs:
            return []
        failed = []
        study = next((job.request.study for job in jobs if job.request.study), None)
        with (
            follow(self.place.workspace, self.say, [job.plan.asked for job in jobs], study) as live,
            closing(self._progress(jobs)) as progress,  # an interrupt ends the workers
        ):
            for request, done in progress:
                if not done.reused:
                    live.end(done.key, "FAILED" if done.error is not None else "FINISHED")
                if done.error is not None:
                    what = {"method": request.method, "task": request.task, "error": str(done.error)}
                    failed.append({**what, "command": request.command()})
        return failed

    def _progress(self, jobs: Sequence[Job]) -> Generator[tuple[Request, Done], None, None]:
        start, total, behind = time.perf_counter(), sum(job.cost.seconds for job in jobs), 0.0
        for count, (job, done) in enumerate(self._carried(jobs), 1):
            request, elapsed = job.request, time.perf_counter() - start
            behind += job.cost.seconds
            few = total / 10  # the plan counts for as much: one short run says little about the others
            pace = (elapsed + few / self.executor.jobs) / (behind + few)
            seconds = max(0.0, total - behind) * pace
            point = "".join(f", {key.rpartition('.')[2]} {value}" for key, value in request.point)
            outcome = done.error or ("diverged" if done.score is None else f"{done.score:.4f}")
            self.say(
                f"[{count}/{len(jobs)}] {request.task} {request.method} r{request.repetition}{point}: {outcome} "
                f"({done.seconds:.0f} s); about {seconds / 60:.1f} minutes left"
            )
            yield request, done

    def _carried(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Done]]:
        """Do what is trained, then what is derived; where the training failed there is nothing to score."""
        of = {job.plan.asked.key: job for job in jobs}
        failed: set[str] = set()
        for derived in (False, True):
            plans = []
            for job in (job for job in jobs if job.request.derived == derived):
                if derived and job.request.trained().command() in failed:
                    error = RunError(f"{job.plan}: the run it is derived from failed")
                    yield job, Done(job.plan.asked.key, error=error)
                else:
                    plans.append(job.plan)
            for done in self.executor.map(plans, self.place) if plans else ():
                if done.error is not None:
                    failed.add(of[done.key].request.command())
                yield of[done.key], done
