"""SiLIF and C-SiLIF: LIF neurons with the parameterisation of state-space models.

Source: Fabre et al. 2025 (arXiv 2506.06374) and their code (Maxtimer97/SSM-inspired-LIF).
"""

from __future__ import annotations

import math

import torch
from delrec import Boxcar, Surrogate
from delrec.checks import number
from torch import Tensor, nn

from delrec_baselines.adaptive import AdaptiveNeuron, Start, States
from delrec_baselines.adlif import AdLIF

__all__ = ["CSiLIF", "SiLIF"]


class SiLIF(AdLIF):
    """The equations of `AdLIF`, with decays parameterised by a learned time step per neuron.

        alpha = exp(-e^A e^D),    beta = exp(-e^B e^D)

    Five learned parameters per neuron: D, the logarithm of the step, starts at log 0.004; A from U[log 10, log 250];
    B from U[log 2.5, log 10]; a from U[0, 1] and b from U[0, 2], both clamped where they are used. Initially, alpha
    lies in [.37, .96] and beta in [.96, .99]. Networks use Xavier uniform initialisation.

    time_step: the initial value of e^D (0.004 as published, whatever the bin width). Raises ValueError unless positive.
    """

    fixed = ("time_step",)
    a_range = (0.0, 1.0)
    b_range = (0.0, 2.0)

    log_step: Tensor
    log_alpha: Tensor
    log_beta: Tensor

    def __init__(
        self,
        time_step: float = 0.004,
        surrogate: Surrogate | None = None,
        detach_reset: bool = False,
        start: Start = "zeros",
    ) -> None:
        super().__init__(surrogate, detach_reset, start)
        self.time_step = number("time_step", time_step, above=0)

    def make_parameters(self, size: int) -> None:
        """Draw D, A, B, a and b, each (N,)."""
        self.log_step = nn.Parameter(torch.full((size,), math.log(self.time_step)))
        self.log_alpha = nn.Parameter(torch.empty(size).uniform_(math.log(10.0), math.log(250.0)))
        self.log_beta = nn.Parameter(torch.empty(size).uniform_(math.log(2.5), math.log(10.0)))
        self.a = nn.Parameter(torch.empty(size).uniform_(*self.a_range))
        self.b = nn.Parameter(torch.empty(size).uniform_(*self.b_range))

    def coefficients(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return (alpha, beta, a, b), each (N,)."""
        alpha = torch.exp(-torch.exp(self.log_alpha + self.log_step))
        beta = torch.exp(-torch.exp(self.log_beta + self.log_step))
        return alpha, beta, self.a.clamp(*self.a_range), self.b.clamp(*self.b_range)


class CSiLIF(AdaptiveNeuron):
    """Complex SiLIF: one damped oscillator per neuron, stored as two real states.

        u[t] = lambda (u[t-1] - S[t-1]/2) + b I[t];    S[t] = 1[2 Re u[t] > 1];    lambda = exp((-e^p + i w) e^D)

    Four learned parameters per neuron: p starts at log 0.5, w at pi, D log-uniform in [log step_min, log step_max], b
    from U[0, 1). step_min, step_max: 0.01 and 0.5 on SHD; the SSC configuration has step_max 5.
    Raises ValueError for an unknown start or steps that are not 0 < step_min <= step_max.
    """

    states = ("real", "imaginary")
    strict = True
    fixed = ("step_min", "step_max")

    log_decay: Tensor
    frequency: Tensor
    log_step: Tensor
    b: Tensor

    def __init__(
        self,
        step_min: float = 0.01,
        step_max: float = 0.5,
        surrogate: Surrogate | None = None,
        detach_reset: bool = False,
        start: Start = "zeros",
    ) -> None:
        super().__init__(surrogate if surrogate is not None else Boxcar(0.5), detach_reset, start)
        self.step_min = number("step_min", step_min, above=0)
        self.step_max = number("step_max", step_max, at_least=step_min)

    def make_parameters(self, size: int) -> None:
        """Draw p, w, D and b, each (N,)."""
        self.log_decay = nn.Parameter(torch.full((size,), math.log(0.5)))
        self.frequency = nn.Parameter(torch.full((size,), math.pi))
        self.log_step = nn.Parameter(torch.empty(size).uniform_(math.log(self.step_min), math.log(self.step_max)))
        self.b = nn.Parameter(torch.rand(size))

    def coefficients(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return (Re lambda, Im lambda, b), each (N,)."""
        step = torch.exp(self.log_step)
        radius = torch.exp(-torch.exp(self.log_decay) * step)
        angle = self.frequency * step
        return radius * torch.cos(angle), radius * torch.sin(angle), self.b

    def step(self, current: Tensor, state: States, coefficients: States) -> tuple[Tensor, States]:
        """Take one step: u[t] in real and imaginary parts, then the reset."""
        (x, y), (real, imaginary, b) = state, coefficients
        x_new, y_new = real * x - imaginary * y + b * current, real * y + imaginary * x
        spike = self.spike(2 * x_new - 1)
        return spike, (x_new - 0.5 * self.resetting(spike), y_new)

    def membrane(self, state: States, coefficients: States) -> Tensor:
        """Return 2 Re u[t] - S[t], the real part after the reset in the units of the threshold."""
        return 2 * state[0]
