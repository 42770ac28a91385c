"""What a record holds in the words of MLflow: flat names, numbers, and times in ms since 1970."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from delrec_bench.records import Record
from delrec_bench.schema import dotted

VALUE_LENGTH = 6000
"""Characters of a parameter at most."""

Entries = dict[int, tuple[Mapping[str, Any], int]]
"""Epoch -> its entry of history, and when it ended in ms since 1970."""


def texts(values: Mapping[str, Any]) -> dict[str, str]:
    """A nested configuration as dotted names and text, as MLflow's params want it."""
    return {k: (v if isinstance(v, str) else json.dumps(v))[:VALUE_LENGTH] for k, v in dotted(values).items()}


def numbers(values: Mapping[str, Any], lists: bool = False) -> Iterator[tuple[str, float]]:
    """The numbers of nested values by dotted name, with `lists` those of a list by their place in it."""
    for name, value in dotted(values).items():
        if lists and isinstance(value, list):
            yield from numbers({f"{name}.{i}": v for i, v in enumerate(value)}, lists)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield name, float(value)


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


def timed_history(record: Record) -> Entries:
    """The history, each epoch after the one before by its duration."""
    at = float(times(record)[0])
    seconds = list(record.measured.get("epoch_seconds") or [])
    out: Entries = {}
    for number, entry in enumerate(record.history, 1):
        at += 1000 * (seconds[number - 1] or 0.0 if number <= len(seconds) else 0.0)
        out[number] = (entry, int(at))
    return out
