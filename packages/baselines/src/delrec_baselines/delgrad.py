"""DelGrad: exact gradients of first-spike times for weights and delays.

Each neuron spikes at most once, the predicted class is the output neuron that spikes first, and weights and delays are
trained with the exact gradient of the spike times (`first_spike.py`). Source: Göltz et al. 2025,
doi:10.1038/s41467-025-63120-y, and the authors' code, whose choices are the defaults here:

    delay = scale * sigmoid(raw), raw ~ N(0, 0.25), scale 1 tau_s
    loss  = mean over samples of 1/2 sum_n (t_n - t_true - 0.2 [n != true])^2

Missing spikes have no gradient. If a batch has too many of them (more than 30 percent in a hidden layer, any at the
output), there is no optimiser step: the weights onto the silent neurons are raised instead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from delrec.checks import check_input, choose, number, whole
from delrec.training import Trainable
from torch import Tensor, nn

from delrec_baselines.delgrad_layer import Delays, DelGradLayer, first_spikes, spike_events
from delrec_baselines.first_spike import FirstSpikeNeuron

__all__ = [
    "DelGradConfig",
    "DelGradLayer",
    "DelGradNetwork",
    "first_spike_cross_entropy",
    "first_spikes",
    "shift_invariant_loss",
    "spike_events",
]

Encoding = Literal["times", "first", "events"]

MISSING_LOSS = 100.0  # of a sample in which an output spike is missing, as published; it carries no gradient
MISSING_TIME = 1e6  # tau_s; stands for "never", so that scores are finite


@dataclass(frozen=True)
class DelGradConfig:
    """A DelGrad network; times are in tau_s. Defaults: the authors' Yin-Yang network with synaptic delays.

    Args:
        inputs, classes, hidden: Sizes.
        delays, learn_delays, raw_std, delay_scale: See `DelGradLayer`; all layers alike.
        ratio, threshold: See `FirstSpikeNeuron`.
        weight_mean, weight_std: Initial weights per layer; the last value is used for all further layers (published:
            mean 1 with delays, 0.5 without, standard deviation 1).
        encoding: "times": x (1, B, C) holds spike times. "first": x (T, B, C) holds counts, and a channel's first
            spike is its only one. "events": every count is used. The last two are adaptations.
        step: Length of a step of x, in tau_s, for "first" and "events".
        loss: "shift-invariant", or "cross-entropy" of the softmax over -t / separation (for many classes, whose
            times differ by more than one separation).
        separation: Target time difference between the true class and the others.
        max_gradient: See `first_spike_times`.
        missing_hidden, missing_output: Fraction of spikes that may be missing before weights are raised.
        bump: By how much, doubled each time the next batch needs it for the same layer.

    Raises:
        ValueError: If a value is out of range; the message names it.
    """

    inputs: int
    classes: int
    hidden: tuple[int, ...] = (30,)
    delays: Delays = "synaptic"
    learn_delays: bool = True
    ratio: int = 2
    threshold: float = 1.0
    weight_mean: tuple[float, ...] = (1.0,)
    weight_std: tuple[float, ...] = (1.0,)
    raw_std: float = 0.25
    delay_scale: float = 1.0
    encoding: Encoding = "times"
    step: float = 1.0
    loss: Literal["shift-invariant", "cross-entropy"] = "shift-invariant"
    separation: float = 0.2
    max_gradient: float | None = 0.2
    missing_hidden: float = 0.3
    missing_output: float = 0.0
    bump: float = 5e-4

    def __post_init__(self) -> None:
        choose("encoding", self.encoding, "times", "first", "events")
        choose("loss", self.loss, "shift-invariant", "cross-entropy")
        choose("delays", self.delays, *get_args(Delays))
        for name in ("hidden", "weight_mean", "weight_std"):
            if not isinstance(getattr(self, name), tuple | list):
                raise ValueError(f"{name} = {getattr(self, name)!r}: give a tuple")
        for name, sizes in (("inputs", (self.inputs,)), ("classes", (self.classes,)), ("hidden", self.hidden)):
            for size in sizes:
                whole(name, size)
        for name in ("weight_mean", "weight_std"):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty: give one number, or one per layer")
        for name in ("step", "separation", "bump"):
            number(name, getattr(self, name), above=0)
        for name in ("missing_hidden", "missing_output"):
            number(name, getattr(self, name), at_least=0, at_most=1)
        if self.max_gradient is not None:
            number("max_gradient", self.max_gradient, above=0)


def shift_invariant_loss(times: Tensor, target: Tensor, separation: float = 0.2) -> Tensor:
    """Mean over the batch of 1/2 sum_n (t_n - t_true - separation [n != true])^2.

    A sample in which any output spike is missing contributes 100 and no gradient, as published.

    Args:
        times: (B, classes); inf, or from 1e6 on, is a missing spike.
        target: (B,) int64.
        separation: In the unit of `times`.
    """
    complete = (times < MISSING_TIME).all(dim=1)
    finite = torch.where(complete[:, None], times, 0.0)
    wanted = separation * (1 - nn.functional.one_hot(target, times.shape[1]).to(finite.dtype))
    error = finite - finite.gather(1, target[:, None]) - wanted
    return torch.where(complete, 0.5 * error.square().sum(dim=1), MISSING_LOSS).mean()


def first_spike_cross_entropy(times: Tensor, target: Tensor, separation: float = 0.2) -> Tensor:
    """Mean over the batch of log sum_n exp(-(t_n - t_true) / separation).

    A missing spike is one at infinity. Where that of the true class is missing, the sample contributes 100 and no
    gradient, as in the authors' code.

    Args:
        times: (B, classes); inf, or from 1e6 on, is a missing spike.
        target: (B,) int64.
        separation: In the unit of `times`.
    """
    came = times < MISSING_TIME
    true = came.gather(1, target[:, None])[:, 0]
    scores = torch.where(came, -times / separation, -math.inf)
    scores = torch.where(true[:, None], scores, 0.0)
    value = nn.functional.cross_entropy(scores, target, reduction="none")
    return torch.where(true, value, MISSING_LOSS).mean()


class DelGradNetwork(Trainable):
    """Layers of neurons that spike once; the output neuron that spikes first is the predicted class.

    `forward` takes x (T, B, C) encoded as in `config.encoding` and returns the output times (1, B, classes)
    in tau_s, 1e6 for a missing spike. The network needs whole samples and cannot run step by step. Delays are
    real numbers, also when deployed.
    """

    bump_layer: Tensor
    bump_value: Tensor

    def __init__(self, config: DelGradConfig) -> None:
        super().__init__()
        self.config = config
        sizes = (config.inputs, *config.hidden, config.classes)
        neuron = FirstSpikeNeuron(ratio=config.ratio, threshold=config.threshold)
        self.stack = [
            DelGradLayer(
                sizes[i],
                sizes[i + 1],
                delays=config.delays,
                neuron=neuron,
                learn_delays=config.learn_delays,
                weight_mean=config.weight_mean[min(i, len(config.weight_mean) - 1)],
                weight_std=config.weight_std[min(i, len(config.weight_std) - 1)],
                raw_std=config.raw_std,
                delay_scale=config.delay_scale,
                max_gradient=config.max_gradient,
            )
            for i in range(len(sizes) - 1)
        ]
        self.layers = nn.ModuleList(self.stack)
        # Buffers, so that a resumed training goes on with the same doubling.
        self.register_buffer("bump_layer", torch.tensor(-1))
        self.register_buffer("bump_value", torch.tensor(config.bump, dtype=torch.float64))
        self._missed: Tensor | None = None  # neurons to raise after this step
        self._times: list[Tensor] = []  # of the last forward, a layer each
        self._counted: dict[str, Any] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Output spike times (1, B, classes) of x (T, B, C)."""
        config = self.config
        check_input("x", x, "T, B", config.inputs)
        extra: tuple[Tensor, ...] = ()
        if config.encoding == "times":
            if x.shape[0] != 1:
                raise ValueError(f"x has {x.shape[0]} steps: encoding 'times' takes one, that holds the spike times")
            times = x[0]
        elif config.encoding == "first":
            times = first_spikes(x, config.step)
        else:
            times, *rest = spike_events(x, config.step)
            extra = tuple(rest)
        arrivals = int(times.isfinite().sum())
        self._times = []
        for layer in self.stack:
            times = layer(times, *extra)
            extra = ()
            self._times.append(times.detach())
        if self._counted is not None:
            self._count_activity(x, arrivals)
        return times.clamp(max=MISSING_TIME)[None]

    def scores(self, outputs: Tensor) -> Tensor:
        """(B, classes): minus the spike time. Without any output spike, all scores are equal."""
        return -outputs[0]

    def predict(self, scores: Tensor) -> Tensor:
        """Class of the first spike (B,); -1 where no output neuron spiked, which counts as wrong, as published."""
        return super().predict(scores).where((scores > -MISSING_TIME).any(-1), -1)

    def loss(self, scores: Tensor, target: Tensor) -> Tensor:
        """Return the loss of the last `forward`.

        In training, when too many spikes of that forward are missing, the value has no gradient to the
        parameters (an optimiser skips what has no gradient) and `after_step` raises weights instead.
        """
        loss = shift_invariant_loss if self.config.loss == "shift-invariant" else first_spike_cross_entropy
        value = loss(-scores, target, self.config.separation)
        if self.training and torch.is_grad_enabled() and self._needs_bump():
            return value.detach().requires_grad_()
        return value

    def _needs_bump(self) -> bool:
        self._missed = None
        last = len(self._times) - 1
        for i, times in enumerate(self._times):
            missing = times.isinf()
            allowed = self.config.missing_output if i == last else self.config.missing_hidden
            if float(missing.double().mean()) > allowed:
                self._missed = missing.any(dim=0)
                repeated = int(self.bump_layer) == i
                self.bump_value.fill_(float(self.bump_value) * 2 if repeated else self.config.bump)
                self.bump_layer.fill_(i)
                return True
        self.bump_layer.fill_(-1)
        return False

    @torch.no_grad()
    def after_step(self) -> None:
        """Raise the weights onto silent neurons if the last batch had too many of them."""
        if self._missed is not None:
            weight = self.stack[int(self.bump_layer)].weight
            weight[self._missed] += self.bump_value.to(weight.dtype)
            self._missed = None

    def delays(self) -> dict[str, Tensor]:
        """Delays in steps of the input (of one tau_s, where the input holds times), by layer."""
        found = {f"layers.{i}": layer.delay for i, layer in enumerate(self.stack)}
        return {name: delay.detach() / self.config.step for name, delay in found.items() if delay is not None}

    def start_recording(self) -> None:
        """Start counting spikes and operations of each forward pass."""
        hidden = len(self.config.hidden)
        self._counted = {"samples": 0, "steps": 0, "input": 0, "binary": True, "spikes": [0] * (hidden + 1)}

    def stop_recording(self) -> None:
        """Stop counting and discard the counts."""
        self._counted = None

    def _count_activity(self, x: Tensor, arrivals: int) -> None:
        assert self._counted is not None
        self._counted["samples"] += x.shape[1]
        self._counted["steps"] += x.shape[0] * x.shape[1]
        self._counted["input"] += arrivals
        if self.config.encoding == "events":
            self._counted["binary"] &= bool(((x == 0) | (x == 1)).all())
        for i, times in enumerate(self._times):
            self._counted["spikes"][i] += int(times.isfinite().sum())

    def activity(self) -> dict[str, Any]:
        """Spikes per neuron and step by hidden layer, and synaptic operations per sample, since `start_recording`.

        An effective accumulate is one spike at one synapse, a multiply-accumulate several spikes at once. Every
        neuron spikes at most once, so a delay buffer holds at most one pending spike.
        """
        if self._counted is None or not self._counted["samples"] or not self._counted["steps"]:
            return {}
        counted, config = self._counted, self.config
        widths = (*config.hidden, config.classes)
        onward = sum(s * w for s, w in zip(counted["spikes"], widths[1:], strict=False))
        first = counted["input"] * widths[0]
        synapses = sum(layer.weight.numel() for layer in self.stack)
        neurons = sum(config.hidden)
        return {
            "spikes_per_neuron_step": sum(counted["spikes"][:-1]) / (counted["steps"] * neurons) if neurons else 0.0,
            "rates": [s / (counted["steps"] * n) for s, n in zip(counted["spikes"], config.hidden, strict=False)],
            "synaptic_operations": {
                "effective_acs": (onward + (first if counted["binary"] else 0)) / counted["samples"],
                "effective_macs": (0 if counted["binary"] else first) / counted["samples"],
                "dense": counted["steps"] * synapses / counted["samples"],
            },
            "delay_buffer": sum(layer.raw.numel() for layer in self.stack if layer.raw is not None),
        }
