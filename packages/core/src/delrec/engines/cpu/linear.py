"""A linear map for spikes: work follows the events, and the graph keeps a list of them instead of the input."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from delrec.engines.cpu import linear_kernels as kernels
from delrec.engines.cpu.common import GROUPS, Array, chunks, flat, mostly_zero, padded, padded_rows
from delrec.engines.gradients import refuse_twice
from delrec.engines.threads import parallel

__all__ = ["EventList", "backward", "events_of", "forward", "spike_linear", "suits"]

_SPARSE_SHARE = 0.35  # share of inputs that are not zero, above which the dense product is as fast
_TILE = 128  # rows whose events are sorted by sender at a time


class EventList(NamedTuple):
    """What is not zero in (T, B, N): where each row begins, columns (uint16 bits), values (none if all are 1)."""

    first: Tensor
    column: Tensor
    value: Tensor


def suits(inputs: Tensor) -> bool:
    """Return whether the sparse product takes (T, B, N) and is the faster one, by a sample of its rows."""
    return inputs.shape[-1] <= 65535 and mostly_zero(inputs, _SPARSE_SHARE)


def spike_linear(inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor | None:
    """Return inputs weight^T + bias, at a cost proportional to the inputs that are not zero.

    inputs: (T, B, N_in), spikes or any values. weight: (N_out, N_in). bias: (N_out,). Returns (T, B, N_out), or None
    where more than 35 percent of a sample of the inputs are not zero, and for other devices and dtypes.
    """
    if torch.compiler.is_compiling() and inputs.dim() == 3:
        from delrec.engines.cpu import operators

        compiled: Tensor = operators.spike_linear(inputs, weight, bias)
        return compiled
    if not suits(inputs):
        return None
    out: Tensor = _SpikeLinear.apply(inputs, weight.to(inputs.dtype), bias)
    return out


def forward(inputs: Tensor, weight: Tensor, bias: Tensor | None, keep: bool) -> tuple[Tensor, EventList | None]:
    """Return the product, and the events if they are to be kept."""
    steps, batch, size = inputs.shape
    outputs = weight.shape[0]
    sizes, wt = (size, outputs, padded(outputs)), padded_rows(weight.t())
    out = inputs.new_empty(steps, batch, outputs)
    x, y = flat(inputs), flat(out)
    offset = x[:0] if bias is None else flat(bias.to(inputs.dtype))
    events, cut = _room(x, size), chunks(steps * batch)
    ones = [False] * len(cut)

    def run(j: int) -> None:
        ones[j] = kernels.forward_rows(*cut[j], sizes, x, wt, offset, y, events)

    parallel(run, len(cut))
    return out, _packed(events, cut, size, all(ones)) if keep else None


def events_of(inputs: Tensor) -> EventList:
    """List what is not zero in (T, B, N)."""
    x, size = flat(inputs), inputs.shape[-1]
    events, cut = _room(x, size), chunks(inputs.shape[0] * inputs.shape[1])
    ones = [False] * len(cut)

    def run(j: int) -> None:
        ones[j] = kernels.list_rows(*cut[j], size, x, events)

    parallel(run, len(cut))
    return _packed(events, cut, size, all(ones))


def _room(x: Array, size: int) -> kernels.Events:
    """Make room for a full row each; pages that no event reaches are never touched."""
    return kernels.Events(np.empty(len(x), np.uint16), np.empty(len(x), x.dtype), np.empty(len(x) // size, np.int64))


def _packed(events: kernels.Events, cut: list[tuple[int, int]], size: int, ones: bool) -> EventList:
    first = np.zeros(len(events.count) + 1, np.int64)
    np.cumsum(events.count, out=first[1:])
    index = torch.empty(int(first[-1]), dtype=torch.int16)
    value = torch.from_numpy(np.empty(0 if ones else int(first[-1]), events.value.dtype))
    to, to_value = index.numpy().view(np.uint16), value.numpy()
    parallel(lambda j: kernels.pack_rows(*cut[j], size, events, first, to, to_value), len(cut))
    return EventList(torch.from_numpy(first.astype(np.int32)), index, value)


def backward(
    g: Tensor, weight: Tensor, events: EventList, needs: tuple[bool, bool, bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return the gradients of input, weight and bias (in float64) from that of the output, where needed."""
    steps, batch, outputs = g.shape
    rows, size = steps * batch, weight.shape[1]
    flat_g = flat(g)
    g_x = g_weight = g_bias = None
    if needs[0]:
        g_x = weight.new_empty(steps, batch, size)
        out, w, cut = flat(g_x), padded_rows(weight), chunks(rows)
        back = (size, outputs, padded(size))
        parallel(lambda j: kernels.input_rows(*cut[j], back, flat_g, w, out, 64), len(cut))
    if needs[1] or needs[2]:
        sizes = (size, outputs, padded(outputs))
        groups = chunks(rows, max(_TILE, (rows + GROUPS - 1) // GROUPS))
        parts = weight.new_zeros(len(groups), size * padded(outputs))
        sums = torch.zeros(len(groups), outputs, dtype=torch.float64)
        first, index, value = events.first.numpy(), events.column.numpy().view(np.uint16), events.value.numpy()
        to, to_bias = parts.numpy(), sums.numpy()

        def run(j: int) -> None:
            kernels.weight_rows(*groups[j], sizes, flat_g, first, index, value, to[j], to_bias[j], _TILE)

        parallel(run, len(groups))
        g_weight = parts.sum(0).view(size, padded(outputs))[:, :outputs].t() if needs[1] else None
        g_bias = sums.sum(0) if needs[2] else None
    return g_x, g_weight, g_bias


class _SpikeLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        keep = any(ctx.needs_input_grad)
        out, events = forward(inputs, weight, bias, keep)
        if events is not None:
            ctx.bias_dtype = None if bias is None else bias.dtype
            ctx.save_for_backward(weight, *events)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        refuse_twice("cpu")
        weight, *events = ctx.saved_tensors
        g_x, g_weight, g_bias = backward(grads[0], weight, EventList(*events), ctx.needs_input_grad)
        return g_x, g_weight, None if g_bias is None else g_bias.to(ctx.bias_dtype)
