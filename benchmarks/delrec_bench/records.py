"""The record of a run: what was configured, what was measured, and how it is made again.

A record is the only thing that passes from a run to the tracker, the statistics and the report. This module
is a leaf: it imports neither torch nor mlflow, so that anything can read a record in milliseconds.

On disk a record is canonical JSON in one of two forms:

* ``full``: ``runs/<key>/record.json``, beside the checkpoint. It stands for a finished run and is reused.
* ``committed``: ``reports/records/*.json``, the same fields with the per-sample arrays packed. It stands
  behind the committed page and is never taken for a finished run.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from .errors import BenchError
from .record_checks import DATA_KINDS, KINDS, LATENCY_RATIOS, METRICS, SCHEMA, is_number, validate
from .workspace import write_atomic

__all__ = [
    "DATA_KINDS",
    "KINDS",
    "LATENCY_RATIOS",
    "METRICS",
    "RESULTS_VERSION",
    "SCHEMA",
    "Record",
    "canonical_json",
    "committed_name",
    "differences",
    "finished_record",
    "from_dict",
    "load_records",
    "plain",
    "read_record",
    "run_key",
    "same_record",
    "to_dict",
    "write_committed",
    "write_record",
]

RESULTS_VERSION = 1
"""Raised by every change that changes results: it enters each key, so that older runs are not reused."""

_PACKED = ("predictions", "targets", "speakers")


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
        metric: a key of `METRICS`.
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
    parameters: dict[str, Any] = field(default_factory=dict)
    activity: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    command: str = ""
    measured: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        for item in fields(self):
            # A loss or a time may be infinite in a run that diverged: it is kept as missing. A score may not.
            missing = item.name in ("history", "measured", "activity")
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
        return METRICS[self.metric]


def plain(value: Any, where: str = "value", *, missing: bool = False) -> Any:
    """`value` in JSON's own types: tuples and arrays become lists, numpy scalars numbers, keys strings.

    Args:
        value: anything made of mappings, sequences, numbers, strings, booleans, None, arrays, paths.
        where: name used in an error.
        missing: turn NaN and infinity into None instead of refusing them.

    Raises:
        BenchError: a number that is not finite, or a type JSON has no word for.
    """
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        if missing:
            return None
        raise BenchError(f"{where} is {value}: a record holds finite numbers; leave out what is missing (None)")
    if isinstance(value, Mapping):
        # Sorted, as on disk: what is written from a record does not depend on whether it was read or just made.
        names = {str(k): k for k in value}
        return {k: plain(value[names[k]], f"{where}.{k}", missing=missing) for k in sorted(names)}
    if hasattr(value, "tolist"):
        return plain(value.tolist(), where, missing=missing)
    if isinstance(value, list | tuple):
        return [plain(v, f"{where}[{i}]", missing=missing) for i, v in enumerate(value)]
    if isinstance(value, Path):
        return value.as_posix()
    raise BenchError(f"{where} is a {type(value).__name__}: a record holds numbers, strings, lists and dicts")


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text, on any machine."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def run_key(configuration: Mapping[str, Any], data_identity: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of configuration, data identity and `RESULTS_VERSION`, in hexadecimal."""
    text = canonical_json({"configuration": configuration, "data": data_identity, "results_version": RESULTS_VERSION})
    return hashlib.sha256(text.encode()).hexdigest()


def _pack(values: list[Any]) -> Any:
    """A list of numbers as base64 of little-endian bytes of the smallest exact type; any other unchanged."""
    if not values or not all(is_number(v) for v in values):
        return values
    array = np.asarray(values)
    kind = np.min_scalar_type(int(array.min())), np.min_scalar_type(int(array.max()))
    dtype = np.dtype("<f8") if array.dtype.kind == "f" else np.result_type(*kind).newbyteorder("<")
    packed = array.astype(dtype)
    if packed.tolist() != values:  # mixed integers and floats: keep the text
        return values
    return {"dtype": packed.dtype.str, "base64": base64.b64encode(packed.tobytes()).decode()}


def _unpack(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"dtype", "base64"}:
        return np.frombuffer(base64.b64decode(value["base64"], validate=True), dtype=value["dtype"]).tolist()
    return value


