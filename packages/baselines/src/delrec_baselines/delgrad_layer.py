"""A layer of neurons that spike once, and the conversion of spike counts to spike times."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from delrec.checks import choose, number, whole
from torch import Tensor, nn

from delrec_baselines.first_spike import FirstSpikeNeuron, first_spike_times

__all__ = ["DelGradLayer", "Delays", "first_spikes", "spike_events"]

Delays = Literal["none", "axonal", "dendritic", "synaptic"]

_AT_ONCE = 2**18  # events times neurons


class DelGradLayer(nn.Module):
    """Neurons that spike once, with learned input weights and delays. No bias.

    Args:
        inputs, outputs: Senders C and receivers N.
        delays: "none"; "axonal" one per sender (C,); "dendritic" one per receiver (N,); "synaptic" (N, C).
        neuron: Time constants and threshold.
        learn_delays: False keeps the delays as drawn.
        weight_mean, weight_std: Normal distribution of the initial weights.
        raw_std: Initial standard deviation of `raw`; its mean is 0, which is half the scale.
        delay_scale: Delays lie in (0, delay_scale), in the neuron's unit of time.
        max_gradient: See `first_spike_times`.

    Raises:
        ValueError: Sizes below 1, unknown kind of delay, a negative standard deviation, a scale <= 0.
    """

    delay_parameters: ClassVar[tuple[str, ...]] = ("raw",)

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        delays: Delays = "synaptic",
        neuron: FirstSpikeNeuron | None = None,
        learn_delays: bool = True,
        weight_mean: float = 1.0,
        weight_std: float = 1.0,
        raw_std: float = 0.25,
        delay_scale: float = 1.0,
        max_gradient: float | None = 0.2,
    ) -> None:
        super().__init__()
        inputs, outputs = whole("inputs", inputs), whole("outputs", outputs)
        shapes = {"none": None, "axonal": (inputs,), "dendritic": (outputs,), "synaptic": (outputs, inputs)}
        weight_mean = number("weight_mean", weight_mean)
        self.inputs, self.outputs, self.delays = inputs, outputs, choose("delays", delays, *shapes)
        self.delay_scale = number("delay_scale", delay_scale, above=0)
        for name, std in (("weight_std", weight_std), ("raw_std", raw_std)):
            number(name, std, at_least=0)
        self.neuron = neuron if neuron is not None else FirstSpikeNeuron()
        self.max_gradient = None if max_gradient is None else number("max_gradient", max_gradient, above=0)
        self.weight = nn.Parameter(torch.empty(outputs, inputs).normal_(weight_mean, weight_std))
        shape = shapes[delays]
        self.raw = None
        if shape is not None:
            self.raw = nn.Parameter(torch.empty(shape).normal_(0.0, raw_std), requires_grad=learn_delays)

    @property
    def delay(self) -> Tensor | None:
        """Delays, in the neuron's unit of time and the shape of their kind; None without delays."""
        return None if self.raw is None else self.delay_scale * torch.sigmoid(self.raw.double())

    def forward(self, times: Tensor, channels: Tensor | None = None, counts: Tensor | None = None) -> Tensor:
        """First-spike time of each neuron, (B, N) float64, inf where it never spikes.

        Args:
            times: (B, C), one spike per sender; or (B, E) events in any order, with `channels`. inf: no spike.
            channels: (B, E) int64, the sender of each event.
            counts: (B, E), number of spikes that arrive at once; default 1.

        Raises:
            ValueError: Shapes that do not fit, a sender that does not exist, a NaN among the parameters.
        """
        for name, parameter in self.named_parameters():
            if bool(parameter.detach().isnan().any()):
                raise ValueError(f"{name} holds NaN: training diverged; lower the learning rate")
        wanted = self.inputs if channels is None else "E"
        if times.dim() != 2 or (channels is None and times.shape[1] != wanted):
            raise ValueError(f"times of shape {tuple(times.shape)}: give (B, {wanted})")
        for name, values in (("channels", channels), ("counts", counts)):
            if values is not None and values.shape != times.shape:
                raise ValueError(f"{name} of shape {tuple(values.shape)}: give that of times, {tuple(times.shape)}")
        if channels is not None and channels.dtype != torch.int64:
            raise ValueError(f"channels of dtype {channels.dtype}: give int64")
        if channels is not None and channels.numel() and not 0 <= channels.min() <= channels.max() < self.inputs:
            raise ValueError(
                f"channels hold {int(channels.max())} or a negative number: the senders are 0 to {self.inputs - 1}"
            )
        # Samples are independent: taken a few at a time, the sums of thousands of events stay in the cache.
        samples = max(1, _AT_ONCE // max(1, times.shape[1] * self.outputs))
        given = (times, channels, counts)
        parts = zip(*(max(1, len(times)) * [None] if t is None else t.split(samples) for t in given), strict=False)
        return torch.cat([self._spikes(*part) for part in parts])

    def _spikes(self, times: Tensor, channels: Tensor | None, counts: Tensor | None) -> Tensor:
        weight, delay = self.weight.double(), self.delay
        if channels is None:
            weight = weight[None]
        else:
            weight = weight[:, channels].transpose(0, 1)
            if self.delays == "axonal" and delay is not None:
                delay = delay[channels]
            elif self.delays == "synaptic" and delay is not None:
                delay = delay[:, channels].transpose(0, 1)
        if counts is not None:
            weight = weight * counts[:, None, :]
        arrival = times.double()[:, None, :]
        if delay is not None and self.delays == "axonal":
            arrival = arrival + (delay[None, None] if delay.ndim == 1 else delay[:, None])
        elif delay is not None and self.delays == "synaptic":
            arrival = arrival + delay
        spikes = first_spike_times(arrival, weight, self.neuron, self.max_gradient)
        # All inputs of a neuron late by d is the same as the neuron late by d.
        return spikes + delay if delay is not None and self.delays == "dendritic" else spikes

    def extra_repr(self) -> str:
        """Return sizes and kind of delay, for `print`."""
        return f"{self.inputs}, {self.outputs}, delays={self.delays!r}"


def first_spikes(x: Tensor, step: float = 1.0) -> Tensor:
    """Time of the first spike of each channel, (B, C) float64; inf for a silent one.

    Args:
        x: Counts (T, B, C).
        step: Length of a step; step k is at time k * step.

    Raises:
        ValueError: A count that is negative, NaN or infinite.
    """
    _check_counts(x)
    if not len(x):
        return x.new_full(x.shape[1:], math.inf, dtype=torch.float64)
    spikes = x > 0
    first = spikes.to(torch.uint8).argmax(dim=0).double() * step
    return torch.where(spikes.any(dim=0), first, math.inf)


def spike_events(x: Tensor, step: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """All events of counts (T, B, C): times, channels and counts, each (B, E), E of the busiest sample.

    Unused places hold time inf, channel 0, count 0. Raises ValueError for a count that is negative, NaN or infinite.
    """
    _check_counts(x)
    sample, time, channel = x.permute(1, 0, 2).nonzero(as_tuple=True)
    number = torch.bincount(sample, minlength=x.shape[1])
    starts = number.cumsum(0) - number
    place = torch.arange(len(sample), device=x.device) - starts[sample]
    shape = (x.shape[1], max(1, int(number.max())) if len(number) else 1)
    times = torch.full(shape, math.inf, dtype=torch.float64, device=x.device)
    channels = torch.zeros(shape, dtype=torch.int64, device=x.device)
    counts = torch.zeros(shape, dtype=torch.float64, device=x.device)
    times[sample, place] = time.double() * step
    channels[sample, place] = channel
    counts[sample, place] = x[time, sample, channel].double()
    return times, channels, counts


def _check_counts(x: Tensor) -> None:
    wrong = ~(x.isfinite() & (x >= 0))
    if bool(wrong.any()):
        raise ValueError(f"x holds {float(x[wrong][0])}: counts are finite and at least 0")
