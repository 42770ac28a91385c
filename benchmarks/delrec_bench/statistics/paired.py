"""Two methods on one task, paired by repetition: the difference, its interval, and what may be said of it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

LEVEL = 0.95
"""Confidence level of every interval."""
ALPHA = 1 - LEVEL
POWER = 0.80

Word = Literal["better", "worse", "equivalent", "inconclusive"]


@dataclass(frozen=True)
class Estimate:
    """A difference (method minus control, in the unit of the scores) with its standard error, for Student's t.

    Of one that covers more than repetitions, `alone` is that over repetitions alone. Counting the spread over samples
    too must not make it more certain, so the wider interval and the larger p value of the two are its own.
    """

    difference: float | None  # its mean; None where no repetition is shared
    n: int  # how many values it is the mean of: repetitions
    se: float | None = None  # None where the spread is unknown: below two values, or where all are equal and not 0
    df: float = 0.0  # degrees of freedom of se
    sd: float | None = None  # sample standard deviation of the n values (ddof 1); None below two
    alone: Estimate | None = None

    @property
    def half_width(self) -> float | None:
        """Half the t interval, t_df se; None where unknown."""
        if self.se is None or self.difference is None:
            return None
        own = self.se * float(stats.t.ppf(0.5 + LEVEL / 2, self.df)) if self.se else 0.0
        return max(own, (self.alone and self.alone.half_width) or 0.0)

    @property
    def low(self) -> float | None:
        """Lower end of the interval."""
        return None if self.half_width is None or self.difference is None else self.difference - self.half_width

    @property
    def high(self) -> float | None:
        """Upper end of the interval."""
        return None if self.half_width is None or self.difference is None else self.difference + self.half_width

    @property
    def p(self) -> float | None:
        """Two-sided p value of "the difference is 0", 2 P(t_df > |difference| / se)."""
        if self.se is None or self.difference is None:
            return None
        own = min(1.0, 2 * _tail(abs(self.difference), self.se, self.df))
        return max(own, (self.alone and self.alone.p) or 0.0)

    def p_equivalent(self, margin: float) -> float | None:
        """p value of "the difference lies outside +-margin", by two one-sided tests (TOST).

        p = max(P(t_df > (difference + margin) / se), P(t_df > (margin - difference) / se)); it is below
        (1 - level) / 2 exactly where the interval shown lies within the margin. (Schuirmann, 1987; the usual 5 percent
        TOST looks at the 90 percent interval: the one that readers see is the stricter.)
        """
        if self.se is None or self.difference is None:
            return None
        distances = (self.difference + margin, margin - self.difference)
        own = max(_tail(distance, self.se, self.df) for distance in distances)
        return max(own, (self.alone and self.alone.p_equivalent(margin)) or 0.0)

    def detectable(self, family: int = 1) -> float | None:
        """The smallest true difference (absolute) that a design with this spread finds with 80 percent power.

        It solves P(|T| > t_{df, 1 - a/2}) = power for T noncentral t of df degrees of freedom, noncentrality
        detectable / se, a = (1 - level) / family: Holm's first, strictest step in a family of that size.
        The spread is the one observed, so this is the design's sensitivity, not the power of what was seen.
        None where no spread was observed.
        """
        if not self.se:
            return None if self.alone is None else self.alone.detectable(family)
        critical = float(stats.t.ppf(1 - ALPHA / family / 2, self.df))

        def lacking(nc: float) -> float:  # noncentral F, since scipy's noncentral t is NaN in the tails needed
            return float(stats.ncf.sf(critical**2, 1, self.df, nc**2)) - POWER

        upper = critical + 1.0
        while lacking(upper) < 0.0:
            upper *= 2.0
        own = self.se * float(optimize.brentq(lacking, 1e-6, upper, xtol=1e-9))
        return max(own, (self.alone and self.alone.detectable(family)) or 0.0)


def _tail(distance: float, se: float, df: float) -> float:
    """P(t_df > distance / se), with its limit at se = 0."""
    if se == 0.0:
        return 0.5 if distance == 0.0 else float(distance < 0.0)
    return float(stats.t.sf(distance / se, df))


def paired(method: ArrayLike, control: ArrayLike, *, resolution: float = 0.0) -> Estimate:
    """The paired difference, method minus control, over repetitions, with df = n - 1 and se = sd / sqrt(n).

    Scores that come in steps (accuracy on N samples: 1 / N) hide a spread finer than the step. Rounding adds
    resolution^2 / 12 to the variance of each score, so sd is taken to be at least resolution / sqrt(6). With no
    resolution given, differences that are all equal are an answer only when they are all 0; equal and not 0 they say
    nothing of the spread, which is then unknown.

    Args:
        method: (n,) scores, one a repetition.
        control: (n,) scores of the same repetitions, in the same order.
        resolution: smallest step of a score, in its unit; 0 for a continuous one.
    """
    a, b = np.asarray(method, dtype=float), np.asarray(control, dtype=float)
    n, x = len(a), a - b
    if n == 0:
        return Estimate(None, 0)
    mean = float(x.mean())
    if n == 1:
        return Estimate(mean, 1)
    rounding = 8 * np.finfo(float).eps * max(float(np.abs(a).max()), float(np.abs(b).max()))
    sd = float(x.std(ddof=1))
    if sd <= rounding:
        sd = 0.0
        mean = 0.0 if abs(mean) <= rounding else mean
        if mean != 0.0 and resolution == 0.0:
            return Estimate(mean, n, sd=0.0)
    se = max(sd, resolution / math.sqrt(6)) / math.sqrt(n)
    return Estimate(mean, n, se=se, df=float(n - 1), sd=sd)


def summed(parts: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """Standard error and degrees of freedom (Satterthwaite) of a sum of independent terms of variance v_i, with f_i.

    se^2 = sum_i v_i      df = (sum_i v_i)^2 / sum_i (v_i^2 / f_i)
    """
    known = list(parts)
    total, spread = sum(v for v, _ in known), sum(v**2 / f for v, f in known if v)
    return math.sqrt(total), total**2 / spread if spread else sum(f for _, f in known)


def with_tuning(estimate: Estimate, variances: Iterable[tuple[float, float]]) -> Estimate:
    """A difference over repetitions, its interval with the variance of tuning of rows that were searched separately.

    Repetitions share one tuning, so the `variances` of such rows, each with its degrees of freedom, are added to the
    squared standard error.
    """
    tuning = [(v, f) for v, f in variances if v > 0]
    if estimate.se is None or not tuning:
        return estimate
    se, df = summed([(estimate.se**2, estimate.df), *tuning])
    return replace(estimate, se=se, df=df)


def decide(
    estimate: Estimate,
    *,
    more_is_better: bool,
    margin: float | None = None,
    p: float | None = None,
    p_equivalent: float | None = None,
) -> Word:
    """better, worse, equivalent or inconclusive, of the method against its control.

    equivalent: the interval lies within +-margin (TOST), even where it excludes 0: a difference that was declared
    too small to matter beforehand is not made to matter by many repetitions. better, worse: else, p below 1 - level.
    inconclusive: everything else.

    `margin` is the largest difference that does not matter, in the unit of the estimate (method minus control); None
    declares none. `p` and `p_equivalent` are the two-sided p value and TOST's after correction; None: the estimate's.
    """
    if margin is not None:
        p_equivalent = estimate.p_equivalent(margin) if p_equivalent is None else p_equivalent
        if p_equivalent is not None and p_equivalent < ALPHA / 2:
            return "equivalent"
    p = estimate.p if p is None else p
    if p is None or estimate.difference is None or not p < ALPHA:
        return "inconclusive"
    return "better" if (estimate.difference > 0) == more_is_better else "worse"
