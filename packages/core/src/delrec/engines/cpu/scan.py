"""The two passes of the scan on tensors; see `engines.ops.scan_operator`."""

from collections import namedtuple
from typing import Any

import numpy as np
import torch
from torch import Tensor

from delrec.engines.cpu.codegen import BLOCK, places_of
from delrec.engines.cpu.common import GROUPS, add_up, flat
from delrec.engines.cpu.recurrence import Axonal, Recurrence, Synaptic, recurrence_of
from delrec.engines.cpu.scan_kernels import SCANS
from delrec.engines.cpu.vector import COLUMNS, LANES
from delrec.engines.ops import Inputs, scan_operator
from delrec.engines.threads import parallel
from delrec.neurons import neuron_of
from delrec.rules import Rules

_ROUNDED = 4  # taps are read by as many at once


# Sizes, and switches 0 or 1. row: size rounded up to whole vectors. keep: store planes for the backward pass. traced:
# store the states. prefix: steps of spike bits before step 0, of which `past` hold given spikes. taps: add up the
# gradients of delays and half-widths.
Shape = namedtuple("Shape", "steps batch size row keep traced prefix past recurrent taps")

# Arrays that both passes read; all arrays here are flat. mask: (B, N) or (T, B, N), or empty; mask_step: its stride in
# time. coef: (C, N). numbers: `rules.Rules.numbers`. start: (states, B, N).
Given = namedtuple("Given", "mask mask_step coef numbers start")

# Arrays that the forward pass fills. spikes: (T, B, N). states: (states, B, N), initial and then final. trace: (states,
# T, B, N) and kept: (planes, T, B, N), where requested.
Planes = namedtuple("Planes", "spikes states trace kept")

# Gradients of spikes (T, B, N), final states (states, B, N) and trace (states, T, B, N), or empty.
Incoming = namedtuple("Incoming", "spikes final trace")

# Arrays for the gradients, empty where none is wanted. current: (T, B, N). weight: (row, row), [sender, receiver], and
# coef: (C, N), of one group of tiles. start: (states, B, N). past: (past, B, N).
Sums = namedtuple("Sums", "current weight coef start past")


