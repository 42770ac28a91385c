"""The second interval: over repetitions AND test samples, where samples come in clusters (speakers, windows).

Repetitions share one test set, so an interval over them alone takes its samples for the whole world. Crossed variance
components are used rather than a two-way bootstrap: with 12 speakers or 5 repetitions a bootstrap's variance is too
small by (G - 1) / G and has no degrees of freedom, and it would need a seed; these have both, in closed form.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from delrec_bench.statistics.paired import Estimate


def crossed(method: ArrayLike, control: ArrayLike, clusters: Sequence[object] | None = None) -> Estimate:
    """Mean difference when repetitions and clusters of samples are both drawn from larger populations.

    With d[r, i] the difference at repetition r and sample i, d its mean, and u[r, c] = d + (G / N) sum_{i in c}
    (d[r, i] - d) the cluster totals on the scale of d (the linearised ratio, so clusters may differ in size),

        u[r, c] = mu + a[r] + b[c] + e[r, c]
        se^2 = (MS_e + max(MS_a - MS_e, 0) + max(MS_b - MS_e, 0)) / (R G)

    MS being the two-way mean squares, and df Satterthwaite's. With R = 1 it is the interval over clusters alone, for
    that one repetition. (Searle, Casella & McCulloch, Variance Components, 1992, chapter 4; two-way
    clustering as in Cameron, Gelbach & Miller 2011.)

    Args:
        method: (R, N) score of each repetition and test sample, whose mean is the score: 1 where right, or the squared
            error scaled so that its mean is the NMSE.
        control: (R, N) of the control: the same repetitions and samples, in the same order.
        clusters: (N,) speaker or block of each sample; None where samples are independent. Where there are fewer than
            two, the estimate (n = R) has no standard error.
    """
    difference = np.asarray(method, dtype=float) - np.asarray(control, dtype=float)
    repetitions, samples = difference.shape
    ids = np.arange(samples) if clusters is None else pd.factorize(np.asarray(clusters))[0]
    mean = float(difference.mean())
    G = int(ids.max()) + 1
    if G < 2:
        return Estimate(mean, repetitions)
    u = np.zeros((repetitions, G))
    np.add.at(u.T, ids, (difference - mean).T)
    se, df = _two_way(u * G / samples)
    sd = float(difference.mean(axis=1).std(ddof=1)) if repetitions > 1 else None
    return Estimate(mean, repetitions, se=se, df=df, sd=sd)


def _two_way(u: NDArray[np.float64]) -> tuple[float, float]:
    """Standard error of the grand mean of u (R, G) and its degrees of freedom."""
    R, G = u.shape
    rows, columns = u.mean(axis=1), u.mean(axis=0)
    ms_clusters = R * float(columns.var(ddof=1))
    if R == 1:
        return math.sqrt(ms_clusters / G), float(G - 1)
    ms_rows = G * float(rows.var(ddof=1))
    df_error = (R - 1) * (G - 1)
    ms_error = float(((u - rows[:, None] - columns + u.mean()) ** 2).sum()) / df_error
    total = ms_error + max(ms_rows - ms_error, 0.0) + max(ms_clusters - ms_error, 0.0)
    parts = ((ms_rows, R - 1), (ms_clusters, G - 1), (ms_error, df_error))
    spread = sum(ms**2 / df for ms, df in parts)
    return math.sqrt(total / (R * G)), total**2 / spread if spread else float(df_error)


def window_blocks(windows: int, width: int) -> list[int]:
    """The block of each window of a series, (windows,), for windows that overlap and start one step apart.

    A dependence reaches over `width` windows. Blocks of 4 widths leave 8 percent of a triangular dependence's variance
    out, blocks of one a third; but never fewer than 8 blocks, as long as a block is a width.
    """
    length = max(width, min(4 * width, windows // 8))
    return [i // length for i in range(windows)]
