"""Helpers shared by the cpu engine. A batch is cut into tiles of LANES = 16 rows."""

from typing import Any

import numpy as np
from torch import Tensor
from torch.nn.functional import pad

from delrec.engines.cpu.cache import allocating, compiled, inlined
from delrec.engines.cpu.vector import COLUMNS, LANES, gather_rows, gather_rows_wide, get, put, transpose_block

Array = np.ndarray[Any, Any]
SLACK = 16  # steps between two moves of a ring
GROUPS = 16  # partial sums of a weight's gradient: a constant, so that results do not depend on threads


def padded(size: int) -> int:
    """Return `size` rounded up to whole vectors."""
    return (size + COLUMNS - 1) // COLUMNS * COLUMNS


def flat(tensor: Tensor) -> Array:
    """Return the values of a tensor as one row, copied only if they are not contiguous."""
    # the gradient of `sum` is an expanded scalar (stride 0), and `reshape` alone would keep that stride
    return np.ascontiguousarray(tensor.detach().resolve_neg().numpy()).reshape(-1)


def padded_rows(matrix: Tensor) -> Array:
    """Return a matrix as one row of padded rows, whose number is padded too, filled up with zeros."""
    rows, columns = matrix.shape
    more = padded(columns) - columns, padded(rows) - rows
    return flat(pad(matrix.detach(), (0, more[0], 0, more[1])) if any(more) else matrix)


def add_up(parts: Any) -> Any:
    """Return parts[0] + parts[1] + ..., in this order."""
    total = parts[0]
    for j in range(1, len(parts)):  # iterating over a tensor is slow
        total = total + parts[j]
    return total


@allocating
def aligned(count, real):
    """Return `count` zeros that start on a cache line."""
    raw = np.zeros(count + LANES, real)
    shift = (64 - raw.ctypes.data % 64) % 64 // raw.itemsize
    return raw[shift : shift + count]


def zeros(dtype: Any, *counts: int) -> list[Array]:
    """Return rows of zeros, each of which starts on a cache line."""
    raw, rows = np.zeros(sum(counts) + (len(counts) + 1) * LANES, dtype), []
    at = -raw.__array_interface__["data"][0] % 64 // raw.itemsize
    for count in counts:
        rows.append(raw[at : at + count])
        at += -(-count // LANES) * LANES
    return rows


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


@inlined
def copy(to, first, values, at, m):
    """to[first : first + m] = values[at : at + m]."""
    for n in range(m):
        put(to, first + n, get(values, at + n))


@inlined
def add(to, first, values, at, m):
    """to[first : first + m] += values[at : at + m]."""
    for n in range(m):
        put(to, first + n, get(to, first + n) + get(values, at + n))
