"""How sure a number is: spread, intervals, and paired comparisons under a family declared beforehand.

Protocol: repetitions share the task's split, so methods are compared by their difference at each repetition. A
comparison is resolved only where the t interval of the differences excludes 0 and Holm's adjusted p value is
below 1 - level; everything else is "not resolved".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ..errors import BenchError
from ..records import METRICS, Record

LEVEL = 0.95
SHOWN_ONLY = 3
"""Up to this many repetitions are shown, every point, rather than compared: a half-width is 2.48 sd at n = 3."""

NOT_RESOLVED = "not resolved"


@dataclass(frozen=True)
class Interval:
    """An estimate and its confidence interval, in the units of the values; low and high are None if unknown."""

    mean: float
    low: float | None
    high: float | None

    def excludes_zero(self) -> bool:
        """Whether the interval is known and 0 lies outside."""
        return self.low is not None and self.high is not None and not self.low <= 0.0 <= self.high


@dataclass(frozen=True)
class Summary:
    """Repetitions of one method on one task: n, mean, sample standard deviation (ddof 1), t interval."""

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Comparison:
    """A method against its control on one task.

    Attributes:
        differences: (repetition, method minus control) in the metric's units.
        interval: mean difference and its t interval over repetitions.
        samples: the same mean with an interval over repetitions AND test samples (`crossed_interval`), or None
            where the repetitions do not share one test set.
        p: two-sided paired t test, None below two repetitions or when all differences are equal.
        p_holm: p after Holm's correction over the task's family.
        verdict: "better", "worse" (of the method, whatever the metric's direction) or "not resolved".
    """

    task: str
    method: str
    control: str
    metric: str
    differences: tuple[tuple[int, float], ...]
    interval: Interval
    samples: Interval | None
    p: float | None
    p_holm: float | None
    verdict: str

    @property
    def n(self) -> int:
        """How many repetitions both methods have."""
        return len(self.differences)


def t_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Mean and Student's interval, mean +- t_{n-1} sd / sqrt(n), sd with ddof 1.

    One value, or values that are all equal, say nothing about spread: low and high are None.

    Raises:
        BenchError: no value.
    """
    if len(values) == 0:
        raise BenchError("an interval of no value was asked for: give at least one repetition")
    x = np.asarray(values, dtype=float)
    mean = float(x.mean())
    if len(x) < 2 or np.ptp(x) == 0:
        return Interval(mean, None, None)
    half = float(stats.t.ppf(0.5 + level / 2, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x)))
    return Interval(mean, mean - half, mean + half)


def summarise(values: Sequence[float], level: float = LEVEL) -> Summary:
    """n, mean, sample sd and t interval of the repetitions' scores; sd is None for a single one."""
    interval = t_interval(values, level)
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Summary(len(values), interval.mean, sd, interval.low, interval.high)


def crossed_interval(scores: NDArray[np.float64], level: float = LEVEL) -> Interval:
    """Interval of the grand mean when both repetitions and test samples are drawn from larger populations.

    With y[r, i] = mu + a[r] + b[i] + e[r, i] (two crossed random effects, R repetitions, n samples),

        Var(mean) = s_a^2 / R + s_b^2 / n + s_e^2 / (R n) = (MS_a + MS_b - MS_e) / (R n),

    MS being the usual mean squares, with Satterthwaite's degrees of freedom. With R = 1 it is the interval over
    samples alone. (Searle, Casella & McCulloch, Variance Components, 1992, chapter 4.)

    Args:
        scores: (R, n), per repetition and test sample; its mean is the score.
        level: confidence level.
    """
    y = np.asarray(scores, dtype=float)
    repetitions, n = y.shape
    mean = float(y.mean())
    if n < 2:
        return Interval(mean, None, None)
    rows, columns = y.mean(axis=1), y.mean(axis=0)
    ms_samples = repetitions * float(columns.var(ddof=1))
    if repetitions == 1:
        parts = [(ms_samples, n - 1)]
        total = ms_samples
    else:
        ms_rows = n * float(rows.var(ddof=1))
        residual = y - rows[:, None] - columns[None, :] + mean
        df_error = (repetitions - 1) * (n - 1)
        ms_error = float((residual**2).sum()) / df_error
        parts = [(ms_rows, repetitions - 1), (ms_samples, n - 1), (ms_error, df_error)]
        # Sampling error can push the estimate below what the samples alone explain; a variance is not negative.
        total = max(ms_rows + ms_samples - ms_error, ms_samples, 0.0)
    if total == 0.0:
        return Interval(mean, None, None)
    df = total**2 / sum(ms**2 / k for ms, k in parts)
    half = float(stats.t.ppf(0.5 + level / 2, df)) * math.sqrt(total / (repetitions * n))
    return Interval(mean, mean - half, mean + half)


