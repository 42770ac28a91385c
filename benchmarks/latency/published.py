"""The papers' networks with recurrent delays, transcribed from their equations: what this project's engines replace.

A ring buffer holds the recurrent currents of the next L - 1 steps. Every step takes its slot from the ring, runs the
neuron, weighs the new spikes for every future step at once, and adds that block to the ring:

    axonal      block[b,i,k] = sum_o W[i,o] m_o[k] S[t,b,o]       (B, N, L), as the product of (B, L, N) with W
    synaptic    block[b,i,k] = sum_o (W[i,o] m[i,o,k]) S[t,b,o]   (B, N, L), as an einsum
    ring[(t+k) mod L] += block[..,k],   k = 1 .. L-1

Autograd goes through all of it, so every step keeps its block for the backward pass. Every loop reads its input as
current[t], as spikingjelly's does: the gradient of that is a whole (T, B, N) of zeros at each step. Every layer stacks
its membranes beside its spikes, and the plain recurrent network is the ring at delay 0 and sigma 0 (L = 3), both as
published.

The golden vectors hold the loop's results to those of the published implementation.

Source: DelRec, arXiv 2509.24852, section 3; neuron loop after spikingjelly's multi-step LIF node.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Any

import torch
from delrec import RecurrentDelays
from delrec.neurons import LIF
from delrec_bench.networks import Network
from torch import Tensor, nn

SLOPES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "atan": lambda u, alpha: alpha / 2 / (1 + (math.pi / 2 * alpha * u).pow_(2)),
    "triangle": lambda u, gamma: (1 / gamma) ** 2 * (gamma - u.abs()).clamp(min=0),
}
"""Surrogate -> the derivative that a spike is given, of H - threshold and its parameter."""


class Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, surrogate: str, parameter: float) -> Tensor:
        ctx.save_for_backward(u)
        ctx.settings = surrogate, parameter
        return (u >= 0).to(u)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        surrogate, parameter = ctx.settings
        return SLOPES[surrogate](ctx.saved_tensors[0], parameter) * grads[0], None, None


@dataclass(frozen=True)
class PublishedLIF:
    """The neuron's settings: tau in steps, v_reset None for a soft reset, and its surrogate."""

    tau: float = 2.0
    threshold: float = 1.0
    v_reset: float | None = None
    detach_reset: bool = False
    surrogate: str = "triangle"
    parameter: float = 1.0

    @staticmethod
    def of(neuron: LIF) -> "PublishedLIF":
        """The settings of one of ours."""
        v_reset = None if neuron.reset == "soft" else neuron.v_reset
        name, parameter = neuron.surrogate.name, astuple(neuron.surrogate)[0]  # type: ignore[attr-defined,call-overload]
        return PublishedLIF(neuron.tau, neuron.threshold, v_reset, neuron.detach_reset, name, parameter)

    def step(self, v: Tensor | float, current: Tensor) -> tuple[Tensor, Tensor]:
        """Return (S[t], V[t]) from V[t-1] and I[t], one torch operation after the other."""
        if self.v_reset is None or self.v_reset == 0:
            h = v * (1 - 1 / self.tau) + current
        else:
            h = v - (v - self.v_reset) / self.tau + current
        spike: Tensor = Spike.apply(h - self.threshold, self.surrogate, self.parameter)
        reset = spike.detach() if self.detach_reset else spike
        if self.v_reset is None:
            return spike, h - reset * self.threshold
        return spike, (1 - reset) * h + reset * self.v_reset


def triangle_taps(delay: Tensor, width: Tensor) -> Tensor:
    """Return m[.., k] = max(0, s - |k - (1+d)|) / s^2 for k = 0 .. L-1, L = ceil(1 + max d + max s) + 1."""
    length = math.ceil(1 + float(delay.detach().max()) + float(width.detach().max())) + 1
    taps = torch.arange(length, dtype=delay.dtype, device=delay.device)
    width = width.unsqueeze(-1)
    room = width - (taps - (1 + delay.unsqueeze(-1))).abs()
    # the corner has a gradient, as torch.clamp's had before torch 2.15
    return torch.where(room >= 0, room, 0) / width**2


class PlainLayer(nn.Module):
    """Neurons without recurrence, (T, B, N) -> (T, B, N)."""

    def __init__(self, neuron: PublishedLIF) -> None:
        super().__init__()
        self.neuron = neuron

    def forward(self, current: Tensor) -> Tensor:
        v: Tensor | float = self.neuron.v_reset or 0.0
        spikes, membranes = [], []
        for t in range(len(current)):
            spike, v = self.neuron.step(v, current[t])
            spikes.append(spike)
            membranes.append(v)
        self.membranes = torch.stack(membranes)
        return torch.stack(spikes)


