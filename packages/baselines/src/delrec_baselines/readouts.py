"""Readouts with a learned leak: leaky integrators that never fire, with one decay per output neuron."""

from __future__ import annotations

from typing import Literal

import torch
from delrec import Neuron
from delrec.checks import choose
from torch import Tensor, nn

from delrec_baselines.adaptive import Range, States, law
from delrec_baselines.adlif import AdLIF

__all__ = ["LearnedLeak"]


class LearnedLeak(Neuron):
    """Leaky integrator with one learned decay per neuron; it never fires.

        u[t] = alpha u[t-1] + (1 - alpha) I[t]

    kind "decay": alpha is the parameter, uniform in adLIF's range [e^(-1/5), e^(-1/25)] and clamped to it where it is
    used (Bittar & Garner 2022). kind "tau": alpha = exp(-1/tau), tau from N(20, 5) steps and not clamped (Yin et al.
    2021). It has its own gain: as a readout, give it the plain sum of its inputs.
    Raises ValueError for an unknown kind, or a law without a positive mean.
    """

    states = ("membrane",)
    fixed = ("kind", "law")

    alpha: Tensor
    tau: Tensor

    def __init__(self, kind: Literal["decay", "tau"] = "decay", tau: Range = (20.0, 5.0)) -> None:
        super().__init__()
        self.kind, self.law = choose("kind", kind, "decay", "tau"), law("tau", tau)

    def make_parameters(self, size: int) -> None:
        """Draw the decay or the time constant, (N,)."""
        if self.kind == "decay":
            self.alpha = nn.Parameter(torch.empty(size).uniform_(*AdLIF.alpha_range))
        else:
            self.tau = nn.Parameter(torch.empty(size).normal_(*self.law))

    def coefficients(self) -> tuple[Tensor]:
        """Return (alpha,), (N,)."""
        return (self.alpha.clamp(*AdLIF.alpha_range) if self.kind == "decay" else torch.exp(-1 / self.tau),)

    def step(self, current: Tensor, state: States, coefficients: States) -> tuple[Tensor, States]:
        """Take one step: u[t] = alpha u[t-1] + (1 - alpha) I[t], and no spike."""
        (u,), (alpha,) = state, coefficients
        return torch.zeros_like(u), (alpha * u + (1 - alpha) * current,)
