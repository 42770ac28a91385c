"""The record of a run: what was configured, what was measured, and how it is made again.

A record is the only thing that passes from a run to the tracker, the statistics and the report. This module imports
neither torch nor mlflow, so that anything can read a record in milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, ValidationInfo, field_validator, model_validator

from delrec_bench.errors import BenchError
from delrec_bench.metrics.metric import find_metrics, metric_named
from delrec_bench.records.canonical import compact, digest, plain
from delrec_bench.records.parts import (
    Data,
    Fingerprint,
    LatencyResult,
    LayerDelays,
    Parameters,
    PerSample,
    RunResult,
    TrialResult,
)
from delrec_bench.schema import FileTable, told

SCHEMA: Final = 3
"""Version of the layout of a record."""

TOLERANCE = 1e-9
"""Of a score computed again, relative to the larger of 1 and itself: the order of a sum may differ by processor."""

COMPUTED = ("metric", "result", "predictions", "targets", "fingerprint", "history", "parameters", "activity", "delays")
"""What a run computes: two makings of it are equal where these are."""

HOW = ("engine", "device", "threads", "arithmetic", "products")
"""What of a configuration says how a run is computed, not what is."""

_MISSING = ("history", "measured", "activity", "fingerprint")  # where a number that is not finite is kept as missing
_RESULTS: dict[str, TypeAdapter[Any]] = {
    "run": TypeAdapter(RunResult),
    "floor": TypeAdapter(RunResult),
    "trial": TypeAdapter(TrialResult),
    "latency": TypeAdapter(LatencyResult),
}


class Asked(FileTable):
    """What was asked of a run; what is wrong with one is a `BenchError` in one line."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    key: str = Field(pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of configuration, data and results version (`run_key`), in hexadecimal."""
    method: str = Field(min_length=1)
    """Name of the method."""
    task: str = Field(min_length=1)
    """Name of the row's task; ``<task>:<folder>@<digest8>`` for a user's own corpus."""
    repetition: int = Field(ge=0)
    """0, 1, ...: methods are paired by it."""
    configuration: dict[str, Any]
    """Everything resolved: method, task options, training, network, seeds, dtype, engine, device, threads, arithmetic,
    epochs, limit, budget."""
    profile: str = ""
    """The profile of presets that it was first asked for with; the key knows its settings only."""
    point: dict[str, Any] = Field(default_factory=dict)
    """The settings by dotted key that differ from that profile's preset."""
    command: str = ""
    """The command that makes it again."""
    provenance: dict[str, Any] = Field(default_factory=dict)
    """Results version, code revision, whether it was changed since, versions of libraries."""

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
    """A failure is no record."""
    error: str
    """What went wrong, in one line."""
    traceback: str
    """Where."""
    diverged: bool = False
    """Whether training left the finite numbers, which it does wherever it is tried."""
    attempts: int = Field(ge=1)
    """How often it was tried."""
    failed_at: str
    """When it was tried last, ISO 8601."""


