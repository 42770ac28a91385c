"""Kernels of a linear map whose input is mostly zeros.

Rows of the input are kept as lists of the columns that are not zero: an event touches one row of the weight.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from delrec.engines.cpu.cache import compiled, entry
from delrec.engines.cpu.kernels import add_rows, aligned
from delrec.engines.cpu.vector import COLUMNS, LANES, ROWS, get, next_bit, nonzero_bits, put, tile_product


class Events(NamedTuple):
    """What is not zero, row by row: columns and values, a chunk of rows after the other, and how many in each row."""

    index: Any
    value: Any
    count: Any


@compiled
def list_row(x, at, inputs, index, value, to):
    """List the columns of one row that are not zero; return how many, and whether all were 1."""
    n = to
    ones = True
    whole = inputs // LANES * LANES
    for c in range(0, whole, LANES):
        word = nonzero_bits(x, at + c)
        while word != 0:
            o = c + next_bit(word)
            v = get(x, at + o)
            ones = ones and v == 1.0
            index[n] = o
            value[n] = v
            n += 1
            word &= word - np.uint16(1)
    for o in range(whole, inputs):
        v = get(x, at + o)
        if v != 0.0:
            ones = ones and v == 1.0
            index[n] = o
            value[n] = v
            n += 1
    return n - to, ones


@entry
def forward_rows(begin, end, sizes, x, wt, bias, y, events):
    """y[r] = bias + sum_o x[r, o] wt[o], and the list of events of each row, packed from events.index[begin * inputs].

    sizes: inputs, outputs, and outputs padded. Returns whether every event was 1.
    """
    inputs, outputs, padded = sizes
    out = aligned(padded, x.dtype.type)
    ones = True
    at = begin * inputs
    for r in range(begin, end):
        n, one = list_row(x, r * inputs, inputs, events.index, events.value, at)
        ones = ones and one
        events.count[r] = n
        if len(bias):
            for i in range(outputs):
                put(out, i, get(bias, i))
        else:
            out[:] = x.dtype.type(0.0)
        add_rows(out, 0, padded, events.index, events.value, at, n, wt, 0, padded)
        for i in range(outputs):
            put(y, r * outputs + i, get(out, i))
        at += n
    return ones


@entry
def pack_rows(begin, end, inputs, events, first, index, value):
    """Move the events of rows begin .. end-1 to where `first` (the running count) says; values if there is room."""
    at = begin * inputs
    for j in range(first[end] - first[begin]):
        index[first[begin] + j] = events.index[at + j]
        if len(value):
            value[first[begin] + j] = events.value[at + j]


@entry
def weight_rows(begin, end, sizes, g, first, index, value, g_wt, g_bias, tile):
    """g_wt[o] += sum_r v[r, o] g[r] over the events of rows begin .. end-1; g_bias += sum_r g[r].

    sizes: as in `forward_rows`. value: empty where every event is 1.
    """
    inputs, outputs, padded = sizes
    rows = aligned(tile * padded, g.dtype.type)
    start = np.zeros(inputs + 1, np.int32)
    which = np.zeros(tile * inputs, np.int32)
    factor = np.zeros(tile * inputs, g.dtype.type)
    for r0 in range(begin, end, tile):
        r1 = min(end, r0 + tile)
        for r in range(r0, r1):
            for i in range(outputs):
                v = get(g, r * outputs + i)
                put(rows, (r - r0) * padded + i, v)
                put(g_bias, i, get(g_bias, i) + np.float64(v))
        start[:] = 0
        for j in range(first[r0], first[r1]):
            start[index[j] + 1] += 1
        for o in range(inputs):
            start[o + 1] += start[o]
        for r in range(r0, r1):
            for j in range(first[r], first[r + 1]):
                o = index[j]
                which[start[o]] = r - r0
                factor[start[o]] = value[j] if len(value) else g.dtype.type(1.0)
                start[o] += 1
        for o in range(inputs):
            before = start[o - 1] if o else 0
            if start[o] > before:
                add_rows(g_wt, o * padded, padded, which, factor, before, start[o] - before, rows, 0, padded)


@entry
def input_rows(begin, end, sizes, g, w, g_x, tile):
    """g_x[r] = g[r] w for rows begin .. end-1; w is (outputs, padded inputs).

    sizes: inputs, outputs, and inputs padded.
    """
    inputs, outputs, padded = sizes
    rows = aligned(tile * outputs, g.dtype.type)
    out = aligned(tile * COLUMNS, g.dtype.type)
    width = 2 * 64 // g.itemsize
    for r0 in range(begin, end, tile):
        n = min(end - r0, tile)
        for j in range(n * outputs):
            put(rows, j, get(g, r0 * outputs + j))
        for o in range(0, padded, width):
            for b in range(0, n, ROWS):
                tile_product(rows, b * outputs, 1, outputs, w, o, padded, out, b * COLUMNS, COLUMNS, outputs, False)
            m = min(width, inputs - o)
            for b in range(n):
                at = (r0 + b) * inputs + o
                for c in range(m):
                    put(g_x, at + c, get(out, b * COLUMNS + c))


@entry
def list_rows(begin, end, inputs, x, events):
    """List the entries of rows begin .. end-1 that are not zero, packed from events.index[begin * inputs]."""
    at = begin * inputs
    ones = True
    for r in range(begin, end):
        n, one = list_row(x, r * inputs, inputs, events.index, events.value, at)
        ones = ones and one
        events.count[r] = n
        at += n
    return ones
