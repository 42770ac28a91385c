"""How numbers are written: percent or NMSE, intervals, counts; the same words in every table, figure and sentence."""

from __future__ import annotations

from typing import Any

from delrec_bench.metrics import metric_named
from delrec_bench.statistics import Comparison, Interval


def score(metric: str, value: float | None) -> str:
    """A score: 0.8258 -> 82.58 for accuracy, 0.0336 for NMSE; empty when missing."""
    return metric_named(metric).format(value)


def score_range(metric: str, low: float | None, high: float | None) -> str:
    """An interval in brackets, cut where no score can be; empty when unknown."""
    if low is None or high is None:
        return ""
    of = metric_named(metric)
    return f"[{of.format(of.clipped(low))}, {of.format(of.clipped(high))}]"


def difference(metric: str, value: float) -> str:
    """A signed difference: percentage points for accuracy, NMSE otherwise."""
    return metric_named(metric).format_difference(value)


def difference_range(metric: str, interval: Interval | None) -> str:
    """A signed interval in brackets, empty when unknown."""
    if interval is None or interval.low is None or interval.high is None:
        return ""
    return f"[{difference(metric, interval.low)}, {difference(metric, interval.high)}]"


def unit(metric: str) -> str:
    """The unit of a difference."""
    of = metric_named(metric)
    return of.difference_unit or of.unit


def label(metric: str) -> str:
    """What a column or an axis of scores is called."""
    return metric_named(metric).label


def count(value: Any) -> str:
    """A count with thousands separated; empty when missing."""
    return "" if value is None else f"{value:,}"


def ratio(value: float | None, spread: float | None = None) -> str:
    """A latency ratio with its interquartile range; empty when missing."""
    if value is None:
        return ""
    return f"{value:.2f}×" + (f" (IQR {spread:.2f})" if spread is not None else "")


def probability(value: float | None) -> str:
    """A p value; empty when missing."""
    if value is None:
        return ""
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def sentence(c: Comparison) -> str:
    """One comparison in words: difference, interval, n and verdict."""
    interval = difference_range(c.metric, c.interval)
    tail = f" {interval}" if interval else ", no interval"
    value = difference(c.metric, c.interval.mean)
    return f"{c.task}: {value} {unit(c.metric)}{tail}, n = {c.n}"


def brief(c: Comparison) -> str:
    """One comparison in a few words: task and difference."""
    return f"{c.task} {difference(c.metric, c.interval.mean)} {unit(c.metric)}"


def listed(items: list[str]) -> str:
    """a; a and b; a, b and c."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def plural(n: int, word: str) -> str:
    """1 row, 2 rows."""
    return f"{n} {word}" if n == 1 else f"{n} {word}s"
