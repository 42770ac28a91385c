"""The two passes of the scan as launches, as `engines.ops` calls them."""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from delrec.delays import kernel_length
from delrec.engines.fused import Grads, Inputs
from delrec.engines.triton.axonal import sender_gradients
from delrec.engines.triton.codegen import kernels_for
from delrec.engines.triton.recurrence import COLS, Recurrence, recurrence_of
from delrec.engines.triton.synaptic import LONGEST, connection_gradients
from delrec.engines.triton.tiles import (
    OPTIONS,
    Tiles,
    connection_tiles,
    connections_of,
    launch,
    parts_of,
    precision_of,
    processors_of,
    tiles_for,
)
from delrec.neurons import Neuron

__all__ = ["Plan", "backward", "forward", "plan_of", "room"]


class Plan(NamedTuple):
    """How a scan is run, and so how it is run back."""

    recurrence: Recurrence | None
    module: ModuleType
    tiles: Tiles
    precision: str

    @property
    def kind(self) -> int:
        """0 without recurrence, 1 with one delay per sender, 2 with one per connection."""
        return 0 if self.recurrence is None else self.recurrence.kind


def plan_of(neuron: Neuron, inputs: Inputs, limit: int | None) -> Plan:
    """Return how a scan is run; limit: a tap that none is longer than. inputs.current need not hold values."""
    steps, batch, size = inputs.current.shape
    dtype, device = inputs.current.dtype, inputs.current.device
    module, precision, recurrence = kernels_for(neuron, dtype), precision_of(dtype), None
    if inputs.delay is not None and inputs.width is not None:
        # to read the longest delay waits for the device: not where `max_delay` is set
        reach = kernel_length(inputs.delay, inputs.width) - 1 if limit is None else limit
        past = past_of(len(inputs.history), limit)
        recurrence = recurrence_of(inputs, reach)._replace(past=past, prefix=(past + 31) // 32)
    if recurrence is not None and recurrence.kind == 2:
        number = _kept(recurrence.slots(steps), dtype).itemsize
        tiles = connection_tiles(size, batch, processors_of(device), number)
    else:
        tiles = tiles_for(size, batch, dtype, precision)
    return Plan(recurrence, module, tiles, precision)


def past_of(given: int, limit: int | None) -> int:
    """Return how many of the given steps may be met, which no delay is asked for: the bits' shape hangs on it."""
    return given if limit is None else min(given, limit)


def room(neuron: Neuron, inputs: Inputs, limit: int | None) -> tuple[int, Tensor]:
    """Return how many planes are kept, and room for the bits of the spikes, words of 32 steps, the given ones first."""
    steps, batch, size = inputs.current.shape
    words = 0
    if inputs.delay is not None:
        words = (past_of(len(inputs.history), limit) + 31) // 32 + (steps + 31) // 32
    return len(neuron.rules(inputs.current.dtype).kept), inputs.current.new_empty(words, batch, size, dtype=torch.int32)


def forward(
    neuron: Neuron, inputs: Inputs, limit: int | None, keep: bool, trace: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See `ops.Passes`."""
    plan = plan_of(neuron, inputs, limit)
    current, history = inputs.current.contiguous(), inputs.history
    steps, batch, size = current.shape
    recurrence, module, tiles, _ = plan
    count, words = room(neuron, inputs, limit)
    spikes, states = torch.empty_like(current), inputs.start.detach().clone(memory_format=torch.contiguous_format)
    traced = current.new_empty(len(states), steps if trace else 0, batch, size)
    planes = current.new_empty(count, steps if keep else 0, batch, size)
    none = current.new_empty(0, dtype=torch.int32)
    weight = tables = edges = z = live = running = none
    prefix = past = slots = 0
    if recurrence is not None:
        prefix, past, slots = recurrence.prefix, recurrence.past, recurrence.slots(steps)
        weight, tables, edges = recurrence.tables(by_sender=True)
        if plan.kind == 1:
            z, live = _handed_over(2, tiles, batch, size, current), none.new_empty(tiles.programs, size + tiles.deep)
        else:
            slots *= 2
            z, running = _lines(tiles, size, slots + 1, slots // 2, current, torch.zeros)
    mask, masked = _mask(inputs)
    launch(
        module.forward_scan, (tiles.programs,), tiles.options,
        current, weight, tables, edges, mask, _coefficients(inputs), history.contiguous(), states, traced, planes,
        spikes, words, z, live, running, steps, batch, size, len(history), prefix, past, slots - 1,
        **_constants(size, plan, masked), TRACED=trace, KEEP=keep,
    )  # fmt: skip
    return spikes, states, traced, planes, words


def backward(
    neuron: Neuron, inputs: Inputs, limit: int | None, kept: Tensor, bits: Tensor, grads: Grads,
    needs: tuple[bool, ...],
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """See `ops.Passes`."""
    plan = plan_of(neuron, inputs, limit)
    current, _, delay, width, _, coef, start, history = inputs
    steps, batch, size = current.shape
    _, need_weight, need_delay, need_width, _, need_coef, need_start, need_history = needs
    recurrence, module, tiles, _ = plan
    none = coef.new_empty(0)
    g_x = coef.new_empty(steps, batch, size)
    carry = (
        torch.zeros_like(start, memory_format=torch.contiguous_format)
        if grads.final is None
        else (grads.final.clone(memory_format=torch.contiguous_format))
    )
    g_spikes, g_trace = (none if g is None else g.contiguous() for g in (grads.spikes, grads.trace))
    g_coef = coef.new_zeros(tiles.programs if need_coef else 0, len(coef), size, dtype=torch.float64)
    g_history = coef.new_zeros(history.shape) if need_history else none
    need_taps = recurrence is not None and (need_delay or need_width)
    weight = tables = edges = sent = ring = running = sums = none
    prefix = past = slots = 0
    if recurrence is not None:
        prefix, slots = recurrence.prefix, recurrence.slots(steps)
        past = recurrence.past if need_history or need_taps or (plan.kind == 2 and need_weight) else 0
        weight, tables, edges = recurrence.tables(by_sender=False)
        if plan.kind == 1:
            sent = _handed_over(1, tiles, batch, size, coef)
            ring = coef.new_empty(tiles.programs, size, slots, tiles.rows)
            running = coef.new_zeros(3, tiles.programs, size, tiles.rows)
            sums = coef.new_zeros(tiles.programs if need_taps else 0, 3, size, dtype=torch.float64)
        else:
            sent, running = _lines(tiles, size, steps + past + 2, slots, coef, torch.empty)
            sent[..., -2:, :] = 0
    mask, masked = _mask(inputs)
    launch(
        module.backward_scan, (tiles.programs,), tiles.options,
        weight, tables, edges, mask, _coefficients(inputs), kept, start.contiguous(), bits, ring, sent, running,
        g_spikes, g_trace, g_x, carry, g_history, sums, g_coef, steps, batch, size, len(history), prefix, past,
        slots - 1, **_constants(size, plan, masked), SPIKES_GIVEN=grads.spikes is not None,
        TRACE_GIVEN=grads.trace is not None, TAPS=plan.kind == 1 and need_taps, COEF=need_coef, HISTORY=need_history,
    )  # fmt: skip
    g_weight = g_delay = g_width = None
    if recurrence is not None and (need_weight or need_taps):
        if plan.kind == 2:
            g_weight, g_delay, g_width = _connection_gradients(recurrence, tables, bits, sent, batch, past)
        if plan.kind == 1 and need_weight:
            g_weight = _weight_gradient(plan, tables, edges, bits, g_x, mask, masked)
        if plan.kind == 1 and need_taps:
            g_delay, g_width = _sender_gradients(recurrence, sums)
    return (
        g_x, g_weight if need_weight else None, *(
            g.sum_to_size(like.shape).to(like.dtype) if needed and g is not None and like is not None else None
            for g, like, needed in ((g_delay, delay, need_delay), (g_width, width, need_width))
        ), None, g_coef.sum(0).sum_to_size(coef.shape).to(coef.dtype) if need_coef else None,
        carry if need_start else None,
        g_history if need_history else None,
    )  # fmt: skip


def _weight_gradient(
    plan: Plan, tables: Tensor, edges: Tensor, bits: Tensor, g_x: Tensor, mask: Tensor, masked: int
) -> Tensor:
    """Return dW, one product over all steps after the scan: inside it, every program would need a sum of its own."""
    (steps, batch, size), recurrence = g_x.shape, plan.recurrence
    assert recurrence is not None
    shape = parts_of(size, steps)
    parts = g_x.new_empty(shape.parts, size, size)
    launch(
        plan.module.weight_gradient, shape.grid, shape.options,
        g_x, mask, tables, edges, bits, parts, steps, batch, recurrence.prefix, shape.share,
        SIZE=size, **shape.constants, PRECISION=plan.precision, MASKED=masked,
    )  # fmt: skip
    return parts.sum(0)


def _sender_gradients(recurrence: Recurrence, sums: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of delay and half-width, (N,) each."""
    programs, _, size = sums.shape
    g_delay, g_width = recurrence.weight.new_empty(size), recurrence.weight.new_empty(size)
    launch(
        sender_gradients, (-(-size // COLS),), OPTIONS, sums, recurrence.width, g_delay, g_width, size, programs,
        ONE_WIDTH=recurrence.width.numel() == 1, COLS=COLS,
    )  # fmt: skip
    return g_delay, g_width


def _connection_gradients(
    recurrence: Recurrence, longest: Tensor, bits: Tensor, sent: Tensor, batch: int, past: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of weight and delay, [receiver, sender], and of the half-widths, (N,)."""
    size, length, rows = sent.shape[1], sent.shape[3], sent.shape[4]
    _, weight, shape = recurrence.delay, recurrence.weight, connections_of(size)
    g_weight, g_delay, g_width = (
        weight.new_empty(size, size),
        weight.new_empty(size, size),
        weight.new_empty(shape.grid[1], size),
    )
    launch(
        connection_gradients, shape.grid, shape.options,
        sent, recurrence.delay, recurrence.width, weight, longest, bits, g_weight, g_delay, g_width, batch,
        recurrence.prefix, len(bits), past, length - 2, recurrence.slots(length), recurrence.reach,
        SIZE=size, ROWS=rows, **shape.constants, **recurrence.constants,
    )  # fmt: skip
    return g_weight, g_delay, g_width.sum(0)


def _handed_over(lists: int, tiles: Tiles, batch: int, size: int, like: Tensor) -> Tensor:
    """Return room for what a step hands to its product, see `products`."""
    if tiles.dot:
        return like.new_empty(batch, size)
    return like.new_zeros(lists, tiles.programs, size + tiles.deep, tiles.rows)


def _lines(tiles: Tiles, size: int, length: int, block: int, like: Tensor, room: Any) -> tuple[Tensor, Tensor]:
    """Return room for `synaptic`'s lines, and its sums, which begin at 0."""
    real = _kept(block, like.dtype)
    lines = room(tiles.programs, size, 2, length, tiles.rows, dtype=real, device=like.device)
    return lines, lines.new_zeros(2, 4, tiles.programs, size, tiles.rows)


def _kept(block: int, real: torch.dtype) -> torch.dtype:
    """Return in which precision `synaptic`'s sums are kept, in blocks of `block` places."""
    return torch.float64 if block > LONGEST else real


def _constants(size: int, plan: Plan, masked: int) -> dict[str, Any]:
    """Return the constants that both passes are compiled for."""
    tiles = plan.tiles
    return {
        "SIZE": size, "ROWS": tiles.rows, "COLS": tiles.cols, "DEEP": tiles.deep, "DOT": tiles.dot,
        "PRECISION": plan.precision, "KIND": plan.kind, "MASKED": masked,
    }  # fmt: skip


def _coefficients(inputs: Inputs) -> Tensor:
    """Return (C, N) coefficients."""
    return inputs.coef.expand(len(inputs.coef), inputs.current.shape[-1]).contiguous()


def _mask(inputs: Inputs) -> tuple[Tensor, int]:
    """Return the mask as kernels take it, and 0 for none, 1 for one that holds all steps, 2 for one per step."""
    coef, mask = inputs.coef, inputs.mask
    if mask is None or inputs.weight is None:
        return coef, 0
    shape = inputs.current.shape if mask.dim() == 3 else inputs.current.shape[1:]
    return mask.to(coef.dtype).expand(shape).contiguous(), 1 if mask.dim() == 2 else 2
