"""Kernels of a linear map whose input is mostly zeros; `cpu_codegen` compiles a copy of this file.

Rows of the input are kept as lists of the columns that are not zero: an event touches one row of the weight.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from delrec.engines.cpu_kernels import add_rows, aligned
from delrec.engines.cpu_vector import COLUMNS, LANES, ROWS, get, next_bit, nonzero_bits, put, tile_product

_entry = njit(error_model="numpy", nogil=True, cache=True)
_compiled = njit(error_model="numpy", nogil=True)


@_compiled
def list_row(x, at, inputs, mask, mask_at, masked, index, value, to):
    """List the columns of one row that are not zero, times the mask; return how many, and whether all were 1."""
    n = to
    ones = True
    whole = inputs // LANES * LANES
    for c in range(0, whole, LANES):
        word = nonzero_bits(x, at + c)
        while word != 0:
            o = c + next_bit(word)
            v = get(x, at + o)
            ones = ones and v == 1.0
            if masked:
                v = v * get(mask, mask_at + o)
            if v != 0.0:
                index[n] = o
                value[n] = v
                n += 1
            word &= word - np.uint16(1)
    for o in range(whole, inputs):
        v = get(x, at + o)
        if v != 0.0:
            ones = ones and v == 1.0
            if masked:
                v = v * get(mask, mask_at + o)
            if v != 0.0:
                index[n] = o
                value[n] = v
                n += 1
    return n - to, ones


@_entry
def forward_rows(begin, end, x, inputs, outputs, padded, mask, mask_rows, wt, bias, has_bias, y, index, value, counts):
    """y[r] = bias + sum_o mask x[r, o] wt[o], and the list of events of each row, packed from index[begin * inputs].

    Returns whether every event was 1 before the mask.
    """
    out = aligned(padded, x.dtype.type)
    ones = True
    at = begin * inputs
    for r in range(begin, end):
        row = r % mask_rows if mask_rows else 0
        n, one = list_row(x, r * inputs, inputs, mask, row * inputs, mask_rows > 0, index, value, at)
        ones = ones and one
        counts[r] = n
        if has_bias:
            for i in range(outputs):
                put(out, i, get(bias, i))
        else:
            out[:] = x.dtype.type(0.0)
        add_rows(out, 0, padded, index, value, at, n, wt, 0, padded)
        for i in range(outputs):
            put(y, r * outputs + i, get(out, i))
        at += n
    return ones


@_entry
def pack_rows(begin, end, inputs, index, value, first, with_values, packed, packed_value):
    """Move the events of rows begin .. end-1 to where `first` (the running count) says."""
    at = begin * inputs
    for j in range(first[end] - first[begin]):
        packed[first[begin] + j] = index[at + j]
        if with_values:
            packed_value[first[begin] + j] = value[at + j]


@_entry
def weight_rows(
    begin, end, inputs, outputs, padded, g, index, value, with_values, first, mask, mask_rows, g_wt, g_bias, tile
):
    """g_wt[o] += sum_r v[r, o] g[r] over the events of rows begin .. end-1; g_bias += sum_r g[r]."""
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
            row = r % mask_rows * inputs if mask_rows else 0
            for j in range(first[r], first[r + 1]):
                o = index[j]
                if with_values:
                    v = value[j]
                elif mask_rows:
                    v = get(mask, row + o)
                else:
                    v = g.dtype.type(1.0)
                which[start[o]] = r - r0
                factor[start[o]] = v
                start[o] += 1
        for o in range(inputs):
            before = start[o - 1] if o else 0
            if start[o] > before:
                add_rows(g_wt, o * padded, padded, which, factor, before, start[o] - before, rows, 0, padded)


@_entry
def input_rows(begin, end, inputs, outputs, padded, g, w, mask, mask_rows, g_x, tile):
    """g_x[r] = mask (g[r] w) for rows begin .. end-1; w is (outputs, padded inputs)."""
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
                if mask_rows:
                    row = (r0 + b) % mask_rows * inputs + o
                    for c in range(m):
                        put(g_x, at + c, get(out, b * COLUMNS + c) * get(mask, row + c))
                else:
                    for c in range(m):
                        put(g_x, at + c, get(out, b * COLUMNS + c))
