"""Every setting of a run, from defaults, presets and what was asked; data is not needed to know them.

    defaults < preset of the profile for the task's family < for the task < the method's own < searched
             < --epochs, --limit, --set

Settings are named with dots: `training.epochs`, `network.hidden`, `task.step_ms`, `seeds.split`.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, create_model

from delrec_bench.config.evaluation import NAMES, Evaluation
from delrec_bench.config.requests import Request
from delrec_bench.config.searched import searched_settings
from delrec_bench.config.seeds import AXES, Seeds
from delrec_bench.config.toml import dotted, preset
from delrec_bench.config.training import TrainingConfig
from delrec_bench.data.task_data import TaskOptions
from delrec_bench.errors import BenchError, nearest
from delrec_bench.methods.base import Method
from delrec_bench.methods.stack import refused
from delrec_bench.schema import Table, checked, settings
from delrec_bench.tasks.base import Task

Products = Literal["ieee", "tf32", "bfloat16"]
FORECAST = {"task.tau", "task.horizon"}  # options that only a forecast has: elsewhere `tau` is the neuron's
MOST_PARAMETERS = 1_000_000_000
LARGEST = 100_000_000  # of any number in a network's settings
WIDEST = 10_000_000  # neurons of a hidden layer


def _budget(value: Any) -> Any:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if value != "paper" and not (whole and 0 <= value <= MOST_PARAMETERS):
        raise ValueError(f"a number of parameters, at most {MOST_PARAMETERS}, or 'paper'")
    return value


@settings("")
class Whole:
    """What is set for a run as a whole.

    Attributes:
        dtype: Number type of network and inputs.
        budget: Trainable parameters at most, or "paper", those of DelRec's published network: the widths follow. 0
            takes network.hidden as it is.
        products: How float32 is multiplied on a CUDA device: "ieee", or on tensor cores "tf32" or "bfloat16"; sums and
            states are float32 in any case.
    """

    dtype: Literal["float32", "float64"] = "float32"
    products: Products = "ieee"
    budget: Annotated[Any, AfterValidator(_budget)] = 0


def _within(value: Any) -> Any:
    """A number, or a list of them, that is no larger than a network's settings can be."""
    for number in value if isinstance(value, list | tuple) else [value]:
        if isinstance(number, int | float) and not (math.isfinite(number) and abs(number) <= LARGEST):
            raise ValueError(f"from -{LARGEST} to {LARGEST}")
    return value


def _widths(value: Any) -> Any:
    whole = all(isinstance(n, int) and not isinstance(n, bool) and 1 <= n <= WIDEST for n in value)
    if not value or not whole:
        raise ValueError(f"a list of whole numbers from 1 to {WIDEST}, one a layer")
    return value


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, list | tuple) else [value]


@cache
def network_model(method: Method) -> type[BaseModel]:
    """A model of a method's settings: each of its default's type; anything where the default is none.

    A setting that is a list takes a single value for a list of one.
    """
    declared: dict[str, Any] = {}
    for name, default in method.settings.items():
        kind: Any = Any if default is None else type(default)
        if isinstance(default, list | tuple):
            kind, default = Annotated[list[Any], BeforeValidator(_listed)], list(default)
        limit = _widths if name == "hidden" else _within
        declared[name] = (Annotated[kind, AfterValidator(limit)], default)
    return create_model(f"Network of {method.name}", __base__=Table, **declared)


