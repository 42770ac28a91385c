"""Conditions of evaluation: a trained network is scored under one of them once more, beside the plain score of its run.

A lesion, `name` or `name=level`, maps the delays of one layer, in steps and of any shape, to others of that shape.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import AfterValidator
from torch import Generator, Tensor

from delrec_bench.data.transforms import CONDITIONS, parse_level
from delrec_bench.errors import BenchError
from delrec_bench.schema import settings


class Lesion(NamedTuple):
    """One kind of lesion: (delays in steps, float64; level; generator) -> delays in steps.

    `unit` is that of a level, empty where there is none.
    """

    change: Callable[[Tensor, float, Generator], Tensor]
    unit: str = ""
    least: float = 0.0
    most: float = 0.0


def _permute(delay: Tensor, level: float, generator: Generator) -> Tensor:
    return delay.flatten()[torch.randperm(delay.numel(), generator=generator)].view_as(delay)


def _prune(delay: Tensor, share: float, generator: Generator) -> Tensor:
    chosen = torch.randperm(delay.numel(), generator=generator)[: round(share * delay.numel())]
    return delay.flatten().index_fill(0, chosen, 0.0).view_as(delay)


def _noise(delay: Tensor, level: float, generator: Generator) -> Tensor:
    return delay + level * torch.randn(delay.shape, generator=generator).to(delay)


LESIONS = {
    "permute": Lesion(_permute),  # delays change places within their layer
    "zero": Lesion(lambda delay, *_: torch.zeros_like(delay)),
    "shrink": Lesion(lambda delay, level, _: delay * level, "factor", most=1.0),
    "noise": Lesion(_noise, "steps (standard deviation)", most=1e6),
    "quantise": Lesion(lambda delay, level, _: (delay / level).round() * level, "steps", 1.0, 1e6),
    "prune": Lesion(_prune, "share of delays", most=1.0),  # a share, drawn at random, becomes 0
}


def _levelled(what: str, kinds: Mapping[str, Any]) -> AfterValidator:
    """Take one of `kinds`, or None; its level is then written in one way, which the key holds."""

    def check(text: str | None) -> str | None:
        if text is None:
            return None
        try:
            name, level = parse_level(text, kinds, what)
        except BenchError as error:
            raise ValueError(f"none, or one of {', '.join(kinds)}: {error}") from error
        return f"{name}={level:.12g}" if kinds[name].unit else name

    return AfterValidator(check)


@settings("evaluation.")
class Evaluation:
    """How a trained network is scored, where it is not as deployed on the untouched test set.

    A run under a condition is derived from the run with the same remaining settings, whose network is loaded and
    scored anew; an ordinary run has none of these in its configuration or key.
    """

    # What happens to the events of the test set, a `name=level` of `delrec_bench.data.transforms`, and to the trained
    # delays, one of `LESIONS`; delays that stay real, or the spread on at which the training stood.
    condition: Annotated[str | None, _levelled("condition", CONDITIONS)] = None
    lesion: Annotated[str | None, _levelled("lesion", LESIONS)] = None
    deployment: Literal["unrounded", "sigma"] | None = None

    def canonical(self) -> dict[str, str]:
        """What is set, for the key and the record: nothing of a plain run."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.canonical().items()) or "deployed"


NAMES = tuple(item.name for item in fields(Evaluation))


def is_evaluation(key: str) -> bool:
    """Whether a key, dotted or short, is one of `evaluation`."""
    return key in NAMES or key.startswith("evaluation.")


def is_set(key: str, value: Any) -> bool:
    """Whether an override asks for a condition of evaluation."""
    return is_evaluation(key) and value is not None