class RingLayer(nn.Module):
    """Recurrent delays by a ring buffer of future currents, of kind "axonal" or "synaptic".

    delay: (N,) or (N, N) [receiver, sender], in steps. spread: logits (N,) per sender or None. sigma in steps.
    `membranes` are those of the last pass, after the reset.
    """

    def __init__(
        self, weight: Tensor, delay: Tensor, neuron: PublishedLIF, sigma: float = 0.0, spread: Tensor | None = None
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.delay = nn.Parameter(delay)
        self.spread = None if spread is None else nn.Parameter(spread)
        self.neuron, self.sigma, self.dropout = neuron, sigma, 0.0

    def taps(self) -> Tensor:
        """Return m, (N, L) or (N, N, L)."""
        width = self.delay.new_full(self.delay.shape, 1 + self.sigma)
        if self.spread is not None:
            width = (1 + 2 * self.sigma * torch.sigmoid(self.spread)).expand(self.delay.shape)
        return triangle_taps(self.delay, width)

    def forward(self, current: Tensor) -> Tensor:
        """Run (T, B, N) and return spikes."""
        steps, batch, size = current.shape
        taps = self.taps()
        length = taps.shape[-1]
        ring = current.new_zeros(length, batch, size)
        mask = dropout_mask(self, current[0])
        v: Tensor | float = self.neuron.v_reset or 0.0
        spikes, membranes = [], []
        for t in range(steps):
            slot = t % length
            received = ring[slot].clone()
            spike, v = self.neuron.step(v, current[t] + (received if mask is None else received * mask))
            spikes.append(spike)
            membranes.append(v)
            ring[slot] = 0
            where = (t + torch.arange(1, length, device=ring.device)) % length
            ring = ring.index_put((where,), self.block(spike, taps)[1:], accumulate=True)
        self.membranes = torch.stack(membranes)
        return torch.stack(spikes)

    def block(self, spike: Tensor, taps: Tensor) -> Tensor:
        """Return the currents that the spikes (B, N) cause in the steps to come, (L, B, N)."""
        if taps.dim() == 2:
            return nn.functional.linear(spike * taps.T.unsqueeze(1), self.weight)
        return torch.einsum("bo,iok->kbi", spike, self.weight.unsqueeze(-1) * taps)


class PublishedReadout(nn.Module):
    """Neurons that never fire: V[t] = (1 - 1/tau) V[t-1] + I[t], (T, B, classes)."""

    def __init__(self, tau: float) -> None:
        super().__init__()
        self.tau = tau

    def forward(self, current: Tensor) -> Tensor:
        v: Tensor | float = 0.0
        trace = []
        for t in range(len(current)):
            v = v * (1 - 1 / self.tau) + current[t]
            trace.append(v)
        return torch.stack(trace)


class PublishedNetwork(nn.Module):
    """The papers' network with a copy of the weights of `network`: linear, batch norm, neurons, dropout, readout."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.config, self.dropout = network.config, network.config.dropout
        self.connections = nn.ModuleList(copy.deepcopy(block.connection) for block in network.blocks)
        self.norms = nn.ModuleList(copy.deepcopy(block.norm) or nn.Identity() for block in network.blocks)
        self.layers = nn.ModuleList(_layer(block.spiking) for block in network.blocks)
        self.readout = copy.deepcopy(network.readout)
        self.leak = None if network.leak is None else PublishedReadout(network.leak.tau)  # type: ignore[attr-defined]

    def forward(self, inputs: Tensor) -> Tensor:
        """Return outputs (T, B, classes) of a sequence (T, B, C)."""
        values = inputs
        for connection, norm, layer in zip(self.connections, self.norms, self.layers, strict=True):
            current = connection(values)
            if not isinstance(norm, nn.Identity):
                current = norm(current.flatten(0, 1)).view_as(current)
            first = self.config.order == "dropout-spike"
            values = layer(self._dropped(current)) if first else self._dropped(layer(current))
        output: Tensor = self.readout(values)
        return output if self.leak is None else self.leak(output)

    def scores(self, outputs: Tensor) -> Tensor:
        """Sum logits, or their softmax, over time: (B, classes)."""
        return (torch.softmax(outputs, -1) if self.config.aggregate == "softmax-sum" else outputs).sum(0)

    def _dropped(self, values: Tensor) -> Tensor:
        mask = dropout_mask(self, values[0])
        return values if mask is None else values * mask


def dropout_mask(module: Any, like: Tensor) -> Tensor | None:
    """One dropout mask for a pass, (B, N); None without dropout."""
    if not module.training or module.dropout == 0:
        return None
    return nn.functional.dropout(torch.ones_like(like), module.dropout)


def ring_layer(ours: RecurrentDelays) -> RingLayer:
    """The published loop with a copy of our layer's weights, delays and spread; without delays it is at delay 0."""
    plain = ours.delay_kind == "none"
    delay = ours.weight.new_zeros(ours.size) if plain else ours.delay
    spread = None if plain or ours.spread is None else ours.spread.detach().clone()
    sigma = 0.0 if plain else float(ours.sigma)
    ring = RingLayer(ours.weight.detach().clone(), delay.detach().clone(), PublishedLIF.of(ours.neuron), sigma, spread)  # type: ignore[arg-type]
    ring.delay.requires_grad_(not plain)
    ring.dropout = ours.dropout
    return ring


def _layer(ours: Any) -> nn.Module:
    return ring_layer(ours) if isinstance(ours, RecurrentDelays) else PlainLayer(PublishedLIF.of(ours.neuron))
