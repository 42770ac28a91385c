"""A trained network under a condition of evaluation: its delays changed, or deployed in another way."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from delrec import FeedforwardDelays, RecurrentDelays
from delrec.delays import project
from torch import Tensor

from delrec_bench.config.evaluation import LESIONS
from delrec_bench.data.transforms import parse_level
from delrec_bench.errors import BenchError


def layers_with_delays(model: Any) -> list[RecurrentDelays | FeedforwardDelays]:
    """Return the layers of a network whose delays can be changed, in the order of its modules.

    Raises:
        BenchError: There are none.
    """
    found = [
        module
        for module in model.modules()
        if isinstance(module, FeedforwardDelays)
        or (isinstance(module, RecurrentDelays) and "delay" in module._parameters)
    ]
    if not found:
        raise BenchError(f"{type(model).__name__} has no layer with delays; evaluate a network that has delays")
    return found


@torch.no_grad()
def lesion_(model: Any, text: str, seed: int) -> None:
    """Change the delays of every layer of a network, recurrent and feedforward, and nothing else; it is not undone.

    Delays stay in the range of their layer; a feedforward one is changed as a delay, and stands then at the position
    that gives it. What is drawn depends on the seed and the layers alone, so that two levels of one kind draw alike.

    Args:
        model: A trained network.
        text: A lesion of `delrec_bench.config.evaluation`.
        seed: Of what is drawn.

    Raises:
        BenchError: The network has no delays.
    """
    name, level = parse_level(text, LESIONS, "lesion")
    generator = torch.Generator().manual_seed(seed)

    def changed(delay: Tensor) -> Tensor:
        return LESIONS[name].change(delay.double().cpu(), level, generator).to(delay.device)

    for layer in layers_with_delays(model):
        _change(layer, changed)


def _change(layer: RecurrentDelays | FeedforwardDelays, changed: Callable[[Tensor], Tensor]) -> None:
    if isinstance(layer, RecurrentDelays):
        layer.delay.copy_(project(changed(layer.delays()), layer.max_delay))
    else:
        centre = layer.left_padding - layer.window // 2  # in float64 both subtractions are exact
        layer.position.copy_(centre - changed(centre - layer.effective_position().double()))
        layer.clamp_()


@contextmanager
def deployed_as(model: Any, deployment: str | None) -> Iterator[None]:
    """Inside: the network as deployed; "unrounded" with real delays, "sigma" with the spread of its training left on.

    Raises:
        BenchError: The network has no delays, or for "sigma" no recurrent ones.
    """
    layers = layers_with_delays(model) if deployment is not None else []
    sigmas = [(layer, layer.sigma.clone()) for layer in layers if isinstance(layer, RecurrentDelays)]
    if deployment == "sigma" and not sigmas:
        raise BenchError(
            "evaluation.deployment is 'sigma', but only recurrent delays have a sigma, and the network has none"
        )
    roundings = [layer.rounding for layer in layers]
    try:
        if deployment == "unrounded":
            for layer in layers:
                layer.rounding = "none"
        with model.deployed():
            if deployment == "sigma":
                for layer, sigma in sigmas:
                    layer.sigma.copy_(sigma)
            yield
    finally:
        for layer, rounding in zip(layers, roundings, strict=True):
            layer.rounding = rounding
