"""The format of numbers and names in tables and figures."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from delrec_bench.metrics.metric import Metric

_SETTINGS = {
    "lr_weights": ("learning rate", ""),
    "lr_delays": ("learning rate of delays", ""),
    "delay_high": ("longest initial delay", "steps"),
    "sigma": ("initial spread", "steps"),
    "step_ms": ("time step", "ms"),
}
"""Swept setting -> what people call it, and its unit."""


def interval(form: Callable[[float], str], low: float | None, high: float | None) -> str:
    """An interval, each end in the given form; empty when unknown."""
    return "" if low is None or high is None else f"{form(low)} to {form(high)}"


def difference(metric: Metric, value: float | None) -> str:
    """A signed difference with its unit: percentage points for accuracy, NMSE otherwise; empty when missing."""
    unit = metric.difference_unit or metric.unit
    return "" if value is None else f"{metric.format_difference(value)} {unit}".strip()


def number(value: float | None, digits: int = 0) -> str:
    """A number with so many decimals, thousands separated; empty when missing."""
    return "" if value is None else f"{value:,.{digits}f}"


def milliseconds(value: float | None) -> str:
    """A time in milliseconds, three significant digits; empty when missing."""
    if value is None:
        return ""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:,.{digits}f} ms"


def probability(value: float | None) -> str:
    """A p value; empty when missing."""
    return "<0.001" if value is not None and value < 0.001 else number(value, 3)


def setting(name: str) -> str:
    """A swept setting as the label of an axis: name (unit)."""
    called, unit = _SETTINGS.get(name, (name.replace("_", " "), ""))
    return f"{called} ({unit})" if unit else called


def setting_value(value: Any) -> str:
    """The value of a swept setting."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def place(point: Iterable[tuple[str, Any]]) -> str:
    """A row's point in a sweep, in brackets, such as (longest initial delay 80 steps); empty without a sweep."""
    told = []
    for name, value in point:
        called, unit = _SETTINGS.get(name, (name.replace("_", " "), ""))
        told.append(f"{called} {setting_value(value)} {unit}".rstrip())
    return f" ({', '.join(told)})" if told else ""


def plural(n: int, word: str) -> str:
    """1 row, 2 rows."""
    return f"{n:,} {word}" if n == 1 else f"{n:,} {word}s"


def listed(items: Sequence[str]) -> str:
    """a; a and b; a, b and c."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def escaped(text: object) -> str:
    """Text as Markdown shows it."""
    return str(text).replace("|", "\\|").replace("[", "\\[").replace("<", "&lt;")