def sample_scores(record: Record) -> NDArray[np.float64]:
    """(n,) contribution of each test sample; the mean is the record's score.

    Accuracy: 1 where the prediction is right. NMSE: the squared error, scaled so that its mean is the NMSE.
    """
    predictions = np.asarray(record.result["predictions"])
    targets = np.asarray(record.result["targets"])
    if record.metric == "accuracy":
        return (predictions == targets).astype(float)
    squared = (predictions.astype(float) - targets.astype(float)) ** 2
    if squared.ndim > 1:
        squared = squared.reshape(len(squared), -1).mean(axis=1)
    mean = float(squared.mean())
    return squared * (record.score / mean) if mean > 0 else squared


def stacked_scores(records: Sequence[Record]) -> NDArray[np.float64] | None:
    """(repetitions, samples) scores, or None when the repetitions were not scored on one and the same test set."""
    first = records[0].result["targets"]
    if any(r.result["targets"] != first for r in records[1:]):
        return None
    return np.stack([sample_scores(r) for r in records])


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjustment: p_(i) -> max_{j <= i} min(1, (m - j + 1) p_(j)).

    A comparison without a p value (None) still counts in the family's size m.
    """
    m = len(p_values)
    order = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * m
    running = 0.0
    for rank, (p, i) in enumerate(order):
        running = max(running, min(1.0, (m - rank) * p))
        adjusted[i] = running
    return adjusted


def family_of(records: Iterable[Record]) -> dict[str, str]:
    """Method -> control, as the methods themselves declared it before their runs.

    Raises:
        BenchError: two records of one method declare different controls.
    """
    family: dict[str, str] = {}
    for r in records:
        if r.kind != "run" or r.control is None:
            continue
        if family.setdefault(r.method, r.control) != r.control:
            raise BenchError(
                f"method {r.method} declares the controls {family[r.method]} and {r.control}: "
                "run it again so that all its records agree"
            )
    return family


def compare_pair(method: Sequence[Record], control: Sequence[Record], level: float = LEVEL) -> Comparison | None:
    """One method against one control on one task, paired by repetition, before Holm (p_holm None, no verdict yet).

    Returns:
        None when they have no repetition in common.
    """
    ours = {r.repetition: r for r in method}
    theirs = {r.repetition: r for r in control}
    shared = sorted(set(ours) & set(theirs))
    if not shared:
        return None
    first = ours[shared[0]]
    values = [ours[i].score - theirs[i].score for i in shared]
    interval = t_interval(values, level)
    known = interval.low is not None
    a, b = (stacked_scores([side[i] for i in shared]) for side in (ours, theirs))
    same = a is not None and b is not None and a.shape == b.shape
    same = same and first.result["targets"] == theirs[shared[0]].result["targets"]
    return Comparison(
        task=first.task,
        method=first.method,
        control=theirs[shared[0]].method,
        metric=first.metric,
        differences=tuple(zip(shared, values, strict=True)),
        interval=interval,
        samples=crossed_interval(a - b, level) if same and a is not None and b is not None else None,
        p=float(stats.ttest_1samp(values, 0.0).pvalue) if known else None,
        p_holm=None,
        verdict=NOT_RESOLVED,
    )


def compare_family(
    records: Sequence[Record], family: Mapping[str, str] | None = None, level: float = LEVEL
) -> list[Comparison]:
    """Each method against its own control, task by task, with Holm's correction within each task.

    Args:
        records: runs; one record per task, method and repetition.
        family: method -> control; the methods' own declarations when None.
        level: confidence level of intervals and verdicts.
    """
    runs = [r for r in records if r.kind == "run"]
    family = family_of(runs) if family is None else dict(family)
    out: list[Comparison] = []
    for task in sorted({r.task for r in runs}):
        by_method: dict[str, list[Record]] = {}
        for r in runs:
            if r.task == task:
                by_method.setdefault(r.method, []).append(r)
        pairs = [
            pair
            for method, control in sorted(family.items())
            if method in by_method and control in by_method
            if (pair := compare_pair(by_method[method], by_method[control], level)) is not None
        ]
        for pair, p_holm in zip(pairs, holm([c.p for c in pairs]), strict=True):
            out.append(_judged(pair, p_holm, level))
    return out


def _judged(pair: Comparison, p_holm: float | None, level: float) -> Comparison:
    verdict = NOT_RESOLVED
    if p_holm is not None and p_holm < 1 - level and pair.interval.excludes_zero():
        verdict = "better" if (pair.interval.mean > 0) == METRICS[pair.metric] else "worse"
    return Comparison(**{**pair.__dict__, "p_holm": p_holm, "verdict": verdict})
