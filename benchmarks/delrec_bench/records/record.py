"""The record of a run: what was configured, what was measured, and how it is made again; and its values as JSON.

A record is the only thing that passes from a run to the tracker, the statistics and the report. This module imports
neither torch nor mlflow, so that anything can read a record in milliseconds.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from delrec_bench.errors import BenchError
from delrec_bench.metrics.metric import metric_named
from delrec_bench.schema import FileTable, told

RESULTS_VERSION = 4
"""Raised by every change that changes results: it enters each key, so that older runs are not reused. What is published
stays until the same run of this version is."""

TOLERANCE = 1e-9
"""Of a score computed again, relative to the larger of 1 and itself: the order of a sum may differ by processor."""

COMPUTED = ("metric", "result", "predictions", "targets", "fingerprint", "history", "parameters", "activity", "delays")
"""What a run computes: two makings of it are equal where these are."""

HOW = ("engine", "device", "threads", "arithmetic")
"""What of a configuration says how a run is computed, not what is."""

DATA_KINDS = ("DRAWN", "EMBEDDED", "STAND-IN", "OFFICIAL")

IDENTITY = ("kind", "digest", "classes", "channels", "steps", "step_ms", "representation", "sizes")
"""What a key says of the data, beside the row's name."""

_COLUMNS = ("predictions", "targets", "groups")
_MISSING = ("history", "measured", "activity", "fingerprint")  # where a number that is not finite is kept as missing

DType = Literal["|u1", "<u2", "<u4", "<i8", "<f4", "<f8"]  # the first that holds every value exactly is taken


def plain(value: Any, *, missing: bool = False) -> Any:
    """Return `value` in JSON's own types: tuples and arrays as lists, NumPy's scalars as numbers, keys as strings.

    A `BenchError` refuses NaN and infinity, which are None with `missing`, and a type that JSON does not have.
    """
    try:
        text = json.dumps(value, sort_keys=True, default=_converted)
    except (RecursionError, TypeError, ValueError) as error:
        raise BenchError(f"a record cannot hold this value: {error}") from error
    return json.loads(text, parse_constant=(lambda _: None) if missing else _not_finite)


def _converted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Path):
        return value.as_posix()
    raise TypeError(f"a {type(value).__name__} is not a number, string, list or dict")


def _not_finite(word: str) -> None:
    raise BenchError(f"{word} is not finite: records hold finite numbers only; use None for missing values")


def parse_json(text: str | bytes) -> dict[str, Any]:
    """Return a JSON object without NaN or infinity."""
    try:
        values = json.loads(text, parse_constant=_not_finite)
    except (ValueError, RecursionError) as error:
        raise BenchError(f"it is not valid JSON ({error})") from error
    if not isinstance(values, dict):
        raise BenchError(f"it holds a {type(values).__name__}, not an object")
    return values


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys and no spaces: equal values give equal text, on any machine."""
    return compact(plain(value))


def compact(value: Any) -> str:
    """Return `canonical_json` of a value that is made of JSON's own types already."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def run_key(configuration: Mapping[str, Any], data: Mapping[str, Any], results_version: int = RESULTS_VERSION) -> str:
    """Return the SHA-256 of the canonical JSON of configuration, data (`identity`) and results version."""
    return digest(canonical_json({"configuration": configuration, "data": data, "results_version": results_version}))


def digest(text: str) -> str:
    """Return the SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class PerSample(BaseModel):
    """A column of numbers in the order of the test samples: base64 of their little-endian bytes.

    It is built from any sequence or array of finite numbers, and `array` gives the numbers back unchanged.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    dtype: DType
    base64: str

    @model_validator(mode="before")
    @classmethod
    def _packed(cls, values: Any) -> Any:
        if isinstance(values, dict | PerSample):
            return values
        array = np.asarray(values.tolist() if hasattr(values, "tolist") else values)
        if array.ndim != 1 or not array.size or array.dtype.kind not in "iuf" or not np.isfinite(array).all():
            raise ValueError("a list of finite numbers, one for each test sample")
        kinds = [kind for kind in get_args(DType) if (kind[1] == "f") == (array.dtype.kind == "f")]
        with np.errstate(over="ignore"):
            exact = [kind for kind in kinds if np.array_equal(array, array.astype(kind))]
        if not exact:
            raise ValueError("finite numbers of 64 bits")
        return {"dtype": exact[0], "base64": base64.b64encode(array.astype(exact[0]).tobytes()).decode()}

    @property
    def array(self) -> NDArray[Any]:
        """(n,) numbers of the type `dtype`, read-only."""
        return np.frombuffer(base64.b64decode(self.base64), self.dtype)

    def __len__(self) -> int:
        return len(self.array)


