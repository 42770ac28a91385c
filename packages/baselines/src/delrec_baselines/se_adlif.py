"""SE-adLIF: the adaptive LIF neuron in the symplectic Euler discretisation, and its Euler-forward variant.

Source: Baronig et al. 2025 (doi 10.1038/s41467-025-60878-z; arXiv 2408.07517) and their code (IGITUGraz/SE-adlif).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from delrec import Slayer, Surrogate
from delrec.checks import choose, number
from torch import Tensor, nn

from delrec_baselines.adaptive import AdaptiveNeuron, Range, Start, States, two

__all__ = ["SEAdLIF"]


class SEAdLIF(AdaptiveNeuron):
    """Adaptive LIF neuron whose adaptation uses the membrane potential of the same step; time constants in steps.

        h[t] = alpha u[t-1] + (1 - alpha) (I[t] - w[t-1]);   S[t] = 1[h[t] > 1];   u[t] = h[t] (1 - S[t])
        w[t] = beta w[t-1] + (1 - beta) q (a u[t] + b S[t])                        symplectic: method "se"
        w[t] = beta w[t-1] + (1 - beta) q (a u[t-1] + b S[t-1])                    Euler-forward: method "ef"
        alpha = exp(-1/tau_u),  beta = exp(-1/tau_w),  tau = tau_min + r (tau_max - tau_min)

    Four learned parameters per neuron: r_u and r_w, drawn from U[0, 1]; a from U[0, 1]; b from U[0, 2]. `clamp_()`
    clamps all four to these ranges, as the published code does after every batch. The reset is detached (default).

    The states are u, w and S after the step.

    q: scale of a and b. surrogate: default SLAYER with alpha 5, c 0.4 (the published LIF control uses c 0.1).
    start: "zeros" as published, or "random". Raises ValueError for an unknown method or start, a q that is not
    positive, or a range that is not 0 < tau_min <= tau_max.
    """

    states = ("membrane", "adaptation", "spike")
    strict = True
    fixed = ("method", "tau_u", "tau_w", "q")

    r_u: Tensor
    r_w: Tensor
    a: Tensor
    b: Tensor

    def __init__(
        self,
        method: Literal["se", "ef"] = "se",
        tau_u: Range = (5.0, 25.0),
        tau_w: Range = (60.0, 300.0),
        q: float = 120.0,
        surrogate: Surrogate | None = None,
        detach_reset: bool = True,
        start: Start = "zeros",
    ) -> None:
        super().__init__(surrogate if surrogate is not None else Slayer(5.0, 0.4), detach_reset, start)
        self.method = choose("method", method, "se", "ef")
        are = "(smallest, largest) time constant in steps, above 0"
        self.tau_u = two("tau_u", tau_u, lambda low, high: 0 < low <= high < math.inf, are)
        self.tau_w = two("tau_w", tau_w, lambda low, high: 0 < low <= high < math.inf, are)
        self.q = number("q", q, above=0)

    def make_parameters(self, size: int) -> None:
        """Draw r_u, r_w, a and b, each (N,)."""
        self.r_u = nn.Parameter(torch.rand(size))
        self.r_w = nn.Parameter(torch.rand(size))
        self.a = nn.Parameter(torch.rand(size))
        self.b = nn.Parameter(torch.rand(size) * 2)

    def coefficients(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return (alpha, beta, q a, q b), each (N,)."""
        tau_u = self.tau_u[0] + self.r_u * (self.tau_u[1] - self.tau_u[0])
        tau_w = self.tau_w[0] + self.r_w * (self.tau_w[1] - self.tau_w[0])
        return torch.exp(-1 / tau_u), torch.exp(-1 / tau_w), self.q * self.a, self.q * self.b

    @torch.no_grad()
    def clamp_(self) -> None:
        """Clamp r_u, r_w and a to [0, 1] and b to [0, 2]."""
        for parameter, largest in ((self.r_u, 1.0), (self.r_w, 1.0), (self.a, 1.0), (self.b, 2.0)):
            parameter.clamp_(0.0, largest)

    def step(self, current: Tensor, state: States, coefficients: States) -> tuple[Tensor, States]:
        """Take one step: the equations of the class."""
        (u, w, spike), (alpha, beta, a, b) = state, coefficients
        h = alpha * u + (1 - alpha) * (current - w)
        fired = self.spike(h - 1)
        u_new = (1 - self.resetting(fired)) * h
        jump = a * u_new + b * fired if self.method == "se" else a * u + b * spike
        return fired, (u_new, beta * w + (1 - beta) * jump, fired)
