"""Layers trained with EventProp: spiking neurons with delayed inputs and recurrence, and a leaky readout.

Between layers the gradient of a spike train (T, B, N) is, at each spike, dL/dt of that spike in time (per step), and
0 elsewhere: a spike has no amplitude to differentiate. Only in the last step may it be there without a spike, for
one that never came. See `eventprop.py` for the equations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from delrec.checks import FiniteWatch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from delrec_baselines import eventprop_kernels as kernels

__all__ = ["Connection", "EventPropLayer", "EventPropNeuron", "EventPropReadout", "first_spike_steps"]


@dataclass(frozen=True)
class EventPropNeuron:
    """A leaky integrator with an exponential synapse: tau_m V' = -V + I, tau_s I' = -I, in steps.

    Args:
        tau_m, tau_s: Time constants of membrane and synapse, in steps.
        threshold: V at which a spiking neuron spikes and V goes to 0.
        slope_floor: Least value of tau_m V' at a spike, in the gradient alone: the exact gradient diverges where V
            only just touches the threshold.

    Raises:
        ValueError: If a value is not positive and finite.
    """

    tau_m: float = 20.0
    tau_s: float = 5.0
    threshold: float = 1.0
    slope_floor: float = 0.01

    def __post_init__(self) -> None:
        for name in ("tau_m", "tau_s", "threshold", "slope_floor"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} = {value!r}: must be positive and finite")

    def step(self) -> tuple[float, float, float]:
        """alpha, beta and couple of one step: V <- alpha V + couple I, I <- beta I."""
        alpha, beta = math.exp(-1 / self.tau_m), math.exp(-1 / self.tau_s)
        gap = 1 / self.tau_s - 1 / self.tau_m
        # (alpha - beta) / (tau_m gap) without the cancellation, and with its limit where the two are equal.
        couple = alpha / self.tau_m * (-math.expm1(-gap) / gap if gap else 1.0)
        return alpha, beta, couple


class Connection(nn.Module):
    """Weights from C senders to N receivers, each with or without a delay. No bias.

    Args:
        senders, receivers: C and N.
        mean, std: Normal distribution of the initial weights (N, C).
        delays: Whether connections have delays (N, C), in steps.
        learn_delays: False keeps the delays as drawn.
        delay_low, delay_high: Uniform distribution of the initial delays.
        max_delay: The longest delay, which `clamp_` keeps: call it after every step of an optimiser.

    Raises:
        ValueError: Sizes below 1, a negative standard deviation, delays outside 0 <= low <= high <= max.
    """

    delay_parameters: ClassVar[tuple[str, ...]] = ("delay",)

    def __init__(
        self,
        senders: int,
        receivers: int,
        *,
        mean: float,
        std: float,
        delays: bool = False,
        learn_delays: bool = True,
        delay_low: float = 0.0,
        delay_high: float = 0.0,
        max_delay: int = 1000,
    ) -> None:
        super().__init__()
        if senders < 1 or receivers < 1:
            raise ValueError(f"senders = {senders}, receivers = {receivers}: there is at least one of each")
        if std < 0:
            raise ValueError(f"std = {std}: a standard deviation is not negative")
        if not 0 <= delay_low <= delay_high <= max_delay:
            raise ValueError(f"delays from {delay_low} to {delay_high}: must lie between 0 and max_delay = {max_delay}")
        self.max_delay = max_delay
        self.weight = nn.Parameter(torch.empty(receivers, senders).normal_(mean, std))
        self.delay = None
        if delays:
            drawn = torch.empty(receivers, senders).uniform_(delay_low, delay_high)
            self.delay = nn.Parameter(drawn, requires_grad=learn_delays)

    @torch.no_grad()
    def clamp_(self) -> None:
        """Clamp the delays to [0, max_delay]."""
        if self.delay is not None:
            self.delay.clamp_(0, self.max_delay)


class _Layer(nn.Module):
    """What spiking layers and the readout share: connections, and how they reach the compiled loops."""

    def __init__(self, inward: Connection, recurrent: Connection | None, neuron: EventPropNeuron) -> None:
        super().__init__()
        self.inward, self.recurrent, self.neuron = inward, recurrent, neuron
        self._watch = FiniteWatch()

    def _run(self, spikes: Tensor, rate: tuple[float, float] | None) -> Tensor:
        if spikes.ndim != 3 or spikes.shape[2] != self.inward.weight.shape[1] or spikes.shape[0] < 1:
            raise ValueError(f"spikes {tuple(spikes.shape)}: must be (T, B, {self.inward.weight.shape[1]}), T > 0")
        weight = self.inward.weight
        if weight.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"weights are {weight.dtype}: must be float32 or float64")
        back = self.recurrent
        for values in (spikes, weight, *(() if back is None else (back.weight,))):  # with NaN, neurons would be silent
            self._watch.check(values, "spikes or weights hold NaN or infinity: clean the input, or lower the rates")
        out: Tensor = _EventProp.apply(
            spikes.to(weight),
            weight,
            self.inward.delay,
            None if back is None else back.weight,
            None if back is None else back.delay,
            self.neuron,
            rate,
        )
        return out


class EventPropLayer(_Layer):
    """Spiking neurons (LIF, hard reset to 0, any number of spikes) with delayed input connections.

    Args:
        inward: Connections from the layer before.
        recurrent: Connections among the neurons themselves, or None. A spike with delay 0 acts one step later, as
            any current does.
        neuron: Constants.

    Raises:
        ValueError: If the recurrence does not match the layer's size.
    """

    def __init__(
        self, inward: Connection, recurrent: Connection | None = None, neuron: EventPropNeuron | None = None
    ) -> None:
        size = inward.weight.shape[0]
        if recurrent is not None and recurrent.weight.shape != (size, size):
            raise ValueError(f"recurrent weights {tuple(recurrent.weight.shape)}: must be ({size}, {size})")
        super().__init__(inward, recurrent, neuron or EventPropNeuron())

    def forward(self, spikes: Tensor, rate_target: float = 0.0, rate_strength: float = 0.0) -> Tensor:
        """Spikes (T, B, N), 0 or 1, of `spikes` (T, B, C), counts.

        `rate_strength` x (mean spikes per sample - `rate_target`) / B is added to dL/dV of a neuron at each of its
        spikes: a push to the target, and no gradient (a number of spikes has none).
        """
        return self._run(spikes, (rate_target, rate_strength))


class EventPropReadout(_Layer):
    """Leaky integrators without threshold behind delayed connections; the same neuron otherwise."""

    def __init__(self, inward: Connection, neuron: EventPropNeuron | None = None) -> None:
        super().__init__(inward, None, neuron or EventPropNeuron())

    def forward(self, spikes: Tensor) -> Tensor:
        """V (T, B, N) of spikes (T, B, C); V of a step does not yet feel that step's arrivals."""
        return self._run(spikes, None)


