"""The cpu engine: one fused scan through time, compiled for the neuron, with a hand-written backward pass.

See docs/engines.md. What it cannot run (other devices and dtypes, rules whose source cannot be read) goes to the
reference engine, with one warning that says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from delrec.delays import kernel_length
from delrec.engines.interface import Engine, Output, Request, State, rest_state
from delrec.engines.reference import check_history
from delrec.engines.threads import parallel
from delrec.neurons import Neuron
from delrec.rules import neuron_rules

try:
    from delrec.engines import cpu_codegen
    from delrec.engines.cpu_recurrence import Array, Axonal, Nothing, Recurrence, Synaptic, flat, padded
    from delrec.engines.cpu_vector import LANES

    _BROKEN = ""
except Exception as error:  # numba may be absent, or broken by another package, in many ways
    _BROKEN = f"numba cannot be used ({type(error).__name__}: {error})"

__all__ = ["ENGINE", "Cpu"]

_DTYPES: dict[torch.dtype, np.dtype[Any]] = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}
_GROUPS = 16  # partial sums of the weight gradient: a constant, so that results do not depend on threads


class Cpu(Engine):
    """One compiled scan a neuron, with its adjoint."""

    name = "cpu"
    devices = ("cpu",)

    def supports(self, request: Request) -> str | None:
        """Return why the compiled scan cannot run this, or None."""
        current = request.current
        if _BROKEN:
            return _BROKEN
        if current.device.type != "cpu":
            return f"runs on CPU tensors, not on {current.device.type}"
        if current.dtype not in _DTYPES:
            return f"runs in float32 and float64, not in {current.dtype}"
        if request.taps is not None:
            return "takes delays and half-widths, not taps"
        if type(request.neuron).advance is not Neuron.advance:
            return f"cannot compile a foreign neuron ({type(request.neuron).__name__})"
        if request.state is not None and bool(((request.state.history != 0) & (request.state.history != 1)).any()):
            return "takes a history of spikes, 0 or 1; this state's holds other values"
        try:
            cpu_codegen.scan_module(request.neuron, _DTYPES[current.dtype])
        except ValueError as error:
            return f"cannot compile the neuron: {error}"
        return None

    def scan(self, request: Request) -> Output:
        """Run the scan of `reference`, fused: same result, same gradients."""
        current, delay, width = request.current, request.delay, request.width
        steps, batch, size = current.shape
        dtype = current.dtype
        state = rest_state(request.neuron, current) if request.state is None else request.state
        coefficients = request.neuron.coefficients()
        rules = neuron_rules(request.neuron)
        if len(coefficients) != rules.coefficients:
            kind, wanted = type(request.neuron).__name__, rules.coefficients
            raise ValueError(f"{kind}: coefficients() returns {len(coefficients)}, step takes {wanted}")
        coef = torch.cat([current.new_zeros(0, size), *(c.to(dtype).expand(1, size) for c in coefficients)])
        start = torch.stack([s.expand(batch, size) for s in state.states])
        inputs = (current, request.weight, delay, width, coef, start, state.history)
        training = torch.is_grad_enabled() and any(i is not None and i.requires_grad for i in inputs)
        kept = kernel_length(delay, width) - 1 if delay is not None and width is not None else 1
        check_history(state, kept + 1)
        keep_current = rules.keeps_current(coefficients) if training else None
        plan = _Plan(request.neuron, training or request.trace, keep_current)
        spikes, *trace = _Scan.apply(
            plan, current, request.weight, delay, width, request.mask, coef, start, state.history
        )
        kept = kept if request.keep is None else request.keep
        history = spikes[-kept:] if steps >= kept else torch.cat([state.history, spikes])[-kept:]
        last = (steps - 1) % trace[0].shape[0]
        cut = state.cut or kept < state.history.shape[0] + steps
        final = State(tuple(s[last] for s in trace), history, cut)
        return Output(spikes, tuple(trace) if request.trace else (), final, self.name)

    def linear(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor | None:
        """Take the sparse product, where inputs are sparse."""
        from delrec.engines.cpu_linear import sparse, spike_linear

        return spike_linear(inputs, weight, bias) if not _BROKEN and sparse(inputs) else None

    def delayed_linear(
        self, inputs: Tensor, weight: Tensor, position: Tensor, bias: Tensor | None, window: int, left: int, right: int
    ) -> Tensor | None:
        """Read two taps a connection, where inputs are sparse."""
        from delrec.engines import cpu_delays

        if _BROKEN or not cpu_delays.suits(inputs, window):
            return None
        return cpu_delays.delayed_linear(inputs, weight, position, bias, window, left, right)


@dataclass(frozen=True)
class _Plan:
    neuron: Neuron
    keep: bool  # keep every state: for the backward pass, or because they were asked for
    keep_current: bool | None  # and the current; see `NeuronRules.keeps_current`


def _recurrence(
    weight: Tensor | None, delay: Tensor | None, width: Tensor | None, history: Tensor, steps: int, size: int
) -> Recurrence:
    if weight is None:
        return Nothing(size, history.dtype)
    assert delay is not None and width is not None
    kind = Synaptic if delay.dim() == 2 else Axonal
    return kind(weight, delay.to(weight.dtype), width, steps, history.shape[0])


class _Scan(torch.autograd.Function):
    """The scan with its adjoint; see `scan`. History is (K, B, N), newest last."""

    @staticmethod
    def forward(
        ctx: Any, plan: _Plan, current: Tensor, weight: Tensor | None, delay: Tensor | None, width: Tensor | None,
        mask: Tensor | None, coef: Tensor, start: Tensor, history: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        steps, batch, size = current.shape
        recurrence = _recurrence(weight, delay, width, history, steps, size)
        module = cpu_codegen.scan_module(plan.neuron, _DTYPES[current.dtype], recurrence.synaptic, plan.keep_current)
        tiles = (batch + LANES - 1) // LANES
        held = steps if plan.keep else min(steps, 2)
        spikes = torch.empty_like(current, memory_format=torch.contiguous_format)
        trace = [current.new_empty(held, batch, size) for _ in plan.neuron.states]
        kept = current.new_empty((held, batch, size) if module.KEEPS_CURRENT else (0,))
        prefix = recurrence.prefix
        bits = torch.zeros(tiles if weight is not None else 0, size, prefix + steps, dtype=torch.int16)
        if weight is not None:
            _pack(bits, history[-recurrence.past :], prefix)
        common = _common(plan, mask, coef, start, history, (steps, batch, size), weight is not None)
        words, x, out, planes = _words(bits), flat(current), flat(spikes), [flat(s) for s in (*trace, kept)]
        tables = recurrence.forward()

        def run(tile: int) -> None:
            module.forward_tile(
                tile, steps, batch, size, padded(size), x, *common, out, *planes, held, words, prefix, *tables
            )

        parallel(run, tiles)
        # the module stays: a rule that changes before the backward pass is not the one that ran
        ctx.plan, ctx.module, ctx.recurrence, ctx.shape = plan, module, recurrence, (steps, batch, size)
        ctx.given = [None if d is None else (d.shape, d.dtype) for d in (delay, width)]
        ctx.save_for_backward(mask, coef, start, history, bits, kept, *trace)
        ctx.set_materialize_grads(False)
        return (spikes, *trace)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        mask, coef, start, history, bits, kept, *trace = ctx.saved_tensors
        steps, batch, size = ctx.shape
        recurrence: Recurrence = ctx.recurrence
        recurrent = not isinstance(recurrence, Nothing)
        module = ctx.module
        _, _, need_weight, need_delay, need_width, _, need_coef, need_start, need_history = ctx.needs_input_grad
        need_taps, wanted = need_delay or need_width, need_start or need_history
        row, tiles = padded(size), (batch + LANES - 1) // LANES
        groups = min(tiles, _GROUPS)
        # the sums of a synaptic half-width are made of those of the weight
        sum_weight = need_weight or (need_taps and recurrence.synaptic)
        g_x = coef.new_empty(steps, batch, size)
        g_wt = coef.new_zeros(groups, row * row if sum_weight else 0)
        g_coef = torch.zeros(groups, len(coef) * size, dtype=torch.float64)
        g_start = coef.new_zeros((1 + len(start), batch, size) if wanted else (0,))
        g_past = coef.new_zeros(recurrence.past, batch, size)
        recurrence.start_gradients(groups)
        common = _common(ctx.plan, mask, coef, start, history, ctx.shape, recurrent)
        empty = coef.new_zeros(0)
        g_out = [flat(empty if g is None else g.to(coef.dtype)) for g in grads]
        given = sum(1 << j for j, g in enumerate(grads[1:]) if g is not None)
        words, planes, out = _words(bits), [flat(s) for s in (*trace, kept)], flat(g_x)
        sums, start_out, past_out = (g_wt.numpy(), g_coef.numpy()), flat(g_start), flat(g_past)

        def run(group: int) -> None:
            ends = recurrence.backward(group)
            for tile in range(group, tiles, groups):
                module.backward_tile(
                    tile, steps, batch, size, row, *common, *planes, grads[0] is not None, g_out[0], given,
                    *g_out[1:], out, words, recurrence.prefix, sum_weight, need_taps, need_coef, wanted,
                    *(s[group] for s in sums), start_out, past_out, recurrence.past, *ends,
                )  # fmt: skip

        parallel(run, groups)
        g_delay = g_width = g_history = None
        g_weight = g_wt.sum(0).view(row, row)[:size, :size] if sum_weight else empty
        if need_taps:
            g_delay, g_width = (
                g.sum_to_size(shape).to(dtype)
                for g, (shape, dtype) in zip(recurrence.gradients(g_weight), ctx.given, strict=True)
            )
        if need_history:
            g_history = torch.zeros_like(history)
            if recurrence.past:
                g_history[-recurrence.past :] = g_past
            g_history[-1] += g_start[0]
        return (
            None, g_x, g_weight.t() if need_weight else None, g_delay, g_width, None,
            g_coef.sum(0).view(len(coef), size).to(coef.dtype) if need_coef else None,
            g_start[1:] if need_start else None, g_history,
        )  # fmt: skip


def _common(
    plan: _Plan, mask: Tensor | None, coef: Tensor, start: Tensor, history: Tensor, shape: tuple[int, int, int],
    recurrent: bool,
) -> tuple[Any, ...]:  # fmt: skip
    """What both passes hand over: whether recurrent, mask and its strides, coefficients, surrogate, first state."""
    _, batch, size = shape
    mask_part: tuple[Array, int, int] = (flat(coef.new_zeros(0)), 0, 0)
    if mask is not None and recurrent:
        full = mask.to(coef.dtype).expand(shape if mask.dim() == 3 else shape[1:])
        mask_part = (flat(full), 1, batch * size if mask.dim() == 3 else 0)
    # the surrogate's parameters, then the share of the reset that carries gradient
    params = np.array((*plan.neuron.surrogate.params, float(not plan.neuron.detach_reset)), _DTYPES[coef.dtype])
    return (recurrent, *mask_part, flat(coef), params, flat(history[-1]), flat(start))


def _words(bits: Tensor) -> Array:
    return flat(bits).view(np.uint16)


def _pack(bits: Tensor, history: Tensor, prefix: int) -> None:
    """Write past spikes (K, B, N) in front of step 0: bit b of bits[tile, n, prefix - K + j]."""
    past, batch, size = history.shape
    rows = torch.zeros(past, bits.shape[0] * LANES, size, dtype=torch.int32)
    rows[:, :batch] = (history.detach() > 0).to(torch.int32)
    shifts = torch.arange(LANES, dtype=torch.int32).view(1, 1, LANES, 1)
    packed = (rows.view(past, -1, LANES, size) << shifts).sum(2, dtype=torch.int32)
    bits[:, :, prefix - past : prefix] = packed.permute(1, 2, 0).to(torch.int16)


ENGINE = Cpu()
