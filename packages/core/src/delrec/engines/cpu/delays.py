"""Feedforward delays (DCLS) on the cpu engine: two taps per connection, or a dense convolution.

In version v1 with one element, two taps per connection are not zero. A tile of LANES rows of the batch runs through
time with its rings in cache, as in `synaptic_kernels`, and reads those two. The gradient of a kernel follows the events
of the input.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
import torch
from torch import Tensor

from delrec.engines.cpu.cache import compiled, entry
from delrec.engines.cpu.common import GROUPS, SLACK, Array, add_up, aligned, flat, to_lanes, to_rows
from delrec.engines.cpu.linear import list_row, multiply, sum_rows, weight_gradient
from delrec.engines.cpu.synaptic_kernels import NEAR, read_pairs
from delrec.engines.cpu.vector import LANES, get, put
from delrec.engines.ops import Operator, delayed_operator
from delrec.engines.threads import parallel

# Sizes of a pass. Its input and output begin at steps `arrive` and `leave` of a common clock; input that arrives at a
# step reaches the output of `window` steps, its own included.
Sizes = namedtuple("Sizes", "arrive arriving leave leaving batch senders receivers window")

# Flat arrays: place (receivers, senders), factor (receivers, senders, 2), offset (receivers,) or empty. A place is
# counted in elements from the first of the NEAR rings that are read together.
Taps = namedtuple("Taps", "place factor offset")

# Scratch: those of a row, by `list_row`, and how many an input has, with lane and value of each.
Events = namedtuple("Events", "index listed count lane value")

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
    rings = torch.arange(place.shape[1], dtype=torch.int32) % NEAR * (window + 1 + SLACK)
    return flat((place + rings) * LANES)


@compiled
def push(senders, lines, position, values, ring):
    """Write the values of the next step into the ring and return its position, after moving all lines up by SLACK."""
    if position == 0:
        for n in range(senders):
            for j in range((n + 1) * lines * LANES - SLACK * LANES - 1, n * lines * LANES - 1, -1):
                put(ring, j + SLACK * LANES, get(ring, j))
        position += SLACK
    position -= 1
    for n in range(senders):
        for lane in range(LANES):
            put(ring, (n * lines + position) * LANES + lane, get(values, n * LANES + lane))
    return position


@compiled
def read(receivers, senders, lines, position, taps, ones, ring, out):
    """out[a, lane] = sum_b factor[a, b] . ring[b, position + place[a, b] .. + 1, lane]."""
    out[:] = 0
    for b in range(0, senders, NEAR):
        n = min(NEAR, senders - b)
        at = (b * lines + position) * LANES
        for a in range(receivers):
            c = a * senders + b
            read_pairs(ring, at, taps.place, c, taps.factor, 2 * c, ones, 0, n, out, a * LANES, out)


@compiled
def add_events(row, rows, receivers, senders, lines, position, gradient, events, ring):
    """Add what a step's input events in a tile contribute to the gradient of the taps.

    Input by input: the events of all rows read one line of each ring, which stays in cache.
    """
    events.count[:] = 0
    for lane in range(rows):
        start = (row + lane) * receivers
        for e in range(list_row(gradient.inputs, start, receivers, events.index, events.listed, 0)):
            n = events.index[e]
            to = n * LANES + events.count[n]
            events.lane[to], events.value[to] = lane, events.listed[e]
            events.count[n] += 1
    for n in range(receivers):
        first, end = n * LANES, n * LANES + events.count[n]
        for o in range(senders if first < end else 0):
            c = n * senders + o
            line = (o * lines + position) * LANES + get(gradient.place, c)
            near, far = get(gradient.factor, 2 * c), get(gradient.factor, 2 * c + 1)
            for e in range(first, end):
                v, at = get(events.value, e), line + get(events.lane, e)
                near += v * get(ring, at)
                far += v * get(ring, at + LANES)
            put(gradient.factor, 2 * c, near)
            put(gradient.factor, 2 * c + 1, far)


@entry
def delayed_tile(tile, sizes, backward, taps, x, y, gradient):
    """Forward: y from x. Backward: the gradient of the input from that of the output; time runs down."""
    senders, receivers, lines, real = sizes.senders, sizes.receivers, sizes.window + 1 + SLACK, x.dtype.type
    whole_in, whole_out = (senders + LANES - 1) // LANES * LANES, (receivers + LANES - 1) // LANES * LANES
    scratch, ones = aligned(LANES * max(whole_in, whole_out), real), np.ones(NEAR, real)
    values, arrived = aligned(whole_in * LANES, real), aligned(whole_out * LANES, real)
    events = Events(
        np.empty(receivers, np.int32), np.empty(receivers, real), np.empty(receivers, np.int32),
        np.empty(receivers * LANES, np.int32), np.empty(receivers * LANES, real),
    )  # fmt: skip
    ring, position = aligned(senders * lines * LANES, real), SLACK
    rows = min(LANES, sizes.batch - tile * LANES)
    first = min(sizes.arrive, sizes.leave)
    last = max(sizes.arrive + sizes.arriving, sizes.leave + sizes.leaving) - 1
    for j in range(last - first + 1):
        clock = last - j if backward else first + j
        now = clock - sizes.arrive
        values[:] = 0
        if 0 <= now < sizes.arriving:
            scratch[:] = 0
            for b in range(rows):
                at = (now * sizes.batch + tile * LANES + b) * senders
                for n in range(senders):
                    put(scratch, b * whole_in + n, get(x, at + n))
            to_lanes(whole_in, scratch, 0, values)
        position = push(senders, lines, position, values, ring)
        now = clock - sizes.leave
        if now < 0 or now >= sizes.leaving:
            continue
        read(receivers, senders, lines, position, taps, ones, ring, arrived)
        to_rows(whole_out, arrived, scratch)
        row = now * sizes.batch + tile * LANES
        for b in range(rows):
            for n in range(receivers):
                v = get(scratch, b * whole_out + n)
                put(y, (row + b) * receivers + n, v + get(taps.offset, n) if len(taps.offset) else v)
        if len(gradient.inputs):
            add_events(row, rows, receivers, senders, lines, position, gradient, events, ring)


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
