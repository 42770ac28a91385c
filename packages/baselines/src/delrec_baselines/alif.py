"""ALIF: a LIF neuron whose threshold rises with its own spikes.

Source: Yin, Corradi & Bohte 2021 (arXiv 2103.12593) and their SHD script.
"""

from __future__ import annotations

import torch
from delrec import MultiGaussian, Surrogate
from delrec.checks import number
from delrec.neurons import Coefficient
from torch import Tensor, nn

from delrec_baselines.adaptive import AdaptiveNeuron, Range, Start, States, law

__all__ = ["ALIF"]


class ALIF(AdaptiveNeuron):
    """LIF neuron with an adaptive threshold; time constants in steps.

        b[t] = rho b[t-1] + (1 - rho) S[t-1];    threshold[t] = base + scale b[t]
        u[t] = alpha u[t-1] + (1 - alpha) I[t] - threshold[t] S[t-1];    S[t] = 1[u[t] > threshold[t]]
        alpha = exp(-1/tau_m),  rho = exp(-1/tau_adp)

    Two learned parameters per neuron, not clamped, as published: tau_m from N(20, 5), tau_adp from N(150, 10) (mean,
    standard deviation). b starts at `base`.

    base, scale: 0.01 and 1.8 in the authors' SHD script, 1.6 and 0.184 in their module for speech commands. tau_m,
    tau_adp: (mean, standard deviation) of the draw. surrogate: default the multi-Gaussian. detach_reset: the published
    reset carries its gradient. start: "zeros", or "random": u starts uniform in [0, 1) as published, b at base.
    Raises ValueError for an unknown start, or a mean or scale that is not positive.
    """

    states = ("membrane", "adaptation", "spike")
    strict = True
    fixed = ("base", "scale", "laws")

    tau_m: Tensor
    tau_adp: Tensor

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
        self.base, self.scale = number("base", base, above=0), number("scale", scale, above=0)
        self.laws = (law("tau_m", tau_m), law("tau_adp", tau_adp))

    def make_parameters(self, size: int) -> None:
        """Draw tau_m and tau_adp, each (N,), in steps."""
        self.tau_m = nn.Parameter(torch.empty(size).normal_(*self.laws[0]))
        self.tau_adp = nn.Parameter(torch.empty(size).normal_(*self.laws[1]))

    def coefficients(self) -> tuple[Coefficient, ...]:
        """Return (alpha, rho), each (N,), and (base, scale), each ()."""
        return torch.exp(-1 / self.tau_m), torch.exp(-1 / self.tau_adp), self.base, self.scale

    def initial(self) -> tuple[Coefficient, ...]:
        """Return u = 0, b = base and no spike."""
        return 0.0, self.base, 0.0

    def random_states(self, like: Tensor) -> States:
        """Return u uniform in [0, 1), b = base and no spike, each (B, N)."""
        return torch.rand_like(like), torch.full_like(like, self.base), torch.zeros_like(like)

    def step(self, current: Tensor, state: States, coefficients: States) -> tuple[Tensor, States]:
        """Take one step: the updates of the class, b, the threshold, u."""
        (u, b, spike), (alpha, rho, base, scale) = state, coefficients
        b_new = rho * b + (1 - rho) * spike
        threshold = base + scale * b_new
        u_new = alpha * u + (1 - alpha) * current - threshold * self.resetting(spike)
        fired = self.spike(u_new - threshold)
        return fired, (u_new, b_new, fired)

    def membrane(self, state: States, coefficients: States) -> Tensor:
        """Return u[t] - threshold[t] S[t]; the update itself subtracts the threshold one step later."""
        (u, b, spike), (_, _, base, scale) = state, coefficients
        return u - (base + scale * b) * self.resetting(spike)
