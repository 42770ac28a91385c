"""What a network is stacked from: connections with or without delays, batch norm, and one hidden layer of them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from delrec.feedforward import FeedforwardDelays
from delrec.linear import SpikeLinear
from delrec.neurons import Neuron
from delrec.norm import BatchNorm
from delrec.recurrent import RecurrentDelays
from delrec.spiking import SpikingLayer
from torch import Tensor, nn
from torch.nn import functional as F

from delrec_bench.networks.configuration import NetworkConfig

__all__ = ["Block", "connect", "connection_of"]


class Block(nn.Module):
    """One hidden layer: connection, batch norm, neurons, dropout, in the configured order."""

    def __init__(
        self, config: NetworkConfig, layer: int, inputs: int, neuron: Neuron, recurrence: Callable[..., RecurrentDelays]
    ) -> None:
        super().__init__()
        size = config.hidden[layer]
        delayed = config.has_feedforward_delays(layer)
        self.connection = connection_of(config, inputs, size, delayed, config.bias)
        self.norm = BatchNorm(size, momentum=config.norm_momentum) if config.batch_norm else None
        self.spiking: SpikingLayer
        if config.is_recurrent(layer):
            self.spiking = recurrence(
                size,
                neuron=neuron,
                delays="none" if config.recurrent == "plain" else config.recurrent,
                learn=config.learn_delays,
                learn_spread=config.learn_spread,
                sigma=config.sigma,
                dropout=config.recurrent_dropout,
                max_delay=config.max_delay,
                delay_init=config.delay_start(),
                dropout_mask=config.dropout_mask,
                self_connections=config.self_connections,
                rounding=config.rounding,
                engine=config.engine,
            )
        else:
            self.spiking = SpikingLayer(size, neuron=neuron, engine=config.engine)
        self.dropout = config.dropout
        self.dropout_mask = config.dropout_mask
        self.dropout_first = config.order == "dropout-spike"

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (T, B, inputs) to spikes (T', B, N)."""
        current = self.connection(inputs)
        if self.norm is not None:
            current = self.norm(current)
        if self.dropout_first:
            current = self.dropped(current)
        spikes = self.spiking(current)
        assert isinstance(spikes, Tensor)
        return spikes

    def dropped(self, values: Tensor) -> Tensor:
        """Apply dropout to (T, B, N) in training: one mask per sequence or per step."""
        if not self.training or self.dropout == 0:
            return values
        if self.dropout_mask == "step":
            return F.dropout(values, self.dropout)
        mask = torch.empty(values.shape[1:], dtype=values.dtype, device=values.device)
        return values * mask.bernoulli_(1 - self.dropout).div_(1 - self.dropout)


def connection_of(config: NetworkConfig, inputs: int, outputs: int, delayed: bool, bias: bool) -> nn.Module:
    """Return a connection of the configuration, with feedforward delays or without."""
    if delayed:
        layer = FeedforwardDelays(
            inputs,
            outputs,
            window=config.window,
            kernel=config.feedforward,  # type: ignore[arg-type]
            kernel_count=config.kernel_count,
            bias=bias,
            right_padding=config.right_padding,
            delays=config.feedforward_form,
            learn=config.learn_positions,
            spread=config.feedforward_spread,
            rounding=config.rounding if config.rounding in ("in-place", "none") else "restore",
            engine=config.engine,
        )
        if config.position_weight_init == "relu":
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
        return layer
    linear = SpikeLinear(inputs, outputs, bias=bias, engine=config.engine)
    if config.weight_init == "relu":
        nn.init.kaiming_uniform_(linear.weight, nonlinearity="relu")
    elif config.weight_init == "xavier":
        nn.init.xavier_uniform_(linear.weight)
    if config.zero_bias and bias:
        nn.init.zeros_(linear.bias)
    return linear


def connect(connection: nn.Module, values: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Run one step (1, B, inputs) through a connection; return what it gives and its buffer."""
    if isinstance(connection, FeedforwardDelays):
        outputs, after = connection(values, state, return_state=True)
        return outputs, after
    return connection(values), None
