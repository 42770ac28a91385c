"""Reproduced or not: bit for bit on the same processor; elsewhere first the early updates, then the scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from delrec_bench.errors import BenchError
from delrec_bench.statistics.paired import LEVEL, Estimate, decide, paired
from delrec_bench.statistics.verdicts import holm

UPDATES = 20
"""How many updates' losses a record keeps: the first ones, before rounding has grown into chaos."""
LOSS_TOLERANCE = 0.005
"""Relative, of the first loss; three times more with each update, for a spike that rounding moves is a changed
gradient, and the runs part from there. (Another engine, or double against single precision, on digits and made
sounds: at most 0.0007, 0.002, 0.02 at the first three updates, 0.1 at the twentieth.)"""
LOSS_TOLERANCE_AT_MOST = 0.25
LOGIT_TOLERANCE = 1e-4
"""Of the MEDIAN logit of the untrained network, relative to their root mean square: a moved spike changes the logits of
its sample, a wrong constant those of all. (The same engines and precisions: below 1e-6; a decay off by 5 percent: above
5e-3.)"""

Reproduced = Literal["equal", "equivalent", "different", "open"]


@dataclass(frozen=True)
class Early:
    """What a record keeps of a run's beginning.

    Attributes:
        losses: (at most 20,) training loss of each of the first updates, in order.
        logits: (samples, classes) of the untrained network, as deployed, on the first 32 or so training samples.
    """

    losses: ArrayLike
    logits: ArrayLike


@dataclass(frozen=True)
class Agreement:
    """Whether two beginnings agree.

    Attributes:
        agrees: the median logit and every loss within its tolerance.
        logit: median deviation of a logit, relative to the record's root mean square.
        loss: deviation, relative to the record, of the loss that is worst for its tolerance.
        update: which update's, counted from 1.
        equal: bit for bit.
    """

    agrees: bool
    logit: float
    loss: float
    update: int
    equal: bool

    def __str__(self) -> str:
        if self.equal:
            return "are equal, bit for bit"
        allowed = loss_tolerance(self.update)
        return (
            f"{'agree' if self.agrees else 'differ'}: median logit by {self.logit:.1e} (tolerance "
            f"{LOGIT_TOLERANCE:g}), loss {self.update} by {self.loss:.1e} (tolerance {allowed:g})"
        )


def loss_tolerance(update: int) -> float:
    """min(0.25, 0.005 * 3^(update - 1)), relative; updates count from 1."""
    return float(min(LOSS_TOLERANCE_AT_MOST, LOSS_TOLERANCE * 3.0 ** (update - 1)))


def bitwise(record: ArrayLike, ours: ArrayLike) -> Reproduced:
    """equal or different, bit for bit: for the same key on the same processor. NaN equals NaN, 0.0 is not -0.0."""
    a, b = np.asarray(record), np.asarray(ours)
    same = a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
    return "equal" if same else "different"


def early_agreement(record: Early, ours: Early) -> Agreement:
    """Step 1: the first losses and a few logits against a record made on another processor.

    The median of |ours - record| / rms(record) over the logits must be at most 1e-4, and the loss of update k must be
    within `loss_tolerance` (k) of the record's.

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
    allowed = np.array([loss_tolerance(k + 1) for k in range(len(a))])
    logit = float(np.median(_deviation(x, y, np.full(x.shape, np.sqrt(np.mean(x**2))))))
    worst = int(np.argmax(losses / allowed))
    return Agreement(
        agrees=bool(logit <= LOGIT_TOLERANCE and (losses <= allowed).all()),
        logit=logit,
        loss=float(losses[worst]),
        update=worst + 1,
        equal=bool(np.array_equal(a, b, equal_nan=True) and np.array_equal(x, y, equal_nan=True)),
    )


def _deviation(
    record: NDArray[np.float64], ours: NDArray[np.float64], scale: NDArray[np.float64]
) -> NDArray[np.float64]:
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
        asked: repetitions of the record, of which n were made.
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
    asked: int = 0


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
        asked=len(row.record),
    )


def _word(row: Row, estimate: Estimate, p_outside: float | None) -> tuple[Reproduced, str]:
    within = decide(estimate, more_is_better=True, margin=row.margin) == "equivalent"
    if row.bits is not None:
        return row.bits, "the same key on the same processor, compared bit for bit"
    failed = [agreement for agreement in row.early if not agreement.agrees]
    if failed:
        return "different", f"the first updates {max(failed, key=lambda a: (a.logit, a.loss))}"
    shared = set(row.record) & set(row.ours)
    if shared and all(row.record[r] == row.ours[r] for r in shared):
        return "equal", "every score is the same"
    if within:
        return "equivalent", "the interval lies within the margin"
    if p_outside is not None and p_outside < 1 - estimate.level:
        return "different", "the interval lies wholly outside the margin"
    return "open", estimate.reason or "the interval reaches over the margin"
