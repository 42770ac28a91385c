"""Feedforward delays (DCLS) on the cpu engine: two taps per connection, or a dense convolution.

In version v1 with one element, two taps per connection are not zero. A tile of LANES rows of the batch runs through
time in blocks of STEPS steps: connection by connection, the lines of a ring that a block reads follow one another. The
gradient of a kernel follows the events of the input.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
import torch
from torch import Tensor

from delrec.engines.cpu.cache import compiled, entry
from delrec.engines.cpu.common import GROUPS, Array, add_up, aligned, copy, flat
from delrec.engines.cpu.linear import list_row, multiply, sum_rows, weight_gradient
from delrec.engines.cpu.synaptic_kernels import NEAR
from delrec.engines.cpu.vector import LANES, Loop, emitted, get, put
from delrec.engines.ops import Operator, delayed_operator
from delrec.engines.threads import parallel

STEPS = 32  # of a block
TOGETHER = 4  # steps, or senders, whose sums are held in registers: their chains of additions overlap
SLACK = 4 * STEPS  # steps between two moves of a ring

# Sizes of a pass. Its input and output begin at steps `arrive` and `leave` of a common clock; input that arrives at a
# step reaches the output of `window` steps, its own included.
Sizes = namedtuple("Sizes", "arrive arriving leave leaving batch senders receivers window")

# Flat arrays: place (receivers, senders), factor (receivers, senders, 2), offset (receivers,) or empty. A place is
# counted in elements from the first of the NEAR rings that are read together.
Taps = namedtuple("Taps", "place factor offset")

# Scratch: those of a row, by `list_row`, and how many an input has in a block, with place in the rings and value.
Events = namedtuple("Events", "index listed count place value")

# For the gradient of the taps: the layer's input, places and sums by [sender, receiver]; empty if not wanted.
Gradient = namedtuple("Gradient", "inputs place factor")


def _forward(
    inputs: Tensor, factor: Tensor, place: Tensor, bias: Tensor | None, window: int, left: int, right: int
) -> Tensor:
    (steps, batch, senders), receivers, shift = inputs.shape, len(factor), window - 1 - left
    out = inputs.new_empty(steps + right - shift, batch, receivers)
    sizes = Sizes(0, steps, shift, len(out), batch, senders, receivers, window)
    x, y, whole = flat(inputs), flat(out), np.zeros(0, np.int32)
    taps = Taps(_elements(place, window), flat(factor), x[:0] if bias is None else flat(bias))
    nothing = Gradient(x[:0], whole, x[:0])
    parallel(lambda tile: delayed_tile(tile, sizes, False, taps, x, y, nothing), -(-batch // LANES))
    return out


def _backward(
    inputs: Tensor, factor: Tensor, place: Tensor, bias: Tensor | None, window: int, left: int, right: int, _: Any,
    grads: list[Tensor], needs: list[bool],
) -> tuple[Tensor | None, ...]:  # fmt: skip
    (g,), (outputs, size), (steps, batch, _) = grads, place.shape, inputs.shape
    tiles = -(-batch // LANES)
    groups = min(tiles, GROUPS)
    sizes = Sizes(window - 1 - left, len(g), 0, steps, batch, outputs, size, window)
    g_inputs, parts = inputs.new_empty(inputs.shape), g.new_zeros(groups, size * outputs * 2)
    x, incoming, out, back = flat(inputs), flat(g), flat(g_inputs), flat(place.t() * LANES)
    taps = Taps(_elements(place.t(), window), flat(factor.transpose(0, 1)), incoming[:0])

    def run(group: int) -> None:
        gradient = Gradient(x if needs[1] else x[:0], back, flat(parts[group]))
        for tile in range(group, tiles, groups):
            delayed_tile(tile, sizes, True, taps, incoming, out, gradient)

    parallel(run, groups)
    g_factor = add_up(parts).view(size, outputs, 2).transpose(0, 1).contiguous()
    return g_inputs, g_factor, None, sum_rows(g.flatten(0, 1)) if needs[3] else None


delayed = delayed_operator("cpu", _forward, _backward)


def _elements(place: Tensor, window: int) -> Array:
    """Return (readers, rings) of steps as `Taps.place`."""
    rings = torch.arange(place.shape[1], dtype=torch.int32) % NEAR * (window + SLACK)
    return flat((place + rings) * LANES)


@compiled
def receive(step, row, rows, sizes, lines, line, x, ring):
    """Write a step of a tile's input to a line of the rings; zeros where the input has no such step."""
    inside = 0 <= step < sizes.arriving
    for n in range(sizes.senders):
        at, to = row * sizes.senders + n, (n * lines + line) * LANES
        for b in range(rows):
            put(ring, to + b, get(x, at + b * sizes.senders) if inside else ring.dtype.type(0))


