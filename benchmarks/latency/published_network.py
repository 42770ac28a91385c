"""Whole networks around the published loop, with the weights of one of ours: the same function, computed their way."""

from __future__ import annotations

import copy
from dataclasses import astuple
from typing import Any

import torch
from delrec import FeedforwardDelays, RecurrentDelays
from delrec.neurons import LIF
from delrec_bench.networks import Network
from torch import Tensor, nn

from benchmarks.latency.published import PlainLayer, PublishedLIF, PublishedReadout, RingLayer

__all__ = ["DenseDelays", "PublishedNetwork"]


class DenseDelays(nn.Module):
    """Feedforward delays as the dense convolution of DCLS, kernel version v1: (T, B, I) -> (T', B, O).

    kernel[o,i,k] = w[o,i] tri[k] / (sum_k tri[k] + 1e-7), tri[k] = max(0, 1 - |k - (P + K//2)|).
    Source: Khalfaoui-Hassani et al. 2023 (arXiv 2112.03740).
    """

    def __init__(self, ours: FeedforwardDelays) -> None:
        super().__init__()
        self.weight = copy.deepcopy(ours.weight)
        self.position = copy.deepcopy(ours.position)
        self.bias = copy.deepcopy(ours.bias)
        self.window, self.padding = ours.window, (ours.left_padding, ours.right_padding)

    def forward(self, inputs: Tensor) -> Tensor:
        taps = torch.arange(self.window, dtype=self.weight.dtype, device=self.weight.device)
        distance = (taps - (self.position[0] + self.window // 2).unsqueeze(-1)).abs()
        triangle = torch.relu(1 - distance)
        kernel = self.weight * (triangle / (triangle.sum(-1, keepdim=True) + 1e-7))
        padded = nn.functional.pad(inputs.permute(1, 2, 0), self.padding)
        return nn.functional.conv1d(padded, kernel, self.bias).permute(2, 0, 1)


class PublishedNetwork(nn.Module):
    """The papers' network with a copy of the weights of `network`: linear, batch norm, neurons, dropout, readout."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        config = network.config
        self.config = config
        self.connections = nn.ModuleList(_connection(block.connection) for block in network.blocks)
        self.norms = nn.ModuleList(copy.deepcopy(block.norm) or nn.Identity() for block in network.blocks)
        self.layers = nn.ModuleList(_layer(block.spiking) for block in network.blocks)
        self.readout = _connection(network.readout)
        self.leak = None
        if network.leak is not None:
            assert isinstance(network.leak, LIF)
            self.leak = PublishedReadout(PublishedLIF(tau=network.leak.tau))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return outputs (T, B, classes) of a sequence (T, B, C)."""
        values = inputs
        for connection, norm, layer in zip(self.connections, self.norms, self.layers, strict=True):
            current = connection(values)
            if not isinstance(norm, nn.Identity):
                current = norm(current.flatten(0, 1)).view_as(current)
            if self.config.order == "dropout-spike":
                values = layer(self._dropped(current))
            else:
                values = self._dropped(layer(current))
        output: Tensor = self.readout(values)
        return output if self.leak is None else self.leak(output)

    def scores(self, outputs: Tensor) -> Tensor:
        """Sum logits, or their softmax, over time: (B, classes)."""
        return (torch.softmax(outputs, -1) if self.config.aggregate == "softmax-sum" else outputs).sum(0)

    def _dropped(self, values: Tensor) -> Tensor:
        if not self.training or self.config.dropout == 0:
            return values
        return values * nn.functional.dropout(torch.ones_like(values[0]), self.config.dropout)


def _connection(ours: nn.Module) -> nn.Module:
    return DenseDelays(ours) if isinstance(ours, FeedforwardDelays) else copy.deepcopy(ours)


def published_neuron(neuron: Any) -> PublishedLIF:
    """Our LIF's settings as the published loop's."""
    assert isinstance(neuron, LIF)
    return PublishedLIF(
        tau=neuron.tau,
        threshold=neuron.threshold,
        v_reset=None if neuron.reset == "soft" else neuron.v_reset,
        detach_reset=neuron.detach_reset,
        surrogate=neuron.surrogate.name,  # type: ignore[attr-defined]
        parameter=astuple(neuron.surrogate)[0],
    )


def ring_layer(ours: RecurrentDelays) -> RingLayer:
    """The published loop with a copy of our layer's weights, delays and spread; without delays it is at delay 0."""
    plain = ours.delay_kind == "none"
    ring = RingLayer(
        ours.weight.detach().clone(),
        ours.weight.new_zeros(ours.size).detach() if plain else ours.delay.detach().clone(),
        published_neuron(ours.neuron),
        sigma=0.0 if plain else float(ours.sigma),
        spread=None if plain or ours.spread is None else ours.spread.detach().clone(),
        dropout=ours.dropout,
    )
    ring.delay.requires_grad_(not plain)
    return ring


def _layer(ours: nn.Module) -> nn.Module:
    neuron = published_neuron(ours.neuron)
    if not isinstance(ours, RecurrentDelays):
        return PlainLayer(neuron)
    return ring_layer(ours)
