"""Networks: stacks of spiking layers built from a frozen configuration, with the published layer orders.

SHD: linear -> batch norm -> neuron -> dropout on spikes. SSC and PS-MNIST: linear -> dropout on currents -> neuron.
Source: DelRec, arXiv 2509.24852, section 4 and its code. Readouts are in `delrec_bench.networks.readouts`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from delrec.engines import Output, Request, State, scan
from delrec.feedforward import FeedforwardDelays
from delrec.layer import exact_dtype, plain_arithmetic
from delrec.neurons import LIF, Neuron
from delrec.norm import BatchNorm
from delrec.recurrent import RecurrentDelays
from delrec.spiking import SpikingLayer
from delrec.trainable import Trainable
from torch import Tensor, nn
from torch.nn import functional as F

from delrec_bench.networks.blocks import Block, connect, connection_of
from delrec_bench.networks.configuration import NetworkConfig
from delrec_bench.networks.readouts import scores_of, scores_of_linear

__all__ = ["Network"]

_OUT_OF_REACH = 1e9  # threshold of the leaky readout, which never fires
_SPREAD_FLOOR = 0.23  # where the annealed feedforward spread ends, arXiv 2306.17670


class Network(Trainable):
    """A feedforward stack of `Block`s and a readout.

    config: what to build. neuron: makes the neuron of one layer; None is the LIF of the configuration. recurrence:
    makes a recurrent layer, a `RecurrentDelays` or a subclass of it. leak: makes the neuron of the leaky readout, one
    that never fires and whose first state is the output; None is the integrator of the configuration.
    forward maps (T, B, inputs) to outputs (T', B, classes): logits, or the readout's membrane; T' is T plus the right
    paddings of layers with feedforward delays. Weights are drawn from torch's global generator.
    """

    def __init__(
        self,
        config: NetworkConfig,
        neuron: Callable[[], Neuron] | None = None,
        *,
        recurrence: Callable[..., RecurrentDelays] = RecurrentDelays,
        leak: Callable[[], Neuron] | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        make = neuron if neuron is not None else config.make_neuron
        widths = (config.inputs, *config.hidden)
        self.blocks = nn.ModuleList(Block(config, i, widths[i], make(), recurrence) for i in range(len(config.hidden)))
        bias = config.bias if config.readout_bias is None else config.readout_bias
        delayed = config.feedforward != "none" and config.feedforward_readout
        self.readout = connection_of(config, widths[-1], config.classes, delayed, bias)
        self.readout_norm = BatchNorm(config.classes, momentum=config.norm_momentum) if config.readout_norm else None
        self.leak: Neuron | None = None
        if config.readout == "leaky":
            self.leak = self._make_leak(config) if leak is None else leak().attach(config.classes)
        self._spikes: list[Tensor] = []

    @staticmethod
    def _make_leak(config: NetworkConfig) -> LIF:
        tau = config.tau if config.readout_tau is None else config.readout_tau
        leak = LIF(tau=tau, threshold=_OUT_OF_REACH, reset="hard", detach_reset=True)
        leak.attach(config.classes)
        return leak

    def forward(self, inputs: Tensor) -> Tensor:
        """Return outputs (T', B, classes) of a sequence (T, B, inputs)."""
        return self._read(self.hidden_spikes(inputs))

    def classify(self, inputs: Tensor) -> Tensor:
        """Return the scores (B, classes) of a sequence (T, B, inputs)."""
        aggregate, spikes, readout = self.config.aggregate, self.hidden_spikes(inputs), self.readout
        plain = self.leak is None and self.readout_norm is None and aggregate != "softmax-sum"
        if plain and isinstance(readout, nn.Linear):
            return scores_of_linear(readout, spikes, aggregate, self.config.skip_steps)
        return self.scores(self._read(spikes))

    def hidden_spikes(self, inputs: Tensor) -> Tensor:
        """Return what reaches the readout, (T', B, N): spikes after dropout."""
        if inputs.dim() != 3 or inputs.shape[-1] != self.config.inputs:
            raise ValueError(
                f"inputs have shape {tuple(inputs.shape)}; this network takes (T, B, {self.config.inputs})"
            )
        self._spikes = []
        values = inputs
        for block in self.blocks:
            assert isinstance(block, Block)
            values = block(values)
            if self.config.spike_penalty > 0:
                self._spikes.append(values)
            if not block.dropout_first:
                values = block.dropped(values)
        return values

    def _read(self, spikes: Tensor) -> Tensor:
        current = self.readout(spikes)
        if self.readout_norm is not None:
            current = self.readout_norm(current)
        return current if self.leak is None else self._leak_scan(current).states[0].to(current.dtype)

    def scores(self, outputs: Tensor) -> Tensor:
        """Reduce outputs (T', B, classes) to scores (B, classes), as configured."""
        return scores_of(outputs, self.config.aggregate, self.config.skip_steps)

    def loss(self, scores: Tensor, target: Tensor) -> Tensor:
        """Return cross-entropy of scores (B, classes), or the mean squared error against targets of as many values."""
        if self.config.loss == "mse":
            return F.mse_loss(scores, target.to(scores.dtype).view_as(scores))
        return F.cross_entropy(scores, target)

    def penalty(self) -> Tensor | float:
        """Return lambda times the mean over layers and batch of 0.5 sum S^2 / (T N)."""
        if self.config.spike_penalty == 0 or not self._spikes:
            return 0.0
        each = [0.5 * (spikes * spikes).mean() for spikes in self._spikes]
        return self.config.spike_penalty * torch.stack(each).mean()

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        """Set sigma of every recurrent layer, and the annealed feedforward spread, for an epoch counted from 0."""
        sigma = self.config.sigma_schedule()(epoch, epochs)
        start, quarter = self.config.feedforward_spread, epochs // 4
        spread = start
        if self.config.anneal_spread and start > _SPREAD_FLOOR:
            spread = start * (_SPREAD_FLOOR / start) ** (min(1.0, epoch / quarter) if quarter else 1.0)
        for module in self.modules():
            if isinstance(module, RecurrentDelays):
                module.sigma.fill_(sigma)
            elif isinstance(module, FeedforwardDelays):
                module.spread.fill_(spread)

    def after_step(self) -> None:
        """Clamp positions and neuron parameters; delays too, unless they are clamped once an epoch."""
        for module in self.modules():
            if isinstance(module, FeedforwardDelays):
                module.clamp_()
            elif isinstance(module, SpikingLayer):
                if self.config.clamp_delays == "epoch" and isinstance(module, RecurrentDelays):
                    module.neuron.clamp_()
                else:
                    module.clamp_()

    def end_epoch(self) -> None:
        """Clamp delays that are clamped once an epoch."""
        for module in self.modules():
            if isinstance(module, RecurrentDelays):
                module.clamp_()

    def event_layers(self) -> list[Any]:
        """Return the layers in the order in which they run, as `delrec.engines.events.EventNetwork` takes them."""
        layers: list[Any] = []
        for block in self.blocks:
            assert isinstance(block, Block)
            layers += [block.connection, block.norm, block.spiking]
        layers += [self.readout, self.readout_norm]
        if self.leak is not None:
            gain = torch.as_tensor(self._gain(self.leak.coefficients()[0]), dtype=torch.float64)
            layers += [gain, self.leak]
        return [layer for layer in layers if layer is not None]

    @property
    def streams(self) -> bool:
        """Whether no connection pads on the right: padded outputs come after the last input."""
        return all(m.right_padding == 0 for m in self.modules() if isinstance(m, FeedforwardDelays))

    def initial_state(self, batch: int) -> list[tuple[Any, Any]]:
        """Return the state before the first step: (connection, neurons) of each layer, then of the readout."""
        return [(None, None)] * (len(self.blocks) + 1)

    @torch.no_grad()
    def step(self, inputs: Tensor, state: list[tuple[Any, Any]]) -> tuple[Tensor, list[tuple[Any, Any]]]:
        """Take one step of input (B, inputs); return this step's output (B, classes) and the next state.

        A sequence of steps equals `forward` in evaluation mode. Raises ValueError in training mode, where dropout and
        batch norm need the whole sequence, and for a network that does not stream.
        """
        if self.training:
            raise ValueError("step() is for inference: call eval() first")
        if not self.streams:
            raise ValueError(
                "right_padding > 0: outputs depend on later inputs, so the network cannot run step by step"
            )
        values, after = inputs.unsqueeze(0), []
        for block, (buffer, neurons) in zip(self.blocks, state, strict=False):
            assert isinstance(block, Block)
            current, buffer = connect(block.connection, values, buffer)
            current = current if block.norm is None else block.norm(current)
            values, neurons, _ = block.spiking(current, neurons, return_state=True)
            after.append((buffer, neurons))
        buffer, neurons = state[-1]
        output, buffer = connect(self.readout, values, buffer)
        output = output if self.readout_norm is None else self.readout_norm(output)
        if self.leak is not None:
            leaky = self._leak_scan(output, neurons)
            output, neurons = leaky.states[0], leaky.final
        return output[0], [*after, (buffer, neurons)]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_spikes": []}  # of the last forward, with its graph: no part of a copy

    def _leak_scan(self, current: Tensor, state: State | None = None) -> Output:
        assert self.leak is not None
        with plain_arithmetic(current.device.type):
            current = current.to(exact_dtype(current.dtype))
            gain = self._gain(self.leak.coefficients_like(current)[0])
            current = current if isinstance(gain, float) else current * gain
            return scan(self.config.engine, Request(current, self.leak, state=state, trace=True))

    def _gain(self, decay: Tensor | float) -> Tensor | float:
        return 1 - decay if self.config.readout_gain == "complement" else 1.0
