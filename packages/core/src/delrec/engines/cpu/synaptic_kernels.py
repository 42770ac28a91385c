"""One delay per connection. `recurrence.Synaptic` has the equation; `scan_kernels` explains the functions.

Time runs down in a ring: line `position + k` is k steps ago (forward) or k steps ahead (backward). Each neuron has
tables.length + SLACK lines of LANES values.
"""

from collections import namedtuple
from functools import partial
from typing import Any

import numpy as np

from delrec.engines.cpu.cache import compiled
from delrec.engines.cpu.common import SLACK, to_lanes, to_rows, zeros
from delrec.engines.cpu.vector import LANES, Loop, emitted, get, next_bit, prefetch, put

NEAR = 16  # rings read together
POSITION = 0  # of `now`: position in the rings


def _make_reader(per: int, keep: bool) -> Any:
    @emitted("ring ring_at place place_at factor factor_at weight weight_at count out out_at kept")
    def read(e, builder, ring, place, factor, weight, count, out, kept):
        """out[lane] += sum_n weight[n] q[n], q[n] = sum_p factor[n,p,0] line + factor[n,p,1] next.

        The line begins place[n, p] elements after `ring`. If `keep`, kept[n, lane] = q[n, lane] too.
        """
        loop = Loop(builder, e.index, count, [e.load(out)])
        total = None
        for p in range(per):
            at = builder.add(builder.mul(loop.counter, e.number(per)), e.number(p))
            near = builder.gep(ring, [builder.sext(builder.load(builder.gep(place, [at])), e.index)])
            for j in range(2):
                which = builder.add(builder.mul(at, e.number(2)), e.number(j))
                tap = e.splat(builder.load(builder.gep(factor, [which])))
                value = e.load(builder.gep(near, [e.number(j * LANES)]))
                total = builder.fmul(tap, value) if total is None else e.multiply_add(tap, value, total)
        if keep:
            e.store(total, builder.gep(kept, [builder.mul(loop.counter, e.number(LANES))]))
        share = e.splat(e.real(builder.load(builder.gep(weight, [loop.counter]))))
        loop.close([e.multiply_add(share, total, loop.values[0])])
        e.store(loop.values[0], out)

    return read


read_pairs = _make_reader(1, False)
read_triples = _make_reader(3, False)
read_pairs_keep = _make_reader(1, True)
read_triples_keep = _make_reader(3, True)


@emitted("lines lane count out out_at")
def add_column(e, builder, lines, count, out):
    """out[j] += lines[j, 0] for j < count; lines begin at the lane that is added."""
    loop = Loop(builder, e.index, count, [])
    value = builder.load(builder.gep(lines, [builder.mul(loop.counter, e.number(LANES))]))
    to = builder.gep(out, [loop.counter])
    builder.store(builder.fadd(builder.load(to), e.real(value, to.type.pointee)), to)
    loop.close([])


@emitted("lines lines_at span span_at count sides total at")
def add_sides(e, builder, lines, span, count, sides, total):
    """sides[j] += (after - high) - (low - middle) and total[j] += low - high, for j < count.

    low, middle, after, high are lines[span[j, 0 .. 3]].
    """
    loop = Loop(builder, e.index, count, [])
    ends = []
    for j in range(4):
        which = builder.add(builder.mul(loop.counter, e.number(4)), e.number(j))
        off = builder.sext(builder.load(builder.gep(span, [which])), e.index)
        ends.append(builder.load(builder.gep(lines, [off])))
    low, middle, after, high = ends
    to = builder.gep(sides, [loop.counter])
    side = builder.fsub(builder.fsub(after, high), builder.fsub(low, middle))
    builder.store(builder.fadd(builder.load(to), side), to)
    to = builder.gep(total, [loop.counter])
    builder.store(builder.fadd(builder.load(to), builder.fsub(low, high)), to)
    loop.close([])


# scratch of a tile; g, ring_once and kept are for the backward pass; from `arrived` on, in the type of the factors
Room = namedtuple("Room", "y g now lanes arrived sent once twice ring ring_once kept")


