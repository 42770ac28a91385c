"""The store: every published run once, one line in ``reports/runs/<task>.jsonl.xz``; pages are views of it.

    {"kind": "targets", "id": ..., "digest": ..., "split": "test", "targets": {...}, "groups": {...}}   once a test set
    {"kind": "run", "key": ..., "targets": "<id>", ...}                                                 one a record
    {"kind": "failure", "key": ..., "error": ..., ...}                          one a run whose training diverged

Canonical JSON, one object a line, sorted: equal runs give equal bytes. ``reports/results.parquet`` is the tidy table of
them (`records.results`).
"""

from __future__ import annotations

import lzma
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from delrec_bench.errors import BenchError
from delrec_bench.records.canonical import RESULTS_VERSION, compact, digest
from delrec_bench.records.checks import in_order
from delrec_bench.records.finished import (
    FAILURE,
    finished_record,
    from_dict,
    parse_json,
    read_failure,
    read_limited,
    read_record,
    to_dict,
)
from delrec_bench.records.record import Failure, Record
from delrec_bench.records.results import TABLE, read_table, table, write_table
from delrec_bench.workspace import Workspace, base_and_folder, locked, write_atomic

RUNS, SUFFIX = "runs", ".jsonl.xz"
LARGEST = 512 << 20
"""Bytes of a file's text at most."""
_PACKED, _MEMORY = 64 << 20, 128 << 20
_SHARED = ("targets", "groups")

Runs = tuple[list[Record], list[Failure]]


class StoreChange(NamedTuple):
    """What publishing did: runs that are new in the store, runs of an older results version, files that changed."""

    added: int
    dropped: int
    paths: tuple[Path, ...]


def read_store(reports: Path, tasks: Collection[str] | None = None) -> Runs:
    """The runs of the store, and those that diverged; of some tasks (a user's own corpus counts as its task), or all.

    Raises:
        BenchError: Naming file and line: it is cut, garbage, too large, or was altered.
    """
    records: list[Record] = []
    failures: list[Failure] = []
    for path in sorted((Path(reports) / RUNS).glob(f"*{SUFFIX}")):
        if tasks is None or path.name.removesuffix(SUFFIX) in (base_and_folder(task)[0] for task in tasks):
            found, lost = _read(path)
            records += found
            failures += lost
    return in_order(records), failures


def publish(reports: Path, records: Iterable[Record], failures: Iterable[Failure] = ()) -> StoreChange:
    """Put runs into the store; one that it holds already, with the same outcome, stays as it is.

    Runs of an older results version leave the files that are written.

    Raises:
        BenchError: One key with two outcomes, here or in the store; a store that cannot be read; or records that do not
            agree on targets.
    """
    reports = Path(reports)
    with locked(reports / TABLE):
        old, lost = read_store(reports)
        kept = {r.key: r for r in old if r.provenance.get("results_version") == RESULTS_VERSION}
        given: dict[str, Record] = {}
        for record in records:
            if record.kind != "trial" and given.setdefault(record.key, record).digest != record.digest:
                raise BenchError(f"{record} has two different results; publish from one folder of runs")
        fresh = {key: r for key, r in given.items() if key not in kept or kept[key].digest != r.digest}
        other = [r for key, r in fresh.items() if key in kept and r.kind != "latency"]
        if other:
            raise BenchError(
                f"{len(other)} stored runs have different results here, the first being {other[0]}; raise "
                "RESULTS_VERSION if a code change altered results; otherwise find out which of the two is wrong"
            )
        runs = kept | {key: short_form(r) for key, r in fresh.items()}
        diverged = {f.key: f for f in lost if f.provenance.get("results_version") == RESULTS_VERSION}
        diverged |= {f.key: f.model_copy(update={"traceback": ""}) for f in failures}
        still = [failure for key, failure in diverged.items() if key not in runs]
        paths = _write(reports, in_order(runs.values()), still)
    return StoreChange(len(fresh.keys() - kept.keys()), len(old) - len(kept), tuple(paths))


def short_form(record: Record) -> Record:
    """The record as it is published: of each epoch loss and scores, of the delays their quantiles."""
    kept = {"epoch", "loss", *(f"{part}_{record.metric}" for part in ("train", "valid", "test"))}
    return record.changed(
        published=True,
        history=[{name: entry[name] for name in sorted(kept & set(entry))} for entry in record.history],
        delays=record.delays and [{n: v for n, v in layer.items() if n != "units"} for layer in record.delays],
        measured={name: value for name, value in record.measured.items() if name != "epoch_seconds"},
    )


