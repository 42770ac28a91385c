"""One delay per connection, as the scan uses it; see `synaptic` for the equation, `blocks` for what each function does.

Time runs down in a ring: position + k is k steps ago (forward) or k steps ahead (backward). Each neuron has `lines`
lines of LANES values.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from delrec.engines.cpu.cache import allocating, compiled
from delrec.engines.cpu.kernels import SLACK, aligned, to_lanes, to_rows
from delrec.engines.cpu.line_vector import (
    add_column,
    add_sides,
    copy_line,
    fill_line,
    go_on,
    read_pairs,
    read_pairs_keep,
    read_triples,
    read_triples_keep,
)
from delrec.engines.cpu.vector import LANES, get, next_bit, prefetch, put

NEAR = 16  # rings read together

POSITION = 0  # of `now`: place in the rings


class Forward(NamedTuple):
    """Scratch of a tile, forward."""

    rec: Any
    now: Any
    sent: Any
    arrived: Any
    once: Any
    twice: Any
    ring: Any


class Backward(NamedTuple):
    """Scratch of a tile, backward."""

    y: Any
    g: Any
    now: Any
    y_lanes: Any
    g_lanes: Any
    once: Any
    twice: Any
    ring: Any
    ring_once: Any
    kept: Any


@compiled
def bits_to_lanes(size, bits, bits_at, stride, out):
    """out[n, lane] = 1 where bit `lane` of neuron n's word is set, else 0."""
    one, zero = out.dtype.type(1.0), out.dtype.type(0.0)
    for n in range(size):
        word = bits[bits_at + n * stride]
        for lane in range(LANES):
            put(out, n * LANES + lane, one if word & np.uint16(1 << lane) else zero)


@compiled
def make_room(size, lines, kept, ahead, position, direct, ring, ring_once, both, once, twice):
    """Open the next position and write there, and `ahead` steps beyond, how the sequence goes on if nothing comes."""
    if position == ahead:
        slide_lines(size, lines, kept - ahead, position, direct, ring, ring_once, both, once, twice)
        position += SLACK
    position -= 1
    for n in range(size):
        for j in range(ahead + 1):
            at = (n * lines + position - j) * LANES
            if direct:
                fill_line(ring, at)
            else:
                go_on(twice, once, n * LANES, j + 1, ring, at)
            if both:
                copy_line(once, n * LANES, ring_once, at)
    return position


@compiled
def slide_lines(size, lines, kept, position, direct, ring, ring_once, both, once, twice):
    """Move what is still needed up by SLACK lines, less the line through the newest values: sums stay small.

    A straight line has no second difference, so nothing that is read from G2 changes.
    """
    real = ring.dtype.type
    for n in range(size):
        base = (n * lines + position) * LANES
        for j in range(kept - 1, -1, -1):
            at = base + j * LANES
            to = at + SLACK * LANES
            if direct:
                copy_line(ring, at, ring, to)
            else:
                for lane in range(LANES):
                    line = get(twice, n * LANES + lane) - real(j) * get(once, n * LANES + lane)
                    put(ring, to + lane, get(ring, at + lane) - line)
            if both:
                for lane in range(LANES):
                    put(ring_once, to + lane, get(ring_once, at + lane) - get(once, n * LANES + lane))
        fill_line(once, n * LANES)
        fill_line(twice, n * LANES)


@compiled
def push_lines(size, lines, position, direct, values, ring, ring_once, both, once, twice):
    """Write the values of this step, accumulated as the mode asks."""
    for n in range(size):
        at = (n * lines + position) * LANES
        for lane in range(LANES):
            v = get(values, n * LANES + lane)
            first = get(once, n * LANES + lane) + v
            second = get(twice, n * LANES + lane) + first
            put(once, n * LANES + lane, first)
            put(twice, n * LANES + lane, second)
            put(ring, at + lane, v if direct else second)
        if both:
            copy_line(once, n * LANES, ring_once, at)


@compiled
def read_rings(size, lines, position, per, place, factor, weight, ring, out):
    """out[a, lane] = sum_b weight[a, b] sum_p factor[a, b, p] . ring[b, position + place[a, b, p] .. + 1, lane].

    NEAR rings at a time, which stay in cache while every receiver reads them.
    """
    out[:] = 0
    for b in range(0, size, NEAR):
        n = min(NEAR, size - b)
        at = (b * lines + position) * LANES
        for a in range(size):
            c = b * size + a * n
            if per == 1:
                read_pairs(ring, at, place, c, factor, 2 * c, weight, c, n, out, a * LANES, out)
            else:
                read_triples(ring, at, place, 3 * c, factor, 6 * c, weight, c, n, out, a * LANES, out)


