"""Feedforward delays (DCLS) on the cpu engine: two taps a connection, or a dense convolution.

Version v1 with one element has two taps a connection that are not zero. A tile of LANES rows of the batch runs through
time with its rings in cache, as in `synaptic_kernels`, and reads those two: position + k is k steps ago (forward) or
ahead (backward). The gradient of a kernel follows the input's events.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from delrec.engines.cpu import product
from delrec.engines.cpu.cache import compiled, entry
from delrec.engines.cpu.common import GROUPS, Array, add_up, flat, tile_count
from delrec.engines.cpu.kernels import SLACK, aligned
from delrec.engines.cpu.line_vector import read_pairs
from delrec.engines.cpu.linear import list_row
from delrec.engines.cpu.synaptic_kernels import NEAR
from delrec.engines.cpu.vector import LANES, get, put, transpose_block
from delrec.engines.ops import Operator, delayed_operator
from delrec.engines.threads import parallel


def _forward(
    inputs: Tensor, factor: Tensor, place: Tensor, bias: Tensor | None, window: int, left: int, right: int
) -> Tensor:
    """Return the output; factor: (N_out, N_in, 2), place: (N_out, N_in), int32."""
    sizes = _sizes(inputs, len(factor), window, left, right)
    out = inputs.new_empty(sizes.after, sizes.batch, sizes.receivers)
    x, y, whole = flat(inputs), flat(out), np.zeros(0, np.int32)
    taps = Taps(_elements(place, window), flat(factor), x[:0] if bias is None else flat(bias))
    nothing = Gradient(x[:0], whole, x[:0])
    parallel(lambda tile: delayed_tile(tile, sizes, False, taps, x, y, nothing), tile_count(sizes.batch))
    return out


def _backward(
    inputs: Tensor, factor: Tensor, place: Tensor, bias: Tensor | None, window: int, left: int, right: int, _: Any,
    grads: list[Tensor], needs: list[bool],
) -> tuple[Tensor | None, ...]:  # fmt: skip
    (g,) = grads
    outputs, size = place.shape
    tiles = tile_count(inputs.shape[1])
    groups = min(tiles, GROUPS)
    sizes = _sizes(inputs, outputs, window, left, right)._replace(senders=outputs, receivers=size)
    g_inputs, parts = inputs.new_empty(inputs.shape), g.new_zeros(groups, size * outputs * 2)
    x, incoming, out, back = flat(inputs), flat(g), flat(g_inputs), flat(place.t())
    taps = Taps(_elements(place.t(), window), flat(factor.transpose(0, 1)), incoming[:0])

    def run(group: int) -> None:
        gradient = Gradient(x, back, flat(parts[group]))
        for tile in range(group, tiles, groups):
            delayed_tile(tile, sizes, True, taps, incoming, out, gradient)

    parallel(run, groups)
    g_factor = add_up(parts).view(size, outputs, 2).transpose(0, 1).contiguous()
    return g_inputs, g_factor, None, product.sum_rows(g.flatten(0, 1)) if needs[3] else None


delayed = delayed_operator("cpu", _forward, _backward)


def _convolution(inputs: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    (steps, batch, _), (outputs, _, window) = inputs.shape, kernel.shape
    steps -= window - 1
    rows, out = inputs.flatten(0, 1), None
    for k in range(window):
        out = product.multiply(rows[k * batch : (k + steps) * batch], kernel[..., k], bias, out)
    assert out is not None
    return out.view(steps, batch, outputs)


def _convolution_shapes(inputs: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    return inputs.new_empty(inputs.shape[0] - kernel.shape[2] + 1, inputs.shape[1], kernel.shape[0])


def _convolution_backward(
    inputs: Tensor, kernel: Tensor, bias: Tensor | None, _: Any, grads: list[Tensor], needs: list[bool]
) -> tuple[Tensor | None, ...]:
    batch, rows, g = inputs.shape[1], inputs.flatten(0, 1), grads[0].flatten(0, 1)
    g_inputs = rows.new_zeros(rows.shape) if needs[0] else None
    g_kernel = kernel.new_empty(kernel.shape) if needs[1] else None
    for k in range(kernel.shape[2]):
        part = slice(k * batch, k * batch + len(g))
        if g_inputs is not None:
            product.input_gradient(g, kernel[..., k], g_inputs[part])
        if g_kernel is not None:
            g_kernel[..., k] = product.weight_gradient(g, rows[part])
    return (
        None if g_inputs is None else g_inputs.view(inputs.shape),
        g_kernel,
        product.sum_rows(g) if needs[2] else None,
    )


convolution = Operator("cpu_convolution", _convolution, _convolution_shapes, _convolution_backward)
"""Return y[t] = bias + sum_k inputs[t + k] kernel[:, :, k]^T, one product per tap.

