"""ALIF: a LIF neuron whose threshold rises with its own spikes.

Source: Yin, Corradi & Bohte 2021 (arXiv 2103.12593) and their SHD script.
"""

from __future__ import annotations

import math

import torch
from delrec import MultiGaussian, Surrogate
from torch import Tensor, nn

from delrec_baselines.adaptive import AdaptiveNeuron, Range, Start

__all__ = ["ALIF"]


class ALIF(AdaptiveNeuron):
    """LIF neuron with an adaptive threshold; time constants in steps.

        b[t] = rho b[t-1] + (1 - rho) S[t-1];    threshold[t] = base + scale b[t]
        u[t] = alpha u[t-1] + (1 - alpha) I[t] - threshold[t] S[t-1];    S[t] = 1[u[t] > threshold[t]]
        alpha = exp(-1/tau_m),  rho = exp(-1/tau_adp)

    Two learned parameters a neuron, not clamped, as published: tau_m from N(20, 5), tau_adp from N(150, 10) (mean,
    standard deviation). b starts at `base`.

    base, scale: 0.01 and 1.8 in the authors' SHD script, 1.6 and 0.184 in their module for speech commands. tau_m,
    tau_adp: (mean, standard deviation) of the draw. surrogate: default the multi-Gaussian. detach_reset: the published
    reset carries its gradient. start: "zeros", or "random": u begins uniform in [0, 1) as published, b at base.
    Raises ValueError for an unknown start, or a mean or scale that is not positive.
    """

    states = ("membrane", "adaptation")
    strict = True
    input_gain = "1 - alpha"
    fixed = ("base", "scale", "laws")

    tau_m: Tensor
    tau_adp: Tensor
    _base: Tensor
    _scale: Tensor

    def __init__(
        self,
        base: float = 0.01,
        scale: float = 1.8,
        tau_m: Range = (20.0, 5.0),
        tau_adp: Range = (150.0, 10.0),
        surrogate: Surrogate | None = None,
        detach_reset: bool = False,
        start: Start = "zeros",
    ) -> None:
        super().__init__(surrogate if surrogate is not None else MultiGaussian(), detach_reset, start)
        for field, value in (("base", base), ("scale", scale)):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{field} = {value!r}: a threshold's {field} is finite and above 0")
        for field, law in (("tau_m", tau_m), ("tau_adp", tau_adp)):
            if not (len(law) == 2 and law[0] > 0 and law[1] >= 0):
                raise ValueError(f"{field} = {law!r}: give (mean, standard deviation) in steps, the mean above 0")
        self.base, self.scale = float(base), float(scale)
        self.laws = (tuple(tau_m), tuple(tau_adp))
        self.register_buffer("_base", torch.tensor(float(base), dtype=torch.float64), persistent=False)
        self.register_buffer("_scale", torch.tensor(float(scale), dtype=torch.float64), persistent=False)

    def make_parameters(self, size: int) -> None:
        """Draw tau_m and tau_adp, each (N,), in steps."""
        self.tau_m = nn.Parameter(torch.empty(size).normal_(*self.laws[0]))
        self.tau_adp = nn.Parameter(torch.empty(size).normal_(*self.laws[1]))

    def coefficients(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return (alpha, rho), each (N,), and (base, scale), each ()."""
        return torch.exp(-1 / self.tau_m), torch.exp(-1 / self.tau_adp), self._base, self._scale

    def initial(self) -> tuple[Tensor, Tensor]:
        """Return u = 0 and b = base."""
        return torch.zeros_like(self._base), self._base

    def random_states(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return u uniform in [0, 1) and b = base, each (B, N)."""
        return torch.rand_like(like), self._base.to(like).expand_as(like)

    @staticmethod
    def step(spike, reset, u, b, current, alpha, rho, base, scale):
        """The updates of the class: b, the threshold, u."""
        b_new = rho * b + (1.0 - rho) * spike
        return (alpha * u + (1.0 - alpha) * current - (base + scale * b_new) * reset, b_new)

    @staticmethod
    def drive(u, b, alpha, rho, base, scale):
        """The distance u - base - scale b to the threshold."""
        return u - base - scale * b

    @staticmethod
    def membrane(spike, reset, u, b, alpha, rho, base, scale):
        """u[t] - threshold[t] S[t]; the update itself subtracts the threshold of the step after."""
        return u - (base + scale * b) * reset
