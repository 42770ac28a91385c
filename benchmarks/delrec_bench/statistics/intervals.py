"""How sure a number is: spread and intervals, over repetitions and over test samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from delrec_bench.errors import BenchError
from delrec_bench.metrics import metric_named
from delrec_bench.records import Record

LEVEL = 0.95


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
    """(n,) contribution of each test sample, as the record's metric has it; the mean is the record's score."""
    return metric_named(record.metric).per_sample(np.asarray(record.predictions), np.asarray(record.targets))


def stacked_scores(records: Sequence[Record]) -> NDArray[np.float64] | None:
    """(repetitions, samples) scores, or None when the repetitions were not scored on one and the same test set."""
    first = records[0].targets
    if any(r.targets != first for r in records[1:]):
        return None
    return np.stack([sample_scores(r) for r in records])
