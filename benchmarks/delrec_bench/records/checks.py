"""What holds of records that were read: the key follows from the rest, and two of them can be compared."""

from collections.abc import Iterable, Mapping
from typing import Any

from delrec_bench.errors import BenchError
from delrec_bench.records.canonical import run_key
from delrec_bench.records.record import Record, contents
from delrec_bench.workspace import base_and_folder

IDENTITY = ("kind", "digest", "classes", "channels", "steps", "step_ms", "representation", "sizes")
"""What a key says of the data, beside the row's name."""


def identity(task: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a key says of the data of a record."""
    return {"name": task} | {name: data[name] for name in IDENTITY}


def expected_key(r: Record) -> str:
    """Return the key that configuration, data and results version give.

    A latency record's is that of the run it times (its threads included), of the baseline, and of the machine and the
    engines that it was measured on: an unlike measurement has another key and replaces nothing.

    Raises:
        BenchError: The record lacks what a key is made of.
    """
    try:
        version = r.provenance["results_version"]
        key = run_key(r.configuration, identity(r.task, r.data), version)
    except KeyError as error:
        raise BenchError(f"{r}: {error} is missing, which its key depends on; repeat the run") from error
    if r.kind != "latency":
        return key
    return latency_key(key, r.result.get("baseline"), r.measured.get("host"), version, r.result.get("engines"))


def latency_key(
    run: str, baseline: Any, host: Any, results_version: int | None = None, engines: Mapping[str, str] | None = None
) -> str:
    """Return the key of a latency record: of the run's key, the baseline, the machine, and the engine of each mode."""
    setup = {"kind": "latency", "baseline": baseline, "host": host} | ({"engines": engines} if engines else {})
    return run_key(setup, {"run": run}, results_version)


def verify(r: Record) -> Record:
    """Return the record, if its key follows from it and it says of itself what its configuration says.

    Raises:
        BenchError: Naming record, field and both values.
    """
    task, tests = r.configuration.get("task"), len(r.predictions or ())
    stated = {
        "method": (r.method, r.configuration.get("method")),
        "repetition": (r.repetition, r.configuration.get("repetition")),
        "device": (r.device, r.configuration.get("device")),
        "task": (base_and_folder(r.task)[0], task.get("name") if isinstance(task, dict) else task),
        "kind": (r.kind == "trial", r.configuration.get("kind") == "trial"),
        "data.sizes.test": (tests and r.data.get("sizes", {}).get("test"), tests),
        "key": (r.key, expected_key(r)),
    }
    for field, (there, right) in stated.items():
        if there != right:
            raise BenchError(f"{r}: {field} is {there!r}, but the rest of the record gives {right!r}; it was modified")
    return r


def in_order(records: Iterable[Record]) -> list[Record]:
    """Return records by task, method, repetition, kind and key; on the same data all have the same targets and groups.

    Raises:
        BenchError: Naming two records that do not agree.
    """
    ordered = sorted(records, key=lambda r: (r.task, r.method, r.repetition, r.kind, r.key))
    seen: dict[tuple[str, str, int], Record] = {}
    for r in ordered:
        if r.targets is None:
            continue
        first = seen.setdefault((r.task, r.data["digest"], len(r.targets)), r)
        for name in ("targets", "groups"):
            if getattr(r, name) != getattr(first, name):
                where = f"on the same data {r.data['digest'][:12]}"
                raise BenchError(f"{r}: its {name} are not those of {first}, {where}; one of the two was modified")
    return ordered


def same_record(a: Record, b: Record) -> bool:
    """Return whether two records are equal in every field outside ``measured`` (times, memory, host)."""
    return a.content == b.content


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
