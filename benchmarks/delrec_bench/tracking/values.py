"""What a record holds in the words of MLflow: flat names, numbers, and times in ms since 1970."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from delrec_bench.records import Record

VALUE_LENGTH = 6000
"""Characters of a parameter at most."""


def flat(values: Any, prefix: str = "") -> dict[str, str]:
    """A nested configuration as dotted names and text, as MLflow's params want it."""
    if isinstance(values, Mapping):
        out: dict[str, str] = {}
        for name, value in values.items():
            out |= flat(value, f"{prefix}.{name}" if prefix else str(name))
        return out
    text = values if isinstance(values, str) else json.dumps(values)
    return {prefix: text[:VALUE_LENGTH]}


def numbers(values: Mapping[str, Any], prefix: str = "", lists: bool = False) -> Iterator[tuple[str, float]]:
    """The numbers of nested values by dotted name, with `lists` those of a list by their place in it."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from numbers(value, f"{prefix}{name}.", lists)
        elif isinstance(value, list):
            if lists:
                yield from numbers({str(i): v for i, v in enumerate(value)}, f"{prefix}{name}.", lists)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield prefix + name, float(value)


def milliseconds(text: str) -> int:
    """ISO 8601 in ms since 1970."""
    return int(1000 * datetime.fromisoformat(text).timestamp())


def times(record: Record) -> tuple[int, int]:
    """Start and end in ms since 1970, from when the run was made; 0 when it does not say."""
    try:
        end = milliseconds(record.measured["finished_at"])
    except (KeyError, ValueError, TypeError):
        return 0, 0
    return end - int(1000 * (record.measured.get("wall_seconds") or 0.0)), end


def timed_history(record: Record) -> dict[int, tuple[Mapping[str, Any], int]]:
    """Epoch -> its entry of history, and when it ended in ms since 1970, by the epochs' durations."""
    at = float(times(record)[0])
    seconds = list(record.measured.get("epoch_seconds") or [])
    out: dict[int, tuple[Mapping[str, Any], int]] = {}
    for number, entry in enumerate(record.history, 1):
        at += 1000 * (seconds[number - 1] or 0.0 if number <= len(seconds) else 0.0)
        out[number] = (entry, int(at))
    return out
