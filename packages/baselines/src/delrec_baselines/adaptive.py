"""Base class of the adaptive neurons: states start at zero, or at random as in the published code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from delrec import Neuron, Surrogate
from delrec.checks import choose
from torch import Tensor

__all__ = ["AdaptiveNeuron", "Range", "Start", "States", "law", "two"]

Start = Literal["zeros", "random"]
Range = tuple[float, float]
States = tuple[Tensor, ...]


def two(name: str, value: Range, right: Callable[[float, float], bool], are: str) -> Range:
    """Return two numbers that are `right`; a ValueError says what they `are`."""
    numbers = isinstance(value, tuple | list) and len(value) == 2 and all(isinstance(v, int | float) for v in value)
    if not (numbers and right(*value)):
        raise ValueError(f"{name} = {value!r}: give {are}")
    return value[0], value[1]


def law(name: str, value: Range) -> Range:
    """Return the mean and standard deviation of a time constant's normal distribution."""
    are = "(mean, standard deviation) in steps, the mean above 0"
    return two(name, value, lambda mean, deviation: mean > 0 and deviation >= 0, are)


class AdaptiveNeuron(Neuron):
    """A neuron whose states start at zero, or uniform in [0, 1) for every sample; spikes always start at zero.

    start: "zeros", or "random" as in the code of sparch, SiLIF and ALIF: also at evaluation, so accuracy is
    then not deterministic. Their code draws a fractional spike before the first step too; here that step is silent.
    Raises ValueError for an unknown start.
    """

    def __init__(self, surrogate: Surrogate, detach_reset: bool, start: Start) -> None:
        super().__init__(surrogate, detach_reset)
        choose("start", start, "zeros", "random")
        self.start: Start = start

    def start_states(self, like: Tensor) -> tuple[Tensor, ...]:
        """Return each state before the first step in the shape of `like`, (B, N)."""
        return super().start_states(like) if self.start == "zeros" else self.random_states(like)

    def random_states(self, like: Tensor) -> tuple[Tensor, ...]:
        """Return each state drawn from U[0, 1), in the shape of `like`, (B, N)."""
        return tuple(torch.zeros_like(like) if name == "spike" else torch.rand_like(like) for name in self.states)
