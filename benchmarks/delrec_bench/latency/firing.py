"""Networks that fire as trained ones do: what a step by events costs is the number of its spikes."""

from typing import Any

import torch
from torch import Tensor

RATE = 0.05
"""Spikes per neuron and step that every layer is brought to; trained networks of the papers fire at .02 to .1."""

_SPREAD = 0.5  # standard deviation that a layer's feedforward current is scaled to, in thresholds
_ROWS = 16


@torch.no_grad()
def fire(network: Any, inputs: Tensor) -> None:
    """Bring every layer of a stack of blocks to `RATE` on inputs (T, B, C), in order; leave other networks alone.

    A layer's feedforward current is scaled to a standard deviation of half a threshold, then shifted by bisection on
    its bias or batch norm's; where it has neither, its weights are scaled by bisection.
    """
    training, values = network.training, inputs[:, :_ROWS]
    network.eval()
    for block in getattr(network, "blocks", ()):
        weight, norm = block.connection.weight, block.norm
        shift = block.connection.bias if norm is None else norm.bias
        if norm is not None:  # evaluation's statistics are then those of this batch, as in training
            current = block.connection(values).flatten(0, 1)
            norm.running_mean.copy_(current.mean(0))
            norm.running_var.copy_(current.var(0))
            norm.weight.fill_(_SPREAD)
        else:
            weight.mul_(_SPREAD / block.connection(values).std().clamp(min=1e-6))
        start = (weight if shift is None else shift).clone()
        if shift is not None and norm is None:
            start -= block.connection(values).flatten(0, 1).mean(0)
        low, high = -8.0, 8.0
        for _ in range(13):
            middle = (low + high) / 2
            if shift is None:
                weight.copy_(start * 2**middle)
            else:
                shift.copy_(start + middle)
            low, high = (middle, high) if float(block(values).mean()) < RATE else (low, middle)
        values = block(values)
    network.train(training)


@torch.no_grad()
def spike_rates(network: Any, inputs: Tensor) -> list[float]:
    """Spikes per neuron and step of each layer, in evaluation mode; empty for a network that is no stack of blocks."""
    training, values, rates = network.training, inputs[:, : 2 * _ROWS], []
    network.eval()
    for block in getattr(network, "blocks", ()):
        values = block(values)
        rates.append(float(values.mean()))
    network.train(training)
    return rates
