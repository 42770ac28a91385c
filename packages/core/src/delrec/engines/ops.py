"""What engines share that compile a neuron: the scan as one operator of torch, in eager code and in graphs alike.

A neuron goes in as its handle (`delrec.neurons.neuron_of`), an engine as its name; what depends on values is decided
when the operator runs.
"""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple, Protocol, cast

import torch
from torch import Tensor

from delrec.delays import kernel_length
from delrec.engines.interface import Output, Request, State, rest_state
from delrec.engines.reference import check_history
from delrec.layer import readable
from delrec.neurons import Neuron, neuron_of

__all__ = ["TAPS", "Grads", "Inputs", "Passes", "cannot_take", "refuse_twice", "run", "scan"]

# they look at values, which waits for a device: mode="reduce-overhead" leaves them out of its CUDA graphs; older torch
# knows no such mark
_UNSAFE = getattr(torch.Tag, "cudagraph_unsafe", None)
_TAGS: dict[str, Any] = {} if _UNSAFE is None else {"tags": (_UNSAFE,)}
_PASSES = {"cpu": "delrec.engines.cpu.scan", "triton": "delrec.engines.triton.scan"}


TAPS = "takes delays and half-widths, not taps"


class Grads(NamedTuple):
    """Gradients of what a scan gave: spikes (T, B, N), final states (states, B, N), trace (states, T, B, N)."""

    spikes: Tensor | None
    final: Tensor | None
    trace: Tensor | None


class Inputs(NamedTuple):
    """The tensors of a scan, T steps of B rows and N neurons; see `interface.Request`.

    coef: (C, N), or (C, 1) where all are numbers of the layer. start: (states, B, N). history: (K, B, N), newest last.
    """

    current: Tensor
    weight: Tensor | None
    delay: Tensor | None
    width: Tensor | None
    mask: Tensor | None
    coef: Tensor
    start: Tensor
    history: Tensor


def refuse_twice(engine: str) -> None:
    """Raise RuntimeError where a gradient of the gradient is asked for: a hand-written adjoint has none."""
    if torch.is_grad_enabled():
        raise RuntimeError(
            f"the {engine} engine gives first gradients only, and create_graph=True asks for second ones: "
            "use engine='reference' for this layer"
        )


def cannot_take(request: Request) -> str | None:
    """Return why the values of a request do not fit a compiled scan, or None."""
    if request.weight is not None and request.state is not None and readable(request.state.history):
        past = request.state.history.detach()
        if not bool(((past == 0) | (past == 1)).all()):
            return "keeps spikes as bits, and the state's history holds other values than 0 and 1"
    return None


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


def _scan(
    current: Tensor, weight: Tensor | None, delay: Tensor | None, width: Tensor | None, mask: Tensor | None,
    coef: Tensor, start: Tensor, history: Tensor, engine: str, handle: str, limit: int | None, cut: bool, keep: bool,
    trace: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Run `Passes.forward`; cut: whether steps before the history were dropped."""
    if cut and delay is not None and width is not None:
        check_history(State((), history, cut), (kernel_length(delay, width) if limit is None else limit + 1))
    inputs = Inputs(current, weight, delay, width, mask, coef, start, history)
    return _passes(engine).forward(neuron_of(handle), inputs, limit, keep, trace)


scan = torch.library.custom_op("delrec::scan", mutates_args=(), **_TAGS)(_scan)


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
    ctx.neuron = neuron_of(ctx.handle)  # kept alive: the backward pass needs it
    ctx.rules = ctx.neuron.rules(inputs[0].dtype)
    # everything through save_for_backward, so that an edit in place before the backward pass is an error
    ctx.save_for_backward(*tensors, *output[3:])
    ctx.set_materialize_grads(False)


def _gradient(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
    refuse_twice(ctx.engine)
    saved = ctx.saved_tensors
    if ctx.neuron.rules(saved[-2].dtype) is not ctx.rules:
        raise RuntimeError(
            f"a setting of {type(ctx.neuron).__name__} was changed between the forward and the backward pass: "
            "call backward() first"
        )
    needs = list(ctx.needs_input_grad[:8])
    found = _scan_backward(*grads[:3], *saved, ctx.engine, ctx.handle, ctx.limit, needs)
    return *(g if n else None for g, n in zip(found, needs, strict=True)), *(None,) * 6


scan.register_autograd(_gradient, setup_context=_setup)


def _reach(request: Request) -> int | None:
    """Return the longest tap, where it is known or can be read off the delays."""
    delay, width = request.delay, request.width
    if request.limit is not None or delay is None or width is None:
        return 1 if delay is None else request.limit
    return kernel_length(delay, width) - 1 if readable(delay) else None


def run(engine: str, request: Request) -> Output:
    """Run a request that an engine takes, and return its result."""
    current, neuron = request.current, request.neuron
    state = rest_state(neuron, current) if request.state is None else request.state
    inputs = Inputs(
        current, request.weight, request.delay, request.width, request.mask, neuron.table(current),
        torch.stack(state.states), state.history,
    )  # fmt: skip
    keep = torch.is_grad_enabled() and any(i is not None and i.requires_grad for i in inputs)
    # where neither autograd nor a tracer takes notes, no operator is needed
    call = scan if keep or not readable(current) else _scan
    spikes, final, trace, _, _ = call(*inputs, engine, neuron.handle, request.limit, state.cut, keep, request.trace)
    held = len(state.history) + len(spikes)
    kept = min(request.keep or _reach(request) or held, held)
    # copies: a view would keep the whole sequence alive, and an edit of the output would change it
    last = spikes[-kept:].clone() if len(spikes) >= kept else torch.cat([state.history, spikes])[-kept:]
    states = tuple(trace.unbind(0)) if request.trace else ()
    return Output(spikes, states, State(final.unbind(0), last, state.cut or kept < held), engine)
