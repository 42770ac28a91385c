"""Every setting of a run, from defaults, presets and what was asked; data is not needed to know them.

    defaults < preset of the profile for the task's family < for the task < the method's own < --epochs, --limit, --set

Settings are named with dots: `training.epochs`, `network.hidden`, `task.step_ms`, `seeds.split`.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from delrec_bench.config.requests import Request
from delrec_bench.config.seeds import AXES, Seeds
from delrec_bench.config.toml import preset
from delrec_bench.config.training import TrainingConfig
from delrec_bench.data.task_data import TaskOptions
from delrec_bench.errors import BenchError, nearest
from delrec_bench.methods.base import Method
from delrec_bench.tasks.base import Task

DTYPES = ("float32", "float64")
FORECAST = {"task.tau", "task.horizon"}  # options that only a forecast has: elsewhere `tau` is the neuron's


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
        dtype: Number type of network and inputs.
        values: All of it as plain values.
    """

    request: Request
    method: Method
    task: Task
    options: TaskOptions
    training: TrainingConfig
    network: dict[str, Any]
    seeds: Seeds
    dtype: str
    values: dict[str, Any]


def defaults(method: Method) -> dict[str, Any]:
    """Every setting of a run of `method`, by dotted key, with its default."""
    out: dict[str, Any] = {f"task.{name}": value for name, value in asdict(TaskOptions()).items()}
    if method.build is not None:
        out |= {f"training.{name}": value for name, value in asdict(TrainingConfig()).items()}
        out |= {f"network.{name}": value for name, value in method.settings.items()}
        out["dtype"] = "float32"
        # Trainable parameters at most, or "paper", those of DelRec's published network: the widths follow. 0 takes
        # network.hidden as it is.
        out["budget"] = 0
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


def settle(request: Request, method: Method, task: Task) -> Settings:
    """Settle every setting of a request that it decides without data.

    Raises:
        BenchError: An unknown profile or key, a value of the wrong type or out of range, or a method that
            does not apply to the task.
    """
    reason = method.applicable(task)
    if reason is not None:
        raise BenchError(f"method '{method.name}' does not apply to task '{task.name}': {reason}")
    settings = defaults(method)
    known = set(settings)
    # A preset speaks for every method: what a method does not know (delays, for one without) is not for it.
    settings |= {key: value for key, value in preset(request.profile, task).items() if key in known}
    own = method.preset(task, request.profile)
    settings |= {full_key(key, known): value for key, value in own.items()}
    for key, value in (("training.epochs", request.epochs), ("task.limit", request.limit)):
        if value is not None and key in known:
            settings[key] = value
    given = set()
    meant = known if task.family == "forecast" else known - FORECAST
    for key, value in request.overrides:
        name = full_key(key, meant)
        settings[name] = _typed(name, value, settings[name])
        given.add(name)
    if "network.hidden" in given:
        _fit_layers(settings, given)
    if isinstance(request.repetition, bool) or not 0 <= request.repetition < 2**31:
        raise BenchError(f"--repetition is {request.repetition}; it must be a whole number of at least 0")
    if not 1 <= request.threads <= 1024:
        raise BenchError(f"--threads is {request.threads}; it must be from 1 to 1024")
    return _settled(request, method, task, settings)


def _fit_layers(settings: dict[str, Any], given: set[str]) -> None:
    """A preset numbers the layers of its own depth: in a network of another depth the delays are in all layers."""
    depth = len(settings["network.hidden"])
    for name in ("network.recurrent_layers", "network.feedforward_layers"):
        layers = settings.get(name)
        if name not in given and layers and max(layers) >= depth:
            settings[name] = None


def _settled(request: Request, method: Method, task: Task, settings: dict[str, Any]) -> Settings:
    def group(name: str) -> dict[str, Any]:
        return {k.partition(".")[2]: v for k, v in settings.items() if k.startswith(name + ".")}

    options = TaskOptions(**group("task"))
    network = group("network")
    training = TrainingConfig(**group("training")) if method.build is not None else TrainingConfig()
    given = {axis: value for axis, value in group("seeds").items() if value is not None}
    usual = Seeds.of_trial(request.repetition) if request.trial else Seeds.of(request.repetition)
    seeds = Seeds(**(asdict(usual) | given))
    dtype = settings.get("dtype", "float64")
    if dtype not in DTYPES:
        raise BenchError(f"dtype is {dtype!r}; it must be one of {', '.join(DTYPES)}")
    values = {
        "method": method.name,
        "task": {"name": task.name, **options.canonical()},
        "training": training.canonical() if method.build is not None else {},
        "network": {k: list(v) if isinstance(v, tuple) else v for k, v in network.items()},
        "seeds": asdict(seeds),
        "repetition": request.repetition,
        "profile": request.profile,
        "epochs": training.epochs if method.build is not None else 0,
        "limit": options.limit,
        "dtype": dtype,
        "budget": settings.get("budget", 0),
        "engine": request.engine,
        "device": request.device,
        "threads": request.threads,
    }
    return Settings(request, method, task, options, training, network, seeds, dtype, values)


def _typed(key: str, value: Any, default: Any) -> Any:
    """Check a value of `--set` against what the setting held before; None says nothing about a type."""
    if value is None or default is None:
        return value
    if isinstance(default, list | tuple):
        return list(value) if isinstance(value, list | tuple) else [value]
    if isinstance(default, bool) or isinstance(value, bool):
        right = isinstance(default, bool) and isinstance(value, bool)
    elif isinstance(default, float):
        right = isinstance(value, int | float)
    elif isinstance(default, int):
        right = isinstance(value, int) or (key == "budget" and value == "paper")
    else:
        right = isinstance(value, str | int) if key == "task.steps" else isinstance(value, str)
    if not right:
        wanted = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "a word"}
        what = "a number of parameters or 'paper'" if key == "budget" else wanted[type(default).__name__]
        raise BenchError(f"{key} is {value!r}; it must be {what}, like {default!r}")
    return float(value) if isinstance(default, float) else value
