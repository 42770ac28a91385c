"""Normalised mean squared error: mean (y - y')^2 / var y', 0 perfect, 1 no better than the targets' mean."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from delrec_bench.errors import BenchError
from delrec_bench.metrics.metric import Metric


def errors(predictions: ArrayLike, targets: ArrayLike) -> NDArray[np.float64]:
    """(n,) squared error of each sample over the variance of all targets (ddof 0), which are not all equal."""
    wanted = np.asarray(targets, np.float64)
    variance = float(np.var(wanted))
    if wanted.min() == wanted.max() or not variance:  # of equal numbers it need not be 0 as computed, of others it may
        raise BenchError(f"nmse of {len(wanted)} targets of variance 0 is undefined")
    squared: NDArray[np.float64] = (np.asarray(predictions, np.float64) - wanted) ** 2
    return squared / variance


def nmse(predictions: ArrayLike, targets: ArrayLike) -> float:
    """Mean squared error over the variance of the targets."""
    return float(np.mean(errors(predictions, targets)))


METRIC = Metric(
    name="nmse",
    label="NMSE (lower is better)",
    unit="NMSE",
    direction="smaller",
    predicts="value",
    score=nmse,
    per_sample=errors,
    limits=(0.0, None),
)