def checked_network(method: Method, values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a method's network, checked.

    Raises:
        BenchError: A value of another type than its default, or out of range; delays that cannot start so.
    """
    network = checked(network_model(method), values, f"method '{method.name}'", "network.").model_dump()
    if (why := refused(network)) is not None:
        raise BenchError(f"method '{method.name}': {why}")
    return network


@dataclass(frozen=True)
class Settings:
    """A request with every setting settled that needs no data.

    Attributes:
        request: What was asked.
        method, task: What its names stand for.
        options: How the task's data is prepared.
        training: How the network is trained.
        network: What the method's `build` reads.
        seeds: Of every axis.
        evaluation: How the trained network is scored.
        dtype: Number type of network and inputs.
        products: How float32 is multiplied on a CUDA device.
        values: All of it as plain values.
        point: What was asked for beside the profile's preset, by dotted key.
        searched: Name of the searched preset whose settings it has; None where there is none, and of a trial.
    """

    request: Request
    method: Method
    task: Task
    options: TaskOptions
    training: TrainingConfig
    network: dict[str, Any]
    seeds: Seeds
    evaluation: Evaluation
    dtype: str
    products: Products
    values: dict[str, Any]
    point: dict[str, Any]
    searched: str | None


def defaults(method: Method) -> dict[str, Any]:
    """Every setting of a run of `method`, by dotted key, with its default."""
    out: dict[str, Any] = {f"task.{name}": value for name, value in asdict(TaskOptions()).items()}
    if method.build is not None:
        out |= {f"training.{name}": value for name, value in asdict(TrainingConfig()).items()}
        out |= {f"network.{name}": value for name, value in method.settings.items()}
        out |= asdict(Whole())
        # The method that can round delays has layers whose delays can be changed.
        names = asdict(Evaluation()) if "rounding" in method.settings else ("condition",)
        out |= dict.fromkeys(f"evaluation.{name}" for name in names)
    return out | {f"seeds.{axis}": None for axis in AXES}


def full_key(key: str, known: Iterable[str]) -> str:
    """The dotted key that `key` names: itself, or the one key that ends in it (`hidden`: `network.hidden`).

    Raises:
        BenchError: No key, or more than one, is meant; names the nearest.
    """
    names = sorted(known)
    if key in names:
        return key
    ends = sorted(name for name in names if name.endswith("." + key))
    if len(ends) == 1:
        return ends[0]
    if ends:
        raise BenchError(f"key '{key}' could be {' or '.join(ends)}; write which")
    short = {name.rpartition(".")[2]: name for name in names}
    guess = nearest(key, [*names, *short])
    if not guess.startswith("did"):
        guess = nearest(key.rpartition(".")[2], short)
    raise BenchError(f"unknown key '{key}'; {guess}")


def full_keys(table: Mapping[str, Any], known: Iterable[str], where: str) -> dict[str, Any]:
    """The values of a table by full key.

    Args:
        table: It may be nested, and spell its keys in any way.
        known: Full keys.
        where: What an error begins with.

    Raises:
        BenchError: A key that means none or several, or two that mean one.
    """
    names = list(known)
    out: dict[str, Any] = {}
    spelled: dict[str, str] = {}
    for key, value in dotted(table).items():
        try:
            full = full_key(key, names)
        except BenchError as error:
            raise BenchError(f"{where}: {error}") from error
        if full in out:
            raise BenchError(f"{where}: '{spelled[full]}' and '{key}' are one setting; leave one of them out")
        out[full], spelled[full] = value, key
    return out


def settle(request: Request, method: Method, task: Task) -> Settings:
    """Settle every setting of a request that it decides without data.

    Raises:
        BenchError: An unknown profile or key, a value of the wrong type or out of range, or a method that
            does not apply to the task.
    """
    reason = method.applicable(task)
    if reason is not None:
        raise BenchError(f"method '{method.name}' does not apply to task '{task.name}': {reason}")
    values = defaults(method)
    known = set(values)
    # A preset speaks for every method: what a method does not know (delays, for one without) is not for it.
    values |= {key: value for key, value in preset(request.profile, task).items() if key in known}
    own = method.preset(task, request.profile)
    values |= {full_key(key, known): value for key, value in own.items()}
    usual = dict(values)
    for key, value in (("training.epochs", request.epochs), ("task.limit", request.limit)):
        if value is not None and key in known:
            values[key] = value
    given = set()
    meant = known if task.family == "forecast" else known - FORECAST
    for key, value in request.overrides:
        if key.removeprefix("evaluation.") in NAMES and not any(one.endswith(key) for one in meant):
            what = "trained network" if method.build is None or key.endswith("condition") else "delays"
            raise BenchError(f"method '{method.name}' has no {what} to be scored under {key}; leave one of them out")
        name = full_key(key, meant)
        values[name] = value
        given.add(name)
    if "network.hidden" in given:
        _fit_layers(values, given)
        values["budget"] = values["budget"] if "budget" in given else 0  # the user's widths, not a preset's
    found = None if request.trial else searched_settings(method, task.name, request.profile, request.data, values)
    searched, chosen = found or (None, {})
    values |= {key: value for key, value in chosen.items() if key not in given}
    usual |= chosen
    point = {name: values[name] for name in sorted(values) if values[name] != usual[name]}
    return _settled(request, method, task, values, point, searched)


def _fit_layers(values: dict[str, Any], given: set[str]) -> None:
    """A preset numbers the layers of its own depth: in a network of another depth the delays are in all layers."""
    hidden = values["network.hidden"]
    depth = len(hidden) if isinstance(hidden, list | tuple) else 1
    for name in ("network.recurrent_layers", "network.feedforward_layers"):
        layers = values.get(name)
        if name not in given and layers and max(layers) >= depth:
            values[name] = None


def _settled(
    request: Request, method: Method, task: Task, values: dict[str, Any], point: dict[str, Any], searched: str | None
) -> Settings:
    def group(name: str) -> dict[str, Any]:
        return {k.rpartition(".")[2]: v for k, v in values.items() if k.rpartition(".")[0] == name}

    options = TaskOptions(**group("task"))
    training = TrainingConfig(**group("training")) if method.build is not None else TrainingConfig()
    if training.selection == "best-test" and request.exhibits != "test selection":
        whose = f"study '{request.study}': " if request.study else ""
        raise BenchError(
            f"{whose}training.selection is 'best-test', which chooses the epoch by the test set, so that its score is "
            "no result; use 'validation' or 'last'. Only a study whose file says exhibits = 'test selection' may show "
            "what that gains, as `delrec-bench reproduce --study selection` does"
        )
    network = checked_network(method, group("network"))
    evaluation = Evaluation(**group("evaluation"))
    whole = Whole(**group("")) if method.build is not None else Whole(dtype="float64")
    given = {axis: value for axis, value in group("seeds").items() if value is not None}
    usual = Seeds.of_trial(request.repetition) if request.trial else Seeds.of(request.repetition)
    seeds = Seeds(**(asdict(usual) | given))
    plain = {
        "method": method.name,
        "task": {"name": task.name, **options.canonical()},
        "training": training.canonical() if method.build is not None else {},
        "network": network,
        "seeds": asdict(seeds),
        "repetition": request.repetition,
        "epochs": training.epochs if method.build is not None else 0,
        "limit": options.limit,
        "dtype": whole.dtype,
        "budget": whole.budget,
        "engine": request.engine,
        "device": request.device,
        "threads": request.threads,
    }
    if evaluation.canonical():  # absent where there is none, so that the key of an ordinary run knows nothing of it
        plain["evaluation"] = evaluation.canonical()
    if whole.products != "ieee":  # absent likewise
        plain["products"] = whole.products
    return Settings(
        request,
        method,
        task,
        options,
        training,
        network,
        seeds,
        evaluation,
        whole.dtype,
        whole.products,
        plain,
        point,
        searched,
    )
