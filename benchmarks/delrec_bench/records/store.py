"""Records on disk: canonical JSON in one of two forms.

* ``full``: ``runs/<key>/record.json``, beside the checkpoint. It stands for a finished run and is reused.
* ``committed``: ``reports/records/*.json``, the same fields with the per-sample arrays packed. It stands
  behind the committed page and is never taken for a finished run.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from delrec_bench.errors import BenchError
from delrec_bench.records.canonical import canonical_json, is_number
from delrec_bench.records.record import Record, contents
from delrec_bench.workspace import write_atomic

_PACKED = ("predictions", "targets", "speakers")


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
    out = contents(record)
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
