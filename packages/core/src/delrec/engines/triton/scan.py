"""The two passes of the scan as launches, and what autograd sees of them."""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

import torch
import triton.language as tl
from torch import Tensor
from torch.autograd.graph import increment_version

from delrec.engines.fused import Inputs
from delrec.engines.gradients import refuse_twice
from delrec.engines.triton.codegen import kernels_for
from delrec.engines.triton.recurrence import Recurrence, recurrence_of
from delrec.engines.triton.synaptic import LONGEST, connection_gradients
from delrec.engines.triton.tiles import (
    Tiles,
    connection_tiles,
    connections_of,
    launch,
    parts_of,
    processors_of,
    tiles_for,
)
from delrec.neurons import Neuron

__all__ = ["Plan", "Scan", "backward", "forward", "plan_of"]

_REALS = {torch.float32: tl.float32, torch.float64: tl.float64}


class Plan(NamedTuple):
    """How a scan was run, and so how it is run back."""

    recurrence: Recurrence | None
    module: ModuleType
    tiles: Tiles
    precision: str


def plan_of(neuron: Neuron, inputs: Inputs, reach: int, given: int, keep_current: bool, precision: str) -> Plan:
    """Return how a scan is run.

    inputs.current need not hold values. reach: a tap that none is longer than. given: how many steps of the history are
    not those of rest.
    """
    steps, batch, size = inputs.current.shape
    dtype, device = inputs.current.dtype, inputs.current.device
    module = kernels_for(neuron, dtype, keep_current)
    recurrence = recurrence_of(inputs, reach, given) if inputs.weight is not None else None
    if recurrence is not None and recurrence.kind == 2:
        number = _kept(recurrence.slots(steps), dtype).itemsize
        tiles = connection_tiles(size, batch, processors_of(device), number)
    else:
        tiles = tiles_for(size, batch, dtype, precision)
    return Plan(recurrence, module, tiles, precision)