def to_dict(record: Record, *, committed: bool = False) -> dict[str, Any]:
    """The record as JSON's types; `committed` packs the per-sample arrays and marks the form."""
    out: dict[str, Any] = {item.name: getattr(record, item.name) for item in fields(record)}
    if record.search is None:
        del out["search"]
    out["form"] = "committed" if committed else "full"
    if committed:
        out["result"] = {k: _pack(v) if k in _PACKED and v is not None else v for k, v in record.result.items()}
    return out


def from_dict(values: Mapping[str, Any]) -> Record:
    """A record from the dict that `to_dict` makes, of either form.

    Raises:
        BenchError: an unknown or missing field, or one that `Record` refuses.
    """
    content = {k: v for k, v in values.items() if k != "form"}
    known = {item.name for item in fields(Record)}
    unknown = sorted(set(content) - known)
    if unknown:
        raise BenchError(f"record has the unknown field {', '.join(unknown)}: known are {', '.join(sorted(known))}")
    try:
        if isinstance(content.get("result"), dict):
            content["result"] = {k: _unpack(v) if k in _PACKED else v for k, v in content["result"].items()}
        return Record(**content)
    except (TypeError, ValueError, binascii.Error) as error:
        raise BenchError(f"record cannot be read ({error}): make it again") from error


def write_record(path: Path, record: Record) -> Path:
    """Writes the full form, atomically: there is never half a record."""
    write_atomic(path, canonical_json(to_dict(record)) + "\n")
    return path


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BenchError(f"record {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BenchError(f"record {path} is not JSON ({error}): delete it and make the run again") from error
    if not isinstance(values, dict):
        raise BenchError(f"record {path} holds a {type(values).__name__}, not a record: delete it")
    return values


def read_record(path: Path) -> Record:
    """The record in `path`, of either form.

    Raises:
        BenchError: naming the path, when it is missing, not JSON, or not a valid record.
    """
    values = _read_json(Path(path))
    try:
        return from_dict(values)
    except BenchError as error:
        raise BenchError(f"{path}: {error}") from error


def finished_record(runs: Path, key: str) -> Record | None:
    """The record of a finished run, ``runs/<key>/record.json``, or None.

    Raises:
        BenchError: the file is broken, holds another key, or is only the committed form.
    """
    path = Path(runs) / key / "record.json"
    if not path.exists():
        return None
    if _read_json(path).get("form") != "full":
        raise BenchError(f"{path} is a committed record, not a finished run: delete the folder and run again")
    record = read_record(path)
    if record.key != key:
        raise BenchError(f"{path} holds the key {record.key[:12]}, not that of its folder: delete it and run again")
    return record


def committed_name(record: Record) -> str:
    """File name of the committed form: readable, unique by key."""
    name = f"{record.task}--{record.method}--r{record.repetition}--{record.kind}--{record.key[:12]}"
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name) + ".json"


def write_committed(folder: Path, records: Iterable[Record]) -> list[Path]:
    """Makes `folder` hold the committed form of exactly these records; files already so stay untouched."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for record in records:
        path = folder / committed_name(record)
        text = json.dumps(to_dict(record, committed=True), sort_keys=True, indent=1, ensure_ascii=False) + "\n"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_atomic(path, text)
        paths.append(path)
    for stale in sorted(set(folder.glob("*.json")) - set(paths)):
        stale.unlink()
    return sorted(paths)


def load_records(folder: Path, broken: list[str] | None = None) -> list[Record]:
    """Every record in ``*/record.json`` and ``*.json``, ordered by task, method, repetition and key.

    Args:
        folder: ``runs/`` or ``reports/records/``; a folder that is not there holds no record.
        broken: a list that receives one message (with its path) per file that is no valid record. Without it
            such a file is an error: none is skipped in silence.

    Raises:
        BenchError: naming the path of a broken record, when `broken` is not given.
    """
    records = []
    for path in sorted([*Path(folder).glob("*/record.json"), *Path(folder).glob("*.json")]):
        try:
            records.append(read_record(path))
        except BenchError as error:
            if broken is None:
                raise
            broken.append(str(error))
    return sorted(records, key=lambda r: (r.task, r.method, r.repetition, r.kind, r.key))


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

    first, second = to_dict(a), to_dict(b)
    first.pop("measured"), second.pop("measured")
    walk(first, second, "")
    return found


def same_record(a: Record, b: Record) -> bool:
    """Whether two records are equal in every field outside ``measured`` (times, memory, host)."""
    return not differences(a, b)
