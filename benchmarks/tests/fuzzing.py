"""Fuzzed tests: hundreds of cases each, or DELREC_BENCH_FUZZ times as many, which `nox -s faults` counts."""

import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

MANY = int(os.environ.get("DELREC_BENCH_FUZZ", "1"))


def fuzz(cases: int) -> Callable[[Any], Any]:
    """Mark a test as fuzzed, with so many cases."""

    def mark(test: Any) -> Any:
        checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
        bound = settings(max_examples=cases * MANY, deadline=None, suppress_health_check=checks)
        return pytest.mark.timeout(3600)(pytest.mark.fuzz(bound(test)))

    return mark


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
