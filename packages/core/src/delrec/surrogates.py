"""Spike functions and their surrogate derivatives.

A spike is the Heaviside step of the drive u = (membrane - threshold); its derivative is zero or undefined, so
training replaces it by a bounded bump around u = 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from delrec.checks import choose, number


class _Spike(torch.autograd.Function):
    """Heaviside forward, surrogate backward."""

    @staticmethod
    def forward(u: Tensor, surrogate: Surrogate, strict: bool) -> Tensor:
        return (u > 0 if strict else u >= 0).to(u.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Surrogate, bool], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])
        ctx.surrogate = inputs[1]

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        (u,) = ctx.saved_tensors
        return grad_outputs[0] * ctx.surrogate.derivative(u), None, None


@dataclass(frozen=True)
class Surrogate:
    """A surrogate derivative dS/du of the spike S = 1[u >= 0].

    A subclass is a frozen dataclass of numbers that defines `derivative(self, u)`, elementwise and in plain torch.
    Raises ValueError for a number that is not finite and above 0, unless it is listed in `signed`.
    """

    name: ClassVar[str]
    signed: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if type(self).derivative is Surrogate.derivative:
            raise NotImplementedError(f"{type(self).__name__} must define derivative(self, u)")
        for field, value in vars(self).items():
            number(field, value, **({} if field in self.signed else {"above": 0}))

    def derivative(self, u: Tensor) -> Tensor:
        """Return dS/du at the drive u (any shape), elementwise."""
        raise NotImplementedError

    def spike(self, u: Tensor, strict: bool = False) -> Tensor:
        """Return 1[u >= 0] (1[u > 0] if strict) in u's dtype, with `derivative` as its gradient."""
        return _Spike.apply(u, self, strict)


@dataclass(frozen=True)
class Triangle(Surrogate):
    """dS/du = max(0, gamma - |u|) / gamma^2 (DelRec on SSC and PS-MNIST, arXiv 2509.24852)."""

    name: ClassVar[str] = "triangle"
    gamma: float = 1.0

    def derivative(self, u: Tensor) -> Tensor:
        """Return the triangle at u."""
        return torch.clamp(self.gamma - u.abs(), min=0) / self.gamma**2


@dataclass(frozen=True)
class ATan(Surrogate):
    """dS/du = (alpha/2) / (1 + (pi/2 * alpha * u)^2) (DelRec on SHD, arXiv 2509.24852)."""

    name: ClassVar[str] = "atan"
    alpha: float = 5.0

    def derivative(self, u: Tensor) -> Tensor:
        """Return the arc tangent's slope at u."""
        return (self.alpha / 2) / (1 + (math.pi / 2 * self.alpha * u) ** 2)


@dataclass(frozen=True)
class FastSigmoid(Surrogate):
    """dS/du = 1 / (1 + alpha |u|)^2 (SuperSpike, Zenke & Ganguli 2018, doi 10.1162/neco_a_01086)."""

    name: ClassVar[str] = "fast-sigmoid"
    alpha: float = 10.0

    def derivative(self, u: Tensor) -> Tensor:
        """Return the fast sigmoid's slope at u."""
        return (1 + self.alpha * u.abs()) ** -2


@dataclass(frozen=True)
class Boxcar(Surrogate):
    """dS/du = height for -half_width < u <= half_width, else 0 (adLIF: Bittar & Garner 2022)."""

    name: ClassVar[str] = "boxcar"
    half_width: float = 0.5
    height: float = 1.0

    def derivative(self, u: Tensor) -> Tensor:
        """Return the height inside the half-open box, 0 outside."""
        return self.height * ((u > -self.half_width) & (u <= self.half_width)).to(u.dtype)


@dataclass(frozen=True)
class Slayer(Surrogate):
    """dS/du = c * alpha/2 * exp(-alpha |u|) (SLAYER; SE-adLIF uses alpha 5, c 0.4: Baronig et al. 2025)."""

    name: ClassVar[str] = "slayer"
    alpha: float = 5.0
    c: float = 0.4

    def derivative(self, u: Tensor) -> Tensor:
        """Return the two-sided exponential at u."""
        return (self.c * self.alpha / 2) * torch.exp(-self.alpha * u.abs())


@dataclass(frozen=True)
class MultiGaussian(Surrogate):
    """dS/du = scale * [(1+h) N(u; 0, s) - h N(u; w, k s) - h N(u; -w, k s)], N the normal density.

    Negative in its tails; the defaults are those of ALIF (Yin et al. 2021, arXiv 2103.12593).
    """

    name: ClassVar[str] = "multi-gaussian"
    signed: ClassVar[tuple[str, ...]] = ("h",)
    scale: float = 0.5
    h: float = 0.15
    s: float = 0.5
    width: float = 0.5
    k: float = 6.0

    def derivative(self, u: Tensor) -> Tensor:
        """Return the difference of three normal densities at u."""
        wide = self.k * self.s
        middle = torch.exp(-0.5 * (u / self.s) ** 2) / self.s
        left, right = (torch.exp(-0.5 * ((u + w) / wide) ** 2) for w in (self.width, -self.width))
        return self.scale / math.sqrt(2 * math.pi) * ((1 + self.h) * middle - self.h * (left + right) / wide)


_SURROGATES: dict[str, Any] = {cls.name: cls for cls in (Triangle, ATan, FastSigmoid, Boxcar, Slayer, MultiGaussian)}


def make_surrogate(name: str, *params: float) -> Surrogate:
    """Build a surrogate by its name, with its parameters in the order of its constructor.

    Raises ValueError for a name that is none of triangle, atan, fast-sigmoid, boxcar, slayer, multi-gaussian.
    """
    return _SURROGATES[choose("surrogate", name, *_SURROGATES)](*params)
