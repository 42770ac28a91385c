"""The arguments of the compiled scan, in a few named tuples; every array is one contiguous row.

A tile is LANES rows of the batch; row = N padded to whole vectors; "flat" names how an index runs.
"""

from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]


class Shape(NamedTuple):
    """Whole numbers. keep: whether planes are kept for the backward pass, traced: whether states are, 0 or 1. prefix:
    steps of spike bits in front of step 0, of which `past` hold given spikes. recurrent: 0 or 1."""

    steps: int
    batch: int
    size: int
    row: int
    keep: int
    traced: int
    prefix: int
    past: int
    recurrent: int


class Given(NamedTuple):
    """What both passes read.

    mask: flat (B, N) or (T, B, N), or empty; mask_step: its stride in time. coef: flat (C, N). numbers: the neuron's
    constants, `rules.Rules.numbers`. start: flat (states, B, N).
    """

    mask: Array
    mask_step: int
    coef: Array
    numbers: Array
    start: Array


class Planes(NamedTuple):
    """What the forward pass fills: spikes (T, B, N); states (states, B, N), those of the start when it begins and of
    the end when it is done; trace (states, T, B, N) and kept (planes, T, B, N), where asked for."""

    spikes: Array
    states: Array
    trace: Array
    kept: Array


class Incoming(NamedTuple):
    """Gradients of spikes (T, B, N), final states (states, B, N) and trace (states, T, B, N), each empty if there is
    none."""

    spikes: Array
    final: Array
    trace: Array


class Wanted(NamedTuple):
    """Which gradients are wanted, 0 or 1."""

    weight: int
    taps: int
    coef: int
    start: int


class Sums(NamedTuple):
    """Where gradients go: current (T, B, N); weight (row, row), [sender, receiver], and coef (C, N) of one group of
    tiles; start (states, B, N); past (past, B, N)."""

    current: Array
    weight: Array
    coef: Array
    start: Array
    past: Array


class Taps(NamedTuple):
    """Axonal delays. Taps of sender o: taps[o * width ..], counts[o] of them (a multiple of 4), from first[o] on.

    left, middle, right: how many lie before 1 + d, at it, after it. slope: 1 / half-width. reach: first + counts.
    weight: padded, by sender in the forward pass, by receiver in the backward pass. dense_above: live entries of z
    above which the dense product is faster. g_delay, g_width: sums of one group, in float64.
    """

    first: Array
    counts: Array
    taps: Array
    width: int
    left: Array
    middle: Array
    right: Array
    slope: Array
    reach: Array
    weight: Array
    dense_above: float
    g_delay: Array
    g_width: Array


class Pairs(NamedTuple):
    """Synaptic delays: where each connection reads, as pairs of neighbouring steps (see `recurrence.Synaptic`).

    place, factor: (N, N, per) and (N, N, per, 2), [receiver, sender] in the forward pass, its transpose in the
    backward pass, like weight; span: (sender, receiver, 4), the steps that bound the triangle's sides. All are
    `blocked`, and steps are elements from the first ring of the block on. ahead: how far places lie before step 1.
    length: steps that a ring must hold. direct: 1 where pairs are taps of the sequence itself. g_span, g_total: sums of
    one group, laid out as weight.
    """

    place: Array
    factor: Array
    per: int
    ahead: int
    length: int
    direct: int
    span: Array
    weight: Array
    g_span: Array
    g_total: Array