@emitted("ring ring_at place place_at factor factor_at count out out_at")
def read_steps(e, builder, ring, place, factor, count, out):
    """out[k, lane] += sum_n factor[n, 0] line[n, -k] + factor[n, 1] line[n, 1 - k] for k < TOGETHER.

    Line [n, 0] begins place[n] elements after `ring`. Neighbouring steps share lines and taps.
    """
    loop = Loop(builder, e.index, count, [e.load(builder.gep(out, [e.number(k * LANES)])) for k in range(TOGETHER)])
    near = builder.gep(ring, [builder.sext(builder.load(builder.gep(place, [loop.counter])), e.index)])
    tap = builder.gep(factor, [builder.mul(loop.counter, e.number(2))])
    first, second = (e.splat(builder.load(builder.gep(tap, [e.number(j)]))) for j in range(2))
    lines = [e.load(builder.gep(near, [e.number((1 - k) * LANES)])) for k in range(TOGETHER + 1)]
    read = [e.multiply_add(second, lines[k], builder.fmul(first, lines[k + 1])) for k in range(TOGETHER)]
    loop.close([builder.fadd(total, more) for total, more in zip(loop.values, read, strict=True)])
    for k, total in enumerate(loop.values):
        e.store(total, builder.gep(out, [e.number(k * LANES)]))