inputs: (T, B, N_in), T >= K. kernel: (N_out, N_in, K). bias: (N_out,) or None. Returns (T - K + 1, B, N_out).
"""


def _sizes(inputs: Tensor, receivers: int, window: int, left: int, right: int) -> Sizes:
    steps, batch, senders = inputs.shape
    return Sizes(steps, steps + left + right - window + 1, window - 1 - left, batch, senders, receivers, window)


def _elements(place: Tensor, window: int) -> Array:
    """Return (readers, rings) of steps as elements from the first of the rings on that are read together."""
    rings = torch.arange(place.shape[1], dtype=torch.int32) % NEAR * (window + 1 + SLACK)
    return flat((place + rings) * LANES)


class Sizes(NamedTuple):
    """steps, after: of input and output; shift: clock t + shift is when the newest input that y[t] may read arrives."""

    steps: int
    after: int
    shift: int
    batch: int
    senders: int
    receivers: int
    window: int


class Taps(NamedTuple):
    """place, factor: (receivers, senders) and (.., 2), flat; see `read`. offset: (receivers,), or empty.

    Places are elements from the first of the NEAR rings on that are read together.
    """

    place: Any
    factor: Any
    offset: Any


class Gradient(NamedTuple):
    """The input, the step that a connection reads, and the sums, [sender, receiver]; empty in the forward pass."""

    inputs: Any
    place: Any
    factor: Any


@compiled
def load_lanes(x, at, rows, size, whole, scratch, lanes):
    """lanes[n, lane] = x[at + lane size + n] for the rows of a tile; rows that it lacks are 0."""
    for b in range(rows):
        for n in range(size):
            put(scratch, b * whole + n, get(x, at + b * size + n))
    for n in range(0, whole, LANES):
        transpose_block(scratch, n, whole, lanes, n * LANES, LANES)


@compiled
def store_rows(lanes, whole, rows, size, scratch, offset, y, at):
    """y[at + lane size + n] = lanes[n, lane] + offset[n]."""
    for n in range(0, whole, LANES):
        transpose_block(lanes, n * LANES, LANES, scratch, n, whole)
    for b in range(rows):
        if len(offset):
            for n in range(size):
                put(y, at + b * size + n, get(scratch, b * whole + n) + get(offset, n))
        else:
            for n in range(size):
                put(y, at + b * size + n, get(scratch, b * whole + n))


@compiled
def push(senders, lines, position, values, ring):
    """Write the values of the next step in the ring and return its position, after moving all lines up by SLACK."""
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
def read(receivers, senders, lines, position, place, factor, ones, ring, out):
    """out[a, lane] = sum_b factor[a, b] . ring[b, position + place[a, b] .. + 1, lane], places in elements (`Taps`)."""
    out[:] = 0
    for b in range(0, senders, NEAR):
        n = min(NEAR, senders - b)
        at = (b * lines + position) * LANES
        for a in range(receivers):
            c = a * senders + b
            read_pairs(ring, at, place, c, factor, 2 * c, ones, 0, n, out, a * LANES, out)


@entry
def delayed_tile(tile, sizes, backward, taps, x, y, gradient):
    """Forward: y from x. Backward: from the gradient of the output, on its clock, that of the input; time runs down."""
    steps, after, shift, batch, senders, receivers, window = sizes
    real = x.dtype.type
    whole_in, whole_out = (senders + LANES - 1) // LANES * LANES, (receivers + LANES - 1) // LANES * LANES
    scratch = aligned(LANES * max(whole_in, whole_out), real)
    values = aligned(whole_in * LANES, real)
    arrived = aligned(whole_out * LANES, real)
    ones = np.ones(NEAR, real)
    index, value = np.empty(receivers, np.int32), np.empty(receivers, real)
    lines = window + 1 + SLACK
    ring = aligned(senders * lines * LANES, real)
    position = SLACK
    first_row = tile * LANES
    rows = min(LANES, batch - first_row)
    total = max(steps, shift + after)
    for j in range(total - min(0, shift)):
        clock = total - 1 - j if backward else j + min(0, shift)
        arrives = clock - shift if backward else clock
        count = after if backward else steps
        if 0 <= arrives < count:
            scratch[:] = 0
            load_lanes(x, (arrives * batch + first_row) * senders, rows, senders, whole_in, scratch, values)
        else:
            values[:] = 0
        position = push(senders, lines, position, values, ring)
        leaves = clock if backward else clock - shift
        count = steps if backward else after
        if leaves < 0 or leaves >= count:
            continue
        read(receivers, senders, lines, position, taps.place, taps.factor, ones, ring, arrived)
        at = (leaves * batch + first_row) * receivers
        store_rows(arrived, whole_out, rows, receivers, scratch, taps.offset, y, at)
        if backward:
            for b in range(rows):
                r = leaves * batch + first_row + b
                for e in range(list_row(gradient.inputs, r * receivers, receivers, index, value, 0)):
                    v = value[e]
                    c = index[e] * senders
                    for o in range(senders):
                        near = (o * lines + position + get(gradient.place, c + o)) * LANES + b
                        put(gradient.factor, 2 * (c + o), get(gradient.factor, 2 * (c + o)) + v * get(ring, near))
                        after_sum = get(gradient.factor, 2 * (c + o) + 1) + v * get(ring, near + LANES)
                        put(gradient.factor, 2 * (c + o) + 1, after_sum)
