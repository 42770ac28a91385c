"""A store of spike counts as large as Spiking Speech Commands, without its files."""

from __future__ import annotations

import numpy as np
from delrec_bench.data.samples import Counts, CountSamples

__all__ = ["store"]

STEPS, CHANNELS, TEMPLATES = 250, 140, 500
_FILLED = 0.15  # share of non-zero bins


def store(count: int) -> CountSamples:
    """`count` samples of 250 x 140, made of 500 different ones, in the suite's compressed form."""
    generator = np.random.default_rng(0)
    places, values = [], []
    for _ in range(min(TEMPLATES, count)):
        filled = np.flatnonzero(generator.random(STEPS * CHANNELS) < _FILLED)
        places.append(filled.astype(np.uint16))
        values.append(generator.integers(1, 5, len(filled)).astype(np.uint8))
    lengths = np.array([len(places[i % len(places)]) for i in range(count)])
    repeats = -(-count // len(places))
    total = int(lengths.sum())
    counts = Counts(
        starts=np.concatenate([[0], np.cumsum(lengths)]),
        places=np.tile(np.concatenate(places), repeats)[:total],
        values=np.tile(np.concatenate(values), repeats)[:total],
        steps=STEPS,
        channels=CHANNELS,
    )
    return CountSamples(counts, np.arange(count), np.zeros(count, np.int64), STEPS)