def _write(reports: Path, records: list[Record], failures: list[Failure]) -> list[Path]:
    """Write what differs from what is there; the paths that changed."""
    changed = []
    tasks = {base_and_folder(of.task)[0] for of in (*records, *failures)}
    for path in (reports / RUNS).glob(f"*{SUFFIX}"):
        if path.name.removesuffix(SUFFIX) not in tasks:
            path.unlink()
            changed.append(path)
    for task in sorted(tasks):
        path = reports / RUNS / f"{task}{SUFFIX}"
        finished = [one for one in records if base_and_folder(one.task)[0] == task]
        text = store_text(finished, [one for one in failures if base_and_folder(one.task)[0] == task])
        if not path.exists() or _unfolded(path).decode() != text:
            write_atomic(path, lzma.compress(text.encode(), check=lzma.CHECK_CRC64, preset=9))
            changed.append(path)
    rows, path = table(records, failures), reports / TABLE
    if not path.exists() or not rows.equals(read_table(path)):
        write_table(path, rows)
        changed.append(path)
    return changed


def store_text(records: Iterable[Record], failures: Iterable[Failure] = ()) -> str:
    """The text of one file of the store."""
    sets: dict[str, str] = {}
    lines = []
    for record in sorted(records, key=lambda r: r.key):
        content = to_dict(record)
        shared = {name: content.pop(name) for name in _SHARED if name in content}
        if shared:
            line = {"kind": "targets", "digest": content["data"]["digest"], "split": "test", **shared}
            name = content["targets"] = digest(compact(line))[:16]
            sets[name] = compact({"id": name, **line})
        lines.append(compact(content))
    lines += [compact({"kind": "failure", **f.model_dump()}) for f in sorted(failures, key=lambda f: f.key)]
    return "".join(f"{line}\n" for line in [*(sets[name] for name in sorted(sets)), *lines])


def _read(path: Path) -> Runs:
    sets: dict[str, dict[str, Any]] = {}
    records: list[Record] = []
    failures: list[Failure] = []
    for number, line in enumerate(_unfolded(path).splitlines(), 1):
        where = f"{path}, line {number}"
        values = parse_json(line, where)
        try:
            match values.get("kind"):
                case "targets":
                    name = values.pop("id", None)
                    if name != digest(compact(values))[:16]:
                        raise BenchError(f"these targets do not match their id {name!r}; it was modified")
                    sets[name] = values
                case "failure":
                    failures.append(Failure(**{name: value for name, value in values.items() if name != "kind"}))
                case _:
                    records.append(from_dict(_joined(sets, values)))
        except BenchError as error:
            raise BenchError(f"{where}: {error}") from error
    return records, failures


def _joined(sets: dict[str, dict[str, Any]], values: dict[str, Any]) -> dict[str, Any]:
    """A record's line with its targets."""
    name = values.get("targets")
    if not isinstance(name, str):
        return values
    if name not in sets:
        raise BenchError(f"the targets {name!r} are not above it; the file was modified")
    return values | {part: sets[name][part] for part in _SHARED if part in sets[name]}


def _unfolded(path: Path) -> bytes:
    """The text of an xz file, never more than `LARGEST`, with a bounded memory."""
    unpack = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_MEMORY)
    try:
        text = unpack.decompress(read_limited(path, _PACKED), max_length=LARGEST + 1)
    except lzma.LZMAError as error:
        raise BenchError(f"{path} is not a readable xz file ({error}); restore it from git") from error
    if len(text) > LARGEST:
        raise BenchError(f"{path} decompresses to more than {LARGEST} bytes; restore it from git")
    if not unpack.eof or unpack.unused_data:
        what = "goes on after its end" if unpack.eof else "is cut short"
        raise BenchError(f"{path} {what}; restore it from git (git checkout -- {path})")
    return text


def find_record(what: str, workspace: Workspace) -> Record:
    """The record in a file, or that whose key begins so: of a finished run, else in the store.

    Raises:
        BenchError: None is meant, or more than one; of a run that failed it says why.
    """
    if Path(what).is_file():
        return read_record(Path(what))
    folders = [path for path in workspace.runs.glob("*") if what and path.name.startswith(what)]
    done = (finished_record(workspace.runs, folder.name) for folder in folders)
    found = [record for record in done if record is not None]
    found = found or [r for r in read_store(workspace.reports)[0] if what and r.key.startswith(what)]
    if len(found) > 1:
        raise BenchError(
            f"{len(found)} runs match '{what}': {', '.join(r.key[:16] for r in found)}; give more characters"
        )
    if found:
        return found[0]
    for path in (folder / FAILURE for folder in folders if (folder / FAILURE).exists()):
        failure = read_failure(path)
        raise BenchError(
            f"the run {failure.key[:12]} failed, so it has no record: {failure.error}; traceback: {path}; "
            f"to retry: {failure.command}"
        )
    raise BenchError(f"no run '{what}'; give the first characters of a key, or a record file")
