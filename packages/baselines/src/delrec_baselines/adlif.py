"""Adaptive LIF neurons of the sparch library: adLIF, and cAdLIF with constrained parameters.

Sources: adLIF, Bittar & Garner 2022 (doi 10.3389/fnins.2022.865897) and their code (idiap/sparch); cAdLIF, Deckers
et al. 2024 (arXiv 2311.16112), with the ranges of its reproduction in the code of SiLIF (arXiv 2506.06374).
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from delrec import Boxcar, Surrogate
from torch import Tensor, nn

from delrec_baselines.adaptive import AdaptiveNeuron, Range, Start, States

__all__ = ["AdLIF", "CAdLIF"]


class AdLIF(AdaptiveNeuron):
    """Adaptive leaky integrate-and-fire neuron (adLIF).

        w[t] = beta w[t-1] + a u[t-1] + b S[t-1]
        u[t] = alpha (u[t-1] - S[t-1]) + (1 - alpha) (I[t] - w[t])
        S[t] = 1[u[t] > 1]

    The states are u, w and S, as published: before the reset.

    Four learned parameters per neuron, each drawn uniformly from its range and clamped to it where it is used (a
    parameter outside its range has no gradient): alpha in [e^(-1/5), e^(-1/25)], beta in
    [e^(-1/30), e^(-1/120)], a in [-1, 1], b in [0, 2]. The input to w has no factor (1 - beta), as published.
    A recurrent current enters like I, inside the factor (1 - alpha): RadLIF is this neuron in a recurrent layer
    with `self_connections=False` and `delays="none"`.

    surrogate: default the boxcar of width 1. detach_reset: the published reset carries its gradient (False).
    start: "zeros", or "random": u and w start uniform in [0, 1) (see `AdaptiveNeuron`).

    Source: Bittar & Garner 2022, doi 10.3389/fnins.2022.865897. Raises ValueError for an unknown start.
    """

    states = ("membrane", "adaptation", "spike")
    strict = True

    alpha_range: ClassVar[Range] = (math.exp(-1 / 5), math.exp(-1 / 25))
    beta_range: ClassVar[Range] = (math.exp(-1 / 30), math.exp(-1 / 120))
    a_range: ClassVar[Range] = (-1.0, 1.0)
    b_range: ClassVar[Range] = (0.0, 2.0)

    alpha: Tensor
    beta: Tensor
    a: Tensor
    b: Tensor

    def __init__(self, surrogate: Surrogate | None = None, detach_reset: bool = False, start: Start = "zeros") -> None:
        super().__init__(surrogate if surrogate is not None else Boxcar(0.5), detach_reset, start)

    def make_parameters(self, size: int) -> None:
        """Draw alpha, beta, a and b, each (N,)."""
        self.alpha = nn.Parameter(torch.empty(size).uniform_(*self.alpha_range))
        self.beta = nn.Parameter(torch.empty(size).uniform_(*self.beta_range))
        self.a = nn.Parameter(torch.empty(size).uniform_(*self.a_range))
        self.b = nn.Parameter(torch.empty(size).uniform_(*self.b_range))

    def coefficients(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return (alpha, beta, a, b), each (N,), clamped to its range."""
        return (
            self.alpha.clamp(*self.alpha_range),
            self.beta.clamp(*self.beta_range),
            self.a.clamp(*self.a_range),
            self.b.clamp(*self.b_range),
        )

    def step(self, current: Tensor, state: States, coefficients: States) -> tuple[Tensor, States]:
        """Take one step: the equations of the class, w first."""
        (u, w, spike), (alpha, beta, a, b) = state, coefficients
        w_new = beta * w + a * u + b * spike
        u_new = alpha * (u - self.resetting(spike)) + (1 - alpha) * (current - w_new)
        fired = self.spike(u_new - 1)
        return fired, (u_new, w_new, fired)

    def membrane(self, state: States, coefficients: States) -> Tensor:
        """Return V[t] = u[t] - S[t]."""
        return state[0] - self.resetting(state[2])


class CAdLIF(AdLIF):
    """Constrained adaptive LIF neuron (cAdLIF): adLIF without negative coupling and with wider decays.

    The equations of `AdLIF` with alpha in [.36, .96], beta in [.96, .99], a in [0, 1], b in [0, 2]; its networks use
    Xavier uniform initialisation. Source: Deckers et al. 2024, arXiv 2311.16112.
    """

    alpha_range = (0.36, 0.96)
    beta_range = (0.96, 0.99)
    a_range = (0.0, 1.0)
    b_range = (0.0, 2.0)