@compiled
def read(receivers, senders, lines, newest, first, last, taps, ring, out):
    """out[a, k, lane] = sum_b factor[a, b] . ring[b, newest - k + place[a, b] .. + 1, lane] for first <= k < last."""
    out[:] = 0
    for b in range(0, senders, NEAR):
        n = min(NEAR, senders - b)
        for a in range(receivers):
            c = a * senders + b
            for k in range(first // TOGETHER * TOGETHER, last, TOGETHER):
                at, to = (b * lines + newest - k) * LANES, (a * STEPS + k) * LANES
                read_steps(ring, at, taps.place, c, taps.factor, 2 * c, n, out, to)


@compiled
def list_events(row, rows, receivers, line, inputs, events):
    """List the input events of a step's rows, by input; `line` is the step's in the rings."""
    for lane in range(rows):
        start = (row + lane) * receivers
        for e in range(list_row(inputs, start, receivers, events.index, events.listed, 0)):
            n = events.index[e]
            to = n * STEPS * LANES + events.count[n]
            events.place[to], events.value[to] = line * LANES + lane, events.listed[e]
            events.count[n] += 1


@emitted("value event events_at count ring ring_at apart place place_at factor factor_at senders")
def add_lines(e, builder, value, event, count, ring, apart, place, factor, senders):
    """factor[o, j] += sum_i value[i] ring[o apart + place[o] + event[i] + j LANES] for o < senders <= TOGETHER."""
    last = builder.sub(senders, e.number(1))
    starts, taps = [], []
    for number in map(e.number, range(TOGETHER)):  # missing senders repeat the last one, as in `multiply_rows`
        o = builder.select(builder.icmp_signed("<", number, last), number, last)
        begin = builder.sext(builder.load(builder.gep(place, [o])), e.index)
        starts.append(builder.add(builder.mul(apart, o), begin))
        taps += [builder.gep(factor, [builder.add(builder.mul(e.number(2), o), e.number(j))]) for j in range(2)]
    loop = Loop(builder, e.index, count, list(map(builder.load, taps)))
    weight = builder.load(builder.gep(value, [loop.counter]))
    line = builder.gep(ring, [builder.sext(builder.load(builder.gep(event, [loop.counter])), e.index)])
    ends = [builder.add(start, e.number(j * LANES)) for start in starts for j in range(2)]
    read = [builder.fmul(weight, builder.load(builder.gep(line, [end]))) for end in ends]
    loop.close([builder.fadd(total, more) for total, more in zip(loop.values, read, strict=True)])
    for tap, total in zip(taps, loop.values, strict=True):
        builder.store(total, tap)


@compiled
def add_events(receivers, senders, lines, gradient, events, ring):
    """Add what a block's input events contribute to the gradient of the taps, a few rings at a time: they stay near."""
    apart = lines * LANES
    for o in range(0, senders, TOGETHER):
        for n in range(receivers):
            c = n * senders + o
            add_lines(
                events.value, events.place, n * STEPS * LANES, events.count[n], ring, o * apart, apart, gradient.place,
                c, gradient.factor, 2 * c, min(TOGETHER, senders - o),
            )  # fmt: skip


@entry
def delayed_tile(tile, sizes, backward, taps, x, y, gradient):
    """Forward: y from x. Backward: the gradient of the input from that of the output; time runs down."""
    senders, receivers, lines, real = sizes.senders, sizes.receivers, sizes.window + SLACK, x.dtype.type
    read_out = aligned(STEPS * receivers * LANES, real)
    events = Events(
        np.empty(receivers, np.int32), np.empty(receivers, real), np.empty(receivers, np.int32),
        np.empty(STEPS * LANES * receivers, np.int32), np.empty(STEPS * LANES * receivers, real),
    )  # fmt: skip
    rows = min(LANES, sizes.batch - tile * LANES)
    begin, end = min(sizes.arrive, sizes.leave), max(sizes.arrive + sizes.arriving, sizes.leave + sizes.leaving)
    start, sign = (end - 1, -1) if backward else (begin, 1)
    leave = end - sizes.leave - sizes.leaving if backward else sizes.leave - begin  # in steps of this pass
    ring, newest = aligned(senders * lines * LANES, real), SLACK - 1  # line of a block's first step
    for block in range(0, end - begin, STEPS):
        if newest < 0:
            for n in range(senders):
                for j in range((n + 1) * lines - SLACK - 1, n * lines - 1, -1):
                    copy(ring, (j + SLACK) * LANES, ring, j * LANES, LANES)
            newest += SLACK
        for k in range(STEPS):
            step = start + sign * (block + k) - sizes.arrive
            receive(step, step * sizes.batch + tile * LANES, rows, sizes, lines, newest - k, x, ring)
        first, last = max(0, leave - block), min(STEPS, leave + sizes.leaving - block)
        read(receivers, senders, lines, newest, first, last, taps, ring, read_out)
        events.count[:] = 0
        for k in range(first, last):
            row = (start + sign * (block + k) - sizes.leave) * sizes.batch + tile * LANES
            for n in range(receivers):
                for b in range(rows):
                    v = get(read_out, (n * STEPS + k) * LANES + b)
                    put(y, (row + b) * receivers + n, v + get(taps.offset, n) if len(taps.offset) else v)
            if len(gradient.inputs):
                list_events(row, rows, receivers, newest - k, gradient.inputs, events)
        if len(gradient.inputs):
            add_events(receivers, senders, lines, gradient, events, ring)
        newest -= STEPS


def _convolution(inputs: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    """See `Engine.convolution`: one product per tap."""
    (steps, batch, _), (outputs, _, window) = inputs.shape, kernel.shape
    steps -= window - 1
    rows, out = inputs.flatten(0, 1), None
    for k in range(window):
        out = multiply(rows[k * batch : (k + steps) * batch], kernel[..., k], bias, out)
    assert out is not None
    return out.view(steps, batch, outputs)


def _convolution_shapes(inputs: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    return inputs.new_empty(inputs.shape[0] - kernel.shape[2] + 1, inputs.shape[1], kernel.shape[0])


def _convolution_backward(
    inputs: Tensor, kernel: Tensor, bias: Tensor | None, _: Any, grads: list[Tensor], needs: list[bool]
) -> tuple[Tensor | None, ...]:
    batch, rows, g = inputs.shape[1], inputs.flatten(0, 1), grads[0].flatten(0, 1)
    g_inputs, g_kernel = rows.new_zeros(rows.shape), kernel.new_empty(kernel.shape)
    for k in range(kernel.shape[2]):
        part = slice(k * batch, k * batch + len(g))
        if needs[0]:
            multiply(g, kernel[..., k].t(), None, g_inputs[part])
        if needs[1]:
            g_kernel[..., k] = weight_gradient(g, rows[part])
    return g_inputs.view(inputs.shape), g_kernel, sum_rows(g) if needs[2] else None


convolution = Operator("cpu_convolution", _convolution, _convolution_shapes, _convolution_backward)
