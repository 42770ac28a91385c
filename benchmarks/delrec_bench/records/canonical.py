"""Values as JSON writes them, in one form only: what keys and files of records are made of."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from delrec_bench.errors import BenchError

RESULTS_VERSION = 3
"""Raised by every change that changes results: it enters each key, so that older runs are not reused."""


def plain(value: Any, *, missing: bool = False) -> Any:
    """Return `value` in JSON's own types: tuples and arrays as lists, NumPy's scalars as numbers, keys as strings.

    Args:
        value: Anything made of mappings, sequences, numbers, strings, booleans, None, arrays, paths.
        missing: Turn NaN and infinity into None instead of refusing them.

    Raises:
        BenchError: A number that is not finite, or a type JSON has no word for.
    """
    try:
        text = json.dumps(value, sort_keys=True, default=_converted)
    except (RecursionError, TypeError, ValueError) as error:
        raise BenchError(f"a record cannot hold this value: {error}") from error
    return json.loads(text, parse_constant=(lambda _: None) if missing else _not_finite)


def _converted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Path):
        return value.as_posix()
    raise TypeError(f"a {type(value).__name__} is not a number, string, list or dict")


def _not_finite(word: str) -> None:
    raise BenchError(f"{word} is not finite: records hold finite numbers only; use None for missing values")


def parse_json(text: str | bytes) -> dict[str, Any]:
    """Return a JSON object without NaN or infinity."""
    try:
        values = json.loads(text, parse_constant=_not_finite)
    except (ValueError, RecursionError) as error:
        raise BenchError(f"it is not valid JSON ({error})") from error
    if not isinstance(values, dict):
        raise BenchError(f"it holds a {type(values).__name__}, not an object")
    return values


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys and no spaces: equal values give equal text, on any machine."""
    return compact(plain(value))


def compact(value: Any) -> str:
    """Return `canonical_json` of a value that is made of JSON's own types already."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def run_key(configuration: Mapping[str, Any], data: Mapping[str, Any], results_version: int = RESULTS_VERSION) -> str:
    """Return the SHA-256 of the canonical JSON of configuration, data and results version, in hexadecimal.

    Args:
        configuration: Everything resolved.
        data: What a key says of the data.
        results_version: That of an older record.
    """
    return digest(canonical_json({"configuration": configuration, "data": data, "results_version": results_version}))


def digest(text: str) -> str:
    """Return the SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
