"""Values as JSON writes them, in one form only: what keys and files of records are made of."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from delrec_bench.errors import BenchError

RESULTS_VERSION = 3
"""Raised by every change that changes results: it enters each key, so that older runs are not reused."""


def plain(value: Any, where: str = "value", *, missing: bool = False) -> Any:
    """`value` in JSON's own types: tuples and arrays become lists, numpy scalars numbers, keys strings.

    Args:
        value: anything made of mappings, sequences, numbers, strings, booleans, None, arrays, paths.
        where: name used in an error.
        missing: turn NaN and infinity into None instead of refusing them.

    Raises:
        BenchError: a number that is not finite, or a type JSON has no word for.
    """
    try:
        # In C, and right for all but what is told apart below. Sorted, as on disk: what is written from a record does
        # not depend on whether it was read or just made.
        return json.loads(json.dumps(value, sort_keys=True, allow_nan=False))
    except RecursionError as error:
        raise BenchError(f"{where} is nested too deeply: a record holds a few levels") from error
    except (TypeError, ValueError):
        pass
    if isinstance(value, float):
        if missing:
            return None
        raise BenchError(f"{where} is {value}: a record holds finite numbers; leave out what is missing (None)")
    if isinstance(value, Mapping):
        names = {str(k): k for k in value}
        return {k: plain(value[names[k]], f"{where}.{k}", missing=missing) for k in sorted(names)}
    if hasattr(value, "tolist"):
        return plain(value.tolist(), where, missing=missing)
    if isinstance(value, list | tuple):
        return [plain(v, f"{where}[{i}]", missing=missing) for i, v in enumerate(value)]
    if isinstance(value, Path):
        return value.as_posix()
    raise BenchError(f"{where} is a {type(value).__name__}: a record holds numbers, strings, lists and dicts")


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text, on any machine."""
    return compact(plain(value))


def compact(value: Any) -> str:
    """`canonical_json` of a value that is made of JSON's own types already.

    Raises:
        BenchError: a number that is not finite.
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise BenchError(f"a number is not finite ({error}): a record holds finite numbers") from error


def run_key(
    configuration: Mapping[str, Any], data_identity: Mapping[str, Any], results_version: int | None = None
) -> str:
    """SHA-256 of the canonical JSON of configuration, data identity and results version, in hexadecimal.

    Args:
        configuration: everything resolved.
        data_identity: what the key says of the data.
        results_version: that of an older record; None for `RESULTS_VERSION`.
    """
    version = RESULTS_VERSION if results_version is None else results_version
    content = {"configuration": configuration, "data": data_identity, "results_version": version}
    return digest(canonical_json(content))


def digest(text: str) -> str:
    """SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
