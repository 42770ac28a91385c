"""The record of a run: what was configured, what was measured, and how it is made again.

A record is the only thing that passes from a run to the tracker, the statistics and the report. This module imports
neither torch nor mlflow, so that anything can read a record in milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from delrec_bench.metrics.base import metric_named
from delrec_bench.records.canonical import plain
from delrec_bench.records.checks import SCHEMA, validate


@dataclass(frozen=True)
class Record:
    """A run (kind ``run``), a method-free floor (``floor``), a search's ``trial`` or a ``latency`` measurement.

    Args:
        kind: one of `KINDS`.
        key: the run's key, 64 hexadecimal digits (`run_key`).
        method: name of the method.
        task: name of the row's task (``<task>:<folder>@<digest8>`` for a user's own corpus).
        repetition: 0, 1, ... the repetition; methods are paired by it.
        configuration: everything resolved: method, task options, training, network, ``seeds``, ``profile``,
            ``limit``, ``epochs``, engine, dtype, device class, threads.
        data: ``kind`` (`DATA_KINDS`), ``digest``, classes, channels, steps, step_ms, representation,
            augmentation, dropped_events, sizes, notes.
        metric: the name of a metric.
        result: for run and floor ``test_score`` (a fraction for accuracy), ``predictions`` and ``targets``
            per test sample, ``selection``, and for accuracy ``correct`` and ``total``; for latency
            ``train_ratio``, ``infer_ratio`` and ``batch1_ratio`` against the no-delay network (None where it
            does not apply), each with ``<name>_iqr``: the width q75 - q25, or the pair [q25, q75]; for a trial
            ``valid_score``, or None and why it ``failed``, and nothing of the test set.
        study: the study that asked for the run, or None.
        search: the search that chose its settings, or None: ``trials`` made, the ``trial`` chosen and its ``key``,
            the drawn ``values``, every trial's validation ``scores``, and the digest of the ``space``.
        control: the method this one is compared with, declared by the method before any run; None for none.
        learned: what is learned, in words.
        engine, device: what ran it.
        history: one dict per epoch.
        early: ``logits`` of the untrained network, (samples, classes), and the ``losses`` of the first updates.
        parameters: counts ``weights, delays, neuron, trainable, frozen, total``.
        activity: spikes per neuron and step, synaptic operations, delay buffer.
        provenance: results_version, revision, dirty, versions.
        command: the command that makes it again.
        measured: times, memory, host: the only field in which two makings of one record may differ.
        schema: layout of the file.

    Raises:
        BenchError: a field is unknown, of the wrong kind, or contradicts another one.
    """

    kind: str
    key: str
    method: str
    task: str
    repetition: int
    configuration: dict[str, Any]
    data: dict[str, Any]
    metric: str
    result: dict[str, Any]
    study: str | None = None
    search: dict[str, Any] | None = None
    control: str | None = None
    learned: str = ""
    engine: str = ""
    device: str = ""
    history: list[dict[str, Any]] = field(default_factory=list)
    early: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    activity: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    command: str = ""
    measured: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        for item in fields(self):
            # A loss or a time may be infinite in a run that diverged: it is kept as missing. A score may not.
            missing = item.name in ("history", "early", "measured", "activity")
            value = plain(getattr(self, item.name), f"record.{item.name}", missing=missing)
            object.__setattr__(self, item.name, value)
        validate(self)

    @property
    def score(self) -> float:
        """The test score (fraction correct, or NMSE) of a run or a floor; a trial has none."""
        return float(self.result["test_score"])

    @property
    def more_is_better(self) -> bool:
        """Whether a larger score is a better one."""
        return metric_named(self.metric).more_is_better


def contents(record: Record) -> dict[str, Any]:
    """The record's fields by name, in JSON's own types; a search only where there was one."""
    out: dict[str, Any] = {item.name: getattr(record, item.name) for item in fields(record)}
    if record.search is None:
        del out["search"]
    return out


def differences(a: Record, b: Record) -> list[str]:
    """Dotted names of what differs between two records outside ``measured``; empty for the same record."""
    found: list[str] = []

    def walk(x: Any, y: Any, where: str) -> None:
        if isinstance(x, dict) and isinstance(y, dict):
            for k in sorted(set(x) | set(y)):
                if k not in x or k not in y:
                    found.append(f"{where}.{k}" if where else k)
                else:
                    walk(x[k], y[k], f"{where}.{k}" if where else k)
        elif isinstance(x, Sequence) and isinstance(y, Sequence) and not isinstance(x, str) and len(x) == len(y):
            for i, (xi, yi) in enumerate(zip(x, y, strict=True)):
                walk(xi, yi, f"{where}[{i}]")
        elif type(x) is not type(y) or x != y:
            found.append(where)

    first, second = contents(a), contents(b)
    first.pop("measured"), second.pop("measured")
    walk(first, second, "")
    return found


def same_record(a: Record, b: Record) -> bool:
    """Whether two records are equal in every field outside ``measured`` (times, memory, host)."""
    return not differences(a, b)
