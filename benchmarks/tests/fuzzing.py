"""Fuzzed tests: hundreds of cases each, slow ones therefore."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st


def fuzz(cases: int) -> Callable[[Any], Any]:
    """Mark a test as fuzzed, with so many cases."""
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    bound = settings(max_examples=cases, deadline=None, suppress_health_check=checks)
    return lambda test: pytest.mark.slow(bound(test))


def damaged(data: Any, content: bytes, *pieces: bytes) -> bytes:
    """`content` with one to four places overwritten, by random bytes or one of `pieces`, and perhaps cut short."""
    found = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(found)))
        piece = st.binary(max_size=4)
        if pieces:
            piece = st.one_of(piece, st.sampled_from(pieces))
        found[at : at + data.draw(st.integers(0, 8))] = data.draw(piece)
    if data.draw(st.booleans()):
        del found[data.draw(st.integers(0, len(found))) :]
    return bytes(found)
