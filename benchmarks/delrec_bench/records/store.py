"""Records in files: those of runs, and the store of what was published.

    runs/<key>/record.json                  a finished run
    runs/<key>/failure.json                 a run that only failed
    reports/runs/<task>.jsonl.xz            the store: every published run once; pages are views of it

      {"kind": "targets", "id": ..., "digest": ..., "split": "test", "targets": {...}, "groups": {...}}  once a test set
      {"kind": "run", "key": ..., "targets": "<id>", ...}                                               one a record
      {"kind": "failure", "key": ..., "error": ..., ...}                      one a run whose training diverged

Canonical JSON, one object a line, sorted: equal runs give equal bytes. ``reports/results.parquet`` is the tidy table of
the store (`records.results`).
"""

import lzma
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from delrec_bench.environment import say
from delrec_bench.errors import BenchError
from delrec_bench.records.record import (
    Asked,
    Failure,
    Record,
    canonical_json,
    compact,
    contents,
    digest,
    expected_key,
    parse_json,
    version_of,
)
from delrec_bench.records.results import TABLE, read_table, table
from delrec_bench.workspace import Workspace, base_and_folder, locked, read_limited, write_atomic

RECORD, FAILURE = "record.json", "failure.json"
RUNS, SUFFIX = "runs", ".jsonl.xz"
LARGEST_RECORD, LARGEST = 64 << 20, 512 << 20
"""Bytes at most: of a record's file (predictions of ten million samples), and of the text of a file of the store."""
_PACKED, _MEMORY = 64 << 20, 128 << 20
_SHARED = ("targets", "groups")

T = TypeVar("T")
Runs = tuple[list[Record], list[Failure]]


def to_dict(record: Record) -> dict[str, Any]:
    """Return the record as JSON's types, and in ``content`` the digest of all but ``measured``."""
    return contents(record) | {"content": record.content}


def from_dict(values: Mapping[str, Any]) -> Record:
    """Return the record that `to_dict` wrote; a `BenchError` where its key, scores or digest do not follow from it."""
    try:
        record = Record(**{name: value for name, value in values.items() if name != "content"})
        right = {"key": expected_key(record), "content": record.content}
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise BenchError(f"it is not a record ({type(error).__name__}: {error})") from error
    for name, value in right.items():
        if values.get(name) != value:
            found = values.get(name)
            raise BenchError(f"{record}: {name} is {found!r}, but its fields give {value!r}; it was modified")
    return record


def in_order(records: Iterable[Record]) -> list[Record]:
    """Return records by task, method, repetition, kind and key."""
    return sorted(records, key=lambda r: (r.task, r.method, r.repetition, r.kind, r.key))


def record_text(one: Record | Failure) -> str:
    """Return the file of a record or failure."""
    return compact(to_dict(one) if isinstance(one, Record) else one.model_dump()) + "\n"


def write_record(path: Path, record: Record) -> Path:
    """Write the record's file, atomically: there is never half a record."""
    write_atomic(path, record_text(record))
    return path


def read_record(path: Path) -> Record:
    """Return the record in `path`, its key and scores computed again; a `BenchError` names the path."""
    return _parsed(path, from_dict)


def read_failure(path: Path) -> Failure:
    """Return the failure in `path`; a `BenchError` names the path."""
    return _parsed(path, lambda values: Failure(**values))


def _parsed(path: Path, made: Callable[[dict[str, Any]], T]) -> T:
    content = read_limited(path, LARGEST_RECORD)
    try:
        return made(parse_json(content))
    except BenchError as error:
        raise BenchError(f"{path}: {error}") from error


def finished_record(runs: Path, key: str) -> Record | None:
    """Return the record of a finished run, ``runs/<key>/record.json``, or None."""
    path = runs / key / RECORD
    if not path.exists():
        return None
    record = read_record(path)
    if record.key != key:
        raise BenchError(f"{path} has the key {record.key[:12]}, unlike its folder; delete it and repeat the run")
    return record


