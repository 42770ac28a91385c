"""The format of numbers and names in tables and figures."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from delrec_bench.metrics import metric_named

_SETTINGS = {
    "delay_high": ("longest initial delay", "steps"),
    "sigma": ("initial spread", "steps"),
    "step_ms": ("time step", "ms"),
}
"""Swept setting -> what people call it, and its unit."""


def score(metric: str, value: float | None) -> str:
    """A score: 0.8258 -> 82.58 for accuracy, 0.0336 for NMSE; empty when missing."""
    return metric_named(metric).format(value)


def between(metric: str, low: float | None, high: float | None) -> str:
    """An interval of scores; empty when unknown."""
    return "" if low is None or high is None else f"{score(metric, low)} to {score(metric, high)}"


def difference(metric: str, value: float) -> str:
    """A signed difference with its unit: percentage points for accuracy, NMSE otherwise."""
    of = metric_named(metric)
    return f"{of.format_difference(value)} {unit(metric)}".strip()


def difference_range(metric: str, low: float | None, high: float | None) -> str:
    """A signed interval in brackets; empty when unknown."""
    if low is None or high is None:
        return ""
    return f"[{', '.join(metric_named(metric).format_difference(end) for end in (low, high))}]"


def unit(metric: str) -> str:
    """The unit of a difference."""
    of = metric_named(metric)
    return of.difference_unit or of.unit


def count(value: Any) -> str:
    """A count with thousands separated; empty when missing."""
    return "" if value is None else f"{value:,.0f}"


def milliseconds(value: float | None) -> str:
    """A time in milliseconds, three significant digits; empty when missing."""
    if value is None:
        return ""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:,.{digits}f} ms"


def probability(value: float | None) -> str:
    """A p value; empty when missing."""
    if value is None:
        return ""
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def setting(name: str) -> str:
    """A swept setting as the label of an axis: name (unit)."""
    called, unit = _SETTINGS.get(name, (name.replace("_", " "), ""))
    return f"{called} ({unit})" if unit else called


def setting_at(name: str, value: Any) -> str:
    """A swept setting at a value: longest initial delay 80 steps."""
    called, unit = _SETTINGS.get(name, (name.replace("_", " "), ""))
    return f"{called} {f'{value:g}' if isinstance(value, float) else value} {unit}".rstrip()


def place(point: Iterable[tuple[str, Any]]) -> str:
    """A row's point in a sweep, in brackets; empty without a sweep."""
    told = ", ".join(setting_at(name, value) for name, value in point)
    return f" ({told})" if told else ""


def one_command(commands: Iterable[str]) -> str | None:
    """The command that makes runs again: one line, with a loop where only the repetition differs."""
    each = list(dict.fromkeys(commands))
    if not each:
        return None
    pattern = re.compile(r"--repetition[ =](\d+)")
    numbers = [m.group(1) for c in each if (m := pattern.search(c))]
    bodies = {pattern.sub("--repetition $r", c) for c in each}
    if len(each) > 1 and len(bodies) == 1 and len(numbers) == len(each):
        return f"for r in {' '.join(numbers)}; do {bodies.pop()}; done"
    return "; ".join(each)


def plural(n: int, word: str) -> str:
    """1 row, 2 rows."""
    return f"{n:,} {word}" if n == 1 else f"{n:,} {word}s"


def listed(items: Sequence[str]) -> str:
    """a; a and b; a, b and c."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def some(items: Sequence[str], most: int = 4) -> str:
    """The first few, and how many more there are."""
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")