@compiled
def receive_back(
    size, padded, bits, bits_at, stride, lines, position, per, place, factor, span, weight, ring, ring_once, want_delay,
    out, kept, g_weight, g_span, g_total
):  # fmt: skip
    """As `read_rings`, for gradients that come back to sender o, and what its spikes give to weight, delay and width.

    g_weight[o, i] += sum_k m[k] g[t+k]; g_span += right - left side of the triangle; g_total += both sides.
    """
    out[:] = 0
    for b in range(0, size, NEAR):
        n = min(NEAR, size - b)
        at = (b * lines + position) * LANES
        for o in range(size):
            c = b * size + o * n
            word = bits[bits_at + o * stride]
            if word == 0:
                if per == 1:
                    read_pairs(ring, at, place, c, factor, 2 * c, weight, c, n, out, o * LANES, out)
                else:
                    read_triples(ring, at, place, 3 * c, factor, 6 * c, weight, c, n, out, o * LANES, out)
                continue
            w = o * padded + b
            prefetch(g_weight, w, n)
            if want_delay:
                prefetch(span, 4 * c, 4 * n)
                prefetch(g_span, c, n)
                prefetch(g_total, c, n)
            if per == 1:
                read_pairs_keep(ring, at, place, c, factor, 2 * c, weight, c, n, out, o * LANES, kept)
            else:
                read_triples_keep(ring, at, place, 3 * c, factor, 6 * c, weight, c, n, out, o * LANES, kept)
            while word != 0:
                lane = next_bit(word)
                word &= word - np.uint16(1)
                add_column(kept, lane, n, g_weight, w)
                if want_delay:
                    add_sides(ring_once, at + lane, span, 4 * c, n, g_span, g_total, c)


@allocating
def start_at(tables):
    """Where the ring begins."""
    now = np.zeros(1, np.int64)
    now[POSITION] = SLACK + tables.ahead
    return now


@allocating
def forward_room(shape, tables, bits, bits_at):
    """See `blocks`."""
    real, row, lines = tables.weight.dtype.type, shape.row, tables.length + SLACK
    room = Forward(
        aligned(LANES * row, real), start_at(tables), aligned(row * LANES, real), aligned(row * LANES, real),
        aligned(row * LANES, real), aligned(row * LANES, real), aligned(shape.size * lines * LANES, real),
    )  # fmt: skip
    for t in range(-shape.past, 0):
        open_step(shape, tables, room)
        send(t, shape, tables, room, bits, bits_at)
    return room


@compiled
def open_step(shape, tables, room):
    """Move the forward ring on by a step."""
    room.now[POSITION] = make_room(
        shape.size, tables.length + SLACK, tables.length, tables.ahead, room.now[POSITION], tables.direct, room.ring,
        room.ring, False, room.once, room.twice,
    )  # fmt: skip


@compiled
def receive(t, shape, tables, room, bits, bits_at):
    """See `blocks`."""
    open_step(shape, tables, room)
    read_rings(
        shape.size, tables.length + SLACK, room.now[POSITION], tables.per, tables.place, tables.factor, tables.weight,
        room.ring, room.arrived,
    )  # fmt: skip
    to_rows(shape.row, room.arrived, room.rec)


@compiled
def send(t, shape, tables, room, bits, bits_at):
    """See `blocks`."""
    bits_to_lanes(shape.size, bits, bits_at + t, shape.prefix + shape.steps, room.sent)
    push_lines(
        shape.size, tables.length + SLACK, room.now[POSITION], tables.direct, room.sent, room.ring, room.ring, False,
        room.once, room.twice,
    )  # fmt: skip


@allocating
def backward_room(shape, tables):
    """See `blocks`."""
    real, row, lines = tables.weight.dtype.type, shape.row, tables.length + SLACK
    return Backward(
        aligned(LANES * row, real), aligned(LANES * row, real), start_at(tables), aligned(row * LANES, real),
        aligned(row * LANES, real), aligned(row * LANES, real), aligned(row * LANES, real),
        aligned(shape.size * lines * LANES, real), aligned(shape.size * lines * LANES, real),
        aligned(NEAR * LANES, real),
    )  # fmt: skip


@compiled
def g_row(room):
    """See `blocks`."""
    return 0


@compiled
def receive_gradient(t, shape, tables, room, bits, bits_at, wanted, sums):
    """See `blocks`."""
    lines = tables.length + SLACK
    room.now[POSITION] = make_room(
        shape.size, lines, tables.length, tables.ahead, room.now[POSITION], tables.direct, room.ring, room.ring_once,
        True, room.once, room.twice,
    )  # fmt: skip
    if wanted.weight or wanted.taps:
        receive_back(
            shape.size, shape.row, bits, bits_at + t, shape.prefix + shape.steps, lines, room.now[POSITION],
            tables.per, tables.place, tables.factor, tables.span, tables.weight, room.ring, room.ring_once,
            wanted.taps, room.y_lanes, room.kept, sums.weight, tables.g_span, tables.g_total,
        )  # fmt: skip
    else:
        read_rings(
            shape.size, lines, room.now[POSITION], tables.per, tables.place, tables.factor, tables.weight, room.ring,
            room.y_lanes,
        )  # fmt: skip
    to_rows(shape.row, room.y_lanes, room.y)


@compiled
def send_silence(shape, tables, room):
    """See `blocks`."""
    room.g_lanes[:] = 0
    push_gradient(shape, tables, room)


@compiled
def send_gradient(t, shape, tables, room, bits, bits_at, wanted, sums):
    """See `blocks`."""
    to_lanes(shape.row, room.g, 0, room.g_lanes)
    push_gradient(shape, tables, room)


@compiled
def push_gradient(shape, tables, room):
    """Write room.g_lanes in both rings."""
    push_lines(
        shape.size, tables.length + SLACK, room.now[POSITION], tables.direct, room.g_lanes, room.ring, room.ring_once,
        True, room.once, room.twice,
    )  # fmt: skip