def runs_below(folder: Path) -> Path:
    """Return the folder of runs that a path means: itself, or `runs` below it."""
    for candidate in (folder / "runs", folder):
        if any(next(candidate.glob(f"*/{name}"), None) for name in (RECORD, FAILURE)):
            return candidate.resolve()
    raise BenchError(f"'{folder}' contains no runs/<key>/{RECORD}; give a repository root or its folder of runs")


def read_folder(runs: Path, say: Callable[[str], None] = say) -> tuple[list[Record], list[Failure]]:
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


def read_store(reports: Path, tasks: Collection[str] | None = None) -> Runs:
    """The runs of the store, and those that diverged; of some tasks (a user's own corpus counts as its task), or all.

    A `BenchError` names the file and line that is cut, garbage, too large, or was altered.
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

    A run, a failure or a latency of an older results version leaves when the same one of a newer version is there; of
    one latency the newest measurement stays. A `BenchError` names one key with two outcomes, here or in the store, or
    says why the store cannot be read.
    """
    with locked(reports / TABLE):
        old, lost = read_store(reports)
        runs = {r.key: r for r in old}
        for record in records:
            known = runs.get(record.key)
            if record.kind == "trial" or (known is not None and known.digest == record.digest):
                continue
            if known is not None and record.kind == "latency" and record.finished < known.finished:
                continue
            if known is not None and record.kind != "latency":
                raise BenchError(
                    f"{record} has two different results, here or in the store; raise RESULTS_VERSION if a code change "
                    "altered results; otherwise find out which of the two is wrong"
                )
            runs[record.key] = short_form(record)
        diverged = {f.key: f.model_copy(update={"traceback": ""}) for f in (*lost, *failures) if f.diverged}
        # of what differs in its results version only, the newest stays; of those, a failure only without a run
        newest: dict[tuple[str, ...], int] = {}
        for one in (*runs.values(), *diverged.values()):
            newest[_settings(one)] = max(version_of(one), newest.get(_settings(one), 0))
        kept = [r for r in runs.values() if version_of(r) == newest[_settings(r)]]
        done = set(map(_settings, kept))
        left = [f for f in diverged.values() if version_of(f) == newest[_settings(f)] and _settings(f) not in done]
        return _write(reports, in_order(kept), left)


def _settings(one: Asked) -> tuple[str, ...]:
    """What two runs have in common that differ in their results version at most; two latencies: also the machine."""
    place = str(one.measured.get("host")) if isinstance(one, Record) and one.kind == "latency" else ""
    return one.task, canonical_json(one.configuration), place


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
    tasks: dict[str, Runs] = {base_and_folder(one.task)[0]: ([], []) for one in (*records, *failures)}
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
        write_atomic(path, rows.to_parquet(engine="pyarrow", compression="zstd", index=False))
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
        text = unpack.decompress(read_limited(path, _PACKED), max_length=LARGEST)
    except lzma.LZMAError as error:
        raise BenchError(f"{path} is not a readable xz file ({error}); restore it from git") from error
    if not unpack.eof or unpack.unused_data:
        raise BenchError(f"{path} is not one whole xz file of at most {LARGEST} bytes; restore it from git")
    return text


def find_record(what: str, workspace: Workspace) -> Record:
    """The record in a file, or the one whose key begins so: of a finished run, else in the store."""
    if Path(what).is_file():
        return read_record(Path(what))
    folders = [path for path in workspace.runs.glob("*") if what and path.name.startswith(what)]
    done = (finished_record(workspace.runs, folder.name) for folder in folders)
    found = [record for record in done if record is not None]
    found = found or [r for r in read_store(workspace.reports)[0] if what and r.key.startswith(what)]
    if not found:
        for failure in (path / "failure.json" for path in folders):
            if failure.is_file():
                raise BenchError(f"run '{what}' failed and has no record; {failure} says why")
        raise BenchError(f"no run '{what}'; give the first characters of a key, or a record file")
    if len(found) > 1:
        keys = ", ".join(r.key[:16] for r in found)
        raise BenchError(f"{len(found)} runs match '{what}': {keys}; give more characters")
    return found[0]
