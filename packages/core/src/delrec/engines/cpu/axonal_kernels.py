"""One delay per sender, as the scan uses it: delay, then weight; see `blocks` for what each function does.

Time runs down in a ring of gz: sender o has reach[o] + SLACK lines of LANES values, line `position + k` is k steps
ahead. The weight's gradient is one product for SEGMENT steps.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from delrec.engines.cpu.cache import allocating, compiled
from delrec.engines.cpu.kernels import (
    SEGMENT,
    SLACK,
    aligned,
    delay_gradient,
    delayed_spikes,
    gather_gradient,
    push_ring,
    send_back,
    slide_ring,
    to_lanes,
    to_rows,
    weigh_dense,
    weigh_sparse,
    weight_gradient,
    weight_gradient_sparse,
)
from delrec.engines.cpu.vector import LANES

POSITION, LIVE, STEPS = 0, 1, 2  # of `now`: place in the ring; live entries of z, and steps, in this segment


class Forward(NamedTuple):
    """Scratch of a tile, forward."""

    rec: Any
    z: Any
    live: Any
    index: Any
    value: Any
    count: Any


class Backward(NamedTuple):
    """Scratch of a tile, backward."""

    y: Any
    g: Any
    now: Any
    y_lanes: Any
    g_lanes: Any
    gz: Any
    z: Any
    live: Any
    index: Any
    value: Any
    start: Any
    ring: Any


@allocating
def forward_room(shape, tables, bits, bits_at):
    """See `blocks`."""
    real, row = tables.weight.dtype.type, shape.row
    return Forward(
        aligned(LANES * row, real), aligned(row * LANES, real), np.zeros(row, np.uint16),
        np.zeros(LANES * row, np.int32), np.zeros(LANES * row, real), np.zeros(LANES, np.int64),
    )  # fmt: skip


@compiled
def receive(t, shape, tables, room, bits, bits_at):
    """See `blocks`."""
    length = shape.prefix + shape.steps
    alive = delayed_spikes(
        t, shape.size, bits, bits_at, length, tables.first, tables.counts, tables.taps, tables.width, room.z, 0, LANES,
        room.live,
    )  # fmt: skip
    if alive > tables.dense_above:
        weigh_dense(shape.size, shape.row, room.z, 0, LANES, tables.weight, room.rec)
    else:
        weigh_sparse(
            shape.size, shape.row, room.live, room.z, 0, LANES, tables.weight, room.rec, room.index, room.value,
            room.count,
        )  # fmt: skip


@compiled
def send(t, shape, tables, room, bits, bits_at):
    """The bits are the ring."""


@allocating
def backward_room(shape, tables):
    """See `blocks`."""
    real, row = tables.weight.dtype.type, shape.row
    start = np.zeros(shape.size + 1, np.int64)
    for o in range(shape.size):
        start[o + 1] = start[o] + tables.reach[o] + SLACK
    now = np.zeros(3, np.int64)
    now[POSITION] = SLACK
    most = max(row, LANES * SEGMENT)
    return Backward(
        aligned(LANES * row, real), aligned(SEGMENT * LANES * row, real), now, aligned(row * LANES, real),
        aligned(row * LANES, real), aligned(row * LANES, real), aligned(row * LANES * SEGMENT, real),
        np.zeros(row * SEGMENT, np.uint16), np.zeros(most, np.int32), np.zeros(most, real), start,
        aligned(start[shape.size] * LANES if shape.recurrent else 0, real),
    )  # fmt: skip


@compiled
def g_row(room):
    """See `blocks`."""
    return room.now[STEPS] * LANES


@compiled
def receive_gradient(t, shape, tables, room, bits, bits_at, wanted, sums):
    """See `blocks`."""
    now, size, length = room.now, shape.size, shape.prefix + shape.steps
    if now[POSITION] == 0:
        slide_ring(size, room.ring, room.start, tables.reach, SLACK)
        now[POSITION] = SLACK
    now[POSITION] -= 1
    at = now[POSITION]
    gather_gradient(
        size, room.ring, at, room.start, tables.first, tables.counts, tables.taps, tables.width, room.y_lanes
    )
    if wanted.taps:
        delay_gradient(
            size, bits, bits_at + t, length, room.ring, at, room.start, tables.first, tables.left, tables.middle,
            tables.right, room.y_lanes, tables.slope, tables.g_delay, tables.g_width,
        )  # fmt: skip
    to_rows(shape.row, room.y_lanes, room.y)


@compiled
def send_silence(shape, tables, room):
    """See `blocks`."""
    room.gz[:] = 0
    push_ring(shape.size, room.gz, room.ring, room.now[POSITION], room.start)


@compiled
def send_gradient(t, shape, tables, room, bits, bits_at, wanted, sums):
    """See `blocks`."""
    now, size, row, length = room.now, shape.size, shape.row, shape.prefix + shape.steps
    to_lanes(row, room.g, now[STEPS] * LANES * row, room.g_lanes)
    send_back(size, row, tables.weight, room.g_lanes, room.gz)
    push_ring(size, room.gz, room.ring, now[POSITION], room.start)
    if not wanted.weight:
        return
    now[LIVE] += delayed_spikes(
        t, size, bits, bits_at, length, tables.first, tables.counts, tables.taps, tables.width, room.z,
        now[STEPS] * LANES, SEGMENT * LANES, room.live[now[STEPS] * row :],
    )  # fmt: skip
    now[STEPS] += 1
    if now[STEPS] == SEGMENT or t == 0:
        if now[LIVE] > tables.dense_above * now[STEPS]:
            weight_gradient(size, row, room.z, SEGMENT * LANES, room.g, now[STEPS] * LANES, sums.weight)
        else:
            weight_gradient_sparse(
                size, row, room.live, row, now[STEPS], room.z, SEGMENT * LANES, room.g, sums.weight, room.index,
                room.value,
            )  # fmt: skip
        now[STEPS] = 0
        now[LIVE] = 0
