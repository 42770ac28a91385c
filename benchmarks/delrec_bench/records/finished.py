"""Records of finished runs: ``runs/<key>/record.json``, canonical JSON that stands alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from delrec_bench.errors import BenchError
from delrec_bench.records.canonical import compact
from delrec_bench.records.checks import in_order, verify
from delrec_bench.records.record import Failure, Record, contents
from delrec_bench.workspace import write_atomic

RECORD, FAILURE = "record.json", "failure.json"

T = TypeVar("T")

LARGEST = 64 << 20
"""Bytes of a record's file at most: predictions of ten million samples."""


def to_dict(record: Record) -> dict[str, Any]:
    """Return the record as JSON's types, and in ``content`` the digest of all but ``measured``."""
    return contents(record) | {"content": record.content}


def from_dict(values: Mapping[str, Any]) -> Record:
    """Return the record that `to_dict` wrote; a `BenchError` where its key, scores or digest do not follow from it."""
    if "version" not in values:
        raise BenchError("it has no field 'version', so it is not a record; repeat the run")
    record = verify(Record(**{name: value for name, value in values.items() if name != "content"}))
    if values.get("content") != record.content:
        raise BenchError(
            f"{record}: content is {values.get('content')!r}, but its fields give '{record.content}'; it was modified"
        )
    return record


def record_text(record: Record) -> str:
    """Return the record's file."""
    return compact(to_dict(record)) + "\n"


def write_record(path: Path, record: Record) -> Path:
    """Write the record's file, atomically: there is never half a record."""
    write_atomic(path, record_text(record))
    return path


def parse_json(text: str | bytes, where: object) -> dict[str, Any]:
    """Return a JSON object without NaN or infinity; a `BenchError` names `where`."""
    try:
        values = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise BenchError(f"{where} is not valid JSON ({error}); delete it and repeat the run") from error
    if not isinstance(values, dict):
        raise BenchError(f"{where} holds a {type(values).__name__}, not a record; delete it and repeat the run")
    return values


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is not a JSON number")


def read_limited(path: Path, largest: int) -> bytes:
    """Return the content of a regular file of at most `largest` bytes; a `BenchError` says why not."""
    try:
        if not path.is_file():
            raise BenchError(f"{path} {'is not a file' if path.exists() else 'does not exist'}")
        with path.open("rb") as file:
            data = file.read(largest + 1)
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > largest:
        raise BenchError(f"{path} is larger than {largest} bytes, so it is not a record; delete it")
    return data


def read_record(path: Path) -> Record:
    """Return the record in `path`, its key and scores computed again; a `BenchError` names the path."""
    return _read(path, "record", from_dict)


def read_failure(path: Path) -> Failure:
    """Return the failure in `path`; a `BenchError` names the path."""
    return _read(path, "failure", lambda values: Failure(**values))


def _read(path: Path, what: str, made: Callable[[dict[str, Any]], T]) -> T:
    values = parse_json(read_limited(Path(path), LARGEST), f"{what} {path}")
    try:
        return made(values)
    except BenchError as error:
        raise BenchError(f"{path}: {error}") from error


def finished_record(runs: Path, key: str) -> Record | None:
    """Return the record of a finished run, ``runs/<key>/record.json``, or None."""
    path = Path(runs) / key / RECORD
    if not path.exists():
        return None
    record = read_record(path)
    if record.key != key:
        raise BenchError(f"{path} has the key {record.key[:12]}, unlike its folder; delete it and repeat the run")
    return record


def write_failure(runs: Path, failure: Failure) -> Path:
    """Write ``runs/<key>/failure.json``."""
    path = Path(runs) / failure.key / FAILURE
    write_atomic(path, compact(failure.model_dump()) + "\n")
    return path


def runs_below(folder: Path) -> Path:
    """Return the folder of runs that a path means: itself, or `runs` below it."""
    for candidate in (folder / "runs", folder):
        if next(candidate.glob(f"*/{RECORD}"), None) is not None:
            return candidate.resolve()
    raise BenchError(f"'{folder}' contains no runs/<key>/{RECORD}; give a repository root or its folder of runs")


def load_records(runs: Path) -> list[Record]:
    """Return every record in ``runs/*/record.json``, as `in_order` sorts them; a broken one is a `BenchError`."""
    return in_order(read_record(path) for path in Path(runs).glob(f"*/{RECORD}"))


def read_folder(runs: Path, say: Callable[[str], None]) -> tuple[list[Record], list[Failure]]:
    """Return the finished runs of a folder, and those that only failed; a broken file is said and left out."""
    records: list[Record] = []
    failures: list[Failure] = []
    for path in sorted(runs.glob("*/*.json")):
        try:
            if path.name == RECORD:
                records.append(read_record(path))
            elif path.name == FAILURE and not path.with_name(RECORD).exists():
                failures.append(read_failure(path))
        except BenchError as error:
            say(f"warning: {error}")
    return in_order(records), failures
