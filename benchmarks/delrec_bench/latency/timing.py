"""Times that compare: a candidate and its yardsticks in turn, ratios paired by round, median and quartiles.

Absolute times move with the machine's load and clock. Two candidates timed a moment apart share both, so that only
their ratio, round by round, is worth quoting.
"""

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from scipy.stats import binom

Work = Callable[[], object]

_MOST, _LEAST, QUICK = 31, 5, 3
_SHORT, _MOST_SHORT = 0.02, 301  # seconds of a round that is disturbed more easily, and takes more rounds
SLOW = 4.0  # seconds of a round from which three are enough


def finished(work: Work, device: str) -> Work:
    """Return work that ends when the device has done it."""
    if device != "cuda":
        return work

    def run() -> None:
        work()
        torch.cuda.synchronize()

    return run


@dataclass(frozen=True)
class Quartiles:
    """Median of some values, their lower and upper quartile, how many they were, and how sure the median is."""

    median: float
    low: float
    high: float
    count: int
    # Between two of the values, it holds the true median with 99 percent confidence, whatever the distribution (the
    # sign test's interval); all of the values where they are fewer than eight.
    sure: tuple[float, float]


def quartiles(values: Sequence[float]) -> Quartiles:
    """Return median and quartiles of at least one value."""
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    low, median, high = np.quantile(ordered, (0.25, 0.5, 0.75))
    below = int(binom.ppf(0.005, len(ordered), 0.5))  # values that may all lie on one side by chance
    sure = (float(ordered[max(0, below - 1)]), float(ordered[min(len(ordered) - below, len(ordered) - 1)]))
    return Quartiles(float(median), float(low), float(high), len(values), sure)


@dataclass
class Times:
    """Seconds of each round: of the candidate, and of each yardstick a moment before it."""

    own: list[float] = field(default_factory=list)
    against: dict[str, list[float]] = field(default_factory=dict)

    def over(self, yardstick: str) -> Quartiles:
        """The ratio to a yardstick, of two times of one round, which share the state of the machine."""
        return quartiles([a / b for a, b in zip(self.own, self.against[yardstick], strict=True)])


def time_in_turn(
    benchmark: Any, candidate: Work, yardsticks: Mapping[str, Work], *, group: str, quick: bool, seconds: float = 12.0
) -> Times:
    """Time a candidate with pytest-benchmark, and its yardsticks once before each of its rounds (A B A B).

    The ratios to each yardstick go into the `extra_info` of pytest-benchmark's fixture. `quick` means three rounds;
    else all of them aim at so many `seconds`, and slow work has the fewest.
    """

    def once() -> float:
        start = time.perf_counter()
        for work in (candidate, *yardsticks.values()):
            work()
        return time.perf_counter() - start

    def before_round() -> None:
        for name, work in yardsticks.items():
            start = time.perf_counter()
            work()
            times.against[name].append(time.perf_counter() - start)

    cost = once()  # compiles
    if cost < 3 * SLOW:  # perhaps because it compiled
        cost = once()
    least, most = _LEAST if cost < SLOW else QUICK, _MOST if cost > _SHORT else _MOST_SHORT
    rounds = QUICK if quick else max(least, min(most, int(seconds / max(cost, 1e-9))))
    times = Times(against={name: [] for name in yardsticks})
    benchmark.group = group  # pedantic takes it over
    gc.collect()
    gc.disable()  # collected garbage would fall on whoever happens to be timed
    try:
        benchmark.pedantic(candidate, setup=before_round, rounds=rounds, iterations=1)
    finally:
        gc.enable()
    if benchmark.enabled:
        times.own = list(benchmark.stats.stats.data)
        benchmark.extra_info |= {f"ratio to {name}": times.over(name).median for name in yardsticks}
    return times
