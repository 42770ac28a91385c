"""From outputs at every step to one score a class, over each sample's own steps."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["counted_steps", "over_time", "within"]


def within(values: Tensor, lengths: Tensor) -> Tensor:
    """Return values (T, B, N) with zeros after each sample's end; lengths (B,)."""
    alive = torch.arange(len(values), device=values.device).unsqueeze(-1) < lengths
    return torch.where(alive.unsqueeze(-1), values, 0)


def counted_steps(outputs: Tensor, skipped: int, lengths: Tensor | None) -> Tensor | int:
    """Return how many of the steps of `outputs`, whose first `skipped` are gone, are a sample's own: T or (B, 1)."""
    return len(outputs) if lengths is None else (lengths - skipped).clamp(min=0).unsqueeze(-1)


def over_time(outputs: Tensor, aggregate: str, skipped: int, lengths: Tensor | None) -> Tensor:
    """Reduce outputs (T, B, C) to (B, C): "sum", "softmax-sum", "mean" or "last" of the steps from `skipped` on.

    lengths: (B,), the steps of each sample; those after are left out. None is all. A sample without any step scores 0.
    """
    outputs = outputs[skipped:]
    if aggregate == "last":
        if lengths is None:
            return outputs[-1]
        last = (lengths - skipped - 1).clamp(min=0).view(1, -1, 1).expand(1, -1, outputs.shape[-1])
        return within(outputs.gather(0, last), (lengths - skipped).clamp(0, 1))[0]
    values = torch.softmax(outputs, -1) if aggregate == "softmax-sum" else outputs
    if lengths is not None:
        values = within(values, lengths - skipped)
    total = values.sum(0)
    if aggregate != "mean":
        return total
    steps = counted_steps(outputs, skipped, lengths)
    return total / (steps.clamp(min=1) if isinstance(steps, Tensor) else steps)
