"""What runs are expected to take on this machine: as like records of it say, else by a formula."""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from delrec_bench.config import Request, Settings, settle
from delrec_bench.environment import machine
from delrec_bench.methods.base import MethodTable
from delrec_bench.records import Record, canonical_json
from delrec_bench.tasks.base import TaskTable

# One core: what training costs, found on the quick leaderboard and on training steps at published widths. Products of
# few weights are slower; feedforward delays cost some products of their window.
OPERATIONS_PER_SECOND = 1e11
WEIGHTS_OF_HALF_SPEED = 25e3
SECONDS_PER_BATCH_STEP = 3e-5
PRODUCTS_OF_A_WINDOW = 0.05
START_SECONDS = 1.0
BYTES_OF_A_PROCESS = 800e6
BYTES_OF_A_RECORD = 100e3
Size = tuple[int, int, int]  # training samples, steps, channels
USUAL_SIZE: Size = (2000, 100, 100)  # of a task for which a study gives none


@dataclass(frozen=True)
class Estimate:
    """What runs are expected to take.

    Attributes:
        runs: How many.
        known: Of them those that records of this machine tell of; the others are by the formula,
            within a factor of two for most methods.
        seconds, longest: Of one core, in all and of the longest run.
        memory: Bytes of the largest process.
        disk: Bytes in all.
        batch: Samples an update of the run that needs most memory, and the bytes that grow with them.
    """

    runs: int
    known: int
    seconds: float
    longest: float
    memory: float
    disk: float
    batch: tuple[int, float] = (0, 0.0)

    def __str__(self) -> str:
        hours = self.seconds / 3600
        time = f"{hours:.1f} core hours" if hours >= 1 else f"{self.seconds / 60:.1f} core minutes"
        return (
            f"{self.runs} runs ({self.known} as measured here), {time}, {self.memory / 1e9:.1f} GB of memory a worker, "
            f"{self.disk / 1e6:.1f} MB of disk"
        )


