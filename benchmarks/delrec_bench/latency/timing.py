"""Times that compare: ratios paired by round, median and quartiles.

Absolute times move with the machine's load and clock. Two candidates timed a moment apart share both, so that only
their ratio, round by round, is worth quoting.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import binom

__all__ = ["Quartiles", "finished", "quartiles", "ratio", "undisturbed"]


def finished(work: Callable[[], object], device: str) -> Callable[[], object]:
    """Work that ends when the device has done it."""
    if device != "cuda":
        return work

    def run() -> object:
        result = work()
        torch.cuda.synchronize()
        return result

    return run


@dataclass(frozen=True)
class Quartiles:
    """Median of some values, their lower and upper quartile, how many they were, and how sure the median is.

    sure: the interval between two of the values that holds the true median with 99 percent confidence, whatever the
    distribution (order statistics, the sign test's interval); all of the values where they are fewer than eight.
    """

    median: float
    low: float
    high: float
    count: int
    sure: tuple[float, float]

    def contains(self, value: float) -> bool:
        """Whether `value` may be the true median: for a ratio of equals, 1."""
        return self.sure[0] <= value <= self.sure[1]


def quartiles(values: Sequence[float]) -> Quartiles:
    """Median and quartiles of at least one value.

    Raises:
        ValueError: There is none.
    """
    if not len(values):
        raise ValueError("no values: time at least one round")
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    low, median, high = np.quantile(ordered, (0.25, 0.5, 0.75))
    below = int(binom.ppf(0.005, len(ordered), 0.5))  # values that may all lie on one side by chance
    sure = (float(ordered[max(0, below - 1)]), float(ordered[min(len(ordered) - below, len(ordered) - 1)]))
    return Quartiles(float(median), float(low), float(high), len(values), sure)


def ratio(times: Sequence[float], baseline: Sequence[float]) -> Quartiles:
    """Quartiles of times[r] / baseline[r], both of round r, which share the state of the machine.

    Raises:
        ValueError: They are not of the same rounds.
    """
    if len(times) != len(baseline):
        raise ValueError(f"{len(times)} times for {len(baseline)} of the baseline: both must be of the same rounds")
    return quartiles([a / b for a, b in zip(times, baseline, strict=True)])


@contextmanager
def undisturbed() -> Iterator[None]:
    """Inside: no garbage collection, which would fall on whoever happens to be timed."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
