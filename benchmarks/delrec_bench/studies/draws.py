"""Settings drawn at random, the same on every machine: by searches, and by studies that draw anew per repetition."""

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

Space = Mapping[str, Any]


def _space(value: dict[str, Any]) -> dict[str, Any]:
    for name, choice in value.items():
        bounds = isinstance(choice, dict) and set(choice) == {"low", "high"} and 0 < choice["low"] < choice["high"]
        if not (bounds or (isinstance(choice, list) and choice)):
            raise ValueError(f"for {name}: a list of values, or {{ low, high }} with 0 < low < high")
    return value


SpaceTable = Annotated[dict[str, Any], AfterValidator(_space)]
"""Dotted setting -> the values that may be drawn, or bounds of a range that is even in the logarithm."""


def drawn(space: Space, *seed: str | int) -> dict[str, Any]:
    """Draw every setting of a space, each from u = SHA-256(seed, setting) / 2^256.

    Args:
        space: Dotted setting -> a list of values, or {low, high}: even in the logarithm, to three digits.
        seed: What the draw depends on, in words and numbers.
    """
    return {key: _at(choice, _uniform([*seed, key])) for key, choice in space.items()}


def _uniform(parts: list[str | int]) -> float:
    text = ":".join(["delrec-bench", *map(str, parts)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest(), "big") / 2**256


def _at(choice: Any, u: float) -> Any:
    if isinstance(choice, list):
        return choice[int(u * len(choice))]
    low, high = choice["low"], choice["high"]
    return float(f"{low * (high / low) ** u:.3g}")
