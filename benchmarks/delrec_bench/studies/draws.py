"""Settings drawn at random, the same on every machine: by searches, and by studies that draw anew per repetition."""

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator


def _space(value: dict[str, Any]) -> dict[str, Any]:
    for name, choice in value.items():
        bounds = isinstance(choice, dict) and set(choice) == {"low", "high"} and 0 < choice["low"] < choice["high"]
        if not (bounds or (isinstance(choice, list) and choice)):
            raise ValueError(f"for {name}: give a list of values, or {{ low, high }} with 0 < low < high")
    return value


SpaceTable = Annotated[dict[str, Any], AfterValidator(_space)]
"""Dotted setting -> the values that may be drawn, or bounds of a range that is even in the logarithm."""


def drawn(space: Mapping[str, Any], *seed: str | int) -> dict[str, Any]:
    """Draw every setting of a space, each from u = SHA-256(seed, setting) / 2^256.

    Args:
        space: Dotted setting -> a list of values, or {low, high}: even in the logarithm, to three digits.
        seed: What the draw depends on, in words and numbers.
    """
    out = {}
    for key, choice in space.items():
        text = ":".join(["delrec-bench", *map(str, seed), key])
        u = int.from_bytes(hashlib.sha256(text.encode()).digest(), "big") / 2**256
        if isinstance(choice, list):
            out[key] = choice[int(u * len(choice))]
        else:
            out[key] = float(f"{choice['low'] * (choice['high'] / choice['low']) ** u:.3g}")
    return out
