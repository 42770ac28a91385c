"""Kernels of feedforward delays with two taps a connection; `cpu_codegen` compiles a copy of this file.

A tile of LANES rows runs through time with its rings in cache, as in `cpu_synaptic_kernels`: position + k is k steps
ago (forward) or ahead (backward).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from delrec.engines.cpu_kernels import SLACK, aligned
from delrec.engines.cpu_linear_kernels import list_row
from delrec.engines.cpu_synaptic_kernels import NEAR, make_room, push_lines
from delrec.engines.cpu_vector import LANES, get, put, read_pairs, transpose_block

_entry = njit(error_model="numpy", nogil=True, cache=True)
_compiled = njit(error_model="numpy", nogil=True)


@_compiled
def load_lanes(x, at, rows, size, whole, scratch, lanes):
    """lanes[n, lane] = x[at + lane size + n] for the rows of a tile; rows that it lacks are 0."""
    for b in range(rows):
        for n in range(size):
            put(scratch, b * whole + n, get(x, at + b * size + n))
    for n in range(0, whole, LANES):
        transpose_block(scratch, n, whole, lanes, n * LANES, LANES)


@_compiled
def store_rows(lanes, whole, rows, size, scratch, offset, has_offset, y, at):
    """y[at + lane size + n] = lanes[n, lane] + offset[n]."""
    for n in range(0, whole, LANES):
        transpose_block(lanes, n * LANES, LANES, scratch, n, whole)
    for b in range(rows):
        if has_offset:
            for n in range(size):
                put(y, at + b * size + n, get(scratch, b * whole + n) + get(offset, n))
        else:
            for n in range(size):
                put(y, at + b * size + n, get(scratch, b * whole + n))


@_compiled
def read(receivers, senders, lines, position, place, factor, ones, ring, out):
    """out[a, lane] = sum_b factor[a, b] . ring[b, position + place[a, b] .. + 1, lane]."""
    out[:] = 0
    for b in range(0, senders, NEAR):
        n = min(NEAR, senders - b)
        at = (b * lines + position) * LANES
        for a in range(receivers):
            c = a * senders + b
            read_pairs(ring, at, lines * LANES, place, c, factor, 2 * c, ones, 0, n, out, a * LANES, out)


@_entry
def delayed_tile(
    tile,
    steps,
    after,
    shift,
    batch,
    senders,
    receivers,
    window,
    x,
    place,
    factor,
    offset,
    has_offset,
    y,
    backward,
    first,
    index,
    value,
    place_t,
    g_factor,
):
    """Forward: y[t] from x; clock t + shift is when the newest input that y[t] may read arrives.

    Backward: x is the gradient of the output, on that clock, y the gradient of the input; time runs down, and the
    events of the input (rows `first`, columns `index`, values `value`) give g_factor, [sender, receiver].
    """
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
        read(receivers, senders, lines, position, place, factor, ones, ring, arrived)
        at = (leaves * batch + first_row) * receivers
        store_rows(arrived, whole_out, rows, receivers, scratch, offset, has_offset, y, at)
        if backward:
            for b in range(rows):
                r = leaves * batch + first_row + b
                for e in range(first[r], first[r + 1]):
                    v = value[e]
                    c = index[e] * senders
                    for o in range(senders):
                        near = (o * lines + position + get(place_t, c + o)) * LANES + b
                        put(g_factor, 2 * (c + o), get(g_factor, 2 * (c + o)) + v * get(ring, near))
                        put(g_factor, 2 * (c + o) + 1, get(g_factor, 2 * (c + o) + 1) + v * get(ring, near + LANES))


@_entry
def list_rows(begin, end, x, size, index, value, counts):
    """List the entries of rows begin .. end-1 that are not zero, packed from index[begin * size]."""
    at = begin * size
    for r in range(begin, end):
        n, _ = list_row(x, r * size, size, x, 0, False, index, value, at)
        counts[r] = n
        at += n
