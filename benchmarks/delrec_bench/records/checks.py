"""What holds of records that were read: the key follows from the rest, and two of them can be compared."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from delrec_bench.errors import BenchError
from delrec_bench.records.canonical import run_key
from delrec_bench.records.record import Record, contents

IDENTITY = ("kind", "digest", "classes", "channels", "steps", "step_ms", "representation", "sizes")
"""What a key says of the data, beside the row's name."""


def identity(task: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """What a key says of the data of a record."""
    return {"name": task} | {name: data[name] for name in IDENTITY}


def expected_key(r: Record) -> str:
    """The key that configuration, data and results version give.

    A latency record's is that of the run it times (its threads included), of the baseline, and of the machine and the
    engines that it was measured on: an unlike measurement has another key and replaces nothing.

    Raises:
        BenchError: the record lacks what a key is made of.
    """
    missing = [f"data.{name}" for name in IDENTITY if name not in r.data]
    missing += [] if "results_version" in r.provenance else ["provenance.results_version"]
    if missing:
        raise BenchError(f"{r}: {', '.join(missing)} is missing, of which its key is made; make the record again")
    version = r.provenance["results_version"]
    key = run_key(r.configuration, identity(r.task, r.data), version)
    if r.kind != "latency":
        return key
    return latency_key(key, r.result.get("baseline"), r.measured.get("host"), version, r.result.get("engines"))


def latency_key(
    run: str, baseline: Any, host: Any, results_version: int | None = None, engines: Mapping[str, str] | None = None
) -> str:
    """The key of a latency record: of the run's key, the baseline, the machine, and the engine of each mode."""
    setup = {"kind": "latency", "baseline": baseline, "host": host} | ({"engines": engines} if engines else {})
    return run_key(setup, {"run": run}, results_version)


def _contradictions(r: Record) -> Iterator[tuple[str, Any, Any]]:
    """(field, what the record says, what the rest of it gives) of all that does not follow from the rest.

    The score and the counts of correct samples are not asked again: no record is built without them right.
    """
    for name in ("method", "repetition", "device"):
        if r.configuration.get(name) != getattr(r, name):
            yield name, getattr(r, name), r.configuration.get(name)
    task = r.configuration.get("task")
    base = task.get("name") if isinstance(task, dict) else task
    if not isinstance(base, str) or r.task.partition(":")[0] != base:
        yield "task", r.task, base
    if (r.configuration.get("kind") == "trial") != (r.kind == "trial"):
        yield "kind", r.kind, r.configuration.get("kind", "no trial")
    p: Mapping[str, Any] = r.parameters
    for parts in (("weights", "delays", "neuron"), ("trainable", "frozen")):
        counts = [p.get(name) for name in parts]
        if p.get("total") is not None and None not in counts and sum(c or 0 for c in counts) != p["total"]:
            yield "parameters.total", p["total"], sum(c or 0 for c in counts)
    if r.predictions is not None and r.data.get("sizes", {}).get("test") != len(r.predictions):
        yield "data.sizes.test", r.data.get("sizes", {}).get("test"), len(r.predictions)
    if r.kind == "run" and "epochs" in r.result:
        yield from _chosen(r)
    key = expected_key(r)
    if key != r.key:
        yield "key", r.key, key


def _chosen(r: Record) -> Iterator[tuple[str, Any, Any]]:
    """The epochs, and the score that chose among them, against the history."""
    if r.result["epochs"] != len(r.history):
        yield "result.epochs", r.result["epochs"], len(r.history)
    best, score = r.result.get("best_epoch", 0), r.result.get("valid_score")
    if not 1 <= best <= len(r.history):
        yield "result.best_epoch", best, f"1 to {len(r.history)}"
    elif r.result.get("selection") == "best-test" and r.history[best - 1].get(f"test_{r.metric}") != r.score:
        yield "result.test_score", r.score, r.history[best - 1].get(f"test_{r.metric}")
    elif score is not None and r.history[best - 1].get(f"valid_{r.metric}") != score:
        yield "result.valid_score", score, r.history[best - 1].get(f"valid_{r.metric}")


def verify(r: Record) -> Record:
    """The record, if its key follows from it and nothing in it contradicts the rest.

    Raises:
        BenchError: naming record, field and both values.
    """
    for field, there, right in _contradictions(r):
        raise BenchError(f"{r}: {field} is {there!r}, but the rest of the record gives {right!r}; it was altered")
    return r


def in_order(records: Iterable[Record]) -> list[Record]:
    """Records by task, method, repetition, kind and key; on the same data all have the same targets and groups.

    Raises:
        BenchError: Naming two records that do not agree, the digest, and the first sample that differs.
    """
    ordered = sorted(records, key=lambda r: (r.task, r.method, r.repetition, r.kind, r.key))
    seen: dict[tuple[str, str, int], Record] = {}
    for r in ordered:
        if r.targets is None:
            continue
        first = seen.setdefault((r.task, r.data["digest"], len(r.targets)), r)
        for name in ("targets", "groups"):
            mine, theirs = getattr(r, name), getattr(first, name)
            if mine == theirs:
                continue
            if mine is None or theirs is None:
                what = f"{name} are {'missing' if mine is None else 'there'}, and not in {first}"
            else:
                at = int(np.flatnonzero(np.asarray(mine) != np.asarray(theirs))[0])
                what = f"{name}[{at}] is {mine.tolist()[at]}, but {theirs.tolist()[at]} in {first}"
            raise BenchError(f"{r}: {what}, on the same data {r.data['digest'][:12]}; one of the two was altered")
    return ordered


def same_record(a: Record, b: Record) -> bool:
    """Whether two records are equal in every field outside ``measured`` (times, memory, host)."""
    return a.content == b.content


def differences(a: Record, b: Record) -> list[str]:
    """Dotted names of what differs between two records outside ``measured``; empty for the same record."""
    aside = ("measured", "digest")  # the digest follows from the rest
    one, two = ({name: value for name, value in contents(r).items() if name not in aside} for r in (a, b))
    return list(unequal(one, two))


def unequal(x: Any, y: Any, where: str = "") -> dict[str, tuple[Any, Any]]:
    """Dotted name -> both values, of all that differs between two plain values; a missing one is None."""
    if isinstance(x, Mapping) and isinstance(y, Mapping):
        found: dict[str, tuple[Any, Any]] = {}
        for k in sorted(set(x) | set(y)):
            name = f"{where}.{k}" if where else k
            found |= unequal(x[k], y[k], name) if k in x and k in y else {name: (x.get(k), y.get(k))}
        return found
    if isinstance(x, Sequence) and isinstance(y, Sequence) and not isinstance(x, str) and len(x) == len(y):
        found = {}
        for i, (xi, yi) in enumerate(zip(x, y, strict=True)):
            found |= unequal(xi, yi, f"{where}[{i}]")
        return found
    return {where: (x, y)} if type(x) is not type(y) or x != y else {}
