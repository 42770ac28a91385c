"""A record against another making of it: equal, equivalent, different (where first) or open, as the pages say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from delrec_bench.records.record import Record, side_by_side, unequal

Word = Literal["equal", "equivalent", "different", "open"]

EarlyAgreement = Callable[[Mapping[str, Any], Mapping[str, Any]], tuple[bool, str]]
"""(a record's `early`, another's) -> whether they agree within the tolerance between processors, and if not, where."""

_ASIDE = ("measured", "provenance", "study", "search", "command")  # who asked, how, when, with what: no result


@dataclass(frozen=True)
class Rerun:
    """What became of a record that was made again.

    Attributes:
        word: equal, equivalent, different or open.
        reason: What decided, with the first place that differs and both values.
        differences: Dotted name -> (record, made again) of every result that differs.
    """

    word: Word
    reason: str
    differences: Mapping[str, tuple[Any, Any]]


def compare(record: Record, again: Record, early: EarlyAgreement | None = None) -> Rerun:
    """A record against what was made again of it.

    Every result the same to the bit: equal. On the same processor anything else is different. On another one, first
    the early updates must agree; then the same prediction for every test sample is equivalent, and other predictions
    of a single run leave it open: one repetition says nothing about the spread.

    Args:
        record: What was recorded.
        again: What was made now.
        early: Judges early updates between processors; None leaves a run on another processor open.
    """
    one, two = side_by_side(record, again, _ASIDE)
    found = unequal(one, two)
    if not found:
        return Rerun("equal", "every result is the same, bit for bit", {})
    where = first_difference(record, again)
    if record.key != again.key:
        changed = [name for name in found if name.startswith(("configuration.", "data."))]
        reason = f"it is another run: {', '.join(changed[:5]) or 'the results version'} differ"
        return Rerun("different", reason, found)
    if record.measured.get("host") == again.measured.get("host"):
        return Rerun("different", f"on the same processor, first in {where}", found)
    if record.early is None or again.early is None or early is None:
        return Rerun("open", f"another processor, and no early updates to compare; first in {where}", found)
    agrees, told = early(record.early, again.early)
    if not agrees:
        return Rerun("different", f"the early updates do not agree: {told}", found)
    if record.predictions == again.predictions:
        return Rerun("equivalent", f"another processor, the same predictions; first in {where}", found)
    scores = f"scores {record.score} and {again.score}" if record.kind == "run" else "one trial"
    return Rerun("open", f"another processor, early updates agree, {scores}; first in {where}", found)


def first_difference(record: Record, again: Record) -> str:
    """Where two makings of a run part first, in the order of the run: early updates, epochs, predictions, the rest."""
    for name, (a, b) in unequal(record.early, again.early, "early").items():
        if isinstance(a, list) and isinstance(b, list) and len(a) != len(b):
            return f"{name} ({len(a)} and {len(b)} of them)"
        return f"{name} ({_short(a)} and {_short(b)})"
    for number, (a, b) in enumerate(zip(record.history, again.history, strict=False), 1):
        parted = unequal(a, b)
        if parted:
            name, (x, y) = next(iter(parted.items()))
            return f"epoch {number}, {name} ({_short(x)} and {_short(y)})"
    if len(record.history) != len(again.history):
        return f"the number of epochs ({len(record.history)} and {len(again.history)})"
    if record.predictions is not None and again.predictions is not None and record.predictions != again.predictions:
        pairs = zip(record.predictions.tolist(), again.predictions.tolist(), strict=False)
        for number, (a, b) in enumerate(pairs):
            if a != b:
                return f"the prediction of test sample {number} ({_short(a)} and {_short(b)})"
    one, two = side_by_side(record, again, _ASIDE)
    name, (x, y) = next(iter(unequal(one, two).items()), ("nothing", ("", "")))
    return f"{name} ({_short(x)} and {_short(y)})"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