class Asked(FileTable):
    """What was asked of a run; what is wrong with one is a `BenchError` in one line."""

    key: str = Field(pattern=r"^[0-9a-f]{64}$")
    method: str = Field(min_length=1)
    task: str = Field(min_length=1)  # ``<task>:<folder>@<digest8>`` for a user's own corpus
    repetition: int = Field(ge=0)
    configuration: dict[str, Any]  # everything resolved
    profile: str = ""  # of presets, with which it was first asked for; the key knows its settings only
    point: dict[str, Any] = Field(default_factory=dict)  # settings by dotted key that differ from that profile's preset
    command: str = ""  # that makes it again
    provenance: dict[str, Any] = Field(default_factory=dict)  # results version, code revision, versions of libraries

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            name = " ".join(str(values[k]) for k in ("kind", "method", "task", "repetition") if k in values)
            fault = told(error, list(type(self).model_fields))
            raise BenchError(" ".join(f"{type(self).__name__.lower()} ({name[:120]}): {fault}".split())) from error


class Failure(Asked):
    """What is kept of a run that failed, in ``runs/<key>/failure.json``; it is never counted."""

    status: Literal["failed"] = "failed"
    error: str
    traceback: str
    diverged: bool = False  # its training left the finite numbers, which it does wherever it is tried
    attempts: int = Field(ge=1)
    failed_at: str  # the last time, ISO 8601

    @field_validator("failed_at")
    @classmethod
    def _time(cls, value: str) -> str:
        datetime.fromisoformat(value)  # a ValueError, which pydantic tells
        return value


class Record(Asked):
    """A run (kind ``run``), a method-free floor (``floor``), a search's ``trial`` or a ``latency`` measurement.

    A field that is unknown, of the wrong kind, or contradicts another one is a `BenchError`.
    """

    kind: Literal["run", "floor", "latency", "trial"]
    data: dict[str, Any]  # what its key says of it (`IDENTITY`), its files, and what a reader must know
    metric: str
    result: dict[str, Any]  # the score, and how the epoch was chosen; of a latency record medians, quartiles and ratios
    predictions: PerSample | None = None  # of each test sample: a class, or a value
    targets: PerSample | None = None
    groups: PerSample | None = None  # the cluster (speaker, block) of each test sample; None where samples stand alone
    fingerprint: dict[str, Any] | None = None  # outputs and gradient before training, which another machine must find
    control: str | None = None  # the method this one is compared with, declared by the method before any run
    learned: str = ""  # in words
    engine: str = ""  # what ran the network
    device: str = ""
    history: list[dict[str, Any]] = Field(default_factory=list)  # an entry for each epoch
    parameters: dict[str, int | None] = Field(default_factory=dict)
    activity: dict[str, Any] = Field(default_factory=dict)  # spikes per neuron and step, synaptic operations, buffer
    delays: list[dict[str, Any]] | None = None  # of each layer, as training began and at the chosen epoch
    measured: dict[str, Any] = Field(default_factory=dict)  # times, memory, host: all that two makings may differ in
    digest: str = ""  # of all that the run computed, given when it was made: a published record holds less
    published: bool = False  # the short form that `reports/runs/` holds
    version: Literal[3] = 3  # of the layout of a record

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, values: Any) -> Any:
        columns = {name: values[name] for name in _COLUMNS if name in values}
        missing = {name: plain(values[name], missing=True) for name in _MISSING if name in values}
        others = {name: value for name, value in values.items() if name not in columns and name not in missing}
        return {**plain(others), **missing, **columns}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if fault := self._fault():
            raise BenchError(f"{self}: {fault}")
        if not self.digest:  # frozen: it is filled in while it is built
            object.__setattr__(self, "digest", digest(compact(computed(self))))
        return self

    def _fault(self) -> str:
        """Say what contradicts itself: samples that do not belong together, a score, or a time that is none."""
        if not isinstance(seconds := self.measured.get("wall_seconds") or 0, int | float):
            return f"measured.wall_seconds is {seconds!r}, no number"
        try:
            datetime.fromisoformat(self.finished or "2026-01-01")
        except ValueError:
            return f"measured.finished_at is {self.finished!r}; it must be a time, ISO 8601"
        columns = {name: len(column) for name in _COLUMNS if (column := getattr(self, name)) is not None}
        if self.kind not in ("run", "floor"):
            return f"it has {', '.join(columns)}; a {self.kind} never sees the test set" if columns else ""
        if self.predictions is None or self.targets is None:
            return f"predictions or targets are missing; a {self.kind} has one of each for every test sample"
        if len(set(columns.values())) > 1:
            return f"it has {', '.join(f'{n} {name}' for name, n in columns.items())}; they must be as many"
        right = metric_named(self.metric).score(self.predictions.array, self.targets.array)
        if not abs(self.score - right) <= TOLERANCE * max(1.0, abs(right)):
            return f"result.test_score is {self.score!r}, but its predictions score {right!r}"
        return ""

    def __str__(self) -> str:
        return f"record {self.key[:12]} ({self.kind} of {self.method} on {self.task}, repetition {self.repetition})"

    def changed(self, **fields: Any) -> "Record":
        """This record with some fields set anew, checked like any other."""
        kept = {name: getattr(self, name) for name in type(self).model_fields}
        shorter = self.published or fields.get("published")  # the digest stays that of the whole record
        return Record(**({**kept, "digest": self.digest if shorter else ""} | fields))

    @property
    def score(self) -> float:
        """The test score (fraction correct, or NMSE) of a run or a floor; a trial has none."""
        return float(self.result["test_score"])

    @property
    def finished(self) -> str:
        """When it was made: ISO 8601 in UTC, so that text sorts by time; empty if not recorded."""
        return str(self.measured.get("finished_at") or "")

    @property
    def content(self) -> str:
        """SHA-256 of all that is not in ``measured`` (times, memory, host): equal for the same record."""
        return digest(compact({name: value for name, value in contents(self).items() if name != "measured"}))


