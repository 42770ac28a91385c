"""Records of finished runs: ``runs/<key>/record.json``, canonical JSON that stands alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from delrec_bench.errors import BenchError
from delrec_bench.records.canonical import compact
from delrec_bench.records.checks import in_order, verify
from delrec_bench.records.record import Failure, Record, contents
from delrec_bench.workspace import write_atomic

FAILURE = "failure.json"

LARGEST = 64 << 20
"""Bytes of a record's file at most: predictions of ten million samples."""


def to_dict(record: Record) -> dict[str, Any]:
    """The record as JSON's types, and in ``content`` the digest of all but ``measured``."""
    return contents(record) | {"content": record.content}


def from_dict(values: Mapping[str, Any]) -> Record:
    """The record that `to_dict` wrote.

    Raises:
        BenchError: it is not of the form, or was altered: key, scores and digest are computed again.
    """
    content = {str(k): v for k, v in values.items() if k != "content"}
    if "version" not in content:
        raise BenchError("it has no field 'version', so it is no record: make it again")
    record = verify(Record(**content))
    if values.get("content") != record.content:
        raise BenchError(
            f"{record}: content is {values.get('content')!r}, but its fields give '{record.content}'; it was altered"
        )
    return record


def record_text(record: Record) -> str:
    """The record's file."""
    return compact(to_dict(record)) + "\n"


def write_record(path: Path, record: Record) -> Path:
    """Writes the record's file, atomically: there is never half a record."""
    write_atomic(path, record_text(record))
    return path


def parse_json(text: str | bytes, where: object) -> dict[str, Any]:
    """A JSON object without NaN or infinity.

    Raises:
        BenchError: naming `where`.
    """
    try:
        values = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise BenchError(f"{where} is not JSON ({error}): delete it and make the run again") from error
    if not isinstance(values, dict):
        raise BenchError(f"{where} holds a {type(values).__name__}, not a record: delete it and make the run again")
    return values


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no number of JSON")


def read_limited(path: Path, largest: int) -> bytes:
    """A regular file of at most `largest` bytes.

    Raises:
        BenchError: it cannot be read, is no file, or larger.
    """
    try:
        if not path.is_file():
            raise BenchError(f"record {path} {'is not a file' if path.exists() else 'is not there'}")
        with path.open("rb") as file:
            data = file.read(largest + 1)
    except OSError as error:
        raise BenchError(f"record {path} cannot be read: {error.strerror}") from error
    if len(data) > largest:
        raise BenchError(f"record {path} is larger than {largest} bytes, which no record is: delete it")
    return data


def read_record(path: Path) -> Record:
    """The record in `path`, its key and scores computed again.

    Raises:
        BenchError: naming the path, when it is missing, not JSON, not a valid record, or altered.
    """
    path = Path(path)
    values = parse_json(read_limited(path, LARGEST), f"record {path}")
    try:
        return from_dict(values)
    except BenchError as error:
        raise BenchError(f"{path}: {error}") from error


def finished_record(runs: Path, key: str) -> Record | None:
    """The record of a finished run, ``runs/<key>/record.json``, or None.

    Raises:
        BenchError: the file is broken, or holds another key.
    """
    path = Path(runs) / key / "record.json"
    if not path.exists():
        return None
    record = read_record(path)
    if record.key != key:
        raise BenchError(f"{path} holds the key {record.key[:12]}, not that of its folder: delete it and run again")
    return record


def write_failure(runs: Path, failure: Failure) -> Path:
    """Writes ``runs/<key>/failure.json``."""
    path = Path(runs) / failure.key / FAILURE
    write_atomic(path, compact(failure.model_dump()) + "\n")
    return path


def read_failure(path: Path) -> Failure:
    """The failure in `path`.

    Raises:
        BenchError: naming the path, when it is no failure.
    """
    try:
        return Failure(**parse_json(read_limited(Path(path), LARGEST), f"failure {path}"))
    except BenchError as error:
        raise BenchError(f"{path}: {error}") from error


def runs_below(folder: Path) -> Path:
    """The folder of runs that a path means: itself, or `runs` below it.

    Raises:
        BenchError: There is no run in it.
    """
    if not folder.is_dir():
        raise BenchError(f"'{folder}' is not a folder; name a workspace, or its folder of runs")
    folder = folder.resolve()
    for candidate in (folder / "runs", folder):
        if next(candidate.glob("*/record.json"), None) is not None:
            return candidate
    raise BenchError(f"'{folder}' holds no runs/<key>/record.json; name a workspace, or its folder of runs")


def load_records(runs: Path) -> list[Record]:
    """Every record in ``runs/*/record.json``, as `in_order` sorts them; a folder that is not there holds none.

    Raises:
        BenchError: Naming the path of a broken record; or records that do not agree on targets.
    """
    return in_order(read_record(path) for path in sorted(Path(runs).glob("*/record.json")))


def read_folder(runs: Path, say: Callable[[str], None]) -> tuple[list[Record], list[Failure]]:
    """The finished runs of a folder, and those that only failed; a broken file is said and left out.

    Raises:
        BenchError: Records do not agree on targets.
    """
    records: list[Record] = []
    failures: list[Failure] = []
    for path in [*sorted(runs.glob("*/record.json")), *sorted(runs.glob(f"*/{FAILURE}"))]:
        try:
            if path.name != FAILURE:
                records.append(read_record(path))
            elif not path.with_name("record.json").exists():
                failures.append(read_failure(path))
        except BenchError as error:
            say(f"warning: {error}")
    return in_order(records), failures