def forward(inputs: Inputs, plan: Plan, keep: bool, spend: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Return spikes (T, B, N), states (planes, T, B, N), the last two steps' only without `keep`, and bits.

    spend: states may lie where the current was, if they are of its size.
    """
    current, weight, history = inputs.current.contiguous(), inputs.weight, inputs.history
    steps, batch, size = current.shape
    recurrence, module, tiles, precision = plan
    kind = 0 if recurrence is None else recurrence.kind
    spikes = torch.empty_like(current)
    held = steps if keep else min(steps, 2)
    if spend and (module.PLANES, held) == (1, steps):
        # a state is made of the very number that it replaces; no second warp reads that one, since a tile has as many
        # numbers as a program has threads, or the program is one warp, whose threads read together before they write
        states = current.detach().unsqueeze(0)
        increment_version(current)  # whoever kept it for the backward pass is told
    else:
        states = current.new_empty(module.PLANES, held, batch, size)
    none = current.new_empty(0)
    words = none.int()
    transposed = z = live = running = none
    tables: tuple[Tensor, ...] = (none, none, none)
    prefix = past = slots = 0
    if recurrence is not None:
        assert weight is not None
        prefix, past = recurrence.prefix, recurrence.past
        words, slots = recurrence.pack(history, steps), recurrence.slots(steps)
        transposed = recurrence.heights(weight).t().contiguous()
        tables = (*recurrence.by_sender(), recurrence.words if kind == 1 else recurrence.longest)
        if kind == 1:
            z, live = _handed_over(2, tiles, batch, size, current), words.new_empty(tiles.programs, size + tiles.deep)
        else:
            slots *= 2
            z, running = _lines(tiles, size, slots + 1, slots // 2, current)
            z.zero_()
    mask, masked = _mask(inputs)
    launch(
        module.forward_scan, (tiles.programs,), tiles.options,
        current, transposed, *tables, mask, inputs.coef.contiguous(), history[-1].contiguous(),
        inputs.start.contiguous(), states, spikes, words, z, live, running, steps, batch, size, held, prefix, past,
        slots - 1,
        **_constants(size, tiles, precision, kind, masked, module),
    )  # fmt: skip
    return spikes, states, words


def backward(
    inputs: Inputs, states: Tensor, bits: Tensor, plan: Plan, grads: tuple[Tensor | None, Tensor | None, Tensor | None],
    needs: tuple[bool, ...],
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """Return the gradients of `inputs` (None for the mask) from those of spikes, trace and final states.

    inputs.current need not hold values: its shape is enough. needs: which gradients are wanted, in the order of
    `inputs`.
    """
    current, weight, delay, width, _, coef, start, history = inputs
    steps, batch, size = current.shape
    _, need_weight, need_delay, need_width, _, need_coef, need_start, need_history = needs
    recurrence, module, tiles, precision = plan
    none = coef.new_empty(0)
    g_x = coef.new_empty(steps, batch, size)
    carry = coef.new_zeros(1 + len(start), batch, size)
    g_spikes, g_trace, g_final = (None if g is None else g.to(coef.dtype).contiguous() for g in grads)
    if g_final is not None:
        carry[1:] = g_final
    g_coef = torch.zeros(tiles.programs if need_coef else 0, *coef.shape, dtype=torch.float64, device=coef.device)
    need_taps = recurrence is not None and (need_delay or need_width)
    own = sent = ring = running = none
    tables: tuple[Tensor, ...] = (none, none, none)
    kind = prefix = past = slots = 0
    if recurrence is not None:
        assert weight is not None
        kind, prefix = recurrence.kind, recurrence.prefix
        past = recurrence.past if need_history or need_taps or (kind == 2 and need_weight) else 0
        own, tables = recurrence.heights(weight).contiguous(), (recurrence.tables, recurrence.edges, recurrence.longest)
        slots = recurrence.slots(steps)
        if kind == 1:
            sent = _handed_over(1, tiles, batch, size, coef)
            ring = coef.new_empty(tiles.programs, size, slots, tiles.rows)
            running = coef.new_zeros(3, tiles.programs, size, tiles.rows)
        else:
            sent, running = _lines(tiles, size, steps + past + 2, slots, coef)
            sent[..., -2:, :] = 0
    counted = tiles.programs if kind == 1 and need_taps else 0
    sums = torch.zeros(counted, 3, size, dtype=torch.float64, device=coef.device)
    g_past = coef.new_zeros(past, batch, size)
    mask, masked = _mask(inputs)
    launch(
        module.backward_scan, (tiles.programs,), tiles.options,
        own, *tables, mask, coef.contiguous(), states, history[-1].contiguous(), start.contiguous(), bits, ring, sent,
        running, none if g_spikes is None else g_spikes, none if g_trace is None else g_trace, g_x, carry, g_past,
        sums, g_coef, steps, batch, size, prefix, past, slots - 1,
        **_constants(size, tiles, precision, kind, masked, module),
        SPIKES_GIVEN=g_spikes is not None, TRACE_GIVEN=g_trace is not None, TAPS=counted > 0, COEF=need_coef,
    )  # fmt: skip
    g_weight = g_delay = g_width = g_history = None
    if kind == 1 and need_weight:
        g_weight = _weight_gradient(plan, bits, g_x, mask, masked)
    taps = sums.sum(0)
    if recurrence is not None and kind == 2 and (need_weight or need_taps):
        taps = _connection_gradients(recurrence, bits, sent, batch, past, coef.dtype)
        g_weight = taps[0].t() if need_weight else None
    if recurrence is not None and need_taps:
        assert weight is not None and delay is not None and width is not None
        g_delay, g_width = (
            g.sum_to_size(like.shape).to(like.dtype)
            for g, like in zip(recurrence.gradients(weight.detach(), taps), (delay, width), strict=True)
        )
    if need_history:
        g_history = torch.zeros_like(history)
        if past:
            g_history[-past:] = g_past
        g_history[-1] += carry[0]
    return (
        g_x, g_weight, g_delay, g_width, None, g_coef.sum(0).to(coef.dtype) if need_coef else None,
        carry[1:] if need_start else None, g_history,
    )  # fmt: skip


class Scan(torch.autograd.Function):
    """The scan with its adjoint; gives spikes, final states and, if asked for, the trace."""

    @staticmethod
    def forward(
        ctx: Any, neuron: Neuron, reach: int, given: int, keep: bool, keep_current: bool, with_trace: bool,
        spend: bool, precision: str, *tensors: Tensor | None,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """See `forward`."""
        inputs = Inputs(*tensors)  # type: ignore[arg-type]
        ctx.plan = plan_of(neuron, inputs, reach, given, keep_current, precision)
        spikes, states, bits = forward(inputs, ctx.plan, keep, spend and not with_trace)
        final = states[: len(inputs.start), (len(spikes) - 1) % states.shape[1]].clone()
        ctx.shape = inputs.current.shape
        # everything through save_for_backward, so that an edit in place before the backward pass is an error
        ctx.save_for_backward(*inputs[1:], states, bits)
        ctx.set_materialize_grads(False)
        return (spikes, final, states) if with_trace else (spikes, final)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """See `backward`."""
        refuse_twice("triton")
        *saved, states, bits = ctx.saved_tensors
        inputs = Inputs(states.new_empty(()).expand(ctx.shape), *saved)
        spikes, final, *rest = grads
        incoming = (spikes, rest[0] if rest else None, final)
        return (None,) * 8 + backward(inputs, states, bits, ctx.plan, incoming, ctx.needs_input_grad[8:])


def _weight_gradient(plan: Plan, bits: Tensor, g_x: Tensor, mask: Tensor, masked: int) -> Tensor:
    """Return dW, one product over all steps after the scan: inside it, every program would need a sum of its own."""
    (steps, batch, size), recurrence = g_x.shape, plan.recurrence
    assert recurrence is not None
    shape = parts_of(size, steps)
    parts = g_x.new_empty(shape.parts, size, size)
    launch(
        plan.module.weight_gradient, shape.grid, shape.options,
        g_x, mask, recurrence.tables, recurrence.edges, recurrence.words, bits, parts, steps, batch,
        recurrence.prefix, shape.share, SIZE=size, **shape.constants, PRECISION=plan.precision, MASKED=masked,
    )  # fmt: skip
    return parts.sum(0)


def _handed_over(lists: int, tiles: Tiles, batch: int, size: int, like: Tensor) -> Tensor:
    """Return room for what a step hands to its product, see `products`."""
    if tiles.dot:
        return like.new_empty(batch, size)
    return like.new_zeros(lists, tiles.programs, size + tiles.deep, tiles.rows)


def _lines(tiles: Tiles, size: int, length: int, block: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return room for `synaptic`'s lines, and its sums, which begin at 0."""
    lines = like.new_empty(tiles.programs, size, 2, length, tiles.rows, dtype=_kept(block, like.dtype))
    return lines, lines.new_zeros(2, 4, tiles.programs, size, tiles.rows)


def _kept(block: int, real: torch.dtype) -> torch.dtype:
    """Return in which precision `synaptic`'s sums are kept, in blocks of `block` places."""
    return torch.float64 if block > LONGEST else real


def _connection_gradients(
    recurrence: Recurrence, bits: Tensor, sent: Tensor, batch: int, past: int, real: torch.dtype
) -> Tensor:
    """Return the sums (3, N, N), [sender, receiver], that `Recurrence.gradients` takes; the first is dW."""
    size, length, rows = sent.shape[1], sent.shape[3], sent.shape[4]
    sums = sent.new_empty(3, size, size, dtype=real)
    shape = connections_of(size)
    launch(
        connection_gradients, shape.grid, shape.options,
        sent, *recurrence.by_sender(), recurrence.longest, bits, sums, batch, recurrence.prefix, len(bits), past,
        length - 2, recurrence.slots(length), SIZE=size, ROWS=rows, **shape.constants, REAL=_REALS[real],
    )  # fmt: skip
    return sums


def _constants(size: int, tiles: Tiles, precision: str, kind: int, masked: int, module: ModuleType) -> dict[str, Any]:
    """Return the constants that both passes are compiled for."""
    return {
        "SIZE": size, "ROWS": tiles.rows, "COLS": tiles.cols, "DEEP": tiles.deep, "DOT": tiles.dot,
        "PRECISION": precision, "KIND": kind, "MASKED": masked, "KEEP_CURRENT": module.KEEPS_CURRENT,
    }  # fmt: skip


def _mask(inputs: Inputs) -> tuple[Tensor, int]:
    """Return the mask as kernels take it, and 0 for none, 1 for one that holds all steps, 2 for one a step."""
    coef, mask = inputs.coef, inputs.mask
    if mask is None or inputs.weight is None:
        return coef.new_empty(0), 0
    shape = inputs.current.shape if mask.dim() == 3 else inputs.current.shape[1:]
    return mask.to(coef.dtype).expand(shape).contiguous(), 1 if mask.dim() == 2 else 2
