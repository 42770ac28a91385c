"""The records behind a published page, in one file: ``reports/<page>/records.jsonl.xz``.

    {"kind": "targets", "id": ..., "digest": ..., "split": "test", "targets": {...}, "groups": {...}}   once a test set
    {"kind": "run", "key": ..., "targets": "<id>", ...}                                                 one a record

Canonical JSON, one object a line: first the test sets by id, then the records by key, compressed by xz (which ships
with Python and packs hundreds of records that are alike in most of their fields to a tenth of what gzip makes of
single files). Equal records give equal bytes. The file is read by `report`, `audit` and `compare`; it stands for no
finished run.
"""

from __future__ import annotations

import lzma
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from delrec_bench.errors import BenchError
from delrec_bench.records.canonical import compact, digest
from delrec_bench.records.checks import check_targets
from delrec_bench.records.record import Failure, Record, unequal
from delrec_bench.records.store import (
    FAILURE,
    from_dict,
    in_order,
    load_records,
    parse_json,
    read_failure,
    read_limited,
    read_record,
    to_dict,
)
from delrec_bench.workspace import Workspace, write_atomic

NAME = "records.jsonl.xz"
LARGEST = 512 << 20
"""Bytes of the text at most; a file that unfolds to more is no page's."""

_PACKED, _MEMORY, _CHUNK = 64 << 20, 128 << 20, 1 << 20
_SHARED = ("targets", "groups")


def page_text(records: Iterable[Record]) -> str:
    """The text of a page's file.

    Raises:
        BenchError: one key with two contents, or records of the same data that do not agree on the targets.
    """
    by_key: dict[str, Record] = {}
    for record in records:
        other = by_key.setdefault(record.key, record)
        if other != record:
            raise BenchError(f"{record} is there twice, with other contents: a page holds a run once")
    check_targets(by_key.values())
    sets: dict[str, str] = {}
    lines = []
    for key in sorted(by_key):
        content = to_dict(by_key[key])
        shared = {name: content.pop(name) for name in _SHARED if name in content}
        if shared:
            line = {"kind": "targets", "digest": content["data"]["digest"], "split": "test", **shared}
            name = digest(compact(line))[:16]
            sets[name] = compact({"id": name, **line})
            content["targets"] = name
        lines.append(compact(content))
    return "".join(f"{line}\n" for line in [*(sets[name] for name in sorted(sets)), *lines])


def write_page(path: Path, records: Iterable[Record]) -> Path:
    """Makes `path` hold these records; a file that holds them already is not touched."""
    text = page_text(records)
    if path.exists():
        try:
            if _unfolded(path).decode() == text:
                return path
        except (BenchError, UnicodeDecodeError):
            pass  # what is no page's file is replaced by one
    write_atomic(path, lzma.compress(text.encode(), check=lzma.CHECK_CRC64, preset=9))
    return path


def read_page(path: Path, broken: list[str] | None = None) -> list[Record]:
    """The records of a page's file in the order of `load_records`, their keys and scores computed again.

    Args:
        path: The file.
        broken: A list that receives one message for each line that is no valid record; without it such a line is an
            error.

    Raises:
        BenchError: naming file and line: it is cut, garbage, unfolds to more than `LARGEST`, or was altered.
    """
    path = Path(path)
    sets: dict[str, dict[str, Any]] = {}
    records = []
    for number, line in enumerate(_unfolded(path).splitlines(), 1):
        try:
            record = _line(line, sets, f"{path}, line {number}")
        except BenchError as error:
            if broken is None:
                raise
            broken.append(str(error))
            continue
        if record is not None:
            records.append(record)
    check_targets(records)
    return in_order(records)


def find_record(what: str, workspace: Workspace) -> Record:
    """A record by its file, by the beginning of its key, or by METHOD/TASK/REPETITION.

    It is looked for among the finished runs, then behind the pages.

    Raises:
        BenchError: none is meant, or more than one.
    """
    if Path(what).is_file():
        if Path(what).name == FAILURE:
            _refuse_failed(workspace, lambda _: True, [Path(what)])
        return read_record(Path(what))
    if len(parts := what.rsplit("/", 2)) == 3 and parts[2].isdecimal():
        return _named(parts[0], parts[1], int(parts[2]), workspace)
    known = {path.parent.name: path for path in workspace.runs.glob("*/record.json")}
    found = {key: read_record(path) for key, path in known.items() if what and key.startswith(what)}
    for path in sorted(workspace.reports.rglob(NAME)) if what and not found else ():
        found |= {record.key: record for record in read_page(path) if record.key.startswith(what)}
    if what and not found:
        _refuse_failed(workspace, lambda failure: failure.key.startswith(what))
    if len(found) != 1:
        raise BenchError(f"'{what}' is no file, and {len(found)} records have a key that begins so; give one record")
    return next(iter(found.values()))


