"""The scan of a compiled engine as one operator of torch, in eager code and in a compiled graph alike.

A neuron goes in as its handle (`delrec.neurons.neuron_of`), an engine as its name; what depends on values is decided
when the operator runs.
"""

from __future__ import annotations

import importlib
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from delrec.delays import kernel_length
from delrec.engines.fused import Grads, Inputs, refuse_twice
from delrec.engines.interface import State
from delrec.engines.reference import check_history
from delrec.neurons import Neuron, neuron_of

__all__ = ["Passes", "scan"]

# they look at values, which waits for a device: mode="reduce-overhead" leaves them out of its CUDA graphs; older torch
# knows no such mark
_UNSAFE = getattr(torch.Tag, "cudagraph_unsafe", None)
_TAGS: dict[str, Any] = {} if _UNSAFE is None else {"tags": (_UNSAFE,)}
_PASSES = {"cpu": "delrec.engines.cpu.scan", "triton": "delrec.engines.triton.scan"}


class Passes(Protocol):
    """The two passes of an engine, as functions of tensors.

    limit: a tap that none is longer than, or None, where the delays say it. kept: (planes, T, B, N), what the backward
    pass needs, or of no steps; trace: the states of every step, (states, T, B, N), or of no steps.
    """

    def room(self, neuron: Neuron, inputs: Inputs, limit: int | None) -> tuple[int, Tensor]:
        """Return how many planes are kept, and room for the bits of the spikes: from shapes, without a value."""

    def forward(
        self, neuron: Neuron, inputs: Inputs, limit: int | None, keep: bool, trace: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return spikes (T, B, N), final states (states, B, N), trace, kept, and the bits."""

    def backward(
        self, neuron: Neuron, inputs: Inputs, limit: int | None, kept: Tensor, bits: Tensor, grads: Grads,
        needs: tuple[bool, ...],
    ) -> tuple[Tensor | None, ...]:  # fmt: skip
        """Return the gradients of `inputs` that are needed; of inputs.current shape and dtype are enough."""


def _passes(engine: str) -> Passes:
    return cast(Passes, importlib.import_module(_PASSES[engine]))


@torch.library.custom_op("delrec::scan", mutates_args=(), **_TAGS)
def scan(
    current: Tensor, weight: Tensor | None, delay: Tensor | None, width: Tensor | None, mask: Tensor | None,
    coef: Tensor, start: Tensor, history: Tensor, engine: str, handle: str, limit: int | None, cut: bool, keep: bool,
    trace: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Run `Passes.forward`; cut: whether steps before the history were dropped."""
    if cut and delay is not None and width is not None:
        check_history(State((), history, cut), (kernel_length(delay, width) if limit is None else limit + 1))
    inputs = Inputs(current, weight, delay, width, mask, coef, start, history)
    return _passes(engine).forward(neuron_of(handle), inputs, limit, keep, trace)


@scan.register_fake
def _(
    current: Tensor, weight: Tensor | None, delay: Tensor | None, width: Tensor | None, mask: Tensor | None,
    coef: Tensor, start: Tensor, history: Tensor, engine: str, handle: str, limit: int | None, cut: bool, keep: bool,
    trace: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    inputs = Inputs(current, weight, delay, width, mask, coef, start, history)
    planes, bits = _passes(engine).room(neuron_of(handle), inputs, limit)
    steps, *rest = current.shape
    traced, kept = (
        current.new_empty(n, steps if wanted else 0, *rest) for n, wanted in ((len(start), trace), (planes, keep))
    )
    return current.new_empty(current.shape), torch.empty_like(start), traced, kept, bits


@torch.library.custom_op(
    "delrec::scan_backward",
    mutates_args=(),
    **_TAGS,
    # torch 2.5 reads no list[...] from the annotations
    schema="(Tensor? g_spikes, Tensor? g_final, Tensor? g_trace, Tensor? weight, Tensor? delay, Tensor? width, "
    "Tensor? mask, Tensor coef, Tensor start, Tensor history, Tensor kept, Tensor bits, str engine, str handle, "
    "int? limit, bool[] needs) -> Tensor[]",
)
def _scan_backward(
    g_spikes: Tensor | None, g_final: Tensor | None, g_trace: Tensor | None, weight: Tensor | None,
    delay: Tensor | None, width: Tensor | None, mask: Tensor | None, coef: Tensor, start: Tensor, history: Tensor,
    kept: Tensor, bits: Tensor, engine: str, handle: str, limit: int | None, needs: list[bool],
) -> list[Tensor]:  # fmt: skip
    like = kept.new_empty(()).expand(kept.shape[1:])
    inputs = Inputs(like, weight, delay, width, mask, coef, start, history)
    grads = Grads(g_spikes, g_final, g_trace)
    found = _passes(engine).backward(neuron_of(handle), inputs, limit, kept, bits, grads, tuple(needs))
    return [kept.new_empty(0) if g is None else g.contiguous() for g in found]


@_scan_backward.register_fake
def _(
    g_spikes: Tensor | None, g_final: Tensor | None, g_trace: Tensor | None, weight: Tensor | None,
    delay: Tensor | None, width: Tensor | None, mask: Tensor | None, coef: Tensor, start: Tensor, history: Tensor,
    kept: Tensor, bits: Tensor, engine: str, handle: str, limit: int | None, needs: list[bool],
) -> list[Tensor]:  # fmt: skip
    like = (kept[0], weight, delay, width, None, coef, start, history)
    return [kept.new_empty(0 if t is None or not n else t.shape) for n, t in zip(needs, like, strict=True)]


def _setup(ctx: Any, inputs: Any, output: Any) -> None:
    _, *tensors, ctx.engine, ctx.handle, ctx.limit, _, _, _ = inputs
    # everything through save_for_backward, so that an edit in place before the backward pass is an error
    ctx.save_for_backward(*tensors, *output[3:])
    ctx.set_materialize_grads(False)


def _gradient(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
    refuse_twice(ctx.engine)
    needs = list(ctx.needs_input_grad[:8])
    found = _scan_backward(*grads[:3], *ctx.saved_tensors, ctx.engine, ctx.handle, ctx.limit, needs)
    return *(g if n else None for g, n in zip(found, needs, strict=True)), *(None,) * 6


scan.register_autograd(_gradient, setup_context=_setup)
