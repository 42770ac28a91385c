"""How large a network is: its trainable parameters counted, held to a budget, and compared with the memory there is."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch

from delrec_bench.config.settings import Settings
from delrec_bench.data.task_data import TaskData
from delrec_bench.environment import free_bytes
from delrec_bench.errors import BenchError
from delrec_bench.methods.method import Method, broken, refused
from delrec_bench.records import canonical_json

LARGEST = 1 << 16  # neurons a layer, where the search gives up
COPIES = 4  # a parameter, its gradient, and the two moments of its optimiser
GIB = 2**30


class BrokenBuildError(BenchError):
    """A method's `build` did not give a network, for another reason than its settings."""


_counted: dict[tuple[Method, str, int, int], int] = {}


def counted(method: Method, network: Mapping[str, object], inputs: int, classes: int) -> int:
    """Trainable parameters of a method's network, exactly, without allocating them; the random state is left alone.

    A network that cannot be built without memory is built with it.

    Raises:
        BenchError: The method refuses its settings.
        BrokenBuildError: Its `build` fails.
    """
    assert method.build is not None
    # The repetitions of a study, its conditions of evaluation, and the search for a width ask for the same ones.
    same = method, canonical_json(network), inputs, classes
    if same in _counted:
        return _counted[same]
    network = {**network, "engine": "reference"}
    with torch.random.fork_rng(devices=[]):
        try:
            try:
                with torch.device("meta"):
                    found = int(method.build(network, inputs, classes).count().trainable)
            except RuntimeError:  # it asks for values, which a tensor without memory has not
                found = int(method.build(network, inputs, classes).count().trainable)
        except ValueError as error:
            raise refused(method.name, error) from error
        except (Exception, SystemExit) as error:
            raise BrokenBuildError(broken(method.name, error)) from error
    return _counted.setdefault(same, found)


def solve_width(method: Method, settings: Mapping[str, Any], inputs: int, classes: int, budget: int) -> list[int]:
    """The hidden layers, all of one width, of a method's widest network with at most `budget` trainable parameters.

    Parameters grow with the width, so it is bisected; each candidate is built and counted, never estimated.

    Args:
        method: A method with a network.
        settings: Its resolved settings (`Settings.network`); the widths of `hidden` are replaced, not their number.
        inputs, classes: Channels and outputs of the task.
        budget: Trainable parameters at most, delays and neuron parameters included.

    Raises:
        BenchError: A budget that not even one neuron a layer keeps to, or that no width comes up to.
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
            raise BenchError(
                f"budget {budget}: method '{method.name}' stays below it even with {LARGEST} neurons per layer"
            )
    fits = beyond // 2
    return [fits - 1 + bisect_right(range(fits, beyond), budget, key=count)] * depth


def with_budget(settings: Settings, inputs: int, classes: int) -> Settings:
    """Give a run the widths that its setting `budget` allows; the record's configuration then holds both.

    Raises:
        BenchError: As `solve_width`.
    """
    budget = settings.values["budget"]
    if not budget:
        return settings
    network = settings.network | {"hidden": solve_width(settings.method, settings.network, inputs, classes, budget)}
    return replace(settings, network=network, values={**settings.values, "network": network})


def refuse_too_large(settings: Settings, data: TaskData, device: str) -> None:
    """Refuse a network that its memory cannot hold, before it is allocated, and steps that the data has not.

    Counted are only what every engine must hold: parameters with gradients and moments, kernels of feedforward delays
    over their window, and for each step of a batch its input and one number a neuron, in both directions.

    Raises:
        BenchError: With the number needed, and what there is.
    """
    if settings.method.build is None:
        return
    network = settings.network
    if (skipped := network.get("skip_steps", 0)) >= data.steps:
        raise BenchError(
            f"network.skip_steps is {skipped}, but '{data.name}' has only {data.steps} steps; give a smaller number"
        )
    try:
        weights = counted(settings.method, network, data.channels, data.classes)
    except BrokenBuildError:
        return  # the run itself will fail by it, and leave a record of that
    widths = [data.channels, *network.get("hidden", []), data.classes]
    kernels = sum(a * b for a, b in pairwise(widths[:-1])) * network.get("window", 0)
    steps = 2 * min(settings.training.batch, len(data.train)) * data.steps * sum(widths)
    needed = (COPIES * weights + kernels + steps) * (4 if settings.dtype == "float32" else 8)
    if device == "cuda" and not torch.cuda.is_available():
        return  # the run is for another machine, which compares
    if needed > (available := free_bytes(device)):
        raise BenchError(
            f"method '{settings.method.name}' on '{settings.task.name}' ({weights} parameters) needs at least "
            f"{needed / GIB:.3g} GiB of memory, {available / GIB:.3g} GiB are free; reduce network.hidden, "
            "network.window, training.batch or the number of steps"
        )
