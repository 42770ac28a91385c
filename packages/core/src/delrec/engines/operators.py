"""The scan of a fused engine inside a compiled graph: its passes as operators that torch.compile does not look into.

Only while compiling; eager code has the engines' autograd functions, which keep less and call less. A neuron goes in as
its handle (`delrec.neurons.neuron_of`), an engine as its name. What an eager engine decides by looking at values is
decided when the operator runs.
"""

from __future__ import annotations

import importlib
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from delrec.delays import kernel_length
from delrec.engines.fused import Inputs
from delrec.engines.interface import State
from delrec.engines.reference import check_history
from delrec.neurons import Neuron, neuron_of

__all__ = ["Passes", "scan"]

Grads = tuple[Tensor, Tensor, Tensor]
# they look at values, which waits for a device: mode="reduce-overhead" leaves them out of its CUDA graphs; older torch
# knows no such mark
_UNSAFE = getattr(torch.Tag, "cudagraph_unsafe", None)
_TAGS: dict[str, Any] = {} if _UNSAFE is None else {"tags": (_UNSAFE,)}
_PASSES = {"cpu": "delrec.engines.cpu.passes", "triton": "delrec.engines.triton.passes"}


class Passes(Protocol):
    """The two passes of an engine, as functions of tensors that rebuild what they need."""

    def planes(self, neuron: Neuron, dtype: torch.dtype) -> int:
        """Return how many planes a trace has."""

    def bits_like(self, current: Tensor, recurrent: bool) -> Tensor:
        """Return an empty tensor shaped like the bits of the spikes of all steps."""

    def forward(self, neuron: Neuron, inputs: Inputs, reach: int, keep: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return spikes (T, B, N), trace (planes, T or 2, B, N), final states (states, B, N), and the bits."""

    def backward(
        self, neuron: Neuron, inputs: Inputs, reach: int, trace: Tensor, bits: Tensor, grads: Grads,
        needs: tuple[bool, ...],
    ) -> tuple[Tensor | None, ...]:  # fmt: skip
        """Return the gradients of `inputs` (None for the mask); of inputs.current shape and dtype are enough."""


def scan(
    engine: str, neuron: Neuron, inputs: Inputs, trace: bool, cut: bool, limit: int | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return spikes, final states and trace of an engine's scan; the trace is whole if it or a gradient is wanted.

    cut: whether the history was cut before. limit: a longest tap that is known, or None.
    """
    keep = trace or torch.is_grad_enabled()
    limit = -1 if limit is None else limit
    spikes, planes, final, _ = _scan(*inputs, engine, neuron.handle, keep, cut, limit)
    return spikes, final, planes


def _passes(engine: str) -> Passes:
    return cast(Passes, importlib.import_module(_PASSES[engine]))


def _reach(delay: Tensor | None, width: Tensor | None, limit: int) -> int:
    if delay is None or width is None:
        return 1
    return kernel_length(delay, width) - 1 if limit < 0 else limit


@torch.library.custom_op("delrec::scan", mutates_args=(), **_TAGS)
def _scan(
    current: Tensor, weight: Tensor | None, delay: Tensor | None, width: Tensor | None, mask: Tensor | None,
    coef: Tensor, start: Tensor, history: Tensor, engine: str, handle: str, keep: bool, cut: bool, limit: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    inputs, reach = Inputs(current, weight, delay, width, mask, coef, start, history), _reach(delay, width, limit)
    if weight is not None:
        if not bool(((history == 0) | (history == 1)).all()):
            raise ValueError(
                f"the {engine} engine keeps spikes as bits, and the state's history holds other values than 0, 1"
            )
        check_history(State((), history, cut), reach + 1)
    return _passes(engine).forward(neuron_of(handle), inputs, reach, keep)


@_scan.register_fake
def _(
    current: Tensor, weight: Tensor | None, delay: Tensor | None, width: Tensor | None, mask: Tensor | None,
    coef: Tensor, start: Tensor, history: Tensor, engine: str, handle: str, keep: bool, cut: bool, limit: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    steps, batch, size = current.shape
    planes = _passes(engine).planes(neuron_of(handle), current.dtype)
    trace = current.new_empty(planes, steps if keep else min(steps, 2), batch, size)
    bits = _passes(engine).bits_like(current, weight is not None)
    return current.new_empty(steps, batch, size), trace, torch.empty_like(start), bits


@torch.library.custom_op(
    "delrec::scan_backward",
    mutates_args=(),
    **_TAGS,
    # torch 2.5 reads no list[...] from the annotations
    schema="(Tensor g_spikes, Tensor g_trace, Tensor g_final, Tensor? weight, Tensor? delay, Tensor? width, "
    "Tensor? mask, Tensor coef, Tensor start, Tensor history, Tensor trace, Tensor bits, str engine, str handle, "
    "int limit, bool[] needs) -> Tensor[]",
)
def _scan_backward(
    g_spikes: Tensor, g_trace: Tensor, g_final: Tensor, weight: Tensor | None, delay: Tensor | None,
    width: Tensor | None, mask: Tensor | None, coef: Tensor, start: Tensor, history: Tensor, trace: Tensor,
    bits: Tensor, engine: str, handle: str, limit: int, needs: list[bool],
) -> list[Tensor]:  # fmt: skip
    inputs = Inputs(g_spikes, weight, delay, width, mask, coef, start, history)
    grads = g_spikes, g_trace, g_final
    g_x, *rest = _passes(engine).backward(
        neuron_of(handle), inputs, _reach(delay, width, limit), trace, bits, grads, tuple(needs)
    )
    assert g_x is not None
    # what an operator gives may share no memory: the rest are views of sums
    return [g_x, *(g_x.new_empty(0) if g is None else g.clone(memory_format=torch.contiguous_format) for g in rest)]


@_scan_backward.register_fake
def _(
    g_spikes: Tensor, g_trace: Tensor, g_final: Tensor, weight: Tensor | None, delay: Tensor | None,
    width: Tensor | None, mask: Tensor | None, coef: Tensor, start: Tensor, history: Tensor, trace: Tensor,
    bits: Tensor, engine: str, handle: str, limit: int, needs: list[bool],
) -> list[Tensor]:  # fmt: skip
    like = (g_spikes, weight, delay, width, None, coef, start, history)
    wanted = [n and t is not None for n, t in zip((True, *needs[1:]), like, strict=True)]
    if weight is not None and (needs[2] or needs[3]):
        wanted[2] = wanted[3] = True  # they come together
    return [
        g_spikes.new_empty(0) if t is None or not n else t.new_empty(t.shape) for n, t in zip(wanted, like, strict=True)
    ]


def _setup(ctx: Any, inputs: Any, output: Any) -> None:
    tensors, ctx.engine, ctx.handle, ctx.limit = inputs[1:8], inputs[8], inputs[9], inputs[12]
    _, trace, _, bits = output
    ctx.mark_non_differentiable(bits)
    ctx.save_for_backward(*tensors, trace, bits)


def _gradient(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
    *tensors, trace, bits = ctx.saved_tensors
    g_spikes, g_trace, g_final, _ = grads
    g_spikes = trace.new_zeros(trace.shape[1:]) if g_spikes is None else g_spikes
    g_trace = torch.zeros_like(trace) if g_trace is None else g_trace
    g_final = torch.zeros_like(tensors[5]) if g_final is None else g_final
    needs = list(ctx.needs_input_grad[:8])
    found = _scan_backward(g_spikes, g_trace, g_final, *tensors, trace, bits, ctx.engine, ctx.handle, ctx.limit, needs)
    return *(g if n else None for g, n in zip(found, needs, strict=True)), None, None, None, None, None


_scan.register_autograd(_gradient, setup_context=_setup)
