"""First-spike times of a current-based neuron, and their exact gradients.

A neuron receives input i at time t_i with weight w_i, through an exponential synapse (tau_s) and a leaky
membrane (tau_m). With e_s = exp(-(T - t_i)/tau_s) and e_m = exp(-(T - t_i)/tau_m), sums over t_i <= T,

    tau_m = 2 tau_s:   g V(T) = sum_i w_i (e_m - e_s)
    tau_m =   tau_s:   g V(T) = sum_i w_i (T - t_i)/tau_s e_s

and it spikes once, at the first T where V reaches the threshold. Both ratios have a closed form for T; the
gradient follows from V(T, w, t) = threshold by the implicit function theorem. Source: Göltz et al. 2025,
DelGrad, doi:10.1038/s41467-025-63120-y; without delays Göltz et al. 2021, doi:10.1038/s42256-021-00388-x.

The published code builds one causal set for each input, O(inputs^2) memory, of exponentials of absolute time,
which overflow at t > 88 tau_s in float32. Here the sums run along the sorted inputs, and every prefix uses its
last input as the origin of time, in float64, so thousands of inputs are no problem.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["FirstSpikeNeuron", "first_spike_times", "lambert_w0"]

_SAFE_SPAN = 500.0  # tau_s; exp(500) is finite in float64, so that below it plain cumulative sums do


@dataclass(frozen=True)
class FirstSpikeNeuron:
    """Constants of the neuron. The unit of time is free; the published one is tau_s = 1.

    Args:
        tau_s: Synaptic time constant.
        ratio: tau_m / tau_s, 1 or 2: the ratios with a closed form.
        threshold: Threshold above the leak potential. The leak conductance is g = tau_s / tau_m = 1 / ratio.

    Raises:
        ValueError: A constant that is not positive and finite, or another ratio.
    """

    tau_s: float = 1.0
    ratio: int = 2
    threshold: float = 1.0

    def __post_init__(self) -> None:
        if self.ratio not in (1, 2):
            raise ValueError(f"ratio = {self.ratio!r}: only tau_m / tau_s = 1 or 2 has a closed form")
        for name in ("tau_s", "threshold"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} = {value!r}: must be positive and finite")

    @property
    def tau_m(self) -> float:
        """Membrane time constant."""
        return self.tau_s * self.ratio

    @property
    def drive(self) -> float:
        """The value that g V must reach: the leak conductance times the threshold."""
        return self.threshold / self.ratio


def lambert_w0(x: Tensor) -> Tensor:
    """Principal branch of Lambert's W: w exp(w) = x with w >= -1, element by element.

    Args:
        x: Any shape, float64; NaN below -1/e. Not differentiable (its callers have closed-form gradients).
    """
    p = _root((2 * (1 + math.e * x)).clamp_min(0))
    near = -1 + p * (1 + p * (-1 / 3 + p * (11 / 72 + p * (-43 / 540 + p * 769 / 17280))))
    far = torch.log1p(x.clamp_min(0))
    w = torch.where(x < 0.5, near, far * (1 - torch.log1p(far) / (2 + far)))
    for _ in range(6):  # Halley; the series alone is exact where the denominator vanishes
        exp = torch.exp(w)
        error = w * exp - x
        slope = exp * (w + 1) - (w + 2) * error / (2 * w + 2)
        w = torch.where((p > 1e-3) & (slope != 0), w - error / slope, w)
    return torch.where(x < -1 / math.e, math.nan, w)  # below the branch point nothing real solves it


def _root(x: Tensor) -> Tensor:
    """The square root, correctly rounded: on the CPU, torch takes MKL's, whose last bits differ between processors."""
    return torch.as_tensor(np.sqrt(x.numpy())) if x.device.type == "cpu" else torch.sqrt(x)