def forward_room(shape: Any, tables: Any, backward: int = 0) -> Room:
    """Allocate the scratch of a tile; the rings begin after the places before step 1."""
    row, ring = LANES * shape.row, shape.size * (tables.length + SLACK) * LANES
    now, counts = np.array([SLACK + tables.ahead], np.int64), (row, row, row, row, ring, ring * backward, NEAR * LANES)
    y, g, lanes = zeros(tables.weight.dtype, row, row * backward, row)
    return Room(y, g, now, lanes, *zeros(tables.factor.dtype, *counts))


backward_room = partial(forward_room, backward=1)


@compiled
def open_step(shape, tables, room, both):
    """Open the next position, and continue the sums there and `ahead` steps beyond as if nothing came.

    both: also of the once accumulated sequence.
    """
    now, once, twice, ring, ring_once = room.now, room.once, room.twice, room.ring, room.ring_once
    real, lines = ring.dtype.type, tables.length + SLACK
    if now[POSITION] == tables.ahead:
        slide(shape, tables, room, both)
        now[POSITION] += SLACK
    now[POSITION] -= 1
    for n in range(shape.size):
        for j in range(tables.ahead + 1):
            at = (n * lines + now[POSITION] - j) * LANES
            if tables.direct:
                ring[at : at + LANES] = 0
            else:
                for lane in range(LANES):
                    c = n * LANES + lane
                    put(ring, at + lane, get(twice, c) + real(j + 1) * get(once, c))
            if both:
                for lane in range(LANES):
                    put(ring_once, at + lane, get(once, n * LANES + lane))


@compiled
def slide(shape, tables, room, both):
    """Move the lines up by SLACK, and subtract the straight line through the newest values, so that sums stay small.

    A straight line has no second difference, so values read from G2 do not change.
    """
    once, twice, ring, ring_once = room.once, room.twice, room.ring, room.ring_once
    real, up = ring.dtype.type, SLACK * LANES
    for n in range(shape.size):
        base = (n * (tables.length + SLACK) + room.now[POSITION]) * LANES
        for j in range(tables.length - tables.ahead - 1, -1, -1):
            for lane in range(LANES):
                c, at = n * LANES + lane, base + j * LANES + lane
                line = get(twice, c) - real(j) * get(once, c)
                put(ring, at + up, get(ring, at) if tables.direct else get(ring, at) - line)
                if both:
                    put(ring_once, at + up, get(ring_once, at) - get(once, c))
        once[n * LANES : (n + 1) * LANES] = 0
        twice[n * LANES : (n + 1) * LANES] = 0


@compiled
def push(shape, tables, room, both):
    """Write the values sent in this step: unchanged, or accumulated twice."""
    once, twice, ring = room.once, room.twice, room.ring
    for n in range(shape.size):
        at = (n * (tables.length + SLACK) + room.now[POSITION]) * LANES
        for lane in range(LANES):
            c = n * LANES + lane
            v = get(room.sent, c)
            first = get(once, c) + v
            second = get(twice, c) + first
            put(once, c, first)
            put(twice, c, second)
            put(ring, at + lane, v if tables.direct else second)
        if both:
            for lane in range(LANES):
                put(room.ring_once, at + lane, get(once, n * LANES + lane))


@compiled
def read(tables, n, at, c, to, room):
    """arrived[to, lane] += sum_b weight[c + b] sum_p factor[c + b, p] . ring[b, at + place[c + b, p] .. + 1, lane]."""
    ring, out, kept, weight = room.ring, room.arrived, room.kept, tables.weight
    if tables.per == 1:
        read_pairs(ring, at, tables.place, c, tables.factor, 2 * c, weight, c, n, out, to, kept)
    else:
        read_triples(ring, at, tables.place, 3 * c, tables.factor, 6 * c, weight, c, n, out, to, kept)


