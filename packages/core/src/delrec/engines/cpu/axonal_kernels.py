"""One delay per sender: delay, then weight. `scan_kernels` explains the functions.

Arrays indexed by sender are (sender, lane), so that one vector holds the 16 rows of a tile; neurons are computed row by
row. Time runs down in a ring of gz, the gradient of z: sender o has first[o] + counts[o] + SLACK lines of LANES values;
line `position + k` is k steps ahead. The weight's gradient is one product per SEGMENT steps.
"""

from collections import namedtuple
from typing import Any

import numpy as np

from delrec.engines.cpu.cache import compiled
from delrec.engines.cpu.common import SLACK, add_rows, to_lanes, to_rows, zeros
from delrec.engines.cpu.vector import (
    LANES,
    ROWS,
    count_bits,
    get,
    masked_sum,
    multiply_rows,
    next_bit,
    put,
    spread_bits,
    weigh_lines,
)

SEGMENT = 8  # steps per product
POSITION, LIVE, STEPS = 0, 1, 2  # of `now`: position in the ring; live entries of z, and steps, in this segment


# scratch of a tile, forward
Forward = namedtuple("Forward", "y z live index value count")

# scratch of a tile, backward
Backward = namedtuple("Backward", "y g now y_lanes g_lanes gz z live index value start ring")


def forward_room(shape: Any, tables: Any) -> Forward:
    """Allocate the scratch of a tile."""
    row = LANES * shape.row
    y, z, value = zeros(tables.weight.dtype, row, row, row)
    return Forward(y, z, np.zeros(shape.row, np.uint16), np.zeros(row, np.int32), value, np.zeros(LANES, np.int64))


@compiled
def delayed_spikes(t, shape, tables, bits, bits_at, z, z_at, z_row, live):
    """z[o, lane] = sum_k m_o[k] S[t-k, lane, o]; live[o]: the lanes that are not silent. Return their number."""
    alive = 0
    for o in range(shape.size):
        newest = bits_at + o * (shape.prefix + shape.steps) + t - get(tables.first, o)
        seen = spread_bits(bits, newest, tables.taps, o * tables.width, get(tables.counts, o), z, z_at + o * z_row)
        put(live, o, seen)
        alive += count_bits(seen)
    return alive


