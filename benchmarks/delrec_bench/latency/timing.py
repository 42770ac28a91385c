"""Times that compare: candidates measured in turn within one run, ratios paired by round, median and quartiles.

Absolute times move with the machine's load and clock. Two candidates timed a moment apart share both, so that only
their ratio, round by round, is worth quoting.
"""

from __future__ import annotations

import gc
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

__all__ = ["Quartiles", "interleave", "quartiles", "ratio", "undisturbed"]

Work = Callable[[], object]


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


def interleave(
    candidates: Mapping[str, Work],
    *,
    rounds: int = 31,
    seconds: float | None = None,
    least: int = 3,
    block: float = 0.01,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Time a block of calls of every candidate once a round.

    The order within a round is drawn anew every round (always the same draws), so that neither drift nor what a
    neighbour leaves in the caches favours anybody. Two calls before the first round are not counted: one warms and
    compiles, one tells the cost. Where `seconds` are given and `least` rounds would not fit, the slowest candidates
    are left out until they do; the first one (the baseline) always stays.

    Args:
        candidates: What to time, by name.
        rounds: Rounds at most.
        seconds: Wall time for all of it but the first calls.
        least: Rounds that a ratio needs.
        block: Seconds that a block should last; a candidate faster than that is called several times.
        clock: Returns seconds.

    Returns:
        Seconds a call, by candidate, one value a round; candidates left out are missing.
    """
    names = list(candidates)
    with undisturbed():
        for name in names:
            candidates[name]()
        begin = clock()
        cost = {}
        for name in names:
            start = clock()
            candidates[name]()
            cost[name] = max(clock() - start, 1e-9)
        left = math.inf if seconds is None else seconds - (clock() - begin)
        while len(names) > 1 and least * sum(cost[name] for name in names) > left:
            names.remove(max(names[1:], key=cost.__getitem__))
        calls = {name: max(1, min(50, round(block / cost[name]))) for name in names}
        per_round = sum(calls[name] * cost[name] for name in names)
        if least * per_round > left:
            calls = dict.fromkeys(names, 1)
            per_round = sum(cost[name] for name in names)
        if math.isfinite(left):
            rounds = max(1, min(rounds, int(left / per_round)))
        times: dict[str, list[float]] = {name: [] for name in names}
        draw = random.Random(0)
        for _ in range(rounds):
            for name in draw.sample(names, len(names)):
                start = clock()
                for _ in range(calls[name]):
                    candidates[name]()
                times[name].append((clock() - start) / calls[name])
    return times