def room(rules: Rules, inputs: Inputs, limit: int | None) -> tuple[int, Tensor]:
    """Return the number of planes to keep, and zeros for the bits of the spikes, (tiles, N, steps) as one row.

    Before step 0 there are as many steps as any tap may reach, which follows from shapes and `limit`, not from delays.
    One row, because torch.export asks of every axis whether it has length 1: for tiles that would bound the batch.
    """
    current, delay, history = inputs.current, inputs.delay, inputs.history.shape[0]
    steps, batch, size = current.shape
    length = 0
    if delay is not None:
        reach = steps - 1 + history
        before = history if delay.dim() == 2 else (reach if limit is None else min(limit, reach)) + _ROUNDED
        length = -(-batch // LANES) * size * (before + steps)
    return len(rules.kept), current.new_zeros(length, dtype=torch.int16)


def forward(*given: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See `ops.scan_operator`."""
    inputs, (handle, limit, _, keep, trace) = Inputs(*given[:8]), given[8:]
    current, neuron = inputs.current, neuron_of(handle)
    steps, batch, size = current.shape
    recurrence = recurrence_of(neuron, inputs)
    rules: Any = neuron.traced.get(current.dtype) or neuron.rules(current.dtype)
    if len(inputs.coef) != rules.coefficients or len(inputs.start) != rules.states:
        rules.check(len(inputs.coef), len(inputs.start))
    places = rules.kernels.get("cpu") or places_of(neuron, current.dtype)
    room_of, run_tile = SCANS[recurrence.kind][0]
    planes, bits = room(rules, inputs, limit)
    spikes = torch.empty_like(current, memory_format=torch.contiguous_format)
    final = inputs.start.detach().clone(memory_format=torch.contiguous_format)
    traced = current.new_empty(len(final), steps if trace else 0, batch, size)
    kept = current.new_empty(planes, steps if keep else 0, batch, size)
    shape, arguments = _arguments(rules, inputs, recurrence, bits, keep, trace)
    if shape.recurrent and np.count_nonzero(inputs.history.detach().numpy()):
        pack(bits, inputs.history, shape)
    filled = Planes(spikes.view(-1).numpy(), final.view(-1).numpy(), traced.view(-1).numpy(), kept.view(-1).numpy())
    x = current.detach().resolve_neg().contiguous().view(-1).numpy()
    tables, words = recurrence.forward(inputs.weight), bits.numpy().view(np.uint16)

    def run(tile: int) -> None:
        work, marks = np.zeros(places.rows * BLOCK, x.dtype), np.zeros(BLOCK, np.uint16)
        run_tile(tile, shape, places, arguments, tables, room_of(shape, tables), work, marks, x, filled, words)

    parallel(run, -(-batch // LANES))
    return spikes, final, traced, kept, bits


def backward(*given: Any) -> tuple[Tensor | None, ...]:
    """See `ops.scan_operator`."""
    inputs, (handle, *_, (kept, bits), grads, needs) = Inputs(*given[:8]), given[8:]
    current, weight, delay, width, _, coef, start, history = inputs
    steps, batch, size = current.shape
    _, need_weight, need_delay, need_width, _, need_coef, need_start, need_history = needs
    neuron = neuron_of(handle)
    recurrence = recurrence_of(neuron, inputs)
    places, (room_of, run_tile) = places_of(neuron, coef.dtype), SCANS[recurrence.kind][1]
    shape, arguments = _arguments(neuron.rules(coef.dtype), inputs, recurrence, bits, True, False)
    if not need_history and not np.count_nonzero(history.detach().numpy()):  # silence gives no gradient
        shape = shape._replace(past=0)
    tiles = -(-batch // LANES)
    groups = min(tiles, GROUPS)
    need_taps = need_delay or need_width
    heard = steps + shape.past > 1  # otherwise no spike could arrive: weights and delays have zero gradients
    shape = shape._replace(taps=int(heard and need_taps))
    # a synaptic half-width's gradient is computed from the weight's
    sum_weight = heard and (need_weight or (need_taps and recurrence.kind == "synaptic"))
    g_x = coef.new_empty(current.shape)
    g_wt = coef.new_zeros(groups, shape.row * shape.row if sum_weight else 0)
    g_coef = np.zeros((groups, len(coef) * size if need_coef else 0))
    g_start = start.new_empty(start.shape if need_start else 0)
    g_history = torch.zeros_like(history, memory_format=torch.contiguous_format)
    g_past = g_history[len(history) - shape.past :]
    tables, sums = recurrence.backward(weight, groups)
    words = bits.numpy().view(np.uint16)
    incoming = Incoming(*(arguments.start[:0] if g is None else flat(g) for g in grads))
    carried = places.states * LANES * size
    planes, to = flat(kept), Sums(flat(g_x), g_wt.numpy(), g_coef, flat(g_start), flat(g_past))

    def run(group: int) -> None:
        own = to._replace(weight=to.weight[group], coef=to.coef[group])
        for tile in range(group, tiles, groups):
            work, carry = np.zeros(places.rows * BLOCK, planes.dtype), np.zeros(carried, planes.dtype)
            room = room_of(shape, tables[group])
            run_tile(tile, shape, places, arguments, tables[group], room, work, carry, planes, words, incoming, own)

    parallel(run, groups)
    g_weight = g_delay = g_width = None
    if need_weight or need_taps:
        g_weight = add_up(g_wt).as_strided((size, size), (1, shape.row)) if sum_weight else coef.new_zeros(size, size)
    if need_taps:
        assert weight is not None and delay is not None and width is not None and g_weight is not None
        assert isinstance(recurrence, Axonal | Synaptic)
        by_delay, by_width = recurrence.gradients(weight, sums, g_weight)
        g_delay, g_width = by_delay.to(delay.dtype), by_width.sum_to_size(width.shape).to(width.dtype)
    g_coefficients = None
    if need_coef:
        g_coefficients = torch.from_numpy(add_up(g_coef)).view(-1, size).sum_to_size(coef.shape).to(coef.dtype)
    return g_x, g_weight, g_delay, g_width, None, g_coefficients, g_start, g_history


def _arguments(
    rules: Rules, inputs: Inputs, recurrence: Recurrence, bits: Tensor, keep: bool, trace: bool
) -> tuple[Shape, Given]:
    """Return the arguments of both passes."""
    mask, recurrent = inputs.mask, inputs.weight is not None
    steps, batch, size = inputs.current.shape
    prefix = len(bits) // (-(-batch // LANES) * size) - steps if recurrent else 0
    row = -(-size // COLUMNS) * COLUMNS
    shape = Shape(steps, batch, size, row, int(keep), int(trace), prefix, recurrence.past, int(recurrent), 0)
    coef, start = inputs.coef.detach().numpy(), np.ascontiguousarray(inputs.start.detach().numpy()).reshape(-1)
    masks, step = start[:0], 0
    if mask is not None and recurrent:
        masks, step = flat(mask), batch * size if mask.dim() == 3 else 0
    numbers = np.array(rules.numbers, coef.dtype)
    return shape, Given(masks, step, np.repeat(coef, size // coef.shape[1]), numbers, start)


def pack(bits: Tensor, history: Tensor, shape: Shape) -> None:
    """Write past spikes (K, B, N) before step 0: bit b of bits[tile, n, prefix - K + j]."""
    past, batch, size = shape.past, shape.batch, shape.size
    given = history.detach()[-past:].numpy()
    row = np.arange(batch, dtype=np.uint16).reshape(1, -1, 1)
    words = np.add.reduceat(given.astype(np.uint16) << row % LANES, np.arange(0, batch, LANES), 1, np.uint16)
    into = bits.numpy().view(np.uint16).reshape(-1, size, shape.prefix + shape.steps)
    into[:, :, shape.prefix - past : shape.prefix] = words.transpose(1, 2, 0)


operator = scan_operator("cpu", forward, backward, room)
