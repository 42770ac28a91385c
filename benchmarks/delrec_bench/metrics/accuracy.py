"""Accuracy: correct / total over all samples, never a mean over batches."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from delrec_bench.metrics.metric import Metric


def hits(predictions: ArrayLike, targets: ArrayLike) -> NDArray[np.float64]:
    """(n,) 1 where the predicted class is the right one, else 0."""
    return (np.asarray(predictions) == np.asarray(targets)).astype(np.float64)


def accuracy(predictions: ArrayLike, targets: ArrayLike) -> float:
    """Correct / total."""
    return float(hits(predictions, targets).mean())


METRIC = Metric(
    name="accuracy",
    label="accuracy (%)",
    unit="%",
    direction="greater",
    predicts="class",
    score=accuracy,
    per_sample=hits,
    limits=(0.0, 1.0),
    factor=100.0,
    digits=2,
    difference_unit="points",
)
