"""Networks: stacks of spiking layers built from a frozen configuration, with the published layer orders.

SHD: linear -> batch norm -> neuron -> dropout on spikes. SSC and PS-MNIST: linear -> dropout on currents -> neuron.
Source: DelRec, arXiv 2509.24852, section 4 and its code.

The outputs y (T, B, C) are the logits of a linear layer, y[t] = W S[t] + b (`readout = "linear"`), or the membrane of
a leaky integrator behind it that never fires, y[t] = (1 - 1/tau) y[t-1] + g (W S[t] + b) (`readout = "leaky"`), with
its own tau (`readout_tau`) and a gain g of 1 or 1/tau (`readout_gain`). `aggregate` reduces them to the scores
(B, C), from step s = `skip_steps` on:

    sum           sum over s <= t < T of y[t]            DelRec on SSC and PS-MNIST, arXiv 2509.24852
    softmax-sum   sum over s <= t < T of softmax(y[t])   DelRec on SHD; DCLS, arXiv 2306.17670
    mean          mean over s <= t < T of y[t]
    last          y[T - 1]

A sequence without any step that counts scores 0.
"""

from collections.abc import Callable
from typing import Any

import torch
from delrec.engines import Request, run
from delrec.feedforward import FeedforwardDelays
from delrec.layer import exact_dtype, plain_arithmetic
from delrec.linear import BatchNorm, SpikeLinear
from delrec.neurons import LIF, Neuron
from delrec.recurrent import RecurrentDelays
from delrec.spiking import SpikingLayer
from delrec.training import Trainable
from torch import Tensor, nn
from torch.nn import functional as F

from delrec_bench.networks.configuration import NetworkConfig

_OUT_OF_REACH = 1e9  # threshold of the leaky readout, which never fires
_SPREAD_FLOOR = 0.23  # where the annealed feedforward spread ends, arXiv 2306.17670


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
            tau = config.tau if config.readout_tau is None else config.readout_tau
            usual = LIF(tau=tau, threshold=_OUT_OF_REACH, reset="hard", detach_reset=True)
            self.leak = (usual if leak is None else leak()).attach(config.classes)
        self._spikes: list[Tensor] = []

    def forward(self, inputs: Tensor) -> Tensor:
        """Return outputs (T', B, classes) of a sequence (T, B, inputs)."""
        return self._read(self.hidden_spikes(inputs))

    def classify(self, inputs: Tensor) -> Tensor:
        """Return the scores (B, classes) of a sequence (T, B, inputs).

        Those that are linear in the spikes take one product, of the spikes' sum over time.
        """
        spikes, readout = self.hidden_spikes(inputs), self.readout
        plain = self.leak is None and self.readout_norm is None and self.config.aggregate != "softmax-sum"
        if not (plain and isinstance(readout, nn.Linear)):
            return self.scores(self._read(spikes))
        counted = self._counted(spikes)
        scores: Tensor = readout(counted.sum(0))
        if readout.bias is not None:
            scores = scores + readout.bias * (len(counted) - 1)
        return self._divided(scores, len(counted))

    def hidden_spikes(self, inputs: Tensor) -> Tensor:
        """Return what reaches the readout, (T', B, N): spikes after dropout."""
        if inputs.dim() != 3 or inputs.shape[-1] != self.config.inputs:
            raise ValueError(f"inputs have shape {tuple(inputs.shape)}; expected (T, B, {self.config.inputs})")
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
        if self.leak is None:
            return current
        with plain_arithmetic(current.device.type):
            exact = current.to(exact_dtype(current.dtype))
            gain = self._gain(self.leak.coefficients_like(exact)[0])
            exact = exact if isinstance(gain, float) else exact * gain
            out = run(self.config.engine, Request(exact, self.leak, trace=True))
        return out.states[0].to(current.dtype)

    def scores(self, outputs: Tensor) -> Tensor:
        """Reduce outputs (T', B, classes) to scores (B, classes), as configured."""
        counted = self._counted(outputs)
        if self.config.aggregate == "softmax-sum":
            counted = torch.softmax(counted, -1)
        return self._divided(counted.sum(0), len(counted))

    def _counted(self, values: Tensor) -> Tensor:
        """The steps that the aggregate takes."""
        values = values[self.config.skip_steps :]
        return values[-1:] if self.config.aggregate == "last" else values

    def _divided(self, total: Tensor, steps: int) -> Tensor:
        return total / max(steps, 1) if self.config.aggregate == "mean" else total

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
        sigma = self.config.sigma_schedule(epochs)(epoch)
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

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_spikes": []}  # of the last forward, with its graph: no part of a copy

    def _gain(self, decay: Tensor | float) -> Tensor | float:
        return 1 - decay if self.config.readout_gain == "complement" else 1.0
