"""A run's beginning in a few numbers: outputs and first gradient of its untrained network, in double precision.

What another processor, engine or version computes later is chaotic: a spike moved by rounding changes everything after
it. What it computes first is not. In float64 rounding moves hardly a spike, so a changed neuron, surrogate or delay
shows at once, whatever the precision of the run.
"""

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from delrec_bench.environment import say
from delrec_bench.training.resuming import random_states, set_random_states

SAMPLES = 32  # of the first batch at most: a long sequence takes memory
KEPT = 4  # samples whose outputs are kept
DIGITS = 8  # significant digits of a number
NUDGE = 2.0**-22  # relative: a few units in the last place of a float32


def fingerprint(model: Any, samples: Any, device: str = "cpu") -> dict[str, Any]:
    """Return what the network gives for the first samples before training; it and the random states stay as they are.

    It is empty, and a line says why, for a network that cannot compute in float64.

    Batch norm takes the statistics of the batch (with those that it starts from, hardly a neuron would fire) and
    dropout is off. Each tensor is told by four numbers: its norm, its products with two fixed vectors of signs, and the
    largest change of these, relative to the norm, when every parameter is moved by `NUDGE`: what rounding may do.
    There are `logits` for each of the first samples, and a `gradient` by name of the parameter.
    """
    batch = torch.arange(min(SAMPLES, len(samples)))
    inputs, targets = samples.batch(batch, device).double(), samples.targets[batch].to(device)
    states, default = random_states(), torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # for states that a method makes without naming a type
    try:
        model = copy.deepcopy(model).eval().double()
        for part in model.modules():
            if isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
                part.train()
        logits, gradient = _first(model, inputs, targets)
        with torch.no_grad():
            for value in model.parameters():
                value *= 1 + NUDGE * torch.from_numpy(signs(value.numel(), 3)).to(value).view_as(value)
        moved, other = _first(model, inputs, targets)
    except (RuntimeError, TypeError) as error:
        say(f"warning: no fingerprint, the network does not compute in float64 ({error})")
        return {}
    finally:
        torch.set_default_dtype(default)
        set_random_states(states)
    return {
        "logits": [_told(one, two) for one, two in zip(logits, moved, strict=True)],
        "gradient": {name: _told(value, other[name]) for name, value in gradient.items()},
    }


def _first(model: Any, inputs: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Scores of the first samples, and the gradient of the batch's loss by name of the parameter."""
    scores = model.classify(inputs)
    learned = {name: value for name, value in model.named_parameters() if value.requires_grad}
    found = torch.autograd.grad(model.loss(scores, targets), list(learned.values()), allow_unused=True)
    gradient = {name: value for name, value in zip(learned, found, strict=True) if value is not None}
    return scores.detach()[:KEPT], gradient


def _told(values: Tensor, moved: Tensor) -> list[float]:
    norm, *products = _projected(values)
    change = max(abs(a - b) for a, b in zip((norm, *products), _projected(moved), strict=True))
    return [float(f"{value:.{DIGITS}g}") for value in (norm, *products)] + [float(f"{change / (norm or 1.0):.1g}")]


def _projected(values: Tensor) -> list[float]:
    flat = values.detach().cpu().numpy().ravel()
    return [float(np.sqrt(np.sum(flat * flat))), *(float(np.sum(flat * signs(flat.size, n))) for n in (1, 2))]


def signs(size: int, number: int) -> np.ndarray:
    """Return (size,) values of 1.0 and -1.0, the same everywhere: the top bits of splitmix64 of the places."""
    with np.errstate(over="ignore"):
        word = (np.arange(size, dtype=np.uint64) + np.uint64(number << 32)) * np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            word = (word ^ (word >> np.uint64(shift))) * np.uint64(factor)
    return np.where(word >> np.uint64(63), 1.0, -1.0)
