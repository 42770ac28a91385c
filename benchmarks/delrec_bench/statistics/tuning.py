"""The tuning variance: another search would have chosen other settings, and a row would have scored otherwise."""

import math
from collections.abc import Iterable
from dataclasses import replace

from delrec_bench.statistics.paired import Estimate


def with_tuning(estimate: Estimate, variances: Iterable[tuple[float, float]]) -> Estimate:
    """A difference between rows that were searched separately, its interval with the variance of their tuning.

    Repetitions share one tuning. So with s^2 the squared standard error over repetitions, of f degrees of freedom, and
    v_i the tuning variance of each row, of f_i,

        se^2 = s^2 + sum_i v_i      df = (s^2 + sum_i v_i)^2 / (s^4 / f + sum_i v_i^2 / f_i)      (Satterthwaite)

    Args:
        estimate: Over repetitions.
        variances: (v_i, f_i) of each of the rows that was searched on its own.
    """
    parts = [(v, f) for v, f in variances if v > 0]
    if estimate.se is None or not parts:
        return estimate
    own = estimate.se**2
    total = own + sum(v for v, _ in parts)
    spread = (own**2 / estimate.df if own else 0.0) + sum(v**2 / f for v, f in parts)
    return replace(estimate, se=math.sqrt(total), df=total**2 / spread)
