"""What engines share that compile a neuron into one scan with a hand-written adjoint: what they take, and give back."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from delrec.delays import kernel_length
from delrec.engines.interface import Output, Request, State, rest_state
from delrec.engines.reference import check_history
from delrec.foreign import ForeignNeuron
from delrec.neurons import Neuron
from delrec.rules import neuron_rules

__all__ = [
    "TAPS",
    "Inputs",
    "cannot_compile",
    "cannot_take",
    "compiled_scan",
    "inputs_of",
    "keeps_current",
    "output_of",
]

TAPS = "takes delays and half-widths, not taps"


class Inputs(NamedTuple):
    """The tensors of a scan, T steps of B rows and N neurons; see `interface.Request`.

    coef: (C, N). start: (states, B, N). history: (K, B, N), newest last.
    """

    current: Tensor
    weight: Tensor | None
    delay: Tensor | None
    width: Tensor | None
    mask: Tensor | None
    coef: Tensor
    start: Tensor
    history: Tensor


def cannot_compile(neuron: Neuron) -> str | None:
    """Return why a neuron's step is no rule that could be compiled, or None."""
    if isinstance(neuron, ForeignNeuron):
        return "cannot compile a foreign neuron, whose step is code of another library"
    if type(neuron).advance is not Neuron.advance:
        return f"cannot compile {type(neuron).__name__}, which takes its step by an `advance` of its own"
    return None


def cannot_take(request: Request) -> str | None:
    """Return why the values of a request do not fit a compiled scan, or None."""
    current, state = request.current, request.state
    for name, values in (("coefficients", request.neuron.coefficients()), ("initial", request.neuron.initial())):
        wrong = [tuple(v.shape) for v in values if v.numel() not in (1, current.shape[-1]) or v.dim() > 1]
        if wrong:
            return f"takes {name} of shape () or (N,), not {wrong[0]}"
    if request.weight is not None and state is not None:
        past = state.history.detach()
        if not bool(((past == 0) | (past == 1)).all()):
            return "keeps spikes as bits, and the state's history holds other values than 0 and 1"
    return None


def keeps_current(neuron: Neuron, coefficients: tuple[Tensor, ...] | None) -> bool:
    """Return whether the adjoint of a neuron's step needs the current kept.

    coefficients: their values may decide; None where nobody may look at them, which keeps it where in doubt.
    """
    rules = neuron_rules(neuron)
    return rules.needs_current if coefficients is None else rules.keeps_current(coefficients)


def inputs_of(request: Request, look: bool) -> tuple[Inputs, int | None]:
    """Return the tensors of a request, and the longest tap: the delays' if the engine may `look`, else the `limit`.

    Without either it is None. Raises ValueError where delays reach past a history that was cut.
    """
    current, delay, width = request.current, request.delay, request.width
    batch, size = current.shape[1:]
    state = rest_state(request.neuron, current) if request.state is None else request.state
    coefficients = request.neuron.coefficients()
    coef = torch.cat([current.new_zeros(0, size), *(c.to(current).expand(1, size) for c in coefficients)])
    start = torch.stack([s.to(current).expand(batch, size) for s in state.states])
    inputs = Inputs(current, request.weight, delay, width, request.mask, coef, start, state.history.to(current.dtype))
    reach = request.limit
    if delay is None or width is None:
        reach = 1
    elif look:
        reach = kernel_length(delay, width) - 1
    if reach is not None and request.weight is not None and not torch.compiler.is_compiling():
        check_history(state, reach + 1)
    return inputs, reach


def compiled_scan(engine: str, request: Request, limit: int | None) -> Output:
    """Run a request on an engine of that name while torch.compile traces it, as one operator of the graph.

    limit: a longest tap; None where the operator shall read it off the delays.
    """
    from delrec.engines import operators

    inputs, reach = inputs_of(request, look=False)
    cut = request.state is not None and request.state.cut
    spikes, final, trace = operators.scan(engine, request.neuron, inputs, request.trace, cut, limit)
    return output_of(request, inputs, reach, spikes, final, trace, engine)


def output_of(
    request: Request, inputs: Inputs, reach: int | None, spikes: Tensor, final: Tensor, trace: Tensor | None, name: str
) -> Output:
    """Return the result of a request: spikes (T, B, N), final (states, B, N), trace (planes, T, B, N)."""
    history, steps = inputs.history, spikes.shape[0]
    held = history.shape[0] + steps
    kept = min(max(1, held if reach is None else reach) if request.keep is None else request.keep, held)
    # copies: a view would keep the whole sequence alive, and an edit of the output would change it
    past = request.state.history if request.state is not None else history
    last = spikes[-kept:].clone() if steps >= kept else torch.cat([past, spikes])[-kept:]
    cut = request.state is not None and request.state.cut
    end = State(final.unbind(0), last, cut or kept < held)
    states = tuple(trace[: len(inputs.start)].unbind(0)) if request.trace and trace is not None else ()
    return Output(spikes, states, end, name)
