"""Equal footing in parameters: the widths at which a method has as many trainable parameters as a budget allows."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from delrec_bench.config.limits import counted
from delrec_bench.config.requests import Request
from delrec_bench.config.settings import Settings, settle
from delrec_bench.errors import BenchError
from delrec_bench.methods.base import Method, MethodTable

PAPER = "delrec-axonal"  # whose published network is the budget called "paper"
LARGEST = 1 << 16  # neurons a layer, where the search gives up


@dataclass(frozen=True)
class Width:
    """Widths that a method gets for a budget, and what they come to.

    Attributes:
        hidden: Neurons of each hidden layer.
        trainable: Trainable parameters of the network built with them, exactly counted.
        budget: What was asked for.
    """

    hidden: tuple[int, ...]
    trainable: int
    budget: int


def solve_width(
    method: Method,
    settings: Mapping[str, Any],
    inputs: int,
    classes: int,
    budget: int,
    layers: int | None = None,
) -> Width:
    """Find the widest network of a method that has at most `budget` trainable parameters.

    All hidden layers get the same width. Parameters grow with the width, so it is found by halving intervals; each
    candidate is built and counted, never estimated.

    Args:
        method: A method with a network.
        settings: Its resolved settings (`Settings.network`); `hidden` is replaced.
        inputs, classes: Channels and outputs of the task.
        budget: Trainable parameters at most, delays and neuron parameters included.
        layers: Hidden layers; None keeps as many as `settings` has.

    Raises:
        BenchError: A method without a network, or a budget that not even one neuron a layer keeps to.
    """
    if method.build is None:
        raise BenchError(f"method '{method.name}' has no network, so no budget of parameters; leave it out")
    if isinstance(budget, bool) or not isinstance(budget, int) or budget < 1:
        raise BenchError(f"budget is {budget!r}; it must be a whole number of parameters, such as 10000")
    depth = len(settings["hidden"]) if layers is None else layers

    def count(width: int) -> int:
        return counted(method, {**settings, "hidden": [width] * depth}, inputs, classes)

    least = count(1)
    if least > budget:
        raise BenchError(
            f"budget {budget} is too small for method '{method.name}': one neuron a layer has {least} parameters"
        )
    fits, has, beyond = 1, least, 2
    while (found := count(beyond)) <= budget:
        fits, has, beyond = beyond, found, 2 * beyond
        if beyond > LARGEST:
            raise BenchError(f"budget {budget}: method '{method.name}' stays below it even with {fits} neurons a layer")
    while beyond - fits > 1:
        middle = (fits + beyond) // 2
        found = count(middle)
        if found <= budget:
            fits, has = middle, found
        else:
            beyond = middle
    return Width((fits,) * depth, has, budget)


def papers_budget(settings: Settings, methods: MethodTable, inputs: int, classes: int) -> int:
    """What `budget = "paper"` stands for: the trainable parameters of DelRec's published network on the task.

    Raises:
        BenchError: DelRec has no network for the task.
    """
    request = Request(PAPER, settings.task.name, profile="paper")
    try:
        published = settle(request, methods[PAPER], settings.task)
    except BenchError as error:
        raise BenchError(f"budget 'paper': {error}; or give a number, such as 10000") from error
    return counted(methods[PAPER], {**published.network, "engine": "reference"}, inputs, classes)


def with_budget(settings: Settings, methods: MethodTable, inputs: int, classes: int) -> Settings:
    """Give a run the widths that its setting `budget` allows; without one (0) the run stays as it is.

    The record's configuration then holds both, the budget and the widths.

    Raises:
        BenchError: As `solve_width` and `papers_budget`.
    """
    budget = settings.values.get("budget", 0)
    if not budget:
        return settings
    if budget == "paper":
        budget = papers_budget(settings, methods, inputs, classes)
    width = solve_width(settings.method, {**settings.network, "engine": "reference"}, inputs, classes, budget)
    network = {**settings.network, "hidden": list(width.hidden)}
    recorded = {**settings.values["network"], "hidden": list(width.hidden)}
    return replace(settings, network=network, values={**settings.values, "network": recorded})
