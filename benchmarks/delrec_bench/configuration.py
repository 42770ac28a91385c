"""From a request to one resolved configuration: defaults, the profile's preset, the method's own, what was asked.

    defaults < preset of the profile for the task's family < for the task < the method's own < --epochs, --limit, --set

Settings are named with dots: `training.epochs`, `network.hidden`, `task.step_ms`, `seeds.split`.
"""

import shlex
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from delrec_bench.errors import BenchError, nearest
from delrec_bench.methods.base import Method
from delrec_bench.protocol import AXES, Seeds, TrainingConfig
from delrec_bench.tasks.base import Task, TaskOptions

PRESETS = Path(__file__).parent / "presets"
DTYPES = ("float32", "float64")
FORECAST = {"task.tau", "task.horizon"}  # options that only a forecast has: elsewhere `tau` is the neuron's


@dataclass(frozen=True)
class Request:
    """What one run is asked to be.

    Attributes:
        method, task: Names.
        repetition: 0, 1, ...: the seeds.
        profile: A file of presets, see `profiles`.
        epochs, limit: Short for training.epochs and task.limit; None leaves the preset's.
        data: Folder of `--data`, or None for the task's own files.
        device: "cpu", "cuda", or "auto".
        engine: "auto" or an engine of core.
        threads: Threads of torch and numba.
        overrides: (dotted key, value) pairs of `--set`.
        study: Study that asks for the run, or None.
        trial: Whether it is a trial of a search: on seeds of its own, scored on validation data only.
    """

    method: str
    task: str
    repetition: int = 0
    profile: str = "quick"
    epochs: int | None = None
    limit: int | None = None
    data: str | None = None
    device: str = "cpu"
    engine: str = "auto"
    threads: int = 1
    overrides: tuple[tuple[str, Any], ...] = ()
    study: str | None = None
    trial: bool = False

    def command(self) -> str:
        """The command line that makes this run again; the data folder by its last name."""
        words = ["delrec-bench", "run", self.method, self.task, "--repetition", str(self.repetition)]
        words += ["--profile", self.profile]
        for name in ("epochs", "limit"):
            if getattr(self, name) is not None:
                words += [f"--{name}", str(getattr(self, name))]
        if self.data is not None:
            words += ["--data", Path(self.data).resolve().name]
        for name, usual in (("device", "cpu"), ("engine", "auto"), ("threads", 1)):
            if getattr(self, name) != usual:
                words += [f"--{name}", str(getattr(self, name))]
        for key, value in self.overrides:
            words += ["--set", f"{key}={toml_value(value)}"]
        if self.trial:
            words.append("--trial")
        if self.study is not None:
            words += ["--study", self.study]
        return shlex.join(words)


@dataclass(frozen=True)
class Resolved:
    """A request with every setting settled; `values` is the record's configuration."""

    request: Request
    method: Method
    task: Task
    options: TaskOptions
    training: TrainingConfig
    network: dict[str, Any]
    seeds: Seeds
    dtype: str
    values: dict[str, Any]


def profiles() -> dict[str, dict[str, Any]]:
    """Every profile by name: a TOML file of presets, a table for each task or family of tasks.

    Raises:
        BenchError: A file that does not parse.
    """
    return _read_all(PRESETS)


@cache
def _read_all(folder: Path) -> dict[str, dict[str, Any]]:
    return {path.stem: read_toml(path) for path in sorted(folder.glob("*.toml"))}


def read_toml(path: Path) -> dict[str, Any]:
    """The contents of a TOML file.

    Raises:
        BenchError: It is not there or does not parse; the message names the file and the line.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror}; give a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BenchError(f"{path} is not TOML: {error}; mend the file") from error


def preset(profile: str, task: Task) -> dict[str, Any]:
    """The dotted settings that a profile has for a task, those of its family first.

    Raises:
        BenchError: No such profile, or it says nothing about the task.
    """
    known = profiles()
    if profile not in known:
        raise BenchError(f"no profile '{profile}'; {nearest(profile, known)}")
    tables = [known[profile][name] for name in (task.family, task.name) if name in known[profile]]
    if not tables:
        has = [name for name, value in known[profile].items() if isinstance(value, dict)]
        fits = [name for name, content in known.items() if task.family in content or task.name in content]
        raise BenchError(
            f"profile '{profile}' has no setting for task '{task.name}' (it has: {', '.join(has)}); "
            f"profiles for this task: {', '.join(fits) or 'none'}"
        )
    merged: dict[str, Any] = {}
    for table in tables:
        merged |= dotted({k: v for k, v in table.items() if isinstance(v, dict)})
    if profile == "quick":
        merged |= {f"task.{name}": value for name, value in task.quick.items()}
    return merged


def dotted(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one table with dotted keys."""
    out: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}.{name}" if prefix else name
        out |= dotted(value, key) if isinstance(value, Mapping) else {key: value}
    return out


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


def parse_setting(text: str) -> tuple[str, Any]:
    """`key=value` to (key, value): the value as TOML, as comma-separated numbers, or else as a word.

    Raises:
        BenchError: There is no '=', or no key or value beside it.
    """
    key, equals, raw = text.partition("=")
    key, raw = key.strip(), raw.strip()
    if not equals or not key or not raw:
        raise BenchError(f"--set {text!r} is not key=value; write for instance --set network.hidden=64,64")
    for candidate in (raw, f"[{raw}]" if "," in raw else raw):
        try:
            return key, tomllib.loads(f"value = {candidate}")["value"]
        except tomllib.TOMLDecodeError:
            continue
    if raw[0] in "[{\"'":
        raise BenchError(f'--set {text!r}: the value does not parse as TOML; write numbers, [lists], true or "text"')
    return key, None if raw in ("none", "null") else raw


def toml_value(value: Any) -> str:
    """A value as `parse_setting` reads it back."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ", ".join(f'"{v}"' if isinstance(v, str) else toml_value(v) for v in value) + "]"
    return str(value)


def resolve(request: Request, method: Method, task: Task) -> Resolved:
    """Settle every setting of a request.

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
    return _resolved(request, method, task, settings)


def _fit_layers(settings: dict[str, Any], given: set[str]) -> None:
    """A preset numbers the layers of its own depth: in a network of another depth the delays are in all layers."""
    depth = len(settings["network.hidden"])
    for name in ("network.recurrent_layers", "network.feedforward_layers"):
        layers = settings.get(name)
        if name not in given and layers and max(layers) >= depth:
            settings[name] = None


def _resolved(request: Request, method: Method, task: Task, settings: dict[str, Any]) -> Resolved:
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
    return Resolved(request, method, task, options, training, network, seeds, dtype, values)


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
