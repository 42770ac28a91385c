"""The two passes of the scan as launches; see `engines.ops.scan_operator`. Nothing is copied back to the host."""

from types import ModuleType
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from delrec.delays import kernel_length
from delrec.engines.ops import Inputs, scan_operator
from delrec.engines.triton.axonal import lay_out_senders, sender_gradients
from delrec.engines.triton.scan_kernels import backward_scan, forward_scan, weight_gradient
from delrec.engines.triton.spellings import steps_of
from delrec.engines.triton.synaptic import LONGEST, connection_gradients, lay_out_connections
from delrec.engines.triton.tiles import INTERPRETED, OPTIONS, Tiles, connection_tiles, edge_of, launch, tiles_for
from delrec.neurons import Neuron, neuron_of
from delrec.rules import Rules

PARTS = 2 if INTERPRETED else 256  # programs for the gradient of the weight
EDGE, COLS = 32, 256  # tiles of the kernels that fill tables


class Plan(NamedTuple):
    """The plan of both passes of a scan.

    kind: 0 no recurrence, 1 one delay per sender, 2 one per connection. masked: 0 no mask, 1 one for all steps, 2 one
    per step. reach: the longest tap. past: number of given steps that can be reached; they fill the last bits of the
    first `prefix` words. slots: steps in a ring, or for kind 2 in a block, a power of 2. precise: dtype for delays, at
    least float32 and that of delays and weights.
    """

    steps: ModuleType
    tiles: Tiles
    kind: int = 0
    weight: Any = None
    delay: Any = None
    width: Any = None
    mask: Any = None
    masked: int = 0
    reach: int = 0
    past: int = 0
    prefix: int = 0
    slots: int = 0
    precise: torch.dtype = torch.float32

    def constants(self, size: int, coef: Tensor) -> dict[str, Any]:
        """Return the constants of both passes' kernels."""
        _, rows, cols, deep, precision, _ = self.tiles
        return {
            "SIZE": size, "ROWS": rows, "COLS": cols, "DEEP": deep, "PRECISION": precision, "KIND": self.kind,
            "MASKED": self.masked, "ACROSS": coef.shape[1],
        }  # fmt: skip

    def types(self) -> dict[str, Any]:
        """Return the constants of the kernels that read delays."""
        precise = tl.float64 if self.precise == torch.float64 else tl.float32
        return {"PRECISE": precise, "ONE_WIDTH": self.width.numel() == 1}

    def tables(self, by_sender: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Return weight, tables and edges for the scan, [sender, receiver] or [receiver, sender].

        See `axonal.lay_out_senders`, and `synaptic.lay_out_connections`, where `longest` is the table and the triangles
        are the edges.
        """
        weight, size = self.weight, len(self.weight)
        if self.kind == 1:
            tables, edges = self.delay.new_empty(6 * size + 2, dtype=torch.int32), weight.new_empty(9, size)
            launch(
                lay_out_senders, (1,), OPTIONS, self.delay, self.width, tables, edges, size, self.reach, COLS=COLS,
                **self.types(),
            )  # fmt: skip
            return (weight.t().contiguous() if by_sender else weight), tables, edges
        heights, longest = torch.empty_like(weight), weight.new_empty(1, dtype=torch.int32)
        edges = weight.new_empty(size + 1, size, dtype=self.precise)
        launch(
            lay_out_connections, (triton.cdiv(size, EDGE),) * 2, OPTIONS, self.delay, self.width, weight, edges,
            heights, longest, size, self.reach, BY_SENDER=by_sender, EDGE=EDGE, **self.types(),
        )  # fmt: skip
        return heights, longest, edges


def plan_of(neuron: Neuron, inputs: Inputs, limit: int | None) -> Plan:
    """Return the plan of a scan; limit: the longest tap, or None. The values of inputs.current are not read."""
    current, weight, delay, width, mask = inputs[:5]
    steps, batch, size = current.shape
    tiles, own = tiles_for(size, batch, None if weight is None else current.dtype), steps_of(neuron, current.dtype)
    if weight is None or delay is None or width is None:
        return Plan(own, tiles)
    # reading the longest delay waits for the device, unless `max_delay` is set
    reach = kernel_length(delay, width) - 1 if limit is None else limit
    reach = min(reach, steps - 1 + len(inputs.history))
    kind, past = delay.dim(), past_of(inputs, limit)
    slots = triton.next_power_of_2(min(reach + 2, steps) if kind == 1 else reach + 3)
    if kind == 2:
        number = _kept(slots, current.dtype).itemsize
        tiles = connection_tiles(size, batch, processors_of(current.device), number)
    masked = 0 if mask is None else mask.dim() - 1
    precise = torch.float64 if torch.float64 in (delay.dtype, weight.dtype) else torch.float32
    return Plan(
        own, tiles, kind, weight.contiguous(), delay.contiguous(), width.contiguous(),
        None if mask is None else mask.contiguous(), masked, reach, past, (past + 31) // 32, slots, precise,
    )  # fmt: skip


def past_of(inputs: Inputs, limit: int | None) -> int:
    """Return how many given steps may be reached, without reading delays, since the shape of the bits follows."""
    given = len(inputs.history)
    return given if limit is None else min(given, limit)


def room(rules: Rules, inputs: Inputs, limit: int | None) -> tuple[int, Tensor]:
    """Return the number of planes to keep, and memory for the bits of the spikes, in words of 32 steps."""
    steps, batch, size = inputs.current.shape
    words = 0 if inputs.delay is None else (past_of(inputs, limit) + 31) // 32 + (steps + 31) // 32
    return len(rules.kept), inputs.current.new_empty(words, batch, size, dtype=torch.int32)


def forward(*given: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See `ops.scan_operator`."""
    inputs, (handle, limit, _, keep, trace) = Inputs(*given[:8]), given[8:]
    neuron = neuron_of(handle)
    plan = plan_of(neuron, inputs, limit)
    current, history, tiles, slots = inputs.current.contiguous(), inputs.history, plan.tiles, plan.slots
    steps, batch, size = current.shape
    rules = neuron.rules(current.dtype)
    rules.check(len(inputs.coef), len(inputs.start))
    count, words = room(rules, inputs, limit)
    spikes, states = torch.empty_like(current), inputs.start.clone(memory_format=torch.contiguous_format)
    traced = current.new_empty(len(states), steps if trace else 0, batch, size)
    planes = current.new_empty(count, steps if keep else 0, batch, size)
    none = words
    weight = tables = edges = z = live = running = none
    if plan.kind:
        weight, tables, edges = plan.tables(by_sender=True)
    if plan.kind == 1:
        z = current.new_zeros(2, tiles.programs, size + tiles.deep, tiles.rows)
        live = none.new_empty(tiles.programs, size + tiles.deep)
    elif plan.kind == 2:
        z, running = _lines(tiles, size, 2 * slots + 1, slots, current, torch.zeros)
        slots *= 2
    launch(
        forward_scan, (tiles.programs,), tiles.options,
        current, weight, tables, edges, none if plan.mask is None else plan.mask, inputs.coef.contiguous(),
        history.contiguous(), states, traced, planes, spikes, words, z, live, running, steps, batch, size,
        len(history), plan.prefix, plan.past, slots - 1,
        **plan.constants(size, inputs.coef), STEP=plan.steps.step_tile, TRACED=trace, KEEP=keep,
    )  # fmt: skip
    return spikes, states, traced, planes, words


def backward(*given: Any) -> tuple[Tensor | None, ...]:
    """See `ops.scan_operator`."""
    inputs, (handle, limit, *_, (kept, bits), grads, needs) = Inputs(*given[:8]), given[8:]
    plan = plan_of(neuron_of(handle), inputs, limit)
    coef, start, history, tiles, slots = inputs.coef, inputs.start, inputs.history, plan.tiles, plan.slots
    steps, batch, size = inputs.current.shape
    _, need_weight, need_delay, need_width, _, need_coef, _, need_history = needs
    need_taps = plan.kind > 0 and (need_delay or need_width)
    none = bits
    g_x = kept.new_empty(steps, batch, size)
    g_spikes, g_trace = (none if g is None else g.contiguous() for g in (grads[0], grads[2]))
    carry = start.new_zeros(start.shape) if grads[1] is None else grads[1].clone(memory_format=torch.contiguous_format)
    g_coef = kept.new_zeros(tiles.programs, len(coef), size, dtype=torch.float64) if need_coef else none
    g_history = kept.new_zeros(history.shape) if need_history else none
    weight = tables = edges = sent = ring = running = sums = none
    past = plan.past if need_history or need_taps or (plan.kind == 2 and need_weight) else 0
    if plan.kind:
        weight, tables, edges = plan.tables(by_sender=False)
    if plan.kind == 1:
        sent = kept.new_zeros(1, tiles.programs, size + tiles.deep, tiles.rows)
        ring = kept.new_empty(tiles.programs, size, slots, tiles.rows)
        running = kept.new_zeros(3, tiles.programs, size, tiles.rows)
        sums = kept.new_zeros(tiles.programs, 3, size, dtype=torch.float64) if need_taps else none
    elif plan.kind == 2:
        sent, running = _lines(tiles, size, steps + past + 2, slots, kept, torch.empty)
        sent[..., -2:, :] = 0
    launch(
        backward_scan, (tiles.programs,), tiles.options,
        weight, tables, edges, none if plan.mask is None else plan.mask, coef.contiguous(), kept,
        start.contiguous(), bits, ring, sent, running, g_spikes, g_trace, g_x, carry, g_history, sums, g_coef, steps,
        batch, size, len(history), plan.prefix, past, slots - 1,
        **plan.constants(size, coef), ADJOINT=plan.steps.adjoint_tile, SPIKES_GIVEN=grads[0] is not None,
        TRACE_GIVEN=grads[2] is not None, TAPS=plan.kind == 1 and need_taps, COEF=need_coef, HISTORY=need_history,
    )  # fmt: skip
    g_weight = g_delay = g_width = None
    if plan.kind == 1:
        g_weight = _weight_gradient(plan, tables, edges, bits, g_x) if need_weight else None
        if need_taps:
            g_delay, g_width = plan.weight.new_empty(size), plan.weight.new_empty(size)
            launch(
                sender_gradients, (-(-size // COLS),), OPTIONS, sums, plan.width, g_delay, g_width, size,
                tiles.programs, ONE_WIDTH=plan.width.numel() == 1, COLS=COLS,
            )  # fmt: skip
    elif plan.kind == 2 and (need_weight or need_taps):
        g_weight, g_delay, g_width = _connection_gradients(plan, tables, bits, sent, batch, past)
    return (
        g_x, g_weight, _like(g_delay, inputs.delay), _like(g_width, inputs.width), None,
        _like(g_coef.sum(0), coef) if need_coef else None, carry, g_history,
    )  # fmt: skip


def _like(gradient: Tensor | None, of: Tensor | None) -> Tensor | None:
    """Return a gradient summed to the shape of its tensor, in its dtype."""
    return None if gradient is None or of is None else gradient.sum_to_size(of.shape).to(of.dtype)


def _weight_gradient(plan: Plan, tables: Tensor, edges: Tensor, bits: Tensor, g_x: Tensor) -> Tensor:
    """Return dW, computed after the scan: inside it, every program would need its own sum.

    Parts of the sequence are summed separately, so that the programs fill a card.
    """
    steps, batch, size = g_x.shape
    edge = edge_of(size, 64)
    tiles = -(-size // edge)
    share = -(-steps // max(1, min(steps, PARTS // tiles**2)))
    parts = g_x.new_empty(-(-steps // share), size, size)
    launch(
        weight_gradient, (tiles, tiles, len(parts)), OPTIONS | {"num_warps": 4},
        g_x, bits if plan.mask is None else plan.mask, tables, edges, bits, parts, steps, batch, plan.prefix, share,
        SIZE=size, EDGE=edge, DEEP=16, PRECISION=plan.tiles.precision, MASKED=plan.masked,
    )  # fmt: skip
    return parts.sum(0)


def _connection_gradients(
    plan: Plan, longest: Tensor, bits: Tensor, sent: Tensor, batch: int, past: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of weight and delay, [receiver, sender], and of the half-widths, (N,)."""
    _, size, _, length, rows = sent.shape
    weight, cols = plan.weight, edge_of(size, 128)
    g_weight, g_delay = torch.empty_like(weight), torch.empty_like(weight)
    g_width = weight.new_empty(-(-size // cols), size)
    launch(
        connection_gradients, (size, len(g_width)), OPTIONS | {"num_warps": -(-cols // 32)},
        sent, plan.delay, plan.width, weight, longest, bits, g_weight, g_delay, g_width, batch, plan.prefix, len(bits),
        past, length - 2, plan.slots, plan.reach, SIZE=size, ROWS=rows, COLS=cols, **plan.types(),
    )  # fmt: skip
    return g_weight, g_delay, g_width.sum(0)


def _lines(tiles: Tiles, size: int, length: int, block: int, like: Tensor, room: Any) -> tuple[Tensor, Tensor]:
    """Return memory for `synaptic`'s lines, and its sums, initially 0."""
    real = _kept(block, like.dtype)
    lines = room(tiles.programs, size, 2, length, tiles.rows, dtype=real, device=like.device)
    return lines, lines.new_zeros(2, 4, tiles.programs, size, tiles.rows)


def processors_of(device: torch.device) -> int:
    """Return the number of multiprocessors of a card; 1 on a CPU, where programs run one by one."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


def _kept(block: int, real: torch.dtype) -> torch.dtype:
    """Return the dtype of `synaptic`'s sums in blocks of `block` places."""
    return torch.float64 if block > LONGEST else real


operator = scan_operator("triton", forward, backward, room)
