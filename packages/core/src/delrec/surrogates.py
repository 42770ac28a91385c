"""Spike functions and the surrogate derivatives that stand in for theirs.

A spike is the Heaviside step of the drive u = (membrane - threshold); its derivative is zero or undefined, so
training replaces it by a bounded bump around u = 0. A surrogate states that bump once, as the rule `derivative` (see
`delrec.rules.reader` for what a rule may hold): it runs on tensors, and fused engines compile it into their scan.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from delrec.functions import exp, maximum
from delrec.rules import on_tensors

__all__ = [
    "ATan",
    "Boxcar",
    "FastSigmoid",
    "MultiGaussian",
    "Slayer",
    "Surrogate",
    "Triangle",
    "make_surrogate",
]


SQRT_TWO_PI = math.sqrt(2 * math.pi)


class _Spike(torch.autograd.Function):
    """Heaviside forward, surrogate backward."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, surrogate: Surrogate, strict: bool) -> Tensor:
        ctx.save_for_backward(u)
        ctx.surrogate = surrogate
        return (u > 0 if strict else u >= 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        (u,) = ctx.saved_tensors
        return grad_outputs[0] * ctx.surrogate.slope(u), None, None


class Surrogate:
    """A surrogate derivative dS/du of the spike S = 1[u >= 0].

    A subclass gives one rule, elementwise in u; `params` are the numbers that it takes after u:

        derivative(u, *params) -> dS/du      a static method; or derivative(self, u), whose numbers are compiled in

    Two surrogates of one class and equal params are the same function.
    """

    name: ClassVar[str]
    derivative: Callable[..., Any]

    def __init__(self, *params: float) -> None:
        if not hasattr(self, "derivative"):
            raise NotImplementedError(f"{type(self).__name__} must define derivative(); see delrec.Surrogate")
        self.params = tuple(float(p) for p in params)

    def slope(self, u: Tensor) -> Tensor:
        """Return dS/du at the drive u (any shape), elementwise."""
        if not torch.compiler.is_compiling():  # then the rule that ran last, or as it is if made while compiling
            self._slope = on_tensors(self.derivative, "derivative", type(self).__name__)
        slope = getattr(self, "_slope", self.derivative)
        result: Tensor = slope(u, *(() if hasattr(self.derivative, "__self__") else self.params))
        return result

    def spike(self, u: Tensor, strict: bool = False) -> Tensor:
        """Return 1[u >= 0] (1[u > 0] if strict) in u's dtype, with `derivative` as its gradient."""
        spikes: Tensor = _Spike.apply(u, self, strict)
        return spikes

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_slope"}

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.params == getattr(other, "params", None)

    def __hash__(self) -> int:
        return hash((type(self).__name__, self.params))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{p:g}' for p in self.params)})"


def _positive(field: str, value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{field} = {value!r}: a surrogate needs a finite value above 0")
    return float(value)


class Triangle(Surrogate):
    """dS/du = max(0, gamma - |u|) / gamma^2 (DelRec on SSC and PS-MNIST, arXiv 2509.24852)."""

    name = "triangle"

    def __init__(self, gamma: float = 1.0) -> None:
        super().__init__(_positive("gamma", gamma))

    @staticmethod
    def derivative(u, gamma):
        """max(0, gamma - |u|) / gamma^2."""
        return maximum(0, gamma - abs(u)) / gamma**2


class ATan(Surrogate):
    """dS/du = (alpha/2) / (1 + (pi/2 * alpha * u)^2) (DelRec on SHD, arXiv 2509.24852)."""

    name = "atan"

    def __init__(self, alpha: float = 5.0) -> None:
        super().__init__(_positive("alpha", alpha))

    @staticmethod
    def derivative(u, alpha):
        """(alpha/2) / (1 + (pi/2 * alpha * u)^2)."""
        return (alpha / 2) / (1 + (math.pi / 2 * alpha * u) ** 2)


class FastSigmoid(Surrogate):
    """dS/du = 1 / (1 + alpha |u|)^2 (SuperSpike, Zenke & Ganguli 2018, doi 10.1162/neco_a_01086)."""

    name = "fast-sigmoid"

    def __init__(self, alpha: float = 10.0) -> None:
        super().__init__(_positive("alpha", alpha))

    @staticmethod
    def derivative(u, alpha):
        """1 / (1 + alpha |u|)^2."""
        return (1 + alpha * abs(u)) ** -2


class Boxcar(Surrogate):
    """dS/du = height for -half_width < u <= half_width, else 0 (adLIF: Bittar & Garner 2022)."""

    name = "boxcar"

    def __init__(self, half_width: float = 0.5, height: float = 1.0) -> None:
        super().__init__(_positive("half_width", half_width), _positive("height", height))

    @staticmethod
    def derivative(u, half_width, height):
        """Height inside the half-open box, 0 outside."""
        return height if -half_width < u <= half_width else 0


class Slayer(Surrogate):
    """dS/du = c * alpha/2 * exp(-alpha |u|) (SLAYER; SE-adLIF uses alpha 5, c 0.4: Baronig et al. 2025)."""

    name = "slayer"

    def __init__(self, alpha: float = 5.0, c: float = 0.4) -> None:
        super().__init__(_positive("alpha", alpha), _positive("c", c))

    @staticmethod
    def derivative(u, alpha, c):
        """c * alpha/2 * exp(-alpha |u|)."""
        return (c * alpha / 2) * exp(-alpha * abs(u))


class MultiGaussian(Surrogate):
    """dS/du = scale * [(1+h) N(u; 0, s) - h N(u; w, k s) - h N(u; -w, k s)], N the normal density.

    With the defaults scale 0.5, h 0.15, s 0.5, w 0.5, k 6 this is the surrogate of ALIF (Yin et al. 2021,
    arXiv 2103.12593): it is negative in its tails.
    """

    name = "multi-gaussian"

    def __init__(self, scale: float = 0.5, h: float = 0.15, s: float = 0.5, width: float = 0.5, k: float = 6.0) -> None:
        positive = {"scale": scale, "s": s, "width": width, "k": k}
        for field, value in positive.items():
            _positive(field, value)
        super().__init__(scale, h, s, width, k)

    @staticmethod
    def derivative(u, scale, h, s, width, k):
        """The difference of three normal densities."""
        wide = k * s
        middle = exp(-0.5 * (u / s) ** 2) / s
        side = (exp(-0.5 * ((u - width) / wide) ** 2) + exp(-0.5 * ((u + width) / wide) ** 2)) / wide
        return scale / SQRT_TWO_PI * ((1 + h) * middle - h * side)


_SURROGATES: dict[str, Callable[..., Surrogate]] = {
    cls.name: cls for cls in (Triangle, ATan, FastSigmoid, Boxcar, Slayer, MultiGaussian)
}


def make_surrogate(name: str, *params: float) -> Surrogate:
    """Build a surrogate by its name, with its parameters in the order of its constructor.

    Raises ValueError for a name that is none of triangle, atan, fast-sigmoid, boxcar, slayer, multi-gaussian.
    """
    if name not in _SURROGATES:
        raise ValueError(f"surrogate = {name!r} is unknown; choose one of {', '.join(_SURROGATES)}")
    return _SURROGATES[name](*params)
