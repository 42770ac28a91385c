"""What runs are expected to take: the median of past runs of that method and task, by epochs and samples."""

import shutil
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from delrec_bench.config import Request, settle
from delrec_bench.environment import free_bytes, machine
from delrec_bench.methods.base import MethodTable
from delrec_bench.records import Record
from delrec_bench.tasks.base import TaskTable

UNKNOWN_SECONDS = 60.0  # of a run of a method and a task without any past
BYTES_OF_A_PROCESS = 800e6
BYTES_OF_A_RECORD = 100e3


@dataclass(frozen=True)
class Estimate:
    """What runs are expected to take.

    Attributes:
        runs: How many.
        known: Those of a method and task that have past runs; the others are guessed.
        seconds, longest: Of one core, in all and of the longest run.
        memory: Bytes of the largest process.
    """

    runs: int = 0
    known: int = 0
    seconds: float = 0.0
    longest: float = 0.0
    memory: float = BYTES_OF_A_PROCESS

    def __str__(self) -> str:
        hours = self.seconds / 3600
        time = f"{hours:.1f} core hours" if hours >= 1 else f"{self.seconds / 60:.1f} core minutes"
        return f"{self.runs} runs ({self.known} by past ones), {time}, {self.memory / 1e9:.1f} GB of memory a worker"


class Past:
    """Past runs by method, task and whether they trained; those of this machine before those of others."""

    def __init__(self, records: Iterable[Record]) -> None:
        here: dict[tuple[str, str, bool], list[Record]] = defaultdict(list)
        elsewhere: dict[tuple[str, str, bool], list[Record]] = defaultdict(list)
        for record in records:
            if record.kind != "latency" and record.measured.get("wall_seconds"):
                of = here if record.measured.get("host") == machine(record.device) else elsewhere
                trained = "evaluation" not in record.configuration
                of[record.method, record.task.partition(":")[0], trained].append(record)
        self._runs = elsewhere | here

    def find(self, method: str, task: str, trained: bool, amount: float) -> tuple[float, float] | None:
        """Core seconds, and bytes of memory, of a run of so many epochs times training samples; None where unknown."""
        if not (runs := self._runs.get((method, task, trained))):
            return None
        memory = max(record.measured.get("peak_bytes") or BYTES_OF_A_PROCESS for record in runs)
        if not (trained and amount):
            return median(map(core_seconds, runs)), memory
        return amount * median(core_seconds(record) / max(1.0, _amount(record)) for record in runs), memory

    def samples(self, task: str) -> int:
        """Training samples of a task; 0 where no run of it is known."""
        sizes = (
            r.data.get("sizes", {}).get("train", 0) for key, of in self._runs.items() if key[1] == task for r in of
        )
        return max(sizes, default=0)


def _amount(record: Record) -> float:
    """Training epochs times samples of a run; 0 of one that trains nothing."""
    epochs = (record.configuration.get("training") or {}).get("epochs") or 0
    return float(epochs * record.data.get("sizes", {}).get("train", 0))


def core_seconds(record: Record) -> float:
    """What a run took of one core: less than the clock says on a machine that others use as well."""
    cpu, wall = (record.measured.get(name) for name in ("cpu_seconds", "wall_seconds"))
    return float(cpu if cpu and record.device == "cpu" else wall or 0.0)


def estimate(
    requests: Iterable[Request], methods: MethodTable, tasks: TaskTable, records: Iterable[Record] | Past
) -> Estimate:
    """What runs are expected to take, in time and memory."""
    past = records if isinstance(records, Past) else Past(records)
    whole = Estimate()
    for request in requests:
        settings = settle(request, methods[request.method], tasks[request.task])
        samples = past.samples(request.task)
        epochs = 0 if methods[request.method].build is None else settings.training.epochs
        amount = epochs * min(samples, settings.options.limit or samples)
        found = past.find(request.method, request.task, not request.derived, amount)
        seconds, memory = found or (UNKNOWN_SECONDS, BYTES_OF_A_PROCESS)
        whole = Estimate(
            runs=whole.runs + 1,
            known=whole.known + (found is not None),
            seconds=whole.seconds + seconds,
            longest=max(whole.longest, seconds),
            memory=max(whole.memory, memory),
        )
    return whole


def took(runs: Sequence[Record], cost: Estimate) -> str:
    """What runs took beside what was expected of them."""
    minutes = sum(map(core_seconds, runs)) / 60
    return f"{len(runs)} runs took {minutes:.1f} core minutes ({cost.seconds / 60:.1f} expected)"


def misfits(cost: Estimate, jobs: int, runs: Path) -> list[str]:
    """Why runs would not fit into this machine's memory or onto its disk, in sentences; none where they would."""
    out = []
    need, free = cost.memory * jobs, free_bytes("cpu")
    if need > free:
        fewer = max(1, int(free // cost.memory))
        out.append(
            f"{jobs} workers need {need / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free; use --jobs {fewer}"
        )
    place = next(folder for folder in (runs, *runs.parents) if folder.exists())
    room = shutil.disk_usage(place).free
    if cost.runs * BYTES_OF_A_RECORD > room:
        out.append(f"{cost.runs} records may need more disk than the {room / 1e9:.1f} GB that are free; use --runs DIR")
    return out
