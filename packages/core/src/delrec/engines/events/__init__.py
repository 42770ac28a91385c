"""The events engine: inference with whole delays, driven by spikes.

A spike is added to a ring of future currents at the step when it arrives; without spikes there is no work.
`network.EventNetwork` runs the layers of a model over a sequence, or step by step without allocating memory.
"""

import torch

from delrec.engines import Engine, Output, Request, State, rest_state
from delrec.engines.cpu import ENGINE as CPU


class Events(Engine):
    """Inference by events; only used if named."""

    name = "events"
    gradients = False
    broken = CPU.broken

    def supports(self, request: Request) -> str | None:
        """Return None if it can run: whole delays, sigma 0, from rest, without gradient, dropout and trace."""
        reason = "cannot be traced by torch.compile" if torch.compiler.is_compiling() else CPU.supports(request)
        if reason:
            return reason
        learned = request.neuron.coefficients_like(request.current), rest_state(request.neuron, request.current).states
        inputs = (request.current, request.weight, request.delay, *learned[0], *learned[1])
        if torch.is_grad_enabled() and any(i is not None and i.requires_grad for i in inputs):
            return "gives no gradients: use torch.no_grad()"
        if request.trace or request.state is not None or request.mask is not None:
            return (
                "supports neither lengths, nor an initial state (for single steps: EventNetwork), membrane or dropout"
            )
        if request.delay is not None and request.width is not None:
            whole = bool((request.delay == request.delay.round()).all())
            if not whole or not bool((request.width == 1).all()):
                return "takes whole delays and sigma 0: use `with layer.deployed():`"
        return None

    def scan(self, request: Request) -> Output:
        """Run one layer."""
        from delrec.engines.events.network import EventLayer  # needs numba

        steps, batch, size = request.current.shape
        layer = EventLayer(
            size, batch, request.current.dtype, neuron=request.neuron, recurrent=request.weight, delay=request.delay
        )
        out = layer.run(request.current.detach().contiguous())
        kept = min(layer.slots if request.keep is None else request.keep, steps + 1)
        past = torch.cat([request.current.new_zeros(1, batch, size), out])
        return Output(out, (), State(layer.states(), past[-kept:].clone(), kept <= steps), self.name)


ENGINE = Events()
