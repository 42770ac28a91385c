"""Code shared by the engines that compile a neuron into one scan with its adjoint."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from delrec.delays import kernel_length
from delrec.engines.interface import Output, Request, State, rest_state
from delrec.layer import readable

__all__ = ["TAPS", "Grads", "Inputs", "cannot_take", "refuse_twice", "run"]

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


def _reach(request: Request) -> int | None:
    """Return the longest tap, where it is known or can be read off the delays."""
    delay, width = request.delay, request.width
    if request.limit is not None or delay is None or width is None:
        return 1 if delay is None else request.limit
    return kernel_length(delay, width) - 1 if readable(delay) else None


def run(engine: str, request: Request) -> Output:
    """Run a request that an engine takes, as the one operator of `ops`, and return its result."""
    from delrec.engines import ops

    current, neuron = request.current, request.neuron
    state = rest_state(neuron, current) if request.state is None else request.state
    coefficients = neuron.coefficients_like(current)
    if coefficients:
        coef = torch.stack(torch.broadcast_tensors(*coefficients)).view(len(coefficients), -1)
    else:
        coef = current.new_zeros(0, 1)
    inputs = Inputs(
        current, request.weight, request.delay, request.width, request.mask, coef, torch.stack(state.states),
        state.history,
    )  # fmt: skip
    keep = torch.is_grad_enabled() and any(i is not None and i.requires_grad for i in inputs)
    spikes, final, trace, _, _ = ops.scan(*inputs, engine, neuron.handle, request.limit, state.cut, keep, request.trace)
    held = len(state.history) + len(spikes)
    kept = min(request.keep or _reach(request) or held, held)
    # copies: a view would keep the whole sequence alive, and an edit of the output would change it
    last = spikes[-kept:].clone() if len(spikes) >= kept else torch.cat([state.history, spikes])[-kept:]
    states = tuple(trace.unbind(0)) if request.trace else ()
    return Output(spikes, states, State(final.unbind(0), last, state.cut or kept < held), engine)
