"""Reproduced or not: bit for bit on the same processor; elsewhere first the early updates, then the scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from ..errors import BenchError
from .paired import LEVEL, Estimate, decide, paired
from .verdicts import holm

UPDATES = 20
"""How many updates' losses a record keeps: the first ones, before rounding has grown into chaos."""
LOSS_TOLERANCE = 1e-3
"""Relative, of each of these losses."""
LOGIT_TOLERANCE = 1e-2
"""Relative to the root mean square of the logits of the record."""

Reproduced = Literal["equal", "equivalent", "different", "open"]


@dataclass(frozen=True)
class Early:
    """What a record keeps of a run's beginning.

    Attributes:
        losses: (at most 20,) training loss of each of the first updates, in order.
        logits: a few logits of the untrained network on fixed samples, any shape.
    """

    losses: ArrayLike
    logits: ArrayLike


@dataclass(frozen=True)
class Agreement:
    """Whether two beginnings agree.

    Attributes:
        agrees: every loss and logit within its tolerance.
        loss: largest relative deviation of a loss; infinite where only one of two is finite.
        update: at which update, counted from 1.
        logit: largest deviation of a logit, relative to their root mean square.
        equal: bit for bit.
    """

    agrees: bool
    loss: float
    update: int
    logit: float
    equal: bool

    def __str__(self) -> str:
        if self.equal:
            return "the first updates are equal, bit for bit"
        return (
            f"{'agree' if self.agrees else 'differ'}: losses by at most {self.loss:.1e} (update {self.update}; "
            f"tolerance {LOSS_TOLERANCE:.0e}), logits by {self.logit:.1e} ({LOGIT_TOLERANCE:.0e})"
        )


def bitwise(record: ArrayLike, ours: ArrayLike) -> Reproduced:
    """equal or different, bit for bit: for the same key on the same processor. NaN equals NaN, 0.0 is not -0.0."""
    a, b = np.asarray(record), np.asarray(ours)
    same = a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
    return "equal" if same else "different"


def early_agreement(record: Early, ours: Early) -> Agreement:
    """Step 1: the first losses and a few logits against a record made on another processor.

    A loss agrees where |ours - record| <= 1e-3 |record|; a logit where |ours - record| <= 1e-2 rms(record).

    Raises:
        BenchError: the two hold different numbers of losses or logits, or none.
    """
    (a, x), (b, y) = [
        (np.asarray(e.losses, dtype=float).ravel()[:UPDATES], np.asarray(e.logits, dtype=float).ravel())
        for e in (record, ours)
    ]
    if a.shape != b.shape or x.shape != y.shape or not len(a) or not len(x):
        raise BenchError(
            f"early losses {a.shape} and {b.shape}, logits {x.shape} and {y.shape}: "
            "both records need the same, at least one of each; make the run again"
        )
    losses = _deviation(a, b, np.abs(a))
    logits = _deviation(x, y, np.full(x.shape, np.sqrt(np.mean(x**2))))
    worst = int(np.argmax(losses))
    return Agreement(
        agrees=bool(losses[worst] <= LOSS_TOLERANCE and logits.max() <= LOGIT_TOLERANCE),
        loss=float(losses[worst]),
        update=worst + 1,
        logit=float(logits.max()),
        equal=bool(np.array_equal(a, b, equal_nan=True) and np.array_equal(x, y, equal_nan=True)),
    )


def _deviation(record: np.ndarray, ours: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """|ours - record| / scale; 0 where they are the same (infinities and NaN too), infinite where one is not finite."""
    same = (record == ours) | (np.isnan(record) & np.isnan(ours))
    with np.errstate(all="ignore"):
        ratio = np.abs(ours - record) / scale
    return np.where(same, 0.0, np.where(np.isfinite(ratio), ratio, np.inf))


@dataclass(frozen=True)
class Row:
    """One method on one task, as committed and as made here.

    Attributes:
        task: its name.
        method: its name.
        record: repetition -> score, as committed.
        ours: repetition -> score, made here.
        margin: the task's margin in the unit of the score.
        resolution: smallest step of the score, as in `paired`.
        early: step 1 of each repetition both have it for; empty where the processor is the same.
        bits: step 0, for rows whose keys and processor are the same: the worst of `bitwise`; None elsewhere.
    """

    task: str
    method: str
    record: Mapping[int, float]
    ours: Mapping[int, float]
    margin: float
    resolution: float = 0.0
    early: Sequence[Agreement] = ()
    bits: Reproduced | None = None


@dataclass(frozen=True)
class Reproduction:
    """A row, judged.

    Attributes:
        task: its name.
        method: its name.
        word: equal, equivalent, different or open.
        difference: ours minus the record's, mean over shared repetitions.
        low: lower end of its t interval; None where unknown.
        high: upper end.
        n: shared repetitions.
        p_holm: of "the difference lies within the margin", after Holm over the rows.
        margin: the task's.
        reason: what decided, or why nothing could.
    """

    task: str
    method: str
    word: Reproduced
    difference: float | None
    low: float | None
    high: float | None
    n: int
    p_holm: float | None
    margin: float
    reason: str


def judge_reproduction(rows: Sequence[Row], *, level: float = LEVEL) -> list[Reproduction]:
    """All rows of a page, in their order.

    The same key on the same processor is equal or different by its bits. Elsewhere a row whose early updates do not
    agree is different whatever its scores. Then, of the paired differences over repetitions (ours minus record):
    equal, where every score is; equivalent, where the t interval lies within the margin; different, where it lies
    wholly outside, with Holm over the rows: p = 2 P(t > (|difference| - margin) / se); open, everything else.

    Raises:
        BenchError: a margin is not above 0.
    """
    estimates = []
    for row in rows:
        shared = sorted(set(row.record) & set(row.ours))
        estimates.append(
            paired(
                [row.ours[r] for r in shared], [row.record[r] for r in shared], resolution=row.resolution, level=level
            )
        )
    outside = holm([e.p_beyond(row.margin) for row, e in zip(rows, estimates, strict=True)])
    return [_judged(row, e, p) for row, e, p in zip(rows, estimates, outside, strict=True)]


def _judged(row: Row, estimate: Estimate, p_outside: float | None) -> Reproduction:
    word, reason = _word(row, estimate, p_outside)
    return Reproduction(
        task=row.task,
        method=row.method,
        word=word,
        difference=estimate.difference,
        low=estimate.low,
        high=estimate.high,
        n=estimate.n,
        p_holm=p_outside,
        margin=row.margin,
        reason=reason,
    )


def _word(row: Row, estimate: Estimate, p_outside: float | None) -> tuple[Reproduced, str]:
    within = decide(estimate, more_is_better=True, margin=row.margin) == "equivalent"
    if row.bits is not None:
        return row.bits, "the same key on the same processor, compared bit for bit"
    failed = [agreement for agreement in row.early if not agreement.agrees]
    if failed:
        return "different", f"the first updates {max(failed, key=lambda a: (a.loss, a.logit))}"
    shared = set(row.record) & set(row.ours)
    if shared and all(row.record[r] == row.ours[r] for r in shared):
        return "equal", "every score is the same"
    if within:
        return "equivalent", "the interval lies within the margin"
    if p_outside is not None and p_outside < 1 - estimate.level:
        return "different", "the interval lies wholly outside the margin"
    return "open", estimate.reason or "the interval reaches over the margin"