def first_spike_steps(spikes: Tensor) -> Tensor:
    """Step of the first spike of every neuron (B, N), T where there is none, from the spikes (T, B, N) of a layer.

    Differentiable in time: dL/dt goes to the first spike, and to the last step where none came.
    """
    steps: Tensor = _FirstSpike.apply(spikes)
    return steps


class _FirstSpike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, spikes: Tensor) -> Tensor:
        at = spikes.argmax(0)  # of equal values the first
        ctx.save_for_backward(at.where(spikes.any(0), at.new_tensor(len(spikes) - 1)))
        ctx.shape = spikes.shape
        return at.to(spikes).where(spikes.any(0), spikes.new_tensor(float(len(spikes))))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (at,) = ctx.saved_tensors
        return gradient.new_zeros(ctx.shape).scatter_(0, at[None], gradient[None])


class _EventProp(torch.autograd.Function):
    """Forward and adjoint pass of one layer; runs on the CPU, tensors of other devices are copied there."""

    @staticmethod
    def forward(
        ctx: Any,
        spikes: Tensor,
        weight: Tensor,
        delay: Tensor | None,
        back_weight: Tensor | None,
        back_delay: Tensor | None,
        neuron: EventPropNeuron,
        rate: tuple[float, float] | None,
    ) -> Tensor:
        arriving = _array(spikes.transpose(0, 1))
        batch, steps, _ = arriving.shape
        inward = _senders_first(weight, delay)
        back = _senders_first(back_weight, back_delay) if back_weight is not None else _nothing(weight)
        size, real = weight.shape[0], arriving.dtype.type
        alpha, beta, couple = map(real, neuron.step())
        current = np.zeros((batch, steps, size), real)
        kernels.deliver(arriving, *inward, current)
        ctx.spiked = None
        if rate is None:
            out = np.empty_like(current)
            kernels.integrate(current, alpha, beta, couple, out)
        else:
            out, drive, busy = np.zeros_like(current), np.empty_like(current), np.zeros((batch, steps), bool)
            constants = (real(neuron.tau_m), real(neuron.tau_s), real(neuron.threshold))
            kernels.simulate(current, *back, alpha, beta, couple, *constants, out, drive, busy)
            ctx.spiked = (out, drive, busy)
        ctx.arrays = (arriving, inward, back)
        ctx.rate, ctx.neuron, ctx.like = rate, neuron, weight
        given = out if rate is None else out.copy()  # which the caller may change before the backward pass
        return torch.from_numpy(given).to(weight.device).transpose(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        arriving, inward, back = ctx.arrays
        neuron: EventPropNeuron = ctx.neuron
        given = _array(gradient.transpose(0, 1))
        batch, _, size = given.shape
        real = given.dtype.type
        alpha, beta, couple = neuron.step()
        reverse = (real(alpha), real(beta), real(couple * neuron.tau_m / neuron.tau_s), real(neuron.tau_m))
        lambda_i, lag = np.empty_like(given), np.empty_like(given)
        if ctx.spiked is None:
            kernels.adjoint_readout(given, *reverse, lambda_i, lag)
        else:
            target, strength = ctx.rate
            push = np.zeros(size, real)
            if strength:
                push[:] = strength / batch * (ctx.spiked[0].sum(1).mean(0) - target)
            held = (back[0], back[1], *reverse, real(neuron.threshold), real(neuron.slope_floor))
            out, drive, busy = ctx.spiked
            kernels.adjoint(given, push, out, drive, busy, *held, lambda_i, lag)
        needs = ctx.needs_input_grad

        def gather(spikes: np.ndarray, pair: tuple[np.ndarray, np.ndarray], time: bool, delay: bool) -> list[Tensor]:
            to_weight = np.zeros(pair[0].shape, real)
            to_delay = np.zeros(pair[0].shape if delay else (0, 0), real)
            to_time = np.zeros(spikes.shape if time else (0, 0, 0), real)
            kernels.collect(spikes, *pair, lambda_i, lag, real(neuron.tau_s), to_weight, to_delay, to_time)
            arrays = (to_time.swapaxes(0, 1), to_weight.T, to_delay.T)
            return [torch.from_numpy(array).to(ctx.like) for array in arrays]

        to_spikes, to_weight, to_delay = gather(arriving, inward, needs[0], needs[2])
        found = [to_spikes if needs[0] else None, to_weight, to_delay if needs[2] else None, None, None]
        if needs[3] or needs[4]:
            _, to_weight, to_delay = gather(ctx.spiked[0], back, False, needs[4])
            found[3], found[4] = to_weight if needs[3] else None, to_delay if needs[4] else None
        return (*found, None, None)


def _array(tensor: Tensor) -> np.ndarray:
    return np.array(tensor.detach().cpu().numpy(), order="C")  # a copy: the backward pass reads it, too


def _senders_first(weight: Tensor, delay: Tensor | None) -> tuple[np.ndarray, np.ndarray]:
    """Weights (C, N), and delays (C, N) in whole steps, as the loops take them."""
    whole = torch.zeros_like(weight) if delay is None else delay.detach().round().clamp_min(0)
    if not bool(whole.isfinite().all()):
        raise ValueError("a delay is not finite: lower the learning rate of the delays")
    whole = whole.clamp_max(1 << 30)  # after every sequence, and int32 holds it with a step added
    return _array(weight.detach().T), _array(whole.T.to(torch.int32))


def _nothing(like: Tensor) -> tuple[np.ndarray, np.ndarray]:
    empty = like.new_empty(0, 0)
    return _array(empty), _array(empty.to(torch.int32))
