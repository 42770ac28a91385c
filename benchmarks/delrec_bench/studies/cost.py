"""What runs are expected to take: as measured where a record of like settings exists, else from a formula."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from delrec_bench.config import Request, Settings, settle
from delrec_bench.methods.base import MethodTable
from delrec_bench.records import Record
from delrec_bench.tasks.base import TaskTable

# One core: what training costs, found on the quick profile. Feedforward delays cost some products of their window.
OPERATIONS_PER_SECOND = 2e10
SECONDS_PER_BATCH_STEP = 3e-5
PRODUCTS_OF_A_WINDOW = 0.2
START_SECONDS = 1.0
BYTES_OF_A_PROCESS = 600e6
BYTES_OF_A_RECORD = 100e3


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


def estimate(
    requests: Iterable[Request],
    methods: MethodTable,
    tasks: TaskTable,
    records: Iterable[Record],
    sizes: Mapping[str, tuple[int, int, int]] | None = None,
) -> Estimate:
    """Time, memory and disk of runs: as measured where a record of like settings exists, else from a formula.

    The formula counts 6 operations a weight, sample, step and epoch (forward and backward) and a time a step of a
    batch that no size removes. It is meant to be right within a factor of two or three.
    """
    measured: dict[tuple[Any, ...], list[float]] = {}
    for record in records:
        wall = record.measured.get("wall_seconds")
        if wall and record.kind != "latency":
            measured.setdefault(_like(record.configuration), []).append(float(wall))
    count, longest, total, memory, disk = 0, 0.0, 0.0, BYTES_OF_A_PROCESS, 0.0
    for request in requests:
        settings = settle(request, methods[request.method], tasks[request.task])
        seconds, held, stored = _formula(settings, (sizes or {}).get(request.task, (2000, 100, 100)))
        seen = measured.get(_like(settings.values))
        seconds = sum(seen) / len(seen) if seen else seconds
        count, total, longest = count + 1, total + seconds, max(longest, seconds)
        memory, disk = max(memory, BYTES_OF_A_PROCESS + held), disk + stored
    return Estimate(count, total, longest, memory, disk)


def _like(configuration: Mapping[str, Any]) -> tuple[Any, ...]:
    """What runs of about the same duration share."""
    names = ("method", "profile", "epochs", "limit", "budget", "device")
    return configuration["task"]["name"], *(configuration.get(name) for name in names)


def _formula(settings: Settings, size: tuple[int, int, int]) -> tuple[float, float, float]:
    samples, steps, channels = size
    samples = min(samples, settings.options.limit or samples)
    if settings.method.build is None:
        return 5.0, 0.0, BYTES_OF_A_RECORD
    hidden = settings.network.get("hidden") or [128]
    widths = [channels, *hidden]
    weights = sum(a * b for a, b in pairwise(widths)) + sum(h * h for h in hidden)
    budget = settings.values["budget"]
    weights = min(weights, budget) if isinstance(budget, int) and budget else weights
    training = settings.training
    dense = 1 + PRODUCTS_OF_A_WINDOW * settings.network.get("window", 0)
    operations = 6.0 * weights * dense * steps * samples * training.epochs
    updates = training.epochs * samples / training.batch
    seconds = (
        START_SECONDS + operations / OPERATIONS_PER_SECOND + updates * steps * SECONDS_PER_BATCH_STEP * len(hidden)
    )
    held = 4.0 * 6 * training.batch * steps * sum(widths)
    return seconds, held, BYTES_OF_A_RECORD + 8.0 * weights
