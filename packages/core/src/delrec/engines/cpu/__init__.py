"""The cpu engine: one fused scan through time, compiled for the neuron, with a hand-written backward pass.

See docs/engines.md. What it cannot run (other devices and dtypes, rules whose source cannot be read) goes to the
reference engine, with one warning that says why.
"""

from __future__ import annotations

import torch
from torch import Tensor

from delrec.delays import kernel_length
from delrec.engines.interface import Engine, Output, Request, State, rest_state
from delrec.engines.reference import check_history
from delrec.foreign import ForeignNeuron
from delrec.neurons import Neuron, neuron_of

_BROKEN = ""
try:
    from delrec.engines.cpu import delays, linear
    from delrec.engines.cpu.codegen import keeps_current, kernels_for
    from delrec.engines.cpu.common import real
    from delrec.engines.cpu.scan import Inputs, Scan
except Exception as error:  # numba may be absent, or broken by another package, in many ways
    _BROKEN = f"numba cannot be used ({type(error).__name__}: {error})"

__all__ = ["ENGINE", "Cpu"]

_TAPS = "takes delays and half-widths, not taps"


class Cpu(Engine):
    """One compiled scan a neuron, with its adjoint."""

    name = "cpu"
    devices = ("cpu",)
    traceable = True

    def supports(self, request: Request) -> str | None:
        """Return why the compiled scan cannot run this, or None."""
        current, state = request.current, request.state
        if torch.compiler.is_compiling():  # what depends on values is seen to when the operator runs
            return _takes_handle(request.neuron.handle, current.device.type, current.dtype, request.taps is not None)
        if request.taps is not None:
            return _TAPS
        if torch.jit.is_tracing():
            return "cannot be followed by torch.jit.trace (torch.export can)"
        reason = self.takes(request.neuron, current.device.type, current.dtype)
        if reason:
            return reason
        for name, values in (("coefficients", request.neuron.coefficients()), ("initial", request.neuron.initial())):
            wrong = [tuple(v.shape) for v in values if v.numel() not in (1, current.shape[-1]) or v.dim() > 1]
            if wrong:
                return f"takes {name} of shape () or (N,), not {wrong[0]}"
        if request.weight is not None and state is not None:
            past = state.history.detach()
            if not bool(((past == 0) | (past == 1)).all()):
                return "keeps spikes as bits, and the state's history holds other values than 0 and 1"
        return None

    def takes(self, neuron: Neuron, device: str, dtype: torch.dtype) -> str | None:
        """Return why a neuron cannot be compiled for a device and dtype, or None."""
        if _BROKEN:
            return _BROKEN
        if device != "cpu":
            return f"runs on CPU tensors, not on {device}"
        kind = real(dtype)
        if kind is None:
            return f"runs in float32 and float64, not in {dtype}"
        if isinstance(neuron, ForeignNeuron):
            return "cannot compile a foreign neuron, whose step is code of another library"
        if type(neuron).advance is not Neuron.advance:
            return f"cannot compile {type(neuron).__name__}, which takes its step by an `advance` of its own"
        try:
            kernels_for(neuron, kind, "axonal")
        except ValueError as error:
            return f"cannot compile the neuron: {error}"
        return None

    def scan(self, request: Request) -> Output:
        """Run the scan of `reference`, fused: same result, same gradients."""
        current, delay, width = request.current, request.delay, request.width
        steps, batch, size = current.shape
        state = rest_state(request.neuron, current) if request.state is None else request.state
        coefficients = request.neuron.coefficients()
        coef = torch.cat([current.new_zeros(0, size), *(c.to(current.dtype).expand(1, size) for c in coefficients)])
        start = torch.stack([s.to(current.dtype).expand(batch, size) for s in state.states])
        inputs = Inputs(
            current, request.weight, delay, width, request.mask, coef, start, state.history.to(current.dtype)
        )
        reach = request.limit
        if delay is None or width is None:
            reach = 1
        elif not torch.compiler.is_compiling():  # a length read off the delays would break a graph
            reach = kernel_length(delay, width) - 1
            check_history(state, reach + 1)
        given = state.history.shape[0]
        kept = min(
            max(1, given + steps if reach is None else reach) if request.keep is None else request.keep, given + steps
        )
        trace: Tensor | None
        if torch.compiler.is_compiling():
            from delrec.engines.cpu import operators

            spikes, final, trace = operators.scan(request.neuron, inputs, request.trace, state.cut)
        else:
            training = torch.is_grad_enabled() and any(i is not None and i.requires_grad for i in inputs)
            spikes, final, *rest = Scan.apply(
                request.neuron, training or request.trace, training and keeps_current(request.neuron, coefficients),
                request.trace, *inputs,
            )  # fmt: skip
            trace = rest[0] if rest else None
        # copies: a view would keep the whole sequence alive, and an edit of the output would change it
        history = spikes[-kept:].clone() if steps >= kept else torch.cat([state.history, spikes])[-kept:]
        end = State(final.unbind(0), history, state.cut or kept < given + steps)
        states = tuple(trace[: len(start)].unbind(0)) if request.trace and trace is not None else ()
        return Output(spikes, states, end, self.name)

    def linear(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor | None:
        """Take the sparse product, where inputs are sparse."""
        return None if _BROKEN else linear.spike_linear(inputs, weight, bias)

    def delayed_linear(
        self, inputs: Tensor, weight: Tensor, position: Tensor, bias: Tensor | None, window: int, left: int, right: int
    ) -> Tensor | None:
        """Read two taps a connection, where inputs are sparse."""
        return None if _BROKEN else delays.delayed_linear(inputs, weight, position, bias, window, left, right)


def _takes_handle(handle: str, device: str, dtype: torch.dtype, taps: bool) -> str | None:
    return _TAPS if taps else ENGINE.takes(neuron_of(handle), device, dtype)


# a constant of the graph: torch.compiler.assume_constant_result, which would import the whole compiler here
_takes_handle._dynamo_marked_constant = True  # type: ignore[attr-defined]

ENGINE = Cpu()
