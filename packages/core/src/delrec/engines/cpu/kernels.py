"""Kernels of the cpu engine that do not depend on the neuron: delay taps, products, sparse linear maps.

A batch is cut in tiles of LANES = 16 rows. Within a tile, what is indexed by a sender is laid out (sender, lane), so
that one vector holds the 16 rows of one sender; neurons are computed row by row. Generated modules (see
`codegen`) import them.
"""

from __future__ import annotations

import numpy as np

from delrec.engines.cpu.cache import allocating, compiled
from delrec.engines.cpu.vector import (
    LANES,
    ROWS,
    count_bits,
    gather_rows,
    gather_rows_wide,
    get,
    masked_sum,
    multiply_rows,
    next_bit,
    put,
    spread_bits,
    transpose_block,
    weigh_lines,
)

SEGMENT = 8  # steps whose part of the weight gradient is one product
SLACK = 16  # steps between two moves of the ring of gradients


@allocating
def aligned(count, real):
    """Return `count` zeros that start on a cache line."""
    raw = np.zeros(count + LANES, real)
    shift = (64 - raw.ctypes.data % 64) % 64 // raw.itemsize
    return raw[shift : shift + count]


@compiled
def delayed_spikes(t, size, bits, bits_at, stride, first, count, taps, width, z, z_at, z_row, live):
    """z[o, lane] = sum_k m_o[k] S[t-k, lane, o] for every sender; live[o] gets the lanes that are not silent."""
    alive = 0
    for o in range(size):
        seen = spread_bits(
            bits, bits_at + o * stride + t - get(first, o), taps, o * width, get(count, o), z, z_at + o * z_row
        )
        put(live, o, seen)
        alive += count_bits(seen)
    return alive


@compiled
def weigh_sparse(size, padded, live, z, z_at, z_row, wt, out, index, value, count):
    """out[lane, i] = sum_o z[o, lane] wt[o, i], row by row, from the senders that are live."""
    for b in range(LANES):
        put(count, b, 0)
    for o in range(size):
        word = get(live, o)
        while word != 0:
            b = next_bit(word)
            word &= word - np.uint16(1)
            n = get(count, b)
            put(index, b * padded + n, np.int32(o))
            put(value, b * padded + n, get(z, z_at + o * z_row + b))
            put(count, b, n + 1)
    for b in range(LANES):
        out[b * padded : (b + 1) * padded] = 0.0
        add_rows(out, b * padded, padded, index, value, b * padded, get(count, b), wt, 0, padded)


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
def weigh_dense(size, padded, z, z_at, z_row, wt, out):
    """out[lane, i] = sum_o z[o, lane] wt[o, i]."""
    out[: LANES * padded] = 0
    for i in range(0, padded, 64 // out.itemsize):
        for b in range(0, LANES, ROWS):
            c = b * padded + i
            multiply_rows(
                z, z_at + b, 1, z_row, wt, i, padded, out, c, padded, out, c, padded, min(ROWS, LANES - b), size
            )  # fmt: skip


@compiled
def send_back(size, padded, w, g, out):
    """out[o, lane] = sum_i w[i, o] g[i, lane]."""
    out[: size * LANES] = 0
    for o in range(0, size, ROWS):
        for lane in range(0, LANES, 64 // out.itemsize):
            c = o * LANES + lane
            multiply_rows(
                w, o, 1, padded, g, lane, LANES, out, c, LANES, out, c, LANES, min(ROWS, size - o), size
            )  # fmt: skip


@compiled
def weight_gradient(size, padded, z, z_row, g, count, out):
    """out[o, i] += sum_{j < count} z[o, j] g[j, i]: j runs over the lanes of a few steps."""
    for o in range(0, size, ROWS):
        for i in range(0, padded, 64 // out.itemsize):
            c = o * padded + i
            multiply_rows(
                z, o * z_row, z_row, 1, g, i, padded, out, c, padded, out, c, padded, min(ROWS, size - o), count
            )  # fmt: skip


@compiled
def weight_gradient_sparse(size, padded, live, live_row, steps, z, z_row, g, out, index, value):
    """As `weight_gradient`, from the entries of z that are live."""
    for o in range(size):
        n = 0
        for s in range(steps):
            word = live[s * live_row + o]
            while word != 0:
                j = s * LANES + next_bit(word)
                index[n] = j
                value[n] = z[o * z_row + j]
                n += 1
                word &= word - np.uint16(1)
        if n:
            add_rows(out, o * padded, padded, index, value, 0, n, g, 0, padded)


@compiled
def gather_gradient(size, ring, ring_at, start, first, count, taps, width, y):
    """y[o, lane] = sum_k m_o[k] gz[t+k, lane]; the ring holds gz[t+k] of sender o at start[o] + ring_at + k."""
    for o in range(size):
        weigh_lines(ring, (start[o] + ring_at + first[o]) * LANES, taps, o * width, count[o], y, o * LANES)


@compiled
def delay_gradient(
    size, bits, bits_at, stride, ring, ring_at, start, first, left, middle, right, y, slope, g_delay, g_width
):
    """Add what the spikes of one step give to the gradients of delay and half-width.

    dm/dd = sign(k - (1+d)) / s^2 and dm/ds = 1/s^2 - 2 m / s inside the triangle, its corners included.
    slope[o] = 1 / s_o.
    """
    for o in range(size):
        word = bits[bits_at + o * stride]
        if word != 0:
            at = (start[o] + ring_at + first[o]) * LANES
            low = masked_sum(ring, at, left[o], word)
            at += left[o] * LANES
            mid = masked_sum(ring, at, middle[o], word)
            high = masked_sum(ring, at + middle[o] * LANES, right[o], word)
            s = np.float64(slope[o])
            g_delay[o] += np.float64(high - low) * s * s
            g_width[o] += np.float64(low + mid + high) * s * s - 2.0 * s * np.float64(masked_sum(y, o * LANES, 1, word))


@compiled
def slide_ring(size, ring, start, reach, slack):
    """Move the newest `reach[o]` lines of each sender up by `slack`, to make room below."""
    for o in range(size):
        base = start[o] * LANES
        for j in range(reach[o] - 1, -1, -1):
            line = base + j * LANES
            for lane in range(LANES):
                put(ring, line + slack * LANES + lane, get(ring, line + lane))


@compiled
def push_ring(size, gz, ring, ring_at, start):
    """Write gz[o, :] at position ring_at of each sender's ring."""
    for o in range(size):
        at = (start[o] + ring_at) * LANES
        for lane in range(LANES):
            put(ring, at + lane, get(gz, o * LANES + lane))


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