class Past:
    """What records say of the time and memory of like runs, those of this machine before those of others."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._whole: dict[tuple[bool, str], list[Record]] = {}
        self._epochs: dict[str, list[Record]] = {}
        for record in records:
            if record.kind == "latency" or not record.measured.get("wall_seconds"):
                continue
            here = record.measured.get("host") == machine()
            self._whole.setdefault((here, _like(record.configuration)), []).append(record)
            if here and record.measured.get("epoch_seconds"):
                self._epochs.setdefault(_like(record.configuration, epochs=False), []).append(record)

    def find(self, configuration: Mapping[str, Any], epochs: int) -> tuple[bool, float, float, float] | None:
        """Whether it was this machine, seconds, peak memory and bytes on disk; None where no like run is known.

        A network that is scored anew takes about an epoch of its training, at most.
        """
        like = _like(configuration)
        if "evaluation" in configuration:
            epochs = 1
        here, epoch_wise = self._whole.get((True, like)), self._epochs.get(_like(configuration, epochs=False))
        if here:
            return True, median(r.measured["wall_seconds"] for r in here), *_sizes(here)
        if epoch_wise:
            each = median(median(r.measured["epoch_seconds"]) for r in epoch_wise)
            return True, START_SECONDS + epochs * each, *_sizes(epoch_wise)
        elsewhere = self._whole.get((False, like))
        if elsewhere:
            return False, median(r.measured["wall_seconds"] for r in elsewhere), *_sizes(elsewhere)
        return None


def _sizes(records: Sequence[Record]) -> tuple[float, float]:
    memory = max(r.measured.get("peak_bytes") or 0 for r in records)
    disk = max(len(canonical_json(r.result)) + 8 * (r.parameters.get("total") or 0) for r in records)
    return memory or BYTES_OF_A_PROCESS, BYTES_OF_A_RECORD / 10 + disk


def estimate(
    requests: Iterable[Request],
    methods: MethodTable,
    tasks: TaskTable,
    records: Iterable[Record] | Past,
    sizes: Mapping[str, Size] | None = None,
) -> Estimate:
    """Time, memory and disk of runs.

    Of like runs (the same settings but for seeds, or also for the number of epochs) the median is taken; a run under a
    condition of evaluation trains nothing, and counts as one epoch of the run it is derived from. The formula counts 6
    operations a weight, sample, step and epoch (forward and backward) and a time a step of a batch that no size
    removes.
    """
    past = records if isinstance(records, Past) else Past(records)
    count, known, longest, total, memory, disk, batch = 0, 0, 0.0, 0.0, BYTES_OF_A_PROCESS, 0.0, (0, 0.0)
    for request in requests:
        settings = settle(request, methods[request.method], tasks[request.task])
        seconds, grows, stored = _formula(_load(settings, (sizes or {}).get(request.task, USUAL_SIZE)))
        held = BYTES_OF_A_PROCESS + grows
        found = past.find({**settings.values, "device": request.device}, settings.training.epochs)
        if found is not None:
            here, seconds, held, stored = found
            known += here
        if held >= memory:
            memory, batch = held, (settings.training.batch, min(grows, held))
        count, total, longest, disk = count + 1, total + seconds, max(longest, seconds), disk + stored
    return Estimate(count, known, total, longest, memory, disk, batch)


def took(runs: Sequence[Record], cost: Estimate) -> str:
    """What runs took beside what was expected of them."""
    seconds = sum(r.measured.get("wall_seconds") or 0.0 for r in runs)
    memory = max((r.measured.get("peak_bytes") or 0 for r in runs), default=0)
    return (
        f"{len(runs)} runs took {seconds / 60:.1f} core minutes ({cost.seconds / 60:.1f} expected), at most "
        f"{memory / 1e9:.2f} GB a worker ({cost.memory / 1e9:.2f} expected)"
    )


def misfits(cost: Estimate, jobs: int, runs: Path) -> list[str]:
    """Why runs would not fit on this machine, in sentences; none where they would."""
    out = []
    free = _free_memory()
    if free and cost.memory * jobs > free:
        text = f"{jobs} workers need {cost.memory * jobs / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free"
        fewer = int(free // cost.memory)
        batch, grows = cost.batch
        room = free - (cost.memory - grows)
        if fewer:
            out.append(f"{text}; use --jobs {fewer}")
        elif grows and room >= grows / batch:
            out.append(f"{text}; the largest batch that would fit is {int(batch * room / grows)}, with --jobs 1")
        else:
            out.append(f"{text}; no batch would fit")
    place = next(folder for folder in (runs, *runs.parents) if folder.exists())
    room = shutil.disk_usage(place).free
    if cost.disk > room:
        out.append(f"the runs need {cost.disk / 1e9:.1f} GB of disk, and {room / 1e9:.1f} GB are free; use --runs DIR")
    return out


def _free_memory() -> float:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return float(line.split()[1]) * 1024
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (OSError, ValueError):
        return 0.0


def _like(configuration: Mapping[str, Any], *, epochs: bool = True) -> str:
    """What runs of about the same duration share: everything but the seeds, and perhaps the number of epochs."""
    apart = {"seeds", "repetition", "engine", "profile", "kind"} | (set() if epochs else {"epochs", "evaluation"})
    same = {name: value for name, value in configuration.items() if name not in apart}
    if same.get("budget"):  # which then decides the widths
        same["network"] = {k: v for k, v in same["network"].items() if k != "hidden"}
    free = {"selection", "ties"} | (set() if epochs else {"epochs"})  # how an epoch is chosen takes no time
    same["training"] = {k: v for k, v in (same.get("training") or {}).items() if k not in free}
    return canonical_json(same)


@dataclass(frozen=True)
class Load:
    """What training a network comes to.

    Attributes:
        weights: Of all layers.
        widths: Channels, then the neurons of each layer.
        steps, batch, updates: Of a sample, an update, the training.
        operations: Floating-point operations of the training: 6 a weight, sample and step (forward and backward).
    """

    weights: float
    widths: tuple[int, ...]
    steps: int
    batch: int
    updates: float
    operations: float

    @property
    def layers(self) -> int:
        """Hidden layers."""
        return len(self.widths) - 1


def loads(
    requests: Iterable[Request], methods: MethodTable, tasks: TaskTable, sizes: Mapping[str, Size] | None = None
) -> Iterator[Load | None]:
    """What the training of each request comes to; None of a method without a network."""
    for request in requests:
        settings = settle(request, methods[request.method], tasks[request.task])
        yield _load(settings, (sizes or {}).get(request.task, USUAL_SIZE))


def _load(settings: Settings, size: Size) -> Load | None:
    samples, steps, channels = size
    samples = min(samples, settings.options.limit or samples)
    if settings.method.build is None:
        return None
    hidden = settings.network.get("hidden") or [128]
    widths = (channels, *hidden)
    weights = sum(a * b for a, b in pairwise(widths)) + sum(h * h for h in hidden)
    budget = settings.values["budget"]
    weights = min(weights, budget) if isinstance(budget, int) and budget else weights
    training = settings.training
    dense = 1 + PRODUCTS_OF_A_WINDOW * settings.network.get("window", 0)
    seen = samples * (1 if "evaluation" in settings.values else training.epochs)
    return Load(weights, widths, steps, training.batch, seen / training.batch, 6.0 * weights * dense * steps * seen)


def _formula(load: Load | None) -> tuple[float, float, float]:
    """Seconds of one core, bytes that grow with the batch, and bytes on disk."""
    if load is None:
        return 5.0, 0.0, BYTES_OF_A_RECORD
    chain = load.updates * load.steps * load.layers * SECONDS_PER_BATCH_STEP
    held = 4.0 * 6 * load.batch * load.steps * sum(load.widths)
    rate = OPERATIONS_PER_SECOND * load.weights / (load.weights + WEIGHTS_OF_HALF_SPEED)
    return START_SECONDS + load.operations / rate + chain, held, BYTES_OF_A_RECORD + 8.0 * load.weights