def first_spike_times(
    arrival: Tensor, weight: Tensor, neuron: FirstSpikeNeuron, max_gradient: float | None = None
) -> Tensor:
    """First-spike time of every neuron, differentiable in the arrival times and the weights.

        dT/dw_i = -tau_m (e_m - e_s) / x          dT/dt_i = w_i (2 e_s - e_m) / x            (tau_m = 2 tau_s)
        dT/dw_i = -(T - t_i) e_s / x              dT/dt_i = w_i (1 - (T - t_i)/tau_s) e_s / x  (tau_m = tau_s)

    with x = tau_m g V'(T), the slope at threshold: 2 sum w e_s - sum w e_m, and sum w e_s - g threshold. These
    are the published forms with T for the origin of time.

    Args:
        arrival: (B, N, E) or (B, 1, E), when E inputs reach each of N neurons; inf is an input that never came.
        weight: (B, N, E) or (1, N, E).
        neuron: The constants.
        max_gradient: Weight gradients of a neuron in a sample whose largest magnitude exceeds this are set to
            zero: close to tangency the slope vanishes and the gradient diverges (published 0.2, upon the
            gradient of the batch-mean loss). None keeps the exact gradient.

    Returns:
        (B, N) float64; inf where the threshold is never reached.

    Raises:
        ValueError: Shapes that do not fit, NaN or -inf among the arrival times, NaN among the weights.
    """
    if arrival.ndim != 3 or weight.ndim != 3 or arrival.shape[-1] != weight.shape[-1]:
        raise ValueError(
            f"arrival {tuple(arrival.shape)} and weight {tuple(weight.shape)}: "
            "must be (B, N or 1, E) and (B or 1, N, E) with the same E"
        )
    if bool(weight.detach().isnan().any()):
        raise ValueError("weight holds NaN: correct the weights, or the counts that they are multiplied by")
    if arrival.shape[1] not in (1, weight.shape[1]) or weight.shape[0] not in (1, arrival.shape[0]):
        raise ValueError(f"arrival {tuple(arrival.shape)} and weight {tuple(weight.shape)}: N and B must agree or be 1")
    times: Tensor = _FirstSpike.apply(arrival.double(), weight.double(), neuron, max_gradient)
    return times


class _FirstSpike(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, arrival: Tensor, weight: Tensor, neuron: FirstSpikeNeuron, max_gradient: float | None
    ) -> Tensor:
        times, slope = _solve(arrival, weight, neuron)
        # A slope of zero is a tangent, and of less a crossing lost to rounding: neither has a gradient.
        inverse = torch.where(times.isfinite() & (slope > 0), 1 / slope, 0.0)
        ctx.save_for_backward(arrival, weight, times, inverse)
        ctx.neuron, ctx.max_gradient = neuron, max_gradient
        return times

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        arrival, weight, times, inverse = ctx.saved_tensors
        neuron: FirstSpikeNeuron = ctx.neuron
        scale = torch.where(inverse > 0, gradient * inverse, 0.0)[..., None]
        lag = torch.where(inverse > 0, times, -math.inf)[..., None] - arrival
        lag = lag.masked_fill_(~(lag >= 0), math.inf).div_(neuron.tau_m)  # what is not causal decays to zero
        e_m = torch.exp(-lag)
        if neuron.ratio == 2:
            e_s = e_m * e_m
            by_weight = (e_s - e_m).mul_(neuron.tau_m)
            by_time = e_s.mul_(2).sub_(e_m)
        else:
            lag.masked_fill_(lag.isinf(), 0.0)
            by_weight = (lag * e_m).mul_(-neuron.tau_m)
            by_time = (1 - lag).mul_(e_m)
        to_weight = to_arrival = None
        if ctx.needs_input_grad[1]:
            to_weight = by_weight.mul_(scale)
            if ctx.max_gradient is not None and to_weight.shape[-1]:
                low, high = to_weight.aminmax(dim=-1, keepdim=True)
                # A product with the mask is not enough: the discarded values may be infinite.
                diverging = torch.maximum(high, -low) > ctx.max_gradient
                if diverging.any():
                    to_weight = to_weight.masked_fill_(diverging, 0.0)
            if weight.shape[0] == 1:
                to_weight = to_weight.sum(0, keepdim=True)
        if ctx.needs_input_grad[0]:
            to_arrival = by_time.mul_(scale).mul_(weight)
            if arrival.shape[1] == 1:
                to_arrival = to_arrival.sum(1, keepdim=True)
        return to_arrival, to_weight, None, None


