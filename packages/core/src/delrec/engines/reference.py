"""The reference engine: plain autograd, short, any device, "delay, then weight".

It defines what every other engine must reproduce. Cost: O(T L B N) for axonal delays, O(T L B N^2) for synaptic.
"""

from __future__ import annotations

import torch
from torch import Tensor

from delrec.delays import kernel_length, triangle_kernel
from delrec.engines.state import ScanOutput, ScanState
from delrec.neurons import Neuron

__all__ = ["scan"]


def scan(
    current: Tensor,
    neuron: Neuron,
    weight: Tensor | None = None,
    delay: Tensor | None = None,
    width: Tensor | None = None,
    mask: Tensor | None = None,
    state: ScanState | None = None,
    with_states: bool = True,
    taps: Tensor | None = None,
) -> ScanOutput:
    """Run neurons, recurrently connected if `weight` is given, through time.

        I[t,b,i] = current[t,b,i] + mask[b,i] sum_{k>=1} sum_o weight[i,o] m_o[k] S[t-k,b,o]

    current: (T, B, N). weight: (N, N), [receiver, sender]. delay: (N,) per sender, or (N, N) like weight, in
    steps. width: half-width of the triangle, () or (N,) per sender. mask: None, (B, N), or (T, B, N), a factor on
    the recurrent current. state: where to start; None is rest, without past spikes. taps: m itself, (N, L) per sender,
    instead of the triangle of delay and width. Everything is differentiable, the given state included.
    """
    steps, batch, size = current.shape
    coefficients = tuple(c.to(current.dtype) for c in neuron.coefficients())
    if weight is not None and taps is None:
        assert delay is not None and width is not None
        taps = triangle_kernel(delay, width, kernel_length(delay, width))
        if delay.dim() == 2:
            taps = weight.unsqueeze(-1) * taps
    if state is None:
        state = rest_state(neuron, current)
    values = state.states
    spikes = list(state.history.unbind(0))
    history = len(spikes)
    trace: list[tuple[Tensor, ...]] = []
    for t in range(steps):
        drive = current[t]
        if weight is not None:
            assert taps is not None
            received = _received(spikes, weight, taps)
            drive = drive + (received if mask is None else received * (mask if mask.dim() == 2 else mask[t]))
        spike = spikes[-1]
        reset = spike.detach() if neuron.detach_reset else spike
        values = tuple(v.expand(batch, size) for v in neuron.step(spike, reset, *values, drive, *coefficients))
        spikes.append(neuron.surrogate.spike(neuron.drive(*values, *coefficients), neuron.strict))
        trace.append(values)
    kept = taps.shape[-1] - 1 if taps is not None else 1
    final = ScanState(values, torch.stack(spikes[-kept:]))
    states = tuple(torch.stack(s) for s in zip(*trace, strict=True)) if with_states else ()
    return ScanOutput(torch.stack(spikes[history:]), states, final, "reference")


def rest_state(neuron: Neuron, like: Tensor) -> ScanState:
    """Return the state before the first step of a batch shaped like (..., B, N), and one step of silence."""
    silence = like.new_zeros(like.shape[-2:])
    return ScanState(neuron.start_states(silence), silence.unsqueeze(0))


def _received(spikes: list[Tensor], weight: Tensor, taps: Tensor) -> Tensor:
    """Return sum_{k>=1} sum_o W[i,o] m[..o,k] S[t-k,b,o], (B, N), from the spikes up to t-1 (newest last)."""
    past = torch.stack(spikes[: -taps.shape[-1] : -1])  # (K, B, N): past[k-1] = S[t-k]
    reach = taps[..., 1 : 1 + past.shape[0]]
    if taps.dim() == 2:
        return torch.einsum("kbo,ok->bo", past, reach) @ weight.T
    return torch.einsum("kbo,iok->bi", past, reach)
