"""The reference engine: plain autograd for any neuron on any device.

It defines the result that every other engine must reproduce. Cost: O(T L B N) for axonal delays, O(T L B N^2) for
synaptic ones.
"""

import torch
from torch import Tensor

from delrec.delays import triangle_kernel
from delrec.engines import Engine, Output, Request, State, check_history, longest_tap, rest_state


class Reference(Engine):
    """Runs every request; everything is differentiable, including the initial state."""

    name = "reference"

    def scan(self, request: Request) -> Output:
        """Run the neurons step by step."""
        current, neuron = request.current, request.neuron
        state = rest_state(neuron, current) if request.state is None else request.state
        coefficients = neuron.coefficients_like(current)
        taps = _taps(request, current.shape[0] + state.history.shape[0])
        if taps is not None:
            check_history(state, taps.shape[-1])
        values = state.states
        spikes = list(state.history.unbind(0))
        given = len(spikes)
        trace: list[tuple[Tensor, ...]] = []
        for t, drive in enumerate(current):
            if taps is not None:
                assert request.weight is not None
                received = _received(spikes, request.weight, taps)
                mask = request.mask
                drive = drive + (received if mask is None else received * (mask if mask.dim() == 2 else mask[t]))
            spike, values = neuron.step(drive, values, coefficients)
            spikes.append(spike)
            if request.trace:
                trace.append(values)
        kept = (taps.shape[-1] - 1 if taps is not None else 1) if request.keep is None else request.keep
        kept = min(kept, len(spikes))
        final = State(values, torch.stack(spikes[-kept:]), state.cut or kept < len(spikes))
        empty = current + 0  # without steps: empty, but part of the graph
        states = tuple(torch.stack(s) for s in zip(*trace, strict=True)) if trace else (empty,) * len(values)
        out = torch.stack(spikes[given:]) if current.shape[0] else empty
        return Output(out, states if request.trace else (), final, self.name)


def _taps(request: Request, reach: int) -> Tensor | None:
    """Return m, (N, K) per sender, or weight times m, (N, N, K); None without recurrence."""
    if request.weight is None or request.taps is not None:
        return request.taps
    assert request.delay is not None and request.width is not None
    length = min(reach, longest_tap(request) or reach) + 1  # a graph reads no delays: superfluous taps only cost time
    taps = triangle_kernel(request.delay, request.width, length).to(request.current.dtype)
    return request.weight.unsqueeze(-1) * taps if request.delay.dim() == 2 else taps


def _received(spikes: list[Tensor], weight: Tensor, taps: Tensor) -> Tensor:
    """Return sum_{k>=1} sum_o W[i,o] m[..o,k] S[t-k,b,o], (B, N), from the spikes up to t-1 (newest last)."""
    past = torch.stack(spikes[: -taps.shape[-1] : -1])  # (K, B, N): past[k-1] = S[t-k]
    reach = taps[..., 1 : 1 + past.shape[0]]
    if taps.dim() == 2:
        return torch.einsum("kbo,ok->bo", past, reach) @ weight.T
    return torch.einsum("kbo,iok->bi", past, reach)


ENGINE = Reference()