def _refuse_failed(workspace: Workspace, fits: Callable[[Failure], bool], paths: Iterable[Path] | None = None) -> None:
    """Say of a run that failed why it did: it has no record, and nobody should look for one."""
    for path in paths or sorted(workspace.runs.glob(f"*/{FAILURE}")):
        try:
            failure = read_failure(path)
        except BenchError:  # what cannot be read is none that was asked for
            continue
        if fits(failure):
            raise BenchError(
                f"the run {failure.key[:12]} failed, so there is no record of it: {failure.error}; traceback: {path}; "
                f"once more: {failure.command}"
            )


def _named(method: str, task: str, repetition: int, workspace: Workspace) -> Record:
    def fits(r: Record) -> bool:
        return r.kind in ("run", "floor") and (r.method, r.repetition) == (method, repetition) and task in (
            r.task, r.task.partition(":")[0],
        )  # fmt: skip

    broken: list[str] = []  # another run's, which are no reason against this one
    found = {r.key: r for r in load_records(workspace.runs, broken) if fits(r)}
    if not found:
        behind = (read_page(path) for path in sorted(workspace.reports.rglob(NAME)))
        found = {r.key: r for records in behind for r in records if fits(r)}
    if len(found) == 1:
        return next(iter(found.values()))
    name = f"{method}/{task}/{repetition}"
    if not found:
        wanted = (method, task, repetition)
        _refuse_failed(workspace, lambda f: (f.method, f.task, f.repetition) == wanted)
        unread = f" ({len(broken)} cannot be read: {broken[0]})" if broken else ""
        raise BenchError(
            f"no finished run is {name}{unread}; give METHOD/TASK/REPETITION, the beginning of a key, or a file"
        )
    first, *others = found.values()
    apart = {where: a for r in others for where, (a, _) in unequal(first.configuration, r.configuration).items()}

    def settings(r: Record) -> str:
        values = {where: pair[1] for where, pair in unequal(first.configuration, r.configuration).items()}
        return ", ".join(f"{where} {values.get(where, apart[where])}" for where in sorted(apart)[:3])

    keys = "; ".join(f"{key[:12]} ({settings(r)})" for key, r in sorted(found.items())[:6])
    more = f" and {len(found) - 6} more" if len(found) > 6 else ""
    raise BenchError(f"{len(found)} runs of different settings are {name}; give one by its key: {keys}{more}")


def _line(line: bytes, sets: dict[str, dict[str, Any]], where: str) -> Record | None:
    """The record of a line; None for a line of targets, which goes into `sets`."""
    values = parse_json(line, where)
    if values.get("kind") == "targets":
        name = values.pop("id", None)
        if name != digest(compact(values))[:16]:
            raise BenchError(f"{where}: these targets are not those that their id {name!r} names; it was altered")
        sets[name] = values
        return None
    if isinstance(values.get("targets"), str):
        values |= _joined(sets, values, where)
    try:
        return from_dict(values)
    except BenchError as error:
        raise BenchError(f"{where}: {error}") from error


def _joined(sets: dict[str, dict[str, Any]], values: dict[str, Any], where: str) -> dict[str, Any]:
    found = sets.get(values["targets"])
    if found is None:
        raise BenchError(f"{where}: the targets {values['targets']!r} are not above it; the file was altered")
    data = values.get("data")
    digest = data.get("digest") if isinstance(data, dict) else None
    if found.get("digest") != digest:
        raise BenchError(f"{where}: data.digest is {digest!r}, but its targets are of {found.get('digest')!r}")
    return {name: found[name] for name in _SHARED if name in found}


def _unfolded(path: Path) -> bytes:
    """The text of an xz file, never more than `LARGEST`, with a bounded memory."""
    data = read_limited(path, _PACKED)
    unpack = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_MEMORY)
    out: list[bytes] = []
    size = 0
    try:
        while not unpack.eof:
            piece = unpack.decompress(data, max_length=_CHUNK)
            data = b""
            size += len(piece)
            if size > LARGEST:
                raise BenchError(f"{path} unfolds to more than {LARGEST} bytes, which no page's records do: delete it")
            if not piece and unpack.needs_input:
                raise BenchError(f"{path} is cut short: take it from git again (git checkout -- {path})")
            out.append(piece)
    except lzma.LZMAError as error:
        raise BenchError(f"{path} is not an xz file that can be read ({error}): take it from git again") from error
    if unpack.unused_data:
        raise BenchError(f"{path} goes on after its end: take it from git again")
    return b"".join(out)
