"""A pytest-benchmark whose every round is paired with its yardsticks' times of a moment before."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from delrec_bench.latency.timing import quartiles, ratio, undisturbed

__all__ = ["Pairs"]

Work = Callable[[], object]

_MOST, _LEAST, _QUICK = 31, 5, 3
_SHORT, _MOST_SHORT = 0.02, 301  # seconds of a round that is disturbed more easily, and takes more rounds
_SLOW = 4.0  # seconds of a round from which three are enough


class Pairs:
    """A candidate and its yardsticks, run in turn: A B A B ...

    Args:
        candidate: What is timed.
        yardsticks: What its times are divided by, by name.
        quick: Three rounds.
        seconds: Aimed at for all rounds; the slow ones get the fewest.
    """

    def __init__(
        self, candidate: Work, yardsticks: Mapping[str, Work], quick: bool = False, seconds: float = 12.0
    ) -> None:
        self.candidate = candidate
        self.yardsticks = yardsticks
        self.quick = quick
        self.seconds = seconds
        self.against: dict[str, list[float]] = {name: [] for name in yardsticks}

    def before_round(self) -> None:
        """Time every yardstick once; pytest-benchmark calls this before each round, untimed."""
        for name, work in self.yardsticks.items():
            start = time.perf_counter()
            work()
            self.against[name].append(time.perf_counter() - start)

    def run(self, benchmark: Any, **info: Any) -> dict[str, Any]:
        """Warm everything, time the rounds, and return a row: `info`, the times, and the ratio to each yardstick."""
        cost = self._once()  # compiles
        if cost < 3 * _SLOW:  # perhaps because it compiled
            cost = self._once()
        least = _LEAST if cost < _SLOW else _QUICK
        most = _MOST if cost > _SHORT else _MOST_SHORT
        where = info.get("shape") or info.get("task")
        benchmark.group = f"{where} {info.get('mode')}"  # before the measurement, which takes it over
        rounds = _QUICK if self.quick else max(least, min(most, int(self.seconds / max(cost, 1e-9))))
        with undisturbed():
            benchmark.pedantic(self.candidate, setup=self.before_round, rounds=rounds, iterations=1)
        if not benchmark.enabled:
            return info
        row = self.row(list(benchmark.stats.stats.data), benchmark.extra_info, info)
        over = ", ".join(f"{v['ratio']:.3g} x {name}" for name, v in row["against"].items())
        print(f" {where} | {info.get('mode')} | {info.get('contender')}: {row['median']:.4g} s, {over}", flush=True)
        return row

    def _once(self) -> float:
        """Run everything once; return the seconds it took."""
        start = time.perf_counter()
        for work in (self.candidate, *self.yardsticks.values()):
            work()
        return time.perf_counter() - start

    def row(self, seconds: list[float], extra: dict[str, Any], info: dict[str, Any]) -> dict[str, Any]:
        """The row of the times `seconds`, one a round; what pytest-benchmark saves of it goes to `extra`."""
        own = quartiles(seconds)
        row = {**info, "seconds": seconds, "median": own.median, "iqr": [own.low, own.high], "against": {}}
        for name, times in self.against.items():
            times = times[-len(seconds) :]
            over = ratio(seconds, times)
            row["against"][name] = {"ratio": over.median, "iqr": [over.low, over.high], "seconds": times}
            extra[f"ratio to {name}"] = over.median
            extra[f"ratio to {name}, iqr"] = [over.low, over.high]
        extra.update(model=info.get("contender"), **info)
        return row
