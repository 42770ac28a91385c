"""The store: every published run once, one line in ``reports/runs/<task>.jsonl.xz``; pages are views of it.

    {"kind": "targets", "id": ..., "digest": ..., "split": "test", "targets": {...}, "groups": {...}}   once a test set
    {"kind": "run", "key": ..., "targets": "<id>", ...}                                                 one a record
    {"kind": "failure", "key": ..., "error": ..., ...}                          one a run whose training diverged

Canonical JSON, one object a line, sorted: equal runs give equal bytes. ``reports/results.parquet`` is the tidy table of
them (`records.results`).
"""

import lzma
from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from delrec_bench.errors import BenchError
from delrec_bench.records.canonical import RESULTS_VERSION, compact, digest, parse_json
from delrec_bench.records.finished import finished_record, from_dict, in_order, read_record, to_dict
from delrec_bench.records.record import Failure, Record
from delrec_bench.records.results import TABLE, read_table, table, write_table
from delrec_bench.workspace import Workspace, base_and_folder, locked, read_limited, write_atomic

RUNS, SUFFIX = "runs", ".jsonl.xz"
LARGEST = 512 << 20
"""Bytes of a file's text at most."""
_PACKED, _MEMORY = 64 << 20, 128 << 20
_SHARED = ("targets", "groups")

Runs = tuple[list[Record], list[Failure]]


def read_store(reports: Path, tasks: Collection[str] | None = None) -> Runs:
    """The runs of the store, and those that diverged; of some tasks (a user's own corpus counts as its task), or all.

    Raises:
        BenchError: Naming file and line: it is cut, garbage, too large, or was altered.
    """
    records: list[Record] = []
    failures: list[Failure] = []
    for path in sorted((reports / RUNS).glob(f"*{SUFFIX}")):
        if tasks is None or path.name.removesuffix(SUFFIX) in (base_and_folder(task)[0] for task in tasks):
            found, lost = _read(path)
            records += found
            failures += lost
    return in_order(records), failures


def publish(reports: Path, records: Iterable[Record], failures: Iterable[Failure] = ()) -> list[Path]:
    """Put runs into the store, and return the files that changed; what it holds with the same outcome stays as it is.

    Runs of an older results version leave the files that are written.

    Raises:
        BenchError: One key with two outcomes, here or in the store; a store that cannot be read; or records that do not
            agree on targets.
    """
    with locked(reports / TABLE):
        old, lost = read_store(reports)
        runs = {r.key: r for r in old if r.provenance.get("results_version") == RESULTS_VERSION}
        for record in records:
            known = runs.get(record.key)
            if record.kind == "trial" or (known is not None and known.digest == record.digest):
                continue
            if known is not None and record.kind != "latency":
                raise BenchError(
                    f"{record} has two different results, here or in the store; raise RESULTS_VERSION if a code change "
                    "altered results; otherwise find out which of the two is wrong"
                )
            runs[record.key] = short_form(record)
        diverged = {f.key: f for f in lost if f.provenance.get("results_version") == RESULTS_VERSION}
        diverged |= {f.key: f.model_copy(update={"traceback": ""}) for f in failures}
        still = [failure for key, failure in diverged.items() if key not in runs]
        return _write(reports, in_order(runs.values()), still)


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
    tasks: dict[str, Runs] = defaultdict(lambda: ([], []))
    for record in records:
        tasks[base_and_folder(record.task)[0]][0].append(record)
    for failure in failures:
        tasks[base_and_folder(failure.task)[0]][1].append(failure)
    changed = [path for path in (reports / RUNS).glob(f"*{SUFFIX}") if path.name.removesuffix(SUFFIX) not in tasks]
    for path in changed:
        path.unlink()
    for task in sorted(tasks):
        path, text = reports / RUNS / f"{task}{SUFFIX}", store_text(*tasks[task])
        if not path.exists() or _unfolded(path) != text.encode():
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
        try:
            values = parse_json(line)
            if values.get("kind") == "targets":
                name = str(values.pop("id", None))
                if name != digest(compact(values))[:16]:
                    raise BenchError(f"these targets do not match their id {name!r}; it was modified")
                sets[name] = {part: values[part] for part in _SHARED if part in values}
            elif values.get("kind") == "failure":
                failures.append(Failure(**{name: value for name, value in values.items() if name != "kind"}))
            else:
                if isinstance(shared := values.get("targets"), str):
                    if shared not in sets:
                        raise BenchError(f"the targets {shared!r} are not above it; the file was modified")
                    values |= sets[shared]
                records.append(from_dict(values))
        except BenchError as error:
            raise BenchError(f"{path}, line {number}: {error}; restore it from git") from error
    return records, failures


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
        raise BenchError(f"{path} {'goes on after its end' if unpack.eof else 'is cut short'}; restore it from git")
    return text


def find_record(what: str, workspace: Workspace) -> Record:
    """The record in a file, or that whose key begins so: of a finished run, else in the store.

    Raises:
        BenchError: None is meant, or more than one.
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
    raise BenchError(f"no run '{what}'; give the first characters of a key, or a record file")
