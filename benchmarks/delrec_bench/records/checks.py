"""What makes a record valid: its vocabulary, and the checks that run whenever a record is built."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from delrec_bench.errors import BenchError
from delrec_bench.metrics.base import find_metrics, metric_named
from delrec_bench.records.canonical import is_number

if TYPE_CHECKING:
    from delrec_bench.records.record import Record

SCHEMA = 1
"""Version of the layout of a record file."""

KINDS = ("run", "floor", "latency", "trial")
DATA_KINDS = ("EMBEDDED", "STAND-IN", "OFFICIAL")
LATENCY_RATIOS = ("train_ratio", "infer_ratio", "batch1_ratio")
_COUNTS = ("weights", "delays", "neuron", "trainable", "frozen", "total")
_KEY = re.compile(r"[0-9a-f]{64}")


def _require(condition: bool, record: Record, text: str) -> None:
    if not condition:
        raise BenchError(f"record of {record.method} on {record.task}, repetition {record.repetition}: {text}")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def validate(r: Record) -> None:
    """Raises BenchError naming field and value when the record is not of its kind or contradicts itself."""
    for name in ("kind", "key", "method", "task", "metric", "learned", "engine", "device", "command"):
        if not isinstance(getattr(r, name), str):
            raise BenchError(f"record.{name} is {getattr(r, name)!r}: it must be a string")
    for name in ("configuration", "data", "result", "parameters", "activity", "provenance", "measured"):
        _require(isinstance(getattr(r, name), dict), r, f"{name} must be a dict")
    _require(r.schema == SCHEMA, r, f"schema is {r.schema!r}, this version reads {SCHEMA}: make the record again")
    _require(r.kind in KINDS, r, f"kind is {r.kind!r}, must be one of {', '.join(KINDS)}")
    _require(bool(_KEY.fullmatch(r.key)), r, f"key is {r.key!r}, must be 64 hexadecimal digits (run_key makes it)")
    _require(bool(r.method) and bool(r.task), r, "method and task must have a name")
    _require(_is_count(r.repetition), r, f"repetition is {r.repetition!r}, must be 0, 1, ...")
    metrics = find_metrics()
    _require(r.metric in metrics, r, f"metric is {r.metric!r}, must be one of {', '.join(metrics)}")
    _require(
        r.data.get("kind") in DATA_KINDS,
        r,
        f"data.kind is {r.data.get('kind')!r}, must be one of {DATA_KINDS}",
    )
    unknown = sorted(set(r.parameters) - set(_COUNTS))
    _require(not unknown, r, f"parameters has {', '.join(unknown)}; known are {', '.join(_COUNTS)}")
    for name, count in r.parameters.items():
        _require(count is None or _is_count(count), r, f"parameters.{name} is {count!r}, must be a count or None")
    if r.kind == "latency":
        _validate_latency(r)
    elif r.kind == "trial":
        _validate_trial(r)
    else:
        _validate_scores(r)


def _validate_latency(r: Record) -> None:
    for name in LATENCY_RATIOS:
        _require(name in r.result, r, f"result.{name} is not there; write None where it does not apply")
        ratio, spread = r.result[name], r.result.get(f"{name}_iqr")
        _require(
            ratio is None or (is_number(ratio) and ratio > 0),
            r,
            f"result.{name} is {ratio!r}, must be above 0 or None",
        )
        pair = isinstance(spread, list) and len(spread) == 2 and all(is_number(v) for v in spread)
        good = spread is None or (is_number(spread) and spread >= 0) or (pair and spread[0] <= spread[1])
        _require(good, r, f"result.{name}_iqr is {spread!r}, must be a width >= 0, a pair [q25, q75] or None")


def _validate_trial(r: Record) -> None:
    """A trial is scored on validation data alone: it knows nothing of the test set."""
    for name in ("test_score", "predictions", "targets", "speakers", "correct", "total"):
        _require(name not in r.result, r, f"result.{name} is there; a trial never sees the test set")
    score, failed = r.result.get("valid_score"), r.result.get("failed")
    good = is_number(score) if failed is None else score is None and isinstance(failed, str)
    _require(good, r, f"result.valid_score is {score!r}, must be a number, or None beside why it failed")


def _validate_scores(r: Record) -> None:
    score, predictions, targets = (r.result.get(k) for k in ("test_score", "predictions", "targets"))
    _require(is_number(score), r, f"result.test_score is {score!r}, must be a number")
    assert isinstance(score, int | float)
    if not (isinstance(predictions, list) and isinstance(targets, list)):
        raise BenchError(f"record of {r.method} on {r.task}: result.predictions and result.targets must be lists")
    n = len(predictions)
    _require(
        n == len(targets) and n > 0,
        r,
        f"{n} predictions for {len(targets)} targets: one of each a test sample is needed",
    )
    speakers = r.result.get("speakers")
    _require(
        speakers is None or (isinstance(speakers, list) and len(speakers) == n),
        r,
        f"speakers must be None or {n} entries",
    )
    metric = metric_named(r.metric)
    limits = zip(("at least", "at most"), metric.limits, strict=True)
    possible = " and ".join(f"{word} {limit:g}" for word, limit in limits if limit is not None)
    _require(metric.within(score), r, f"result.test_score is {score!r}: {r.metric} is {possible}")
    if not metric.classifies:
        return
    correct, total = r.result.get("correct"), r.result.get("total")
    _require(_is_count(correct) and _is_count(total), r, f"correct {correct!r} and total {total!r} must be counts")
    hits = sum(p == t for p, t in zip(predictions, targets, strict=True))
    _require(total == n, r, f"result.total is {total}, but there are {n} predictions")
    _require(correct == hits, r, f"result.correct is {correct}, but {hits} predictions equal their target")
    right = metric.score(predictions, targets)
    _require(abs(score - right) < 1e-12, r, f"result.test_score is {score!r}, but its predictions score {right!r}")
