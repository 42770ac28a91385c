"""Feedforward delays (DCLS, version v1, one element) on the cpu engine: two taps a connection instead of a window.

A dense convolution multiplies every input with all K taps of every connection, of which two are not zero. Here a tile
of the batch reads those two; and the gradient of a kernel follows the input's events.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from delrec.delays import window_taps
from delrec.engines.cpu import delays_kernels as kernels
from delrec.engines.cpu.common import GROUPS, Array, flat, mostly_zero, tile_count
from delrec.engines.cpu.kernels import SLACK
from delrec.engines.cpu.linear import EventList, events_of
from delrec.engines.cpu.synaptic_kernels import NEAR
from delrec.engines.cpu.vector import LANES
from delrec.engines.gradients import refuse_twice
from delrec.engines.threads import parallel

__all__ = ["Window", "backward", "delayed_linear", "forward", "suits"]

# share of inputs that are not zero, above which the dense convolution trains faster (docs/engines.md)
_SPARSE_SHARE = 0.6

Window = tuple[int, int, int]  # taps, and zeros to the left and right of the sequence


def suits(inputs: Tensor, window: int) -> bool:
    """Return whether `delayed_linear` takes (T, B, inputs) and is the faster way, by a sample of its rows."""
    return window >= 2 and inputs.shape[-1] <= 65535 and mostly_zero(inputs, _SPARSE_SHARE)


def delayed_linear(
    inputs: Tensor, weight: Tensor, position: Tensor, bias: Tensor | None, window: int, left: int, right: int
) -> Tensor | None:
    """Return y of `delrec.feedforward.FeedforwardDelays` for the kernel "v1", or None where the convolution is better.

    inputs: (T, B, N_in). weight: (N_out, N_in). position: (N_out|1, N_in|1), relative to the window's centre. bias:
    (N_out,) or None. left, right: zeros around the sequence. Returns (T + left + right - window + 1, B, N_out).
    """
    compiling = torch.compiler.is_compiling()
    if window < 2 or inputs.dtype not in (torch.float32, torch.float64) or not (compiling or suits(inputs, window)):
        return None
    dtype = inputs.dtype
    factor, place = window_taps(weight, position, window, dtype)
    offset = None if bias is None else bias.to(dtype)
    if compiling:
        from delrec.engines.cpu import operators

        compiled: Tensor = operators.delayed_linear(inputs, factor, place, offset, window, left, right)
        return compiled
    out: Tensor = _Delayed.apply(inputs, factor, place, offset, (window, left, right))
    return out


def _sizes(steps: int, batch: int, senders: int, receivers: int, padding: Window) -> kernels.Sizes:
    window, left, right = padding
    return kernels.Sizes(steps, steps + left + right - window + 1, window - 1 - left, batch, senders, receivers, window)


def _elements(place: Tensor, window: int) -> Array:
    """Return (readers, rings) of steps as elements from the first of the rings on that are read together."""
    rings = torch.arange(place.shape[1], dtype=torch.int32) % NEAR * (window + 1 + SLACK)
    return flat((place + rings) * LANES)


def forward(inputs: Tensor, factor: Tensor, place: Tensor, offset: Tensor | None, padding: Window) -> Tensor:
    """Return the output; factor: (N_out, N_in, 2), place: (N_out, N_in), int32."""
    steps, batch, size = inputs.shape
    outputs = factor.shape[0]
    sizes = _sizes(steps, batch, size, outputs, padding)
    out = inputs.new_empty(sizes.after, batch, outputs)
    x, y, whole = flat(inputs), flat(out), np.zeros(0, np.int32)
    taps = kernels.Taps(_elements(place, padding[0]), flat(factor), x[:0] if offset is None else flat(offset))
    nothing = kernels.Gradient(whole, whole.view(np.uint16), x[:0], whole, x[:0])
    parallel(lambda tile: kernels.delayed_tile(tile, sizes, False, taps, x, y, nothing), tile_count(batch))
    return out


def backward(
    g: Tensor, factor: Tensor, place: Tensor, events: EventList, steps: int, padding: Window
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of inputs, factor and offset."""
    outputs, size = place.shape
    batch = g.shape[1]
    tiles = tile_count(batch)
    groups = min(tiles, GROUPS)
    forth = _sizes(steps, batch, size, outputs, padding)
    sizes = forth._replace(senders=outputs, receivers=size)
    g_x, g_factor = g.new_empty(steps, batch, size), g.new_zeros(groups, size * outputs * 2)
    flat_g, y, back = flat(g), flat(g_x), flat(place.t())
    taps = kernels.Taps(_elements(place.t(), padding[0]), flat(factor.transpose(0, 1)), flat_g[:0])
    values = events.value if len(events.value) else events.value.new_ones(1).expand(len(events.column))
    lists = (events.first.numpy(), events.column.numpy().view(np.uint16), flat(values))

    def run(group: int) -> None:
        gradient = kernels.Gradient(*lists, back, flat(g_factor[group]))
        for tile in range(group, tiles, groups):
            kernels.delayed_tile(tile, sizes, True, taps, flat_g, y, gradient)

    parallel(run, groups)
    total = g_factor.sum(0).view(size, outputs, 2).transpose(0, 1)
    return g_x, total, g.flatten(0, 1).sum(0)


class _Delayed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, factor: Tensor, place: Tensor, offset: Tensor | None, padding: Window
    ) -> Tensor:
        ctx.steps, ctx.padding = inputs.shape[0], padding
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(factor, place, *events_of(inputs))
        return forward(inputs, factor, place, offset, padding)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        refuse_twice("cpu")
        factor, place, *events = ctx.saved_tensors
        g = grads[0].contiguous()
        g_x, g_factor, g_offset = backward(g, factor, place, EventList(*events), ctx.steps, ctx.padding)
        return g_x, g_factor, None, g_offset if ctx.needs_input_grad[3] else None, None
