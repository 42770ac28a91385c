"""The cpu engine inside a compiled graph: its passes as operators that torch.compile does not look into.

Only while compiling; eager code has the autograd functions, which keep less and call less. A neuron goes in as its
handle (`delrec.neurons.neuron_of`). What the eager engine decides by looking at values is decided when the operator
runs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from delrec.engines.cpu import delays, linear
from delrec.engines.cpu.codegen import kernels_for
from delrec.engines.cpu.common import real, tile_count
from delrec.engines.cpu.recurrence import recurrence_of
from delrec.engines.cpu.scan import backward as scan_back
from delrec.engines.cpu.scan import forward as scan_forth
from delrec.engines.cpu.scan import pack as pack_history
from delrec.engines.fused import Inputs, keeps_current
from delrec.engines.interface import State
from delrec.engines.reference import check_history
from delrec.neurons import Neuron, neuron_of

__all__ = ["delayed_linear", "scan", "spike_linear"]


def scan(neuron: Neuron, inputs: Inputs, trace: bool, cut: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return spikes, final states and trace; see `scan.forward`. The trace is whole if it or a gradient is wanted."""
    keep = trace or torch.is_grad_enabled()
    spikes, planes, final, _ = _scan(*inputs, neuron.handle, keep, cut)
    return spikes, final, planes


