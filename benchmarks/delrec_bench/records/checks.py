"""What makes a record hold: its scores follow from its predictions, its key from its configuration and data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from delrec_bench.errors import BenchError
from delrec_bench.metrics.base import metric_named
from delrec_bench.records.canonical import is_number, run_key
from delrec_bench.records.parts import LATENCY_RATIOS

if TYPE_CHECKING:
    from delrec_bench.records.record import Record

TOLERANCE = 1e-9
"""Of a score computed again, relative to the larger of 1 and itself: the order of a sum may differ by processor."""

IDENTITY = ("kind", "digest", "classes", "channels", "steps", "step_ms", "representation", "sizes")
"""What a key says of the data, beside the row's name."""


def _require(condition: bool, record: Record, text: str) -> None:
    if not condition:
        raise BenchError(f"{record}: {text}")


def check_latency(r: Record) -> None:
    """Spreads of ratios are widths or pairs in order. Raises BenchError."""
    for name in LATENCY_RATIOS:
        spread = r.result.get(f"{name}_iqr")
        pair = isinstance(spread, list) and len(spread) == 2 and all(is_number(v) for v in spread)
        good = spread is None or (is_number(spread) and spread >= 0) or (pair and spread[0] <= spread[1])
        _require(good, r, f"result.{name}_iqr is {spread!r}, must be a width >= 0, a pair [q25, q75] or None")


def check_scores(r: Record) -> None:
    """What stands per sample belongs together, and the score is that of the predictions.

    Raises:
        BenchError: naming record, field and both values.
    """
    columns = {name: getattr(r, name) for name in ("predictions", "targets", "groups")}
    if r.kind not in ("run", "floor"):
        for name, column in columns.items():
            _require(column is None, r, f"{name} are there; a {r.kind} never sees the test set")
        if r.kind == "trial":
            score, failed = r.result["valid_score"], r.result.get("failed")
            text = f"result.valid_score is {score!r}, result.failed {failed!r}: one of the two must be there"
            _require((score is None) != (failed is None), r, text)
        return
    for name in ("predictions", "targets"):
        _require(columns[name] is not None, r, f"{name} are missing; a {r.kind} has one a test sample")
    assert r.predictions is not None
    n = len(r.predictions)
    for name in ("targets", "groups"):
        column = columns[name]
        count = n if column is None else len(column)
        _require(count == n, r, f"{n} predictions but {count} {name}")
    if r.groups is not None:
        _require(r.groups.array.dtype.kind in "iu", r, f"groups are {r.groups.dtype}, must be whole numbers")
    metric = metric_named(r.metric)
    predictions, targets = r.predictions.array, r.targets.array if r.targets is not None else r.predictions.array
    _close(r, "result.test_score", r.result["test_score"], metric.score(predictions, targets), "its predictions score")
    beyond = f"result.test_score {r.score!r} is beyond the limits of {r.metric}, {metric.limits}"
    _require(metric.within(r.score), r, beyond)
    if "total" in r.result:
        _require(r.result["total"] == n, r, f"result.total is {r.result['total']}, but there are {n} predictions")
    if metric.classifies:
        hits = int((predictions == targets).sum())
        correct = r.result.get("correct")
        _require(correct == hits, r, f"result.correct is {correct}, but {hits} predictions equal their target")


def _close(r: Record, field: str, there: Any, right: float, words: str) -> None:
    good = is_number(there) and abs(there - right) <= TOLERANCE * max(1.0, abs(right))
    _require(good, r, f"{field} is {there!r}, but {words} {right!r}")


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
    _require(not missing, r, f"{', '.join(missing)} is missing, of which its key is made; make the record again")
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


def contradictions(r: Record) -> Iterator[tuple[str, Any, Any]]:
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
    for field, there, right in contradictions(r):
        raise BenchError(f"{r}: {field} is {there!r}, but the rest of the record gives {right!r}; it was altered")
    return r


def check_targets(records: Iterable[Record]) -> None:
    """Records of one task on the same data and as many test samples have the same targets and groups.

    Raises:
        BenchError: naming both records, the digest, and the first sample that differs.
    """
    seen: dict[tuple[str, str, int], Record] = {}
    for r in records:
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