def _solve(arrival: Tensor, weight: Tensor, neuron: FirstSpikeNeuron) -> tuple[Tensor, Tensor]:
    """First-spike time and the slope x at threshold, each (B, N)."""
    batch, events = arrival.shape[0], arrival.shape[-1]
    neurons = weight.shape[1]
    if events == 0:
        never = arrival.new_full((batch, neurons), math.inf)
        return never, torch.zeros_like(never)
    time, order = arrival.sort(dim=-1)
    came = time.isfinite()
    if bool((time[..., -1].isnan() | (time[..., 0] == -math.inf)).any()):  # sorting puts them at the ends
        raise ValueError("arrival holds NaN or -inf: a time is a number, or inf for a spike that never came")
    w = weight.expand(batch, neurons, events).gather(-1, order.expand(batch, neurons, events))
    if not bool(came.all()):
        w = torch.where(came, w, 0.0)
    origin = time[..., :1].masked_fill(~came[..., :1], 0.0)
    since = (time - origin).masked_fill_(~came, 0.0) / neuron.tau_s
    gap = torch.full_like(since, math.inf)  # to the next input, in tau_s
    gap[..., :-1] = (time[..., 1:] - time[..., :-1]).nan_to_num_(nan=0.0) / neuron.tau_s
    first, second = _prefix_sums(w, since, neuron.ratio)
    if neuron.ratio == 2:
        # V over z = exp(-(T - t_k)/tau_m) is the parabola second z - first z^2; its maximum within the interval.
        peak = second / (2 * first)
        z = torch.where(first > 0, torch.minimum(torch.maximum(peak, torch.exp(gap * -0.5)), peak.new_ones(())), 1.0)
        highest = z * (second - first * z)
    else:
        u = torch.where(first > 0, torch.minimum((1 + second / first).clamp_min(0), gap), 0.0)
        highest = (first * u - second) * torch.exp(-u)
    # The first interval whose maximum reaches threshold holds the spike. Taken from one number per interval, no
    # crossing can fall between two intervals by rounding.
    reached = (highest >= neuron.drive) & came
    k = reached.to(torch.uint8).argmax(dim=-1, keepdim=True)
    found = reached.gather(-1, k)[..., 0]
    a, b = first.gather(-1, k)[..., 0], second.gather(-1, k)[..., 0]
    start = time.expand(batch, neurons, events).gather(-1, k)[..., 0]
    if neuron.ratio == 2:
        root = _root((b * b - 4 * a * neuron.drive).clamp_min(0))
        z = (b + root) / (2 * a)
        inside = (a > 0) & (z < 1)
        z = torch.where(inside, z, 1.0)
        delay, slope = -neuron.tau_m * torch.log(z), torch.where(inside, root * z, 2 * a - b)
    else:
        y = -lambert_w0((-neuron.drive / a * torch.exp(b / a)).clamp_min(-1 / math.e))
        u = torch.where(a > 0, (y + b / a).clamp_min(0), 0.0)
        delay, slope = neuron.tau_s * u, a * torch.exp(-u) - neuron.drive
    return torch.where(found, start + delay, math.inf), slope


def _prefix_sums(w: Tensor, since: Tensor, ratio: int) -> tuple[Tensor, Tensor]:
    """Sums over the inputs up to each, at the time of that input; `since` in tau_s, sorted.

    ratio 2: sum w e_s, sum w e_m;  ratio 1: sum w e_s, sum w (t_i - t_k)/tau_s e_s (so <= 0 for w >= 0).
    """
    if not since.numel() or float(since.max()) <= _SAFE_SPAN:
        if ratio == 2:
            grow = torch.exp(since * 0.5)
            square = grow * grow
            return (w * square).cumsum(-1) / square, (w * grow).cumsum(-1) / grow
        grow = torch.exp(since)
        wg = w * grow
        first = wg.cumsum(-1) / grow
        return first, (wg * since).cumsum(-1) / grow - since * first
    return _doubling_sums(w, since, ratio)


def _doubling_sums(w: Tensor, since: Tensor, ratio: int) -> tuple[Tensor, Tensor]:
    """The same sums for any span of time: after each pass they cover twice as many inputs, with decays only."""
    first = w.clone()
    second = w.clone() if ratio == 2 else torch.zeros_like(w)
    reach, events = 1, w.shape[-1]
    while reach < events:
        lag = (since[..., reach:] - since[..., :-reach]).clamp_min_(0)
        decay = torch.exp(-lag)
        if ratio == 2:
            second[..., reach:] += torch.exp(lag * -0.5) * second[..., :-reach]
        else:
            second[..., reach:] += decay * (second[..., :-reach] - lag * first[..., :-reach])
        first[..., reach:] += decay * first[..., :-reach]
        reach *= 2
    return first, second