class Record(Asked):
    """A run (kind ``run``), a method-free floor (``floor``), a search's ``trial`` or a ``latency`` measurement.

    Raises:
        BenchError: A field is unknown, of the wrong kind, or contradicts another one.
    """

    kind: Literal["run", "floor", "latency", "trial"]
    """What was done."""
    data: Data
    """The data: its digest and what a reader must know of it."""
    metric: str
    """Name of the metric."""
    result: dict[str, Any]
    """By kind: `RunResult`, `TrialResult` or `LatencyResult`."""
    predictions: PerSample | None = None
    """Of each test sample: a class, or a value."""
    targets: PerSample | None = None
    """What was right, sample by sample."""
    groups: PerSample | None = None
    """Whole numbers: the cluster (speaker, block of a series) of each test sample; None where samples stand alone."""
    fingerprint: Fingerprint | None = None
    """Outputs and gradient before training, which another machine must find; None of a floor."""
    control: str | None = None
    """The method this one is compared with, declared by the method before any run."""
    learned: str = ""
    """What is learned, in words."""
    engine: str = ""
    """What ran the network."""
    device: str = ""
    """``cpu`` or ``cuda``."""
    history: list[dict[str, Any]] = Field(default_factory=list)
    """One entry an epoch."""
    parameters: Parameters = Field(default_factory=dict)
    """Counts of parameters."""
    activity: dict[str, Any] = Field(default_factory=dict)
    """Spikes per neuron and step, synaptic operations, delay buffer."""
    delays: list[LayerDelays] | None = None
    """Where the delays began and ended, a layer each; None where there are none."""
    measured: dict[str, Any] = Field(default_factory=dict)
    """Times, memory, attempts, host: the only field in which two makings of one record may differ."""
    digest: str = ""
    """SHA-256 of all that the run computed (`computed`), given when it was made: a published record holds less."""
    published: bool = False
    """Whether it is the short form that `reports/runs/` holds: without what no page shows."""
    version: Literal[3] = SCHEMA
    """Version of this layout."""

    if TYPE_CHECKING:  # fields come as plain values, arrays and tuples too, and are checked when it is built

        def __init__(self, /, **values: Any) -> None: ...

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, values: Any) -> Any:
        columns = {name: values[name] for name in ("predictions", "targets", "groups") if name in values}
        missing = {name: plain(values[name], missing=True) for name in _MISSING if name in values}
        others = {name: value for name, value in values.items() if name not in columns and name not in missing}
        return {**plain(others), **missing, **columns}

    @field_validator("result", mode="plain", json_schema_input_type=RunResult | TrialResult | LatencyResult)
    @classmethod
    def _result(cls, value: Any, info: ValidationInfo) -> Any:
        return _RESULTS[info.data["kind"]].validate_python(value) if "kind" in info.data else value

    @field_validator("metric")
    @classmethod
    def _metric(cls, name: str) -> str:
        if name not in find_metrics():
            raise ValueError(f"one of {', '.join(find_metrics())} (for your own: --metrics DIR)")
        return name

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for fault in self._faults():
            raise BenchError(f"{self}: {fault}")
        if not self.digest:  # frozen: it is filled in while it is built
            object.__setattr__(self, "digest", digest(compact(computed(self))))
        return self

    def _faults(self) -> Iterator[str]:
        """Complain of samples that do not belong together, and of a score that is not that of the predictions."""
        columns = [column for column in (self.predictions, self.targets, self.groups) if column is not None]
        if self.kind not in ("run", "floor"):
            if columns:
                yield f"predictions, targets or groups are there; a {self.kind} never sees the test set"
            score, failed = self.result.get("valid_score"), self.result.get("failed")
            if self.kind == "trial" and (score is None) == (failed is None):
                yield f"result.valid_score is {score!r}, result.failed {failed!r}: one of the two must be there"
            return
        if self.predictions is None or self.targets is None:
            yield f"predictions or targets are missing; a {self.kind} has one of each for every test sample"
            return
        n = len(self.predictions)
        yield from (f"{n} predictions but {len(column)} targets or groups" for column in columns if len(column) != n)
        if self.groups is not None and self.groups.array.dtype.kind not in "iu":
            yield f"groups are {self.groups.dtype}, must be whole numbers"
        metric, predictions, targets = metric_named(self.metric), self.predictions.array, self.targets.array
        right = metric.score(predictions, targets)
        if not abs(self.score - right) <= TOLERANCE * max(1.0, abs(right)):
            yield f"result.test_score is {self.score!r}, but its predictions score {right!r}"
        if not metric.within(self.score):
            yield f"result.test_score {self.score!r} is beyond the limits of {self.metric}, {metric.limits}"
        counts = {"total": n} | ({"correct": int((predictions == targets).sum())} if metric.classifies else {})
        for name, count in counts.items():
            if self.result.get(name, n if name == "total" else None) != count:
                yield f"result.{name} is {self.result.get(name)}, but its predictions give {count}"

    def __str__(self) -> str:
        return f"record {self.key[:12]} ({self.kind} of {self.method} on {self.task}, repetition {self.repetition})"

    def changed(self, **fields: Any) -> Record:
        """This record with some fields set anew, checked like any other."""
        kept = {name: getattr(self, name) for name in type(self).model_fields}
        shorter = self.published or fields.get("published")  # the digest stays that of the whole record
        return Record(**({**kept, "digest": self.digest if shorter else ""} | fields))

    @property
    def score(self) -> float:
        """The test score (fraction correct, or NMSE) of a run or a floor; a trial has none."""
        return float(self.result["test_score"])

    @property
    def more_is_better(self) -> bool:
        """Whether a larger score is a better one."""
        return metric_named(self.metric).more_is_better

    @property
    def content(self) -> str:
        """SHA-256 of all that is not in ``measured``: equal for the same record."""
        return digest(compact({name: value for name, value in contents(self).items() if name != "measured"}))


def contents(record: Record) -> dict[str, Any]:
    """The record's fields by name, in JSON's own types; columns and parts that were left out (None) stay out."""
    out = record.model_dump()
    for name in ("predictions", "targets", "groups", "fingerprint", "delays"):
        if out[name] is None:
            del out[name]
    return out


def computed(record: Record) -> dict[str, Any]:
    """What the run computed, by field."""
    return {name: value for name, value in contents(record).items() if name in COMPUTED}


def experiment(record: Record, aside: Sequence[str] = ()) -> str:
    """Digest of what was run, whatever ran it, without the settings `aside`.

    Two runs of one experiment differ at most in engine, device, threads or arithmetic.
    """
    settings = {name: value for name, value in record.configuration.items() if name not in (*HOW, *aside)}
    return digest(compact([settings, record.task, record.data["digest"], record.provenance.get("results_version")]))
