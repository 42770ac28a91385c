"""The papers' training loop for recurrent delays, transcribed from its equations: what this project's engines replace.

A ring buffer holds the recurrent currents of the next L - 1 steps. Every step takes its slot from the ring, runs the
neuron, weighs the new spikes for every future step at once, and adds that block to the ring:

    axonal      block[b,i,k] = sum_o W[i,o] m_o[k] S[t,b,o]       (B, N, L), as the product of (B, L, N) with W
    synaptic    block[b,i,k] = sum_o (W[i,o] m[i,o,k]) S[t,b,o]   (B, N, L), as an einsum
    ring[(t+k) mod L] += block[..,k],   k = 1 .. L-1

Autograd goes through all of it, so every step keeps its block for the backward pass. Every loop reads its input as
current[t], as spikingjelly's does: the gradient of that is a whole (T, B, N) of zeros at each step. Every layer stacks
its membranes beside its spikes, and the plain recurrent network is the ring at delay 0 and sigma 0 (L = 3), both as
published.

It serves as a yardstick only: the networks of `published_network` are timed beside ours, and the golden vectors hold
its results to those of the published implementation.

Source: DelRec, arXiv 2509.24852, section 3; neuron loop after spikingjelly's multi-step LIF node.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

__all__ = ["PlainLayer", "PublishedLIF", "PublishedReadout", "RingLayer"]


class _ATan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, alpha: float) -> Tensor:
        ctx.save_for_backward(u)
        ctx.alpha = alpha
        return (u >= 0).to(u)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (u,) = ctx.saved_tensors
        return ctx.alpha / 2 / (1 + (math.pi / 2 * ctx.alpha * u).pow_(2)) * grads[0], None


class _Triangle(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, gamma: float) -> Tensor:
        ctx.save_for_backward(u)
        ctx.gamma = gamma
        return (u >= 0).to(u)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (u,) = ctx.saved_tensors
        return grads[0] * (1 / ctx.gamma) ** 2 * (ctx.gamma - u.abs()).clamp(min=0), None


_SURROGATES = {"atan": _ATan, "triangle": _Triangle}


@dataclass(frozen=True)
class PublishedLIF:
    """The neuron's settings: tau in steps, v_reset None for a soft reset, and its surrogate."""

    tau: float = 2.0
    threshold: float = 1.0
    v_reset: float | None = None
    detach_reset: bool = False
    surrogate: Literal["triangle", "atan"] = "triangle"
    parameter: float = 1.0

    def start(self) -> float:
        """Return V[-1]."""
        return 0.0 if self.v_reset is None else self.v_reset

    def step(self, v: Tensor | float, current: Tensor) -> tuple[Tensor, Tensor]:
        """Return (S[t], V[t]) from V[t-1] and I[t], one torch operation after the other."""
        if self.v_reset is None or self.v_reset == 0:
            h = v * (1 - 1 / self.tau) + current
        else:
            h = v - (v - self.v_reset) / self.tau + current
        spike = _SURROGATES[self.surrogate].apply(h - self.threshold, self.parameter)
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
    return (
        torch.where(room >= 0, room, 0) / width**2
    )  # the corner has a gradient, as torch.clamp's had before torch 2.15


class PlainLayer(nn.Module):
    """Neurons without recurrence, (T, B, N) -> (T, B, N)."""

    def __init__(self, neuron: PublishedLIF) -> None:
        super().__init__()
        self.neuron = neuron

    def forward(self, current: Tensor) -> Tensor:
        v: Tensor | float = self.neuron.start()
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
    """

    def __init__(
        self,
        weight: Tensor,
        delay: Tensor,
        neuron: PublishedLIF,
        *,
        sigma: float = 0.0,
        spread: Tensor | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.delay = nn.Parameter(delay)
        self.spread = None if spread is None else nn.Parameter(spread)
        self.neuron = neuron
        self.sigma = sigma
        self.dropout = dropout

    def taps(self) -> Tensor:
        """Return m, (N, L) or (N, N, L)."""
        if self.spread is None:
            width = torch.as_tensor(1.0 + self.sigma, dtype=self.delay.dtype, device=self.delay.device)
            width = width.expand(self.delay.shape[-1])
        else:
            width = 1 + 2 * self.sigma * torch.sigmoid(self.spread)
        return triangle_taps(self.delay, width.expand(self.delay.shape))

    def forward(self, current: Tensor, membrane: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Run (T, B, N) and return spikes, and V after the reset if asked for."""
        steps, batch, size = current.shape
        taps = self.taps()
        length = taps.shape[-1]
        ring = current.new_zeros(length, batch, size)
        mask = _mask(self, current[0])
        v: Tensor | float = self.neuron.start()
        spikes, membranes = [], []
        for t in range(steps):
            slot = t % length
            received = ring[slot].clone()
            if mask is not None:
                received = received * mask
            spike, v = self.neuron.step(v, current[t] + received)
            spikes.append(spike)
            membranes.append(v)
            ring[slot] = 0
            where = (t + torch.arange(1, length, device=ring.device)) % length
            ring = ring.index_put((where,), self.block(spike, taps)[1:], accumulate=True)
        out, self.membranes = torch.stack(spikes), torch.stack(membranes)
        return (out, self.membranes) if membrane else out

    def block(self, spike: Tensor, taps: Tensor) -> Tensor:
        """Return the currents that the spikes (B, N) cause in the steps to come, (L, B, N)."""
        if taps.dim() == 2:
            return nn.functional.linear(spike * taps.T.unsqueeze(1), self.weight)
        return torch.einsum("bo,iok->kbi", spike, self.weight.unsqueeze(-1) * taps)


class PublishedReadout(nn.Module):
    """Neurons that never fire: V[t] = (1 - 1/tau) V[t-1] + I[t], (T, B, classes)."""

    def __init__(self, neuron: PublishedLIF) -> None:
        super().__init__()
        self.neuron = neuron

    def forward(self, current: Tensor) -> Tensor:
        v: Tensor | float = 0.0
        trace = []
        for t in range(len(current)):
            v = v * (1 - 1 / self.neuron.tau) + current[t]
            trace.append(v)
        return torch.stack(trace)


def _mask(layer: Any, like: Tensor) -> Tensor | None:
    """One dropout mask a pass, (B, N), or None."""
    if not layer.training or layer.dropout == 0:
        return None
    return nn.functional.dropout(torch.ones_like(like), layer.dropout)
