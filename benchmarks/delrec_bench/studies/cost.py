"""The expected time of runs: the median of past runs of that method and task, by epochs and samples."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from delrec_bench.config import Request, Settings, settle
from delrec_bench.environment import machine
from delrec_bench.methods.method import MethodTable
from delrec_bench.records import Record
from delrec_bench.tasks.task import TaskTable

UNKNOWN_SECONDS = 60.0  # of a run of a method and a task without any past


@dataclass(frozen=True)
class Cost:
    """The expected time of runs."""

    runs: int = 0
    known: int = 0  # of a method and task that have past runs; the others are guessed
    seconds: float = 0.0  # of one core, in all
    longest: float = 0.0  # of one core, of the longest run

    def __add__(self, other: Cost) -> Cost:
        runs, known = self.runs + other.runs, self.known + other.known
        return Cost(runs, known, self.seconds + other.seconds, max(self.longest, other.longest))

    def __str__(self) -> str:
        hours = self.seconds / 3600
        time = f"{hours:.1f} core hours" if hours >= 1 else f"{self.seconds / 60:.1f} core minutes"
        return f"{self.runs} runs ({self.known} estimated from past runs), {time}"


class Past:
    """Past runs by method, task and whether they trained; those of this machine before those of others."""

    def __init__(self, records: Iterable[Record]) -> None:
        here: dict[tuple[str, str, bool], list[Record]] = defaultdict(list)
        elsewhere: dict[tuple[str, str, bool], list[Record]] = defaultdict(list)
        self._samples: dict[str, int] = defaultdict(int)
        for record in records:
            if record.kind != "latency" and record.measured.get("wall_seconds"):
                task, trained = record.task.partition(":")[0], "evaluation" not in record.configuration
                of = here if record.measured.get("host") == machine(record.device) else elsewhere
                of[record.method, task, trained].append(record)
                self._samples[task] = max(self._samples[task], _samples(record))
        self._runs = elsewhere | here

    def cost(self, settings: Settings) -> Cost:
        """The expected time of one run."""
        request = settings.request
        runs = self._runs.get((request.method, request.task, not request.derived))
        if not runs:
            return Cost(1, 0, UNKNOWN_SECONDS, UNKNOWN_SECONDS)
        seconds = median(map(_core_seconds, runs))
        if settings.method.build is not None and not request.derived:
            samples = min(whole := self._samples[request.task], settings.options.limit or whole)
            rate = median(_core_seconds(record) / max(1.0, _epochs(record) * _samples(record)) for record in runs)
            seconds = settings.training.epochs * samples * rate or seconds
        return Cost(1, 1, seconds, seconds)


def _samples(record: Record) -> int:
    return int(record.data.get("sizes", {}).get("train", 0))


def _epochs(record: Record) -> float:
    return float((record.configuration.get("training") or {}).get("epochs") or 0)


def _core_seconds(record: Record) -> float:
    """The time that a run took of one core: less than the clock says on a machine that others use as well."""
    cpu, wall = (record.measured.get(name) for name in ("cpu_seconds", "wall_seconds"))
    return float(cpu if cpu and record.device == "cpu" else wall or 0.0)


def estimate(requests: Iterable[Request], methods: MethodTable, tasks: TaskTable, past: Past) -> Cost:
    """The expected time of runs."""
    settled = (settle(request, methods[request.method], tasks[request.task]) for request in requests)
    return sum(map(past.cost, settled), Cost())