def contents(record: Record) -> dict[str, Any]:
    """The record's fields by name, in JSON's own types; columns and parts that were left out (None) stay out."""
    out = record.model_dump()
    return {name: value for name, value in out.items() if value is not None or name == "control"}


def computed(record: Record) -> dict[str, Any]:
    """What the run computed, by field."""
    return {name: value for name, value in contents(record).items() if name in COMPUTED}


def experiment(record: Record, aside: Sequence[str] = ()) -> str:
    """Digest of what was run, whatever ran it, without the settings `aside`.

    Two runs of one experiment differ at most in engine, device, threads, arithmetic or results version.
    """
    settings = {name: value for name, value in record.configuration.items() if name not in (*HOW, *aside)}
    return digest(compact([settings, record.task, record.data["digest"]]))


def version_of(one: Asked) -> int:
    """Return the results version of the code that made it."""
    return int(one.provenance.get("results_version", 0))


def identity(r: Record) -> dict[str, Any]:
    """Return what a key says of the data."""
    own = {"samples": r.data["samples"]} if "samples" in r.data else {}
    return {"name": r.task} | {name: r.data[name] for name in IDENTITY} | own


def expected_key(r: Record) -> str:
    """Return the key that configuration, data and results version give.

    A latency record's is that of the run it times (its threads included), of the baseline, and of the machine and the
    engines that it was measured on: an unlike measurement has another key and replaces nothing.
    """
    try:
        version = r.provenance["results_version"]
        key = run_key(r.configuration, identity(r), version)
    except KeyError as error:
        raise BenchError(f"{r}: {error} is missing, which its key depends on") from error
    if r.kind != "latency":
        return key
    return latency_key(key, r.result.get("baseline"), r.measured.get("host"), r.result.get("engines"), version)


def latency_key(
    run: str, baseline: Any, host: Any, engines: Mapping[str, str] | None, results_version: int = RESULTS_VERSION
) -> str:
    """Return the key of a latency record: of the run's key, the baseline, the machine, and the engine of each mode."""
    setup = {"kind": "latency", "baseline": baseline, "host": host} | ({"engines": engines} if engines else {})
    return run_key(setup, {"run": run}, results_version)


def differences(a: Record, b: Record) -> list[str]:
    """Return dotted names of what differs between two records outside ``measured``; empty for the same record."""
    aside = ("measured", "digest")  # the digest follows from the rest
    one, two = ({name: value for name, value in contents(r).items() if name not in aside} for r in (a, b))
    return list(unequal(one, two))


def unequal(x: Any, y: Any, where: str = "") -> dict[str, tuple[Any, Any]]:
    """Return dotted name -> both values, of all that differs between two plain values; "absent" of a missing one."""
    if isinstance(x, dict) and isinstance(y, dict):
        dot = "." if where else ""
        parts = [(f"{where}{dot}{k}", x.get(k, "absent"), y.get(k, "absent")) for k in sorted({*x, *y})]
    elif isinstance(x, list) and isinstance(y, list) and len(x) == len(y):
        parts = [(f"{where}[{i}]", xi, yi) for i, (xi, yi) in enumerate(zip(x, y, strict=True))]
    else:
        return {where: (x, y)} if type(x) is not type(y) or x != y else {}
    return {name: pair for part, xi, yi in parts for name, pair in unequal(xi, yi, part).items()}