@compiled
def read_rings(shape, tables, room):
    """Read for every neuron, from NEAR rings at a time, which stay in cache."""
    room.arrived[:] = 0
    for b in range(0, shape.size, NEAR):
        n = min(NEAR, shape.size - b)
        for a in range(shape.size):
            at = (b * (tables.length + SLACK) + room.now[POSITION]) * LANES
            read(tables, n, at, b * shape.size + a * n, a * LANES, room)


@compiled
def read_rings_back(t, shape, tables, room, bits, bits_at, want_delay, g_weight):
    """Read the gradients that return to each sender o, and add the gradients of weight, delay and width at its spikes.

    g_weight[o, i] += sum_k m[k] g[t+k]; g_span += right - left side of the triangle; g_total += both sides.
    """
    ring, out, kept, weight = room.ring, room.arrived, room.kept, tables.weight
    out[:] = 0
    for b in range(0, shape.size, NEAR):
        n = min(NEAR, shape.size - b)
        at = (b * (tables.length + SLACK) + room.now[POSITION]) * LANES
        for o in range(shape.size):
            c, to = b * shape.size + o * n, o * LANES
            word = bits[bits_at + o * (shape.prefix + shape.steps) + t]
            if word == 0:
                read(tables, n, at, c, to, room)
                continue
            w = o * shape.row + b
            prefetch(g_weight, w, n)
            if want_delay:
                prefetch(tables.span, 4 * c, 4 * n)
                prefetch(tables.g_span, c, n)
                prefetch(tables.g_total, c, n)
            if tables.per == 1:
                read_pairs_keep(ring, at, tables.place, c, tables.factor, 2 * c, weight, c, n, out, to, kept)
            else:
                read_triples_keep(ring, at, tables.place, 3 * c, tables.factor, 6 * c, weight, c, n, out, to, kept)
            while word != 0:
                lane = next_bit(word)
                word &= word - np.uint16(1)
                add_column(kept, lane, n, g_weight, w)
                if want_delay:
                    add_sides(room.ring_once, at + lane, tables.span, 4 * c, n, tables.g_span, tables.g_total, c)


@compiled
def receive(t, shape, tables, room, bits, bits_at):
    """Read the arriving current, in the first step after sending the given spikes."""
    for past in range(-shape.past if t == 0 else 0, 0):
        open_step(shape, tables, room, False)
        send(past, shape, tables, room, bits, bits_at)
    open_step(shape, tables, room, False)
    read_rings(shape, tables, room)
    arrive(shape, room)


@compiled
def arrive(shape, room):
    """Lay out by rows what was read."""
    real = room.y.dtype.type
    for c in range(shape.row * LANES):
        put(room.lanes, c, real(get(room.arrived, c)))
    to_rows(shape.row, room.lanes, room.y)


@compiled
def send(t, shape, tables, room, bits, bits_at):
    """Write the spikes into the ring."""
    one, zero = room.sent.dtype.type(1.0), room.sent.dtype.type(0.0)
    for n in range(shape.size):
        word = bits[bits_at + n * (shape.prefix + shape.steps) + t]
        for lane in range(LANES):
            put(room.sent, n * LANES + lane, one if word & np.uint16(1 << lane) else zero)
    push(shape, tables, room, False)


@compiled
def g_row(room):
    """Return 0: each step is sent immediately."""
    return 0


@compiled
def receive_gradient(t, shape, tables, room, bits, bits_at, sums):
    """Read the returning gradient."""
    open_step(shape, tables, room, True)
    if len(sums.weight):
        read_rings_back(t, shape, tables, room, bits, bits_at, shape.taps, sums.weight)
    else:
        read_rings(shape, tables, room)
    arrive(shape, room)


@compiled
def send_silence(shape, tables, room):
    """Send zeros back."""
    room.sent[:] = 0
    push(shape, tables, room, True)


@compiled
def send_gradient(t, shape, tables, room, bits, bits_at, sums):
    """Write the gradient into both rings."""
    to_lanes(shape.row, room.g, 0, room.lanes)
    real = room.sent.dtype.type
    for c in range(shape.row * LANES):
        put(room.sent, c, real(get(room.lanes, c)))
    push(shape, tables, room, True)