@torch.library.custom_op("delrec::cpu_scan", mutates_args=())
def _scan(
    current: Tensor, weight: Tensor | None, delay: Tensor | None, width: Tensor | None, mask: Tensor | None,
    coef: Tensor, start: Tensor, history: Tensor, handle: str, keep: bool, cut: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    inputs, neuron = Inputs(current, weight, delay, width, mask, coef, start, history), neuron_of(handle)
    if weight is not None:
        if not bool(((history == 0) | (history == 1)).all()):
            raise ValueError(
                "the cpu engine keeps spikes as bits, and the state's history holds other values than 0, 1"
            )
        recurrence = recurrence_of(weight, delay, width, current, history.shape[0])
        check_history(State((), history, cut), recurrence.length)
    spikes, trace, final, bits, recurrence, _ = scan_forth(neuron, inputs, keep, keeps_current(neuron, None))
    # steps before the first depend on the longest delay: a shape that nobody knows beforehand
    return spikes, trace, final, bits[..., recurrence.prefix :].contiguous()


@_scan.register_fake
def _(
    current: Tensor, weight: Tensor | None, delay: Tensor | None, width: Tensor | None, mask: Tensor | None,
    coef: Tensor, start: Tensor, history: Tensor, handle: str, keep: bool, cut: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    steps, batch, size = current.shape
    neuron = neuron_of(handle)
    planes = kernels_for(neuron, real(current.dtype), "axonal", keeps_current(neuron, None)).PLANES
    trace = current.new_empty(planes, steps if keep else min(steps, 2), batch, size)
    tiles = 0 if weight is None else tile_count(batch)
    bits = current.new_empty(tiles, size, steps, dtype=torch.int16)
    return current.new_empty(steps, batch, size), trace, torch.empty_like(start), bits


@torch.library.custom_op(
    "delrec::cpu_scan_backward",
    mutates_args=(),
    # torch 2.5 reads no list[...] from the annotations
    schema="(Tensor g_spikes, Tensor g_trace, Tensor g_final, Tensor? weight, Tensor? delay, Tensor? width, "
    "Tensor? mask, Tensor coef, Tensor start, Tensor history, Tensor trace, Tensor bits, str handle, bool[] needs) "
    "-> Tensor[]",
)
def _scan_backward(
    g_spikes: Tensor, g_trace: Tensor, g_final: Tensor, weight: Tensor | None, delay: Tensor | None,
    width: Tensor | None, mask: Tensor | None, coef: Tensor, start: Tensor, history: Tensor, trace: Tensor,
    bits: Tensor, handle: str, needs: list[bool],
) -> list[Tensor]:  # fmt: skip
    neuron, steps = neuron_of(handle), g_spikes.shape[0]
    inputs = Inputs(g_spikes, weight, delay, width, mask, coef, start, history)
    recurrence = recurrence_of(weight, delay, width, g_spikes, history.shape[0])
    words = torch.zeros(*bits.shape[:2], recurrence.prefix + steps, dtype=torch.int16)
    if weight is not None:
        words[..., recurrence.prefix :] = bits
        pack_history(words, history[-recurrence.past :], recurrence.prefix)
    module = kernels_for(neuron, real(coef.dtype), recurrence.kind, keeps_current(neuron, None))
    g_x, *grads = scan_back(
        neuron, module, recurrence, inputs, trace, words, (g_spikes, g_trace, g_final), tuple(needs)
    )
    assert g_x is not None
    # what an operator gives may share no memory: the rest are views of sums
    rest = [g_x.new_empty(0) if g is None else g.clone(memory_format=torch.contiguous_format) for g in grads]
    return [g_x, *rest]


@_scan_backward.register_fake
def _(
    g_spikes: Tensor, g_trace: Tensor, g_final: Tensor, weight: Tensor | None, delay: Tensor | None,
    width: Tensor | None, mask: Tensor | None, coef: Tensor, start: Tensor, history: Tensor, trace: Tensor,
    bits: Tensor, handle: str, needs: list[bool],
) -> list[Tensor]:  # fmt: skip
    like = (g_spikes, weight, delay, width, None, coef, start, history)
    wanted = [n and t is not None for n, t in zip((True, *needs[1:]), like, strict=True)]
    if weight is not None and (needs[2] or needs[3]):
        wanted[2] = wanted[3] = True  # they come together
    return [
        g_spikes.new_empty(0) if t is None or not n else torch.empty(t.shape, dtype=t.dtype)
        for n, t in zip(wanted, like, strict=True)
    ]


def _scan_setup(ctx: Any, inputs: Any, output: Any) -> None:
    tensors, ctx.handle = inputs[1:8], inputs[8]
    _, trace, _, bits = output
    ctx.mark_non_differentiable(bits)
    ctx.save_for_backward(*tensors, trace, bits)


def _scan_gradient(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
    *tensors, trace, bits = ctx.saved_tensors
    g_spikes, g_trace, g_final, _ = grads
    g_spikes = trace.new_zeros(trace.shape[1:]) if g_spikes is None else g_spikes
    g_trace = torch.zeros_like(trace) if g_trace is None else g_trace
    g_final = torch.zeros_like(tensors[5]) if g_final is None else g_final
    needs = list(ctx.needs_input_grad[:8])
    found = _scan_backward(g_spikes, g_trace, g_final, *tensors, trace, bits, ctx.handle, needs)
    return *(g if n else None for g, n in zip(found, needs, strict=True)), None, None, None


_scan.register_autograd(_scan_gradient, setup_context=_scan_setup)


@torch.library.custom_op("delrec::cpu_spike_linear", mutates_args=())
def spike_linear(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return inputs weight^T + bias, sparse or dense as the inputs are."""
    if not linear.suits(inputs):
        return F.linear(inputs, weight, bias)
    return linear.forward(inputs, weight.to(inputs.dtype), bias, False)[0]


@spike_linear.register_fake
def _(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return inputs.new_empty(*inputs.shape[:-1], weight.shape[0])


@torch.library.custom_op("delrec::cpu_spike_linear_backward", mutates_args=())
def _linear_backward(g: Tensor, inputs: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    if linear.suits(inputs):
        g_x, g_weight, g_bias = linear.backward(g, weight, linear.events_of(inputs), (True, True, True))
        assert g_x is not None and g_weight is not None and g_bias is not None
        return g_x, g_weight.contiguous(), g_bias.to(g.dtype)
    rows = g.flatten(0, 1)
    return g @ weight, rows.t() @ inputs.flatten(0, 1), rows.sum(0)


@_linear_backward.register_fake
def _(g: Tensor, inputs: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return (
        inputs.new_empty(inputs.shape), weight.new_empty(weight.shape, dtype=g.dtype), g.new_empty(weight.shape[:1])
    )  # fmt: skip


def _linear_setup(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.save_for_backward(inputs[0], inputs[1])
    ctx.biased = inputs[2] is not None


def _linear_gradient(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    g_x, g_weight, g_bias = _linear_backward(g, *ctx.saved_tensors)
    return g_x, g_weight, g_bias if ctx.biased else None


spike_linear.register_autograd(_linear_gradient, setup_context=_linear_setup)


@torch.library.custom_op("delrec::cpu_delayed_linear", mutates_args=())
def delayed_linear(
    inputs: Tensor, factor: Tensor, place: Tensor, offset: Tensor | None, window: int, left: int, right: int
) -> Tensor:
    """See `delays.forward`."""
    return delays.forward(inputs, factor, place, offset, (window, left, right))


@delayed_linear.register_fake
def _(
    inputs: Tensor, factor: Tensor, place: Tensor, offset: Tensor | None, window: int, left: int, right: int
) -> Tensor:
    return inputs.new_empty(inputs.shape[0] + left + right - window + 1, inputs.shape[1], factor.shape[0])


@torch.library.custom_op("delrec::cpu_delayed_linear_backward", mutates_args=())
def _delayed_backward(
    g: Tensor, inputs: Tensor, factor: Tensor, place: Tensor, window: int, left: int, right: int
) -> tuple[Tensor, Tensor, Tensor]:
    events = linear.events_of(inputs)
    g_x, g_factor, g_offset = delays.backward(g, factor, place, events, inputs.shape[0], (window, left, right))
    return g_x, g_factor.contiguous(), g_offset


@_delayed_backward.register_fake
def _(
    g: Tensor, inputs: Tensor, factor: Tensor, place: Tensor, window: int, left: int, right: int
) -> tuple[Tensor, Tensor, Tensor]:
    return inputs.new_empty(inputs.shape), factor.new_empty(factor.shape), g.new_empty(factor.shape[:1])


def _delayed_setup(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.save_for_backward(*inputs[:3])
    ctx.offset, ctx.padding = inputs[3] is not None, inputs[4:]


def _delayed_gradient(ctx: Any, g: Tensor) -> tuple[Any, ...]:
    g_x, g_factor, g_offset = _delayed_backward(g, *ctx.saved_tensors, *ctx.padding)
    return g_x, g_factor, None, g_offset if ctx.offset else None, None, None, None


delayed_linear.register_autograd(_delayed_gradient, setup_context=_delayed_setup)
