"""Readouts: from outputs at every step to one score a class.

The outputs y (T, B, C) are the logits of a linear layer, y[t] = W S[t] + b (`readout = "linear"`), or the membrane of
a leaky integrator behind it that never fires, y[t] = (1 - 1/tau) y[t-1] + g (W S[t] + b) (`readout = "leaky"`), with a
tau of its own (`readout_tau`) and a gain g of 1 or 1/tau (`readout_gain`). `aggregate` reduces them to the scores
(B, C), from step s = `skip_steps` on:

    sum           sum over s <= t < T of y[t]            DelRec on SSC and PS-MNIST, arXiv 2509.24852
    softmax-sum   sum over s <= t < T of softmax(y[t])   DelRec on SHD; DCLS, arXiv 2306.17670
    mean          mean over s <= t < T of y[t]
    second-half   mean over s + (T - s) // 2 <= t < T of y[t]
    last          y[T - 1]

A sequence without any step that counts scores 0.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["Aggregate", "scores_of", "scores_of_linear"]

Aggregate = Literal["sum", "softmax-sum", "mean", "second-half", "last"]
_MEANS = ("mean", "second-half")


def scores_of(outputs: Tensor, aggregate: str, skipped: int = 0) -> Tensor:
    """Reduce outputs (T, B, C) to scores (B, C)."""
    counted = _counted(outputs, aggregate, skipped)
    if aggregate == "softmax-sum":
        counted = torch.softmax(counted, -1)
    return _divided(counted.sum(0), aggregate, len(counted))


def scores_of_linear(readout: nn.Linear, spikes: Tensor, aggregate: str, skipped: int = 0) -> Tensor:
    """Return what `scores_of` gives of the logits of spikes (T, B, N), with one product of their sum over time.

    Not for "softmax-sum", which is not linear in the logits.
    """
    counted = _counted(spikes, aggregate, skipped)
    scores: Tensor = readout(counted.sum(0))
    if readout.bias is not None:
        scores = scores + readout.bias * (len(counted) - 1)
    return _divided(scores, aggregate, len(counted))


def _counted(values: Tensor, aggregate: str, skipped: int) -> Tensor:
    """Return the steps that an aggregate takes."""
    values = values[skipped:]
    if aggregate == "second-half":
        return values[len(values) // 2 :]
    return values[-1:] if aggregate == "last" else values


def _divided(total: Tensor, aggregate: str, steps: int) -> Tensor:
    return total / max(steps, 1) if aggregate in _MEANS else total
