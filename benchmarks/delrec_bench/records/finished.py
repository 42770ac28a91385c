"""Records in files, ``runs/<key>/record.json`` and ``failure.json``, and what must hold of one that was read."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from delrec_bench.environment import say
from delrec_bench.errors import BenchError
from delrec_bench.records.canonical import RESULTS_VERSION, compact, parse_json, run_key
from delrec_bench.records.record import Failure, Record, contents
from delrec_bench.workspace import read_limited, write_atomic

RECORD, FAILURE = "record.json", "failure.json"
LARGEST = 64 << 20
"""Bytes of a record's file at most: predictions of ten million samples."""
IDENTITY = ("kind", "digest", "classes", "channels", "steps", "step_ms", "representation", "sizes")
"""What a key says of the data, beside the row's name."""

T = TypeVar("T")


def expected_key(r: Record) -> str:
    """Return the key that configuration, data and results version give.

    A latency record's is that of the run it times (its threads included), of the baseline, and of the machine and the
    engines that it was measured on: an unlike measurement has another key and replaces nothing.
    """
    try:
        version = r.provenance["results_version"]
        key = run_key(r.configuration, {"name": r.task} | {name: r.data[name] for name in IDENTITY}, version)
    except KeyError as error:
        raise BenchError(f"{r}: {error} is missing, which its key depends on") from error
    if r.kind != "latency":
        return key
    return latency_key(key, r.result.get("baseline"), r.measured.get("host"), r.result.get("engines"), version)


def latency_key(
    run: str, baseline: Any, host: Any, engines: Mapping[str, str] | None, results_version: int = RESULTS_VERSION
) -> str:
    """Return the key of a latency record: of the run's key, the baseline, the machine, and the engine of each mode."""
    setup = {"kind": "latency", "baseline": baseline, "host": host} | ({"engines": engines} if engines else {})
    return run_key(setup, {"run": run}, results_version)


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
    """Return records by task, method, repetition, kind and key; on the same data all have the same targets and groups.

    Raises:
        BenchError: Naming two records that do not agree.
    """
    ordered = sorted(records, key=lambda r: (r.task, r.method, r.repetition, r.kind, r.key))
    seen: dict[tuple[str, str, int], Record] = {}
    for r in ordered:
        if r.targets is not None:
            first = seen.setdefault((r.task, r.data["digest"], len(r.targets)), r)
            for name in ("targets", "groups"):
                if getattr(r, name) != getattr(first, name):
                    raise BenchError(f"{r}: its {name} are not those of {first}, on the same data; one was modified")
    return ordered


def differences(a: Record, b: Record) -> list[str]:
    """Return dotted names of what differs between two records outside ``measured``; empty for the same record."""
    aside = ("measured", "digest")  # the digest follows from the rest
    one, two = ({name: value for name, value in contents(r).items() if name not in aside} for r in (a, b))
    return list(unequal(one, two))


def unequal(x: Any, y: Any, where: str = "") -> dict[str, tuple[Any, Any]]:
    """Return dotted name -> both values, of all that differs between two plain values; "absent" of a missing one."""
    if isinstance(x, dict) and isinstance(y, dict):
        dot = "." if where else ""
        parts = [(f"{where}{dot}{k}", x.get(k, "absent"), y.get(k, "absent")) for k in sorted({*x, *y})]
    elif isinstance(x, list) and isinstance(y, list) and len(x) == len(y):
        parts = [(f"{where}[{i}]", xi, yi) for i, (xi, yi) in enumerate(zip(x, y, strict=True))]
    else:
        return {where: (x, y)} if type(x) is not type(y) or x != y else {}
    return {name: pair for part, xi, yi in parts for name, pair in unequal(xi, yi, part).items()}


def record_text(record: Record) -> str:
    """Return the record's file."""
    return compact(to_dict(record)) + "\n"


def write_record(path: Path, record: Record) -> Path:
    """Write the record's file, atomically: there is never half a record."""
    write_atomic(path, record_text(record))
    return path


def read_record(path: Path) -> Record:
    """Return the record in `path`, its key and scores computed again; a `BenchError` names the path."""
    return _read(path, from_dict)


def read_failure(path: Path) -> Failure:
    """Return the failure in `path`; a `BenchError` names the path."""
    return _read(path, lambda values: Failure(**values))


def _read(path: Path, made: Callable[[dict[str, Any]], T]) -> T:
    content = read_limited(path, LARGEST)
    try:
        return made(parse_json(content))
    except BenchError as error:
        raise BenchError(f"{path}: {error}; if this is a damaged record, delete it and repeat the run") from error


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
        if next(candidate.glob(f"*/{RECORD}"), None) is not None:
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
