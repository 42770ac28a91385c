"""Kernels of feedforward delays with two taps a connection.

A tile of LANES rows runs through time with its rings in cache, as in `synaptic_kernels`: position + k is k steps
ago (forward) or ahead (backward).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from delrec.engines.cpu.cache import compiled, entry
from delrec.engines.cpu.kernels import SLACK, aligned
from delrec.engines.cpu.line_vector import read_pairs
from delrec.engines.cpu.synaptic_kernels import NEAR, make_room, push_lines
from delrec.engines.cpu.vector import LANES, get, put, transpose_block


@compiled
def load_lanes(x, at, rows, size, whole, scratch, lanes):
    """lanes[n, lane] = x[at + lane size + n] for the rows of a tile; rows that it lacks are 0."""
    for b in range(rows):
        for n in range(size):
            put(scratch, b * whole + n, get(x, at + b * size + n))
    for n in range(0, whole, LANES):
        transpose_block(scratch, n, whole, lanes, n * LANES, LANES)


@compiled
def store_rows(lanes, whole, rows, size, scratch, offset, y, at):
    """y[at + lane size + n] = lanes[n, lane] + offset[n]."""
    for n in range(0, whole, LANES):
        transpose_block(lanes, n * LANES, LANES, scratch, n, whole)
    for b in range(rows):
        if len(offset):
            for n in range(size):
                put(y, at + b * size + n, get(scratch, b * whole + n) + get(offset, n))
        else:
            for n in range(size):
                put(y, at + b * size + n, get(scratch, b * whole + n))


@compiled
def read(receivers, senders, lines, position, place, factor, ones, ring, out):
    """out[a, lane] = sum_b factor[a, b] . ring[b, position + place[a, b] .. + 1, lane], places in elements (`Taps`)."""
    out[:] = 0
    for b in range(0, senders, NEAR):
        n = min(NEAR, senders - b)
        at = (b * lines + position) * LANES
        for a in range(receivers):
            c = a * senders + b
            read_pairs(ring, at, place, c, factor, 2 * c, ones, 0, n, out, a * LANES, out)


class Sizes(NamedTuple):
    """steps, after: of input and output; shift: clock t + shift is when the newest input that y[t] may read arrives."""

    steps: int
    after: int
    shift: int
    batch: int
    senders: int
    receivers: int
    window: int


class Taps(NamedTuple):
    """place, factor: (receivers, senders) and (.., 2), flat; see `read`. offset: (receivers,), or empty.

    Places are elements from the first of the NEAR rings on that are read together.
    """

    place: Any
    factor: Any
    offset: Any


class Gradient(NamedTuple):
    """The input's events (rows begin at `first`), the step that a connection reads, and the sums, [sender, receiver].

    Empty in the forward pass.
    """

    first: Any
    index: Any
    value: Any
    place: Any
    factor: Any


@entry
def delayed_tile(tile, sizes, backward, taps, x, y, gradient):
    """Forward: y from x. Backward: from the gradient of the output, on its clock, that of the input; time runs down."""
    steps, after, shift, batch, senders, receivers, window = sizes
    real = x.dtype.type
    whole_in, whole_out = (senders + LANES - 1) // LANES * LANES, (receivers + LANES - 1) // LANES * LANES
    scratch = aligned(LANES * max(whole_in, whole_out), real)
    values = aligned(whole_in * LANES, real)
    arrived = aligned(whole_out * LANES, real)
    once = aligned(whole_in * LANES, real)
    twice = aligned(whole_in * LANES, real)
    ones = np.ones(NEAR, real)
    lines = window + 1 + SLACK
    ring = aligned(senders * lines * LANES, real)
    position = SLACK
    first_row = tile * LANES
    rows = min(LANES, batch - first_row)
    total = max(steps, shift + after)
    for j in range(total - min(0, shift)):
        clock = total - 1 - j if backward else j + min(0, shift)
        position = make_room(senders, lines, window + 1, 0, position, True, ring, ring, False, once, twice)
        arrives = clock - shift if backward else clock
        count = after if backward else steps
        if 0 <= arrives < count:
            scratch[:] = 0
            load_lanes(x, (arrives * batch + first_row) * senders, rows, senders, whole_in, scratch, values)
        else:
            values[:] = 0
        push_lines(senders, lines, position, True, values, ring, ring, False, once, twice)
        leaves = clock if backward else clock - shift
        count = steps if backward else after
        if leaves < 0 or leaves >= count:
            continue
        read(receivers, senders, lines, position, taps.place, taps.factor, ones, ring, arrived)
        at = (leaves * batch + first_row) * receivers
        store_rows(arrived, whole_out, rows, receivers, scratch, taps.offset, y, at)
        if backward:
            for b in range(rows):
                r = leaves * batch + first_row + b
                for e in range(gradient.first[r], gradient.first[r + 1]):
                    v = gradient.value[e]
                    c = gradient.index[e] * senders
                    for o in range(senders):
                        near = (o * lines + position + get(gradient.place, c + o)) * LANES + b
                        put(gradient.factor, 2 * (c + o), get(gradient.factor, 2 * (c + o)) + v * get(ring, near))
                        after_sum = get(gradient.factor, 2 * (c + o) + 1) + v * get(ring, near + LANES)
                        put(gradient.factor, 2 * (c + o) + 1, after_sum)
