"""What runs are expected to take on this machine: as like records of it say, else reckoned from their load."""

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from delrec_bench.config import Request, Settings, settle
from delrec_bench.environment import free_bytes, free_on_cards, machine
from delrec_bench.methods.base import MethodTable
from delrec_bench.records import Record, canonical_json
from delrec_bench.studies.load import USUAL, USUAL_SIZE, HeldOut, Load, Size, fitted, load_of, scaled
from delrec_bench.tasks.base import TaskTable

START_SECONDS = 1.0
FLOOR_SECONDS = 5.0  # of a method without a network
BYTES_OF_A_PROCESS = 800e6
BYTES_OF_A_RECORD = 100e3


@dataclass(frozen=True)
class Estimate:
    """What runs are expected to take.

    Attributes:
        runs: How many.
        known: Of them those that records of this machine tell of; the others are reckoned (`load`).
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
        steps: list[tuple[str, str, Load, float]] = []
        for record in records:
            here = record.measured.get("host") == machine(record.device)
            if record.kind == "latency" and here:
                steps += _step(record)
            if record.kind == "latency" or not record.measured.get("wall_seconds"):
                continue
            self._whole.setdefault((here, _like(record.configuration)), []).append(record)
            if here and record.measured.get("epoch_seconds"):
                self._epochs.setdefault(_like(record.configuration, epochs=False), []).append(record)
        self._data: dict[str, tuple[Size, HeldOut]] = {}
        self._base: dict[str, float] = {}
        seen: dict[tuple[str, str], list[tuple[Load, float]]] = {}
        again: dict[tuple[str, str], list[tuple[Load, float]]] = {}
        for (here, _), like in self._whole.items():
            one = like[0]
            if (data := _data(one)) is None or (load := load_of(one.configuration, *data)) is None:
                continue
            self._data.setdefault(canonical_json(one.configuration["task"]), data)
            told = again if "evaluation" in one.configuration else seen  # without training: nothing of trainings
            if here:
                told.setdefault((one.device, one.method), []).append((load, median(map(core_seconds, like))))
            if here and told is seen:
                base = max(record.measured.get("peak_bytes") or 0 for record in like) - load.bytes
                self._base[one.device] = max(base, self._base.get(one.device, 0.0))
        for device, method, load, seconds in steps:
            seen.setdefault((device, method), []).append((load, seconds))
        devices = {device for device, _ in seen}
        self._usual = {d: scaled([one for (at, _), of in seen.items() if at == d for one in of]) for d in devices}
        self._costs = {(d, method): fitted(of, self._usual[d]) for (d, method), of in seen.items()}
        self._again = {place: scaled(of) for place, of in again.items()}

    def find(self, configuration: Mapping[str, Any], epochs: int) -> tuple[bool, float, float, float] | None:
        """Whether it was this machine, core seconds, peak memory and bytes on disk; None where no like run is known."""
        like = _like(configuration)
        here, epoch_wise = self._whole.get((True, like)), self._epochs.get(_like(configuration, epochs=False))
        if here:
            return True, median(map(core_seconds, here)), *_sizes(here)
        if epoch_wise:
            each = median(_share(r) * median(r.measured["epoch_seconds"]) for r in epoch_wise)
            return True, START_SECONDS + epochs * each, *_sizes(epoch_wise)
        elsewhere = self._whole.get((False, like))
        if elsewhere:
            return False, median(map(core_seconds, elsewhere)), *_sizes(elsewhere)
        return None

    def data(self, configuration: Mapping[str, Any]) -> tuple[Size, HeldOut | None]:
        """Of a task's data, as a record with the same options has it."""
        return self._data.get(canonical_json(configuration["task"]), (USUAL_SIZE, None))

    def seconds(self, load: Load, method: str, device: str) -> float:
        """Core seconds of a load: at the cost of the method's terms here, else of all methods' here, else the usual.

        Of a network that is scored once more: by what that took of the method's others here, under any condition.
        """
        place, usual = (device, method), self._usual.get(device, USUAL)
        again = None if load.updates else self._again.get(place)
        return float(load.terms @ (self._costs.get(place, usual) if again is None else again))

    def base(self, device: str) -> float:
        """Memory of a process before what grows with a batch."""
        return self._base.get(device, BYTES_OF_A_PROCESS)


def core_seconds(record: Record) -> float:
    """What a run took of one core: less than the clock says, on a machine that others use as well."""
    return float(_share(record) * (record.measured.get("wall_seconds") or 0.0))


def _share(record: Record) -> float:
    """Processor seconds a second of the clock; 1 where they were not measured, or it was a device that worked."""
    cpu, wall = (record.measured.get(name) for name in ("cpu_seconds", "wall_seconds"))
    return float(cpu / wall) if cpu and wall and record.device == "cpu" else 1.0


def _data(record: Record) -> tuple[Size, HeldOut] | None:
    """Training samples, steps and channels of a record's data, and its samples of validation and test."""
    data = record.data
    if not all(name in data for name in ("sizes", "steps", "channels")):
        return None
    train, valid, test = (data["sizes"].get(split, 0) for split in ("train", "valid", "test"))
    return (train, data["steps"], data["channels"]), (valid, test)


