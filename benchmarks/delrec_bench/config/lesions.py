"""What may be done to the delays of a trained network: the lesions of the study `delay-lesion`.

One is written `name` or `name=level`. Each maps the delays of one layer, in steps and of any shape, to others of that
shape; at its null level it changes none.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from delrec_bench.errors import BenchError, nearest


@dataclass(frozen=True)
class Lesion:
    """One kind of lesion.

    Attributes:
        summary: What happens to the delays of a layer.
        change: (delays in steps, float64; level; generator) -> delays in steps.
        unit: Of a level; empty where there is none.
        least, most: Levels that mean something.
        null: The level that changes no deployed delay.
    """

    summary: str
    change: Callable[[Tensor, float, Generator], Tensor]
    unit: str = ""
    least: float = 0.0
    most: float = 0.0
    null: float = 0.0


def _permute(delay: Tensor, level: float, generator: Generator) -> Tensor:
    return delay.flatten()[torch.randperm(delay.numel(), generator=generator)].view_as(delay)


def _prune(delay: Tensor, share: float, generator: Generator) -> Tensor:
    chosen = torch.randperm(delay.numel(), generator=generator)[: round(share * delay.numel())]
    return delay.flatten().index_fill(0, chosen, 0.0).view_as(delay)


LESIONS = {
    "permute": Lesion("delays change places among the neurons, or the connections, of their layer", _permute),
    "zero": Lesion("every delay is 0", lambda delay, level, generator: torch.zeros_like(delay)),
    "shrink": Lesion(
        "every delay is multiplied by a factor", lambda delay, level, generator: delay * level,
        "factor", most=1.0, null=1.0,
    ),
    "noise": Lesion(
        "a normal number is added to every delay",
        lambda delay, level, generator: delay + level * torch.randn(delay.shape, generator=generator).to(delay),
        "steps (standard deviation)", most=1e6,
    ),
    "quantise": Lesion(
        "every delay goes to the nearest multiple", lambda delay, level, generator: (delay / level).round() * level,
        "steps", least=1.0, most=1e6, null=1.0,
    ),
    "prune": Lesion("the delays of a share, drawn at random, are 0", _prune, "share of delays", most=1.0),
}  # fmt: skip


def parse_lesion(text: str) -> tuple[str, float]:
    """Name and level of `name` or `name=level`; the level is 0 where the kind has none.

    Raises:
        BenchError: An unknown kind, or a level that is missing, not wanted, no number or out of range.
    """
    name, equals, given = text.partition("=")
    if name not in LESIONS:
        raise BenchError(f"no lesion '{name}'; {nearest(name, LESIONS)}")
    lesion = LESIONS[name]
    if not lesion.unit:
        if equals:
            raise BenchError(f"lesion '{text}': {name} has no level; write {name} alone")
        return name, 0.0
    try:
        level = float(given)
    except ValueError:
        level = math.nan
    if not lesion.least <= level <= lesion.most:
        raise BenchError(
            f"lesion '{text}': the level is a number from {lesion.least:g} to {lesion.most:g} ({lesion.unit}); "
            f"{name}={lesion.null:g} changes nothing"
        )
    return name, level
