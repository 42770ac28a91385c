"""The size of a network: its trainable parameters are counted, and held to a budget."""

import json
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch

from delrec_bench.config.settings import Settings
from delrec_bench.errors import BenchError, RunError
from delrec_bench.methods.method import Method
from delrec_bench.records import canonical_json

LARGEST = 1 << 16  # neurons per layer, where the search gives up


def counted(method: Method, network: Mapping[str, Any], inputs: int, classes: int) -> int:
    """Trainable parameters of a method's network, exactly, without allocating them; the random state is left alone."""
    return _counted(method, canonical_json({**network, "engine": "reference"}), inputs, classes)


@lru_cache(None)  # the repetitions of a study, its conditions of evaluation, and the search for a width ask alike
def _counted(method: Method, network: str, inputs: int, classes: int) -> int:
    settings = json.loads(network)
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                return int(method.network(settings, inputs, classes).count().trainable)
        except (RuntimeError, RunError):  # it asks for values, which a tensor without memory has not
            return int(method.network(settings, inputs, classes).count().trainable)


def solve_width(method: Method, settings: Mapping[str, Any], inputs: int, classes: int, budget: int) -> list[int]:
    """The hidden layers, all of one width, of a method's widest network with at most `budget` trainable parameters.

    Parameters grow with the width, so it is bisected; each candidate is built and counted, never estimated.

    Args:
        method: A method with a network.
        settings: Its resolved settings (`Settings.network`); the widths of `hidden` are replaced, not their number.
        inputs, classes: Channels and outputs of the task.
        budget: Trainable parameters at most, delays and neuron parameters included.

    Raises:
        BenchError: A budget that not even one neuron per layer keeps to, or that no width comes up to.
    """
    depth = len(settings["hidden"])

    def count(width: int) -> int:
        return counted(method, {**settings, "hidden": [width] * depth}, inputs, classes)

    if (least := count(1)) > budget:
        raise BenchError(
            f"budget {budget} is too small for method '{method.name}': one neuron per layer already needs "
            f"{least} parameters"
        )
    beyond = 2
    while count(beyond) <= budget:
        beyond *= 2
        if beyond > LARGEST:
            raise BenchError(f"budget {budget}: method '{method.name}' stays below it with {LARGEST} neurons per layer")
    fits = beyond // 2
    return [fits - 1 + bisect_right(range(fits, beyond), budget, key=count)] * depth


def with_budget(settings: Settings, inputs: int, classes: int) -> Settings:
    """Give a run the widths that its setting `budget` allows; the record's configuration then holds both."""
    if not (budget := settings.values["budget"]):
        return settings
    network = settings.network | {"hidden": solve_width(settings.method, settings.network, inputs, classes, budget)}
    return replace(settings, network=network, values={**settings.values, "network": network})
