"""What several kinds of kernels share. A batch is cut into tiles of LANES = 16 rows."""

import numpy as np

from delrec.engines.cpu.cache import allocating, compiled
from delrec.engines.cpu.vector import LANES, gather_rows, gather_rows_wide, transpose_block

SLACK = 16  # steps between two moves of a ring


@allocating
def aligned(count, real):
    """Return `count` zeros that start on a cache line."""
    raw = np.zeros(count + LANES, real)
    shift = (64 - raw.ctypes.data % 64) % 64 // raw.itemsize
    return raw[shift : shift + count]


@compiled
def add_rows(out, out_at, padded, index, value, at, count, rows, rows_at, stride):
    """out[:padded] += sum_j value[j] rows[index[j], :padded]."""
    i = 0
    while i + 8 * 64 // out.itemsize <= padded:
        gather_rows_wide(out, out_at + i, index, value, at, count, rows, rows_at + i, stride)
        i += 8 * 64 // out.itemsize
    while i < padded:
        gather_rows(out, out_at + i, index, value, at, count, rows, rows_at + i, stride)
        i += 2 * 64 // out.itemsize


@compiled
def to_rows(padded, lanes, rows):
    """rows[lane, n] = lanes[n, lane]."""
    for n in range(0, padded, LANES):
        transpose_block(lanes, n * LANES, LANES, rows, n, padded)


@compiled
def to_lanes(padded, rows, rows_at, lanes):
    """lanes[n, lane] = rows[lane, n]."""
    for n in range(0, padded, LANES):
        transpose_block(rows, rows_at + n, padded, lanes, n * LANES, LANES)