@compiled
def receive(t, shape, tables, room, bits, bits_at):
    """y[lane, i] = sum_o z[o, lane] weight[o, i]."""
    row = shape.row
    alive = delayed_spikes(t, shape, tables, bits, bits_at, room.z, 0, LANES, room.live)
    if alive > tables.dense_above:
        room.y[: LANES * row] = 0
        for i in range(0, row, 64 // room.y.itemsize):
            for b in range(0, LANES, ROWS):
                c = b * row + i
                multiply_rows(
                    room.z, b, 1, LANES, tables.weight, i, row, room.y, c, row, room.y, c, row,
                    min(ROWS, LANES - b), shape.size,
                )  # fmt: skip
        return
    for b in range(LANES):
        put(room.count, b, 0)
    for o in range(shape.size):
        word = get(room.live, o)
        while word != 0:
            b = next_bit(word)
            word &= word - np.uint16(1)
            n = get(room.count, b)
            put(room.index, b * row + n, np.int32(o))
            put(room.value, b * row + n, get(room.z, o * LANES + b))
            put(room.count, b, n + 1)
    for b in range(LANES):
        room.y[b * row : (b + 1) * row] = 0.0
        add_rows(room.y, b * row, row, room.index, room.value, b * row, get(room.count, b), tables.weight, 0, row)


@compiled
def send(t, shape, tables, room, bits, bits_at):
    """Do nothing: the bits are the ring."""


def backward_room(shape: Any, tables: Any) -> Backward:
    """Allocate the scratch of a tile."""
    row, most = LANES * shape.row, max(shape.row, LANES * SEGMENT)
    start = np.concatenate([[0], np.cumsum(tables.first + tables.counts + SLACK)])
    ring = int(start[-1]) * LANES if shape.recurrent and shape.steps + shape.past > 1 else 0
    now, live = np.array([SLACK, 0, 0], np.int64), np.zeros(SEGMENT * shape.row, np.uint16)
    counts = row, row, row, row, SEGMENT * row, SEGMENT * row, most, ring
    y, y_lanes, g_lanes, gz, g, z, value, lines = zeros(tables.weight.dtype, *counts)
    return Backward(y, g, now, y_lanes, g_lanes, gz, z, live, np.zeros(most, np.int32), value, start, lines)


@compiled
def g_row(room):
    """Return the first free row of the segment."""
    return room.now[STEPS] * LANES


@compiled
def receive_gradient(t, shape, tables, room, bits, bits_at, sums):
    """y[lane, o] = sum_k m_o[k] gz[t+k, lane, o]; add the gradients of delay and half-width from spikes of step t."""
    now, ring, start = room.now, room.ring, room.start
    if len(ring) == 0:  # of a single step nothing returns
        return
    if now[POSITION] == 0:  # the newest lines move up
        for o in range(shape.size):
            for j in range((start[o + 1] - SLACK) * LANES - 1, start[o] * LANES - 1, -1):
                put(ring, j + SLACK * LANES, get(ring, j))
        now[POSITION] = SLACK
    now[POSITION] -= 1
    for o in range(shape.size):
        first = (start[o] + now[POSITION] + tables.first[o]) * LANES
        weigh_lines(ring, first, tables.taps, o * tables.width, tables.counts[o], room.y_lanes, o * LANES)
        word = bits[bits_at + o * (shape.prefix + shape.steps) + t]
        if shape.taps and word != 0:
            # dm/dd = sign(k - (1+d)) / s^2 and dm/ds = 1/s^2 - 2 m / s inside the triangle, its corners included
            low = masked_sum(ring, first, tables.left[o], word)
            first += tables.left[o] * LANES
            middle = masked_sum(ring, first, tables.middle[o], word)
            high = masked_sum(ring, first + tables.middle[o] * LANES, tables.right[o], word)
            s = np.float64(tables.slope[o])
            met = np.float64(masked_sum(room.y_lanes, o * LANES, 1, word))
            tables.g_delay[o] += np.float64(high - low) * s * s
            tables.g_width[o] += np.float64(low + middle + high) * s * s - 2.0 * s * met
    to_rows(shape.row, room.y_lanes, room.y)


@compiled
def push(shape, room):
    """Write gz at the ring's position."""
    for o in range(shape.size):
        at = (room.start[o] + room.now[POSITION]) * LANES
        for lane in range(LANES):
            put(room.ring, at + lane, get(room.gz, o * LANES + lane))


@compiled
def send_silence(shape, tables, room):
    """Send zeros back."""
    room.gz[:] = 0
    push(shape, room)


@compiled
def send_gradient(t, shape, tables, room, bits, bits_at, sums):
    """gz[o, lane] = sum_i weight[i, o] g[i, lane], and the weight's gradient at the end of each segment."""
    now, size, row = room.now, shape.size, shape.row
    if t > -shape.past:  # otherwise nothing precedes this step
        to_lanes(row, room.g, now[STEPS] * LANES * row, room.g_lanes)
        room.gz[: size * LANES] = 0
        for o in range(0, size, ROWS):
            for lane in range(0, LANES, 64 // room.gz.itemsize):
                c = o * LANES + lane
                multiply_rows(
                    tables.weight, o, 1, row, room.g_lanes, lane, LANES, room.gz, c, LANES, room.gz, c, LANES,
                    min(ROWS, size - o), size,
                )  # fmt: skip
        push(shape, room)
    if len(sums.weight) == 0:
        return
    now[LIVE] += delayed_spikes(
        t, shape, tables, bits, bits_at, room.z, now[STEPS] * LANES, SEGMENT * LANES, room.live[now[STEPS] * row :]
    )
    now[STEPS] += 1
    if now[STEPS] == SEGMENT or t == 0:
        if now[LIVE] > tables.dense_above * now[STEPS]:
            weight_gradient(shape, room, now[STEPS] * LANES, sums.weight)
        else:
            weight_gradient_sparse(shape, room, now[STEPS], sums.weight)
        now[STEPS] = 0
        now[LIVE] = 0


@compiled
def weight_gradient(shape, room, count, out):
    """out[o, i] += sum_{j < count} z[o, j] g[j, i]: j runs over the lanes of a few steps."""
    row, z_row = shape.row, SEGMENT * LANES
    for o in range(0, shape.size, ROWS):
        for i in range(0, row, 64 // out.itemsize):
            c = o * row + i
            multiply_rows(
                room.z, o * z_row, z_row, 1, room.g, i, row, out, c, row, out, c, row, min(ROWS, shape.size - o), count
            )  # fmt: skip


@compiled
def weight_gradient_sparse(shape, room, steps, out):
    """Do the same as `weight_gradient`, from the live entries of z."""
    row, index, value = shape.row, room.index, room.value
    for o in range(shape.size):
        n = 0
        for s in range(steps):
            word = room.live[s * row + o]
            while word != 0:
                j = s * LANES + next_bit(word)
                index[n], value[n] = j, room.z[o * SEGMENT * LANES + j]
                n += 1
                word &= word - np.uint16(1)
        add_rows(out, o * row, row, index, value, 0, n, room.g, 0, row)
