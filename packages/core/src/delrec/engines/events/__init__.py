"""The events engine: whole networks by their spikes alone, for inference with whole delays.

A spike is put in a queue (one delay per sender) or in a ring of future currents (one per connection) at the step where
it arrives; no spike, no work. `EventNetwork` runs the layers of a model over a sequence, or step by step as input
arrives, without allocating anything per step.
"""

from typing import TYPE_CHECKING, Any

import torch

from delrec.engines import Engine, Output, Request, State
from delrec.engines.cpu import ENGINE as CPU

if TYPE_CHECKING:
    from delrec.engines.events.network import EventNetwork

__all__ = ["ENGINE", "EventNetwork"]


class Events(Engine):
    """Inference by events; it must be named."""

    name = "events"
    gradients = False
    broken = CPU.broken

    def supports(self, request: Request) -> str | None:
        """Return None where events can do it: no gradient, whole delays, no spread, no dropout, from rest, no trace."""
        reason = "cannot be traced by torch.compile" if torch.compiler.is_compiling() else CPU.supports(request)
        if reason:
            return reason
        inputs = (request.current, request.weight, request.delay, *request.neuron.coefficients_like(request.current))
        if torch.is_grad_enabled() and any(i is not None and i.requires_grad for i in inputs):
            return "gives no gradients: use torch.no_grad()"
        if request.trace or request.state is not None or request.mask is not None:
            return "neither takes up a state, nor traces states, nor drops out"
        if request.delay is not None and request.width is not None:
            whole = bool((request.delay == request.delay.round()).all())
            if not whole or not bool((request.width == 1).all()):
                return "takes whole delays and sigma 0: use `with layer.deployed():`"
        return None

    def scan(self, request: Request) -> Output:
        """Run the layer by its spikes."""
        steps, batch, size = request.current.shape
        from delrec.engines.events.layer import EventLayer

        layer = EventLayer(
            size, batch, request.current.dtype, neuron=request.neuron, recurrent=request.weight, delay=request.delay
        )
        out = layer.run(request.current.detach().contiguous())
        kept = min(layer.slots if request.keep is None else request.keep, steps + 1)
        past = torch.cat([request.current.new_zeros(1, batch, size), out])
        return Output(out, (), State(layer.states(), past[-kept:].clone(), kept <= steps), self.name)


def __getattr__(name: str) -> Any:
    """Import `EventNetwork` when it is asked for: it needs numba and the layers."""
    if name != "EventNetwork":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from delrec.engines.events.network import EventNetwork

    return EventNetwork


ENGINE = Events()