def _step(record: Record) -> Iterator[tuple[str, str, Load, float]]:
    """Device, method, load and seconds of a training step whose latency was measured."""
    data, took = record.data, record.result.get("train_ms")
    if took and "steps" in data and "channels" in data:
        size = (0, data["steps"], data["channels"])
        load = load_of(record.configuration, size, step=record.result["batch"])
        if load is not None:
            yield record.device, record.method, load, took / 1e3


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

    Of like runs (the same settings but for seeds, or also for the number of epochs) the median is taken. What is new is
    reckoned from its load, at what the method's other runs and measured training steps took here; a run under a
    condition of evaluation trains nothing.
    """
    past = records if isinstance(records, Past) else Past(records)
    count, known, longest, total, memory, disk, batch = 0, 0, 0.0, 0.0, BYTES_OF_A_PROCESS, 0.0, (0, 0.0)
    for request in requests:
        settings = settle(request, methods[request.method], tasks[request.task])
        load, grows = _load(settings, (sizes or {}).get(request.task), past), 0.0
        seconds, held, stored = FLOOR_SECONDS, BYTES_OF_A_PROCESS, BYTES_OF_A_RECORD
        if load is not None:
            seconds, grows = past.seconds(load, request.method, request.device), load.bytes
            held, stored = past.base(request.device) + grows, stored + 8.0 * (load.forward + load.recurrent)
        found = past.find({**settings.values, "device": request.device}, settings.training.epochs)
        if found is not None:
            here, seconds, held, stored = found
            known += here
        if held >= memory:
            memory, batch = held, (settings.training.batch, min(grows, held))
        count, total, longest, disk = count + 1, total + seconds, max(longest, seconds), disk + stored
    return Estimate(count, known, total, longest, memory, disk, batch)


def loads(
    requests: Iterable[Request], methods: MethodTable, tasks: TaskTable, sizes: Mapping[str, Size] | None = None
) -> Iterator[Load | None]:
    """What the training of each request comes to; None of a method without a network."""
    for request in requests:
        settings = settle(request, methods[request.method], tasks[request.task])
        yield _load(settings, (sizes or {}).get(request.task))


def _load(settings: Settings, size: Size | None, past: Past | None = None) -> Load | None:
    if settings.method.build is None:
        return None
    data: tuple[Size, HeldOut | None] = (size or USUAL_SIZE, None)
    if size is None and past is not None:
        data = past.data(settings.values)
    (samples, steps, channels), held_out = data
    return load_of(settings.values, (min(samples, settings.options.limit or samples), steps, channels), held_out)


def took(runs: Sequence[Record], cost: Estimate) -> str:
    """What runs took beside what was expected of them."""
    seconds = sum(map(core_seconds, runs))
    memory = max((r.measured.get("peak_bytes") or 0 for r in runs), default=0)
    return (
        f"{len(runs)} runs took {seconds / 60:.1f} core minutes ({cost.seconds / 60:.1f} expected), at most "
        f"{memory / 1e9:.2f} GB a worker ({cost.memory / 1e9:.2f} expected)"
    )


def misfits(cost: Estimate, jobs: int, runs: Path, cards: int = 0) -> list[str]:
    """Why runs would not fit on this machine, in sentences; none where they would.

    Args:
        cost: What they take.
        jobs: How many at a time.
        runs: Where their records go.
        cards: CUDA devices of this machine among which they are shared out; 0 where they are not.
    """
    out = []
    # with cards, main memory holds the processes and a card the networks of its own
    need, free = (BYTES_OF_A_PROCESS if cards else cost.memory), free_bytes("cpu")
    if cards and cost.runs and (room := free_on_cards()):
        each = -(-jobs // cards)
        if cost.memory * each > room:
            out.append(_too_much(cost, cost.memory, each, room, "a card's memory", "--per-device"))
    if need * jobs > free:
        out.append(_too_much(cost, need, jobs, free, "memory", "--per-device" if cards else "--jobs", max(1, cards)))
    place = next(folder for folder in (runs, *runs.parents) if folder.exists())
    room = shutil.disk_usage(place).free
    if cost.disk > room:
        out.append(f"the runs need {cost.disk / 1e9:.1f} GB of disk, and {room / 1e9:.1f} GB are free; use --runs DIR")
    return out


def _too_much(cost: Estimate, need: float, jobs: int, free: float, where: str, option: str, cards: int = 1) -> str:
    """That so many workers do not fit, and what would; `option` counts those of each of the cards."""
    text = f"{jobs} workers need {need * jobs / 1e9:.1f} GB of {where}, and {free / 1e9:.1f} GB are free"
    batch, grows = cost.batch
    room = free - (need - grows)
    if fewer := int(free // need) // cards:
        return f"{text}; use {option} {fewer}"
    if grows and room >= grows / batch:
        return f"{text}; the largest batch that would fit is {int(batch * room / grows)}, with {option} 1"
    return f"{text}; no batch would fit"


def _like(configuration: Mapping[str, Any], *, epochs: bool = True) -> str:
    """What runs of about the same duration share: everything but the seeds, and perhaps the number of epochs."""
    apart = {"seeds", "repetition", "engine", "profile", "kind"} | (set() if epochs else {"epochs"})
    same = {name: value for name, value in configuration.items() if name not in apart}
    if same.get("budget"):  # which then decides the widths
        same["network"] = {k: v for k, v in same["network"].items() if k != "hidden"}
    free = {"selection", "ties"} | (set() if epochs else {"epochs"})  # how an epoch is chosen takes no time
    same["training"] = {k: v for k, v in (same.get("training") or {}).items() if k not in free}
    return canonical_json(same)
