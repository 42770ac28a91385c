"""The cpu engine's maps inside a compiled graph: operators that torch.compile does not look into.

Only while compiling; eager code has the autograd functions, which keep less and call less. The scan's is
`engines.operators`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from delrec.engines.cpu import delays, linear

__all__ = ["delayed_linear", "spike_linear"]


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
