"""From the JSON of pytest-benchmark to records of kind "latency": the only way by which a latency becomes a number.

The suite (benchmarks/latency/bench_methods.py) writes what identifies a measurement into `extra_info`, as `Measured`;
the times of each round are pytest-benchmark's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from delrec_bench.errors import BenchError
from delrec_bench.latency.timing import quartiles, ratio
from delrec_bench.records import Record, expected_key, latency_key
from delrec_bench.records.finished import parse_json, read_limited
from delrec_bench.schema import told

LARGEST = 64 * 2**20  # bytes of a file
_ANY_KEY = "0" * 64

Seconds = Annotated[float, Field(gt=0, lt=1e6)]
Mode = Literal["train", "infer", "batch1"]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class About(_Strict):
    """What was measured: the same for the modes of one method on one task.

    Attributes:
        method, task, configuration, data, metric, control, learned, device, parameters, provenance, command: As in a
            record.
        run: Key of the run whose network it is.
        baseline: The network that ratios are to.
        batch: Samples of a training step and of batch inference, for both networks.
        published_batch: Samples of a batch as configured; more than `batch` where memory did not hold them.
        rates: Spikes per neuron and step of each layer, as deployed.
        threads: Threads of torch and numba.
        host: One line about the machine.
        finished_at: ISO 8601.
    """

    method: Name
    task: Name
    configuration: dict[str, Any]
    data: dict[str, Any]
    metric: str
    control: str | None
    learned: str
    device: str
    parameters: dict[str, int]
    provenance: dict[str, Any]
    command: str
    run: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    baseline: Name
    batch: Annotated[int, Field(ge=1)]
    published_batch: Annotated[int, Field(ge=1)]
    rates: list[float]
    threads: Annotated[int, Field(ge=1)]
    host: Name
    finished_at: str


class Measured(_Strict):
    """`extra_info` of one benchmark.

    Attributes:
        delrec: Version of this layout.
        mode: What was timed.
        engine: What ran it.
        baseline_seconds: Of the no-delay network, a moment before each round.
        about: What was measured.
    """

    delrec: Literal[1]
    mode: Mode
    engine: Name
    baseline_seconds: list[Seconds]
    about: About


class _Stats(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    data: Annotated[list[Seconds], Field(min_length=1)]


class _Benchmark(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    extra_info: Measured
    stats: _Stats


class _File(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    benchmarks: list[_Benchmark]


def import_json(path: Path) -> list[Record]:
    """The records of a `--benchmark-json` file of the suite, one a method and task.

    Raises:
        BenchError: The file cannot be read, is not of the suite, or contradicts itself.
    """
    content = parse_json(read_limited(path, LARGEST), path)
    try:
        found = _File.model_validate(content).benchmarks
    except ValidationError as error:
        raise BenchError(
            f"{path} is no --benchmark-json of benchmarks/latency/bench_methods.py: {told(error, ['benchmarks'])}"
        ) from error
    cells: dict[tuple[str, str], dict[str, _Benchmark]] = {}
    for benchmark in found:
        info = benchmark.extra_info
        modes = cells.setdefault((info.about.run, info.about.task), {})
        where = f"{path}: {info.about.method} on {info.about.task}, {info.mode}"
        if info.mode in modes:
            raise BenchError(f"{where} is there twice; measure once a file")
        if len(info.baseline_seconds) != len(benchmark.stats.data):
            raise BenchError(
                f"{where}: {len(benchmark.stats.data)} rounds but {len(info.baseline_seconds)} of the no-delay network"
            )
        modes[info.mode] = benchmark
    try:
        return [_record(modes) for modes in cells.values()]
    except BenchError as error:
        raise BenchError(f"{path}: {error}") from error


def _record(modes: Mapping[str, _Benchmark]) -> Record:
    abouts = [benchmark.extra_info.about for benchmark in modes.values()]
    about = abouts[0]
    for other in abouts[1:]:
        one, two = about.model_dump(exclude={"finished_at"}), other.model_dump(exclude={"finished_at"})
        unlike = [name for name in one if one[name] != two[name]]
        if unlike:
            raise BenchError(f"{about.method} on {about.task}: its modes differ in {', '.join(unlike)}")
    result: dict[str, Any] = {
        "run": about.run,
        "baseline": about.baseline,
        "batch": about.batch,
        "published_batch": about.published_batch,
        "rates": about.rates,
        "threads": about.threads,
        "engines": {mode: benchmark.extra_info.engine for mode, benchmark in modes.items()},
    }
    for mode in ("train", "infer", "batch1"):
        result |= _numbers(mode, modes[mode]) if mode in modes else {f"{mode}_ratio": None, f"{mode}_ms": None}
    fields = about.model_dump(
        include={"method", "task", "configuration", "data", "metric", "control", "learned", "device", "parameters"}
        | {"provenance", "command"}
    )
    engine = modes["train"].extra_info.engine if "train" in modes else next(iter(result["engines"].values()))
    made = Record(
        kind="latency",
        key=_ANY_KEY,
        repetition=0,
        result=result,
        engine=engine,
        measured={"host": about.host, "finished_at": max(a.finished_at for a in abouts)},
        **fields,
    )
    key, version = expected_key(made), about.provenance["results_version"]
    if key != latency_key(about.run, about.baseline, about.host, version, result["engines"]):
        raise BenchError(f"{about.method} on {about.task}: run {about.run[:12]} is not what its configuration gives")
    return made.changed(key=key)


def _numbers(mode: str, benchmark: _Benchmark) -> dict[str, Any]:
    seconds, baseline = benchmark.stats.data, benchmark.extra_info.baseline_seconds
    own, over, other = quartiles(seconds), ratio(seconds, baseline), quartiles(baseline)
    return {
        f"{mode}_ms": 1e3 * own.median,
        f"{mode}_ms_iqr": [1e3 * own.low, 1e3 * own.high],
        f"{mode}_baseline_ms": 1e3 * other.median,
        f"{mode}_ratio": over.median,
        f"{mode}_ratio_iqr": [over.low, over.high],
        f"{mode}_ratio_sure": list(over.sure),
        f"{mode}_rounds": own.count,
    }


def alike(record: Record) -> tuple[Any, ...]:
    """What one latency must share with another to take its place: machine, threads, and the engine of each mode."""
    engines = tuple(sorted((record.result.get("engines") or {}).items()))
    return record.measured.get("host"), record.result.get("threads"), engines


def newest(records: Sequence[Record]) -> list[Record]:
    """Of alike measurements of one network the newest; unlike ones stand beside each other."""
    found: dict[tuple[Any, ...], Record] = {}
    for record in sorted(records, key=lambda r: (str(r.measured.get("finished_at")), r.key)):
        network = record.result.get("run") or record.key
        found[record.task, record.method, network, *alike(record)] = record
    return list(found.values())
