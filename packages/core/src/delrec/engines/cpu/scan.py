"""The two passes of the scan on tensors, and what autograd sees of them.

`forward` and `backward` are functions of tensors alone: `Scan` puts them in autograd's graph, `operators` in a compiled
one.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from delrec.engines.cpu.arguments import Given, Incoming, Shape, Sums, Wanted
from delrec.engines.cpu.codegen import kernels_for
from delrec.engines.cpu.common import GROUPS, Array, flat, padded, real, tile_count
from delrec.engines.cpu.recurrence import Recurrence, recurrence_of
from delrec.engines.cpu.vector import LANES
from delrec.engines.fused import Inputs
from delrec.engines.gradients import refuse_twice
from delrec.engines.threads import parallel
from delrec.neurons import Neuron
from delrec.rules import neuron_rules

__all__ = ["Scan", "backward", "forward", "pack"]


def forward(
    neuron: Neuron, inputs: Inputs, keep: bool, keep_current: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Recurrence, ModuleType]:
    """Return spikes (T, B, N), trace, final states (states, B, N), spike bits, the tables, and the kernels.

    trace: (planes, T, B, N) if `keep`, else the last two steps only; the states before the reset come first.
    """
    current, weight, history = inputs.current, inputs.weight, inputs.history
    steps, batch, size = current.shape
    given, taken = len(inputs.coef), neuron_rules(neuron).coefficients
    if given != taken:
        raise ValueError(f"{type(neuron).__name__}: coefficients() returns {given}, step takes {taken}")
    recurrence = recurrence_of(weight, inputs.delay, inputs.width, current, history.shape[0])
    module = kernels_for(neuron, real(current.dtype), recurrence.kind, keep_current)
    tiles = tile_count(batch)
    held = steps if keep else min(steps, 2)
    spikes = torch.empty_like(current, memory_format=torch.contiguous_format)
    trace = current.new_empty(module.PLANES, held, batch, size)
    bits = torch.zeros(0 if weight is None else tiles, size, recurrence.prefix + steps, dtype=torch.int16)
    if weight is not None:
        pack(bits, history[-recurrence.past :], recurrence.prefix)
    shape = _shape((steps, batch, size), held, recurrence)
    read, tables = _given(neuron, inputs, shape), recurrence.forward(weight)
    x, words, out, states = flat(current), flat(bits).view(np.uint16), flat(spikes), flat(trace)
    parallel(lambda tile: module.forward_tile(tile, shape, read, tables, x, out, states, words), tiles)
    final = trace[: len(inputs.start), (steps - 1) % held].clone()
    return spikes, trace, final, bits, recurrence, module


def backward(
    neuron: Neuron, module: ModuleType, recurrence: Recurrence, inputs: Inputs, trace: Tensor, bits: Tensor,
    grads: tuple[Tensor | None, Tensor | None, Tensor | None], needs: tuple[bool, ...],
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """Return the gradients of `inputs` (None for the mask) from those of spikes, trace and final states.

    inputs.current need not hold values: its shape is enough. needs: which gradients are wanted, in the order of
    `inputs`.
    """
    current, weight, delay, width, _, coef, start, history = inputs
    steps, batch, size = current.shape
    _, need_weight, need_delay, need_width, _, need_coef, need_start, need_history = needs
    need_taps, wanted = need_delay or need_width, need_start or need_history
    shape = _shape((steps, batch, size), steps, recurrence)
    groups = min(tile_count(batch), GROUPS)
    # the sums of a synaptic half-width are made of those of the weight
    sum_weight = need_weight or (need_taps and recurrence.kind == "synaptic")
    g_x = coef.new_empty(steps, batch, size)
    g_wt = coef.new_zeros(groups, shape.row * shape.row if sum_weight else 0)
    g_coef = torch.zeros(groups, coef.numel(), dtype=torch.float64)
    g_start = coef.new_zeros((1 + len(start), batch, size) if wanted else (0,))
    g_past = coef.new_zeros(recurrence.past, batch, size)
    recurrence.start_gradients(weight, groups)
    given = _given(neuron, inputs, shape)
    empty = coef.new_zeros(0)
    parts: list[Any] = []
    for g in grads:
        parts += [flat(empty if g is None else g.to(coef.dtype)), int(g is not None)]
    incoming = Incoming(*parts)
    asked = Wanted(int(sum_weight), int(need_taps), int(need_coef), int(wanted))
    states, words = flat(trace), flat(bits).view(np.uint16)
    out, starts, pasts, weights, coefs = flat(g_x), flat(g_start), flat(g_past), g_wt.numpy(), g_coef.numpy()

    def run(group: int) -> None:
        tables, sums = recurrence.backward(group), Sums(out, weights[group], coefs[group], starts, pasts)
        for tile in range(group, tile_count(batch), groups):
            module.backward_tile(tile, shape, given, tables, states, words, incoming, asked, sums)

    parallel(run, groups)
    g_delay = g_width = g_history = None
    g_weight = g_wt.sum(0).view(shape.row, shape.row)[:size, :size] if sum_weight else empty
    if need_taps:
        assert weight is not None and delay is not None and width is not None
        g_delay, g_width = (
            g.sum_to_size(like.shape).to(like.dtype)
            for g, like in zip(recurrence.gradients(weight, g_weight), (delay, width), strict=True)
        )
    if need_history:
        g_history = torch.zeros_like(history)
        if recurrence.past:
            g_history[-recurrence.past :] = g_past
        g_history[-1] += g_start[0]
    return (
        g_x, g_weight.t() if need_weight else None, g_delay, g_width, None,
        g_coef.sum(0).view_as(coef).to(coef.dtype) if need_coef else None,
        g_start[1:] if need_start else None, g_history,
    )  # fmt: skip


class Scan(torch.autograd.Function):
    """The scan with its adjoint; gives spikes, final states and, if asked for, the trace."""

    @staticmethod
    def forward(
        ctx: Any, neuron: Neuron, keep: bool, keep_current: bool, with_trace: bool, *tensors: Tensor | None
    ) -> tuple[Tensor, ...]:
        """See `forward`."""
        inputs = Inputs(*tensors)  # type: ignore[arg-type]
        spikes, trace, final, bits, ctx.recurrence, module = forward(neuron, inputs, keep, keep_current)
        # the kernels stay: a rule that changes before the backward pass is not the one that ran
        ctx.neuron, ctx.module, ctx.shape = neuron, module, inputs.current.shape
        # everything through save_for_backward, so that an edit in place before the backward pass is an error
        ctx.save_for_backward(*inputs[1:], trace, bits)
        ctx.set_materialize_grads(False)
        return (spikes, final, trace) if with_trace else (spikes, final)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """See `backward`."""
        refuse_twice("cpu")
        *saved, trace, bits = ctx.saved_tensors
        inputs = Inputs(trace.new_empty(()).expand(ctx.shape), *saved)
        spikes, final, *rest = grads
        incoming = (spikes, rest[0] if rest else None, final)
        needs = ctx.needs_input_grad[4:]
        return (None,) * 4 + backward(ctx.neuron, ctx.module, ctx.recurrence, inputs, trace, bits, incoming, needs)


def _shape(sizes: tuple[int, int, int], held: int, recurrence: Recurrence) -> Shape:
    recurrent = int(recurrence.prefix > 0)
    return Shape(*sizes, padded(sizes[2]), held, recurrence.prefix, recurrence.past, recurrent)


def _given(neuron: Neuron, inputs: Inputs, shape: Shape) -> Given:
    coef, mask = inputs.coef, inputs.mask
    mask_part: tuple[Array, int, int] = (flat(coef.new_zeros(0)), 0, 0)
    if mask is not None and shape.recurrent:
        full = mask.to(coef.dtype).expand(shape[:3] if mask.dim() == 3 else shape[1:3])
        mask_part = (flat(full), 1, shape.batch * shape.size if mask.dim() == 3 else 0)
    params = np.array((*neuron.surrogate.params, float(not neuron.detach_reset)), real(coef.dtype))
    return Given(*mask_part, flat(coef), params, flat(inputs.history[-1]), flat(inputs.start))


def pack(bits: Tensor, history: Tensor, prefix: int) -> None:
    """Write past spikes (K, B, N) in front of step 0: bit b of bits[tile, n, prefix - K + j]."""
    past, batch, size = history.shape
    rows = torch.zeros(past, bits.shape[0] * LANES, size, dtype=torch.int32)
    rows[:, :batch] = (history.detach() > 0).to(torch.int32)
    shifts = torch.arange(LANES, dtype=torch.int32).view(1, 1, LANES, 1)
    packed = (rows.view(past, -1, LANES, size) << shifts).sum(2, dtype=torch.int32)
    bits[:, :, prefix - past : prefix] = packed.permute(1, 2, 0).to(torch.int16)
