"""What a run needs at the very least, in bytes, compared with what there is before anything is allocated."""

from itertools import pairwise

import torch

from delrec_bench.config.settings import Settings
from delrec_bench.data.task_data import TaskData
from delrec_bench.environment import free_bytes
from delrec_bench.errors import BenchError
from delrec_bench.methods.base import Method, broken, refused
from delrec_bench.records import canonical_json

COPIES = 4  # a parameter, its gradient, and the two moments of its optimiser
GIB = 2**30


class BrokenBuildError(BenchError):
    """A method's `build` did not give a network, for another reason than its settings."""


_counted: dict[tuple[Method, str, int, int], int] = {}


def counted(method: Method, network: dict[str, object], inputs: int, classes: int) -> int:
    """Trainable parameters of a method's network, exactly, without allocating them; the random state is left alone.

    A network that cannot be built without memory is built with it.

    Raises:
        BenchError: The method refuses its settings.
        BrokenBuildError: Its `build` fails.
    """
    assert method.build is not None
    # The repetitions of a study, its conditions of evaluation, and the search for a width ask for the same ones.
    same = method, canonical_json(network), inputs, classes
    if same not in _counted:
        _counted[same] = _count(method, network, inputs, classes)
    return _counted[same]


def _count(method: Method, network: dict[str, object], inputs: int, classes: int) -> int:
    assert method.build is not None
    with torch.random.fork_rng(devices=[]):
        try:
            try:
                with torch.device("meta"):
                    return int(method.build(network, inputs, classes).count().trainable)
            except RuntimeError:  # it asks for values, which a tensor without memory has not
                return int(method.build(network, inputs, classes).count().trainable)
        except ValueError as error:
            raise refused(method.name, error) from error
        except (Exception, SystemExit) as error:
            raise BrokenBuildError(broken(method.name, error)) from error


def refuse_too_large(settings: Settings, data: TaskData, device: str) -> None:
    """Refuse a network that its memory cannot hold, and steps that the data has not.

    Counted are only what every engine must hold: parameters with gradients and moments, kernels of feedforward delays
    over their window, and for each step of a batch its input and one number a neuron, in both directions.

    Raises:
        BenchError: With the number needed, and what there is.
    """
    if settings.method.build is None:
        return
    network, training = settings.network, settings.training
    skipped = network.get("skip_steps", 0)
    if skipped >= data.steps:
        raise BenchError(
            f"network.skip_steps is {skipped}; data of '{data.name}' has {data.steps} steps, so it must be below that"
        )
    number = 4 if settings.dtype == "float32" else 8
    widths = [data.channels, *network.get("hidden", []), data.classes]
    pairs = sum(a * b for a, b in pairwise(widths[:-1]))
    weights = pairs + (sum(n * n for n in widths[1:-1]) if "recurrent_layers" in network else 0)
    kernels = pairs * network.get("window", 0)
    batch = min(training.batch, len(data.train))
    steps = 2 * batch * data.steps * sum(widths)
    available = free_bytes(device)
    named = f"network.hidden {network.get('hidden')}"
    _compare(
        (COPIES * weights + kernels + steps) * number, available, settings, f"{named}, {batch} x {data.steps} steps"
    )
    # What was refused above is too large to count; a method may hold more than its widths tell.
    try:
        weights = counted(settings.method, {**network, "engine": "reference"}, data.channels, data.classes)
    except BrokenBuildError:
        return  # the run itself will fail by it, and leave a record of that
    _compare((COPIES * weights + kernels + steps) * number, available, settings, f"{weights} parameters")


def _compare(needed: int, available: int, settings: Settings, what: str) -> None:
    if needed > available:
        raise BenchError(
            f"method '{settings.method.name}' on '{settings.task.name}' ({what}) needs at least {needed / GIB:.3g} GiB "
            f"of memory, {available / GIB:.3g} GiB are free; take smaller network.hidden, network.window or "
            "training.batch, or fewer steps"
        )
