"""The functions that rules of neurons and surrogates may call: elementwise, the same on tensors, on numbers, compiled.

On numbers they compute as torch does in float64: sqrt(-1) is NaN and log(0) is -inf, where `math` raises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["abs", "exp", "log", "maximum", "minimum", "sqrt", "tanh", "where"]


def _apply(operation: Callable[..., Tensor], *values: Any) -> Any:
    for like in values:
        if isinstance(like, Tensor):
            return operation(*[v if isinstance(v, Tensor) else like.new_full((), v) for v in values])
    return operation(*[torch.tensor(v, dtype=torch.float64) for v in values]).item()


def exp(x: Any) -> Any:
    """Return e^x."""
    return _apply(torch.exp, x)


def log(x: Any) -> Any:
    """Return the natural logarithm of x."""
    return _apply(torch.log, x)


def sqrt(x: Any) -> Any:
    """Return the square root of x."""
    return _apply(torch.sqrt, x)


def tanh(x: Any) -> Any:
    """Return the hyperbolic tangent of x."""
    return _apply(torch.tanh, x)


def abs(x: Any) -> Any:
    """Return |x|; its derivative at 0 is 0."""
    return _apply(torch.abs, x)


def minimum(x: Any, y: Any) -> Any:
    """Return the smaller of x and y, NaN where either is; where they are equal, each has half of the gradient."""
    return _apply(torch.minimum, x, y)


def maximum(x: Any, y: Any) -> Any:
    """Return the larger of x and y, NaN where either is; where they are equal, each has half of the gradient."""
    return _apply(torch.maximum, x, y)


def where(condition: Any, x: Any, y: Any) -> Any:
    """Return x where the condition holds, else y."""
    if not isinstance(condition, Tensor):
        return x if condition else y
    return _apply(lambda a, b: torch.where(condition, a, b), x, y)
