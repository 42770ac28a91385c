"""Every setting of a run, from defaults, presets and what was asked; data is not needed to know them.

    defaults < preset of the profile for the task's family < for the task < the method's own < searched
             < --epochs, --limit, --set

Settings are named with dots: `training.epochs`, `network.hidden`, `task.step_ms`, `seeds.split`.
"""

import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, Field, create_model

from delrec_bench.config.searched import searched_settings
from delrec_bench.config.tree import AXES, NAMES, Evaluation, Request, Seeds, TrainingConfig, Whole
from delrec_bench.data.task_data import TaskOptions
from delrec_bench.errors import BenchError, nearest
from delrec_bench.methods.method import Method, MethodTable
from delrec_bench.metrics.metric import metric_named
from delrec_bench.schema import FileTable, checked, dotted
from delrec_bench.tasks.task import FAMILIES, Task, TaskTable

FORECAST = {"task.tau", "task.horizon"}  # options that only a forecast has: elsewhere `tau` is the neuron's
Width = Annotated[int, Field(ge=1, le=10_000_000)]


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, list | tuple) else [value]


@cache
def _network_model(method: Method) -> type[BaseModel]:
    """A method's settings: each of its default's type, or a single value for a list of one; anything for None."""
    declared: dict[str, Any] = {}
    for name, default in method.settings.items():
        kind: Any = Any if default is None else type(default)
        if isinstance(default, list | tuple):
            items: Any = list[Width] if name == "hidden" else list[Any]
            kind, default = Annotated[items, BeforeValidator(_listed)], list(default)
        declared[name] = (kind, default)
    return create_model(f"Network of {method.name}", __base__=FileTable, **declared)


@cache
def profiles() -> dict[str, dict[str, Any]]:
    """Every profile by name: a TOML file of presets, a table for each task or family of tasks."""
    return {path.stem: read_toml(path) for path in sorted((Path(__file__).parent / "presets").glob("*.toml"))}


def read_toml(path: Path) -> dict[str, Any]:
    """The contents of a TOML file; a `BenchError` names the file and the line that does not parse."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        dotted(content)
        return content
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror}; give a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BenchError(f"{path} is not TOML: {error}") from error
    except RecursionError:
        raise BenchError(f"{path} is nested too deeply; use fewer levels") from None


def preset(profile: str, task: Task) -> dict[str, Any]:
    """The dotted settings that a profile has for a task, those of its family first."""
    known = profiles()
    if profile not in known:
        raise BenchError(f"no profile '{profile}'; {nearest(profile, known)}")
    merged: dict[str, Any] = {}
    for name in (task.family, task.name):
        merged |= dotted({k: v for k, v in known[profile].get(name, {}).items() if isinstance(v, dict)})
    if not merged:
        fits = [name for name, content in known.items() if task.family in content or task.name in content]
        raise BenchError(
            f"profile '{profile}' has no setting for task '{task.name}'; "
            f"profiles for this task: {', '.join(fits) or 'none'}"
        )
    if profile == "quick":
        merged |= {f"task.{name}": value for name, value in task.quick.items()}
    return merged


class Settled(NamedTuple):
    """Every setting of a request that needs no data, as plain values."""

    values: dict[str, Any]  # a run's configuration, but for how it is computed and the widths that a budget gives
    point: dict[str, Any]  # what was asked for beside the profile's preset, by dotted key
    searched: str | None  # name of the searched preset whose settings it has; None without one, and of a trial


def defaults(method: Method, forecast: bool = True) -> dict[str, Any]:
    """Every setting of a run of `method`, on a forecast or on another task, by dotted key, with its default."""
    groups: dict[str, Mapping[str, Any]] = {"task": asdict(TaskOptions()), "seeds": dict.fromkeys(AXES)}
    if method.build is not None:
        groups |= {"training": asdict(TrainingConfig()), "network": method.settings}
        # The method that can round delays has layers whose delays can be changed.
        groups["evaluation"] = dict.fromkeys(NAMES if "rounding" in method.settings else ("condition",))
    flat = {f"{group}.{name}": value for group, values in groups.items() for name, value in values.items()}
    flat |= asdict(Whole()) if method.build is not None else {}
    return {key: value for key, value in flat.items() if forecast or key not in FORECAST}


def full_key(key: str, known: Iterable[str]) -> str:
    """The dotted key that `key` names: itself, or the only one that ends in it (`hidden`: `network.hidden`)."""
    names = sorted(known)
    ends = [key] if key in names else [name for name in names if name.endswith("." + key)]
    if len(ends) > 1:
        raise BenchError(f"key '{key}' is ambiguous; write {' or '.join(ends)}")
    if not ends:
        short = [name.rpartition(".")[2] for name in names]
        guess = nearest(key, [*names, *short])
        guess = guess if guess.startswith("did") else nearest(key.rpartition(".")[2], short)
        raise BenchError(f"unknown key '{key}'; {guess}")
    return ends[0]


def full_keys(table: Mapping[str, Any], known: Iterable[str], where: str) -> dict[str, Any]:
    """The values of a table, nested or not, by full key; the error for a key begins with `where`."""
    names = list(known)
    out: dict[str, Any] = {}
    for key, value in dotted(table).items():
        try:
            full = full_key(key, names)
        except BenchError as error:
            raise BenchError(f"{where}: {error}") from error
        if full in out:
            raise BenchError(f"{where}: {full} is set twice, once as '{key}'; remove one")
        out[full] = value
    return out


def settle(request: Request, method: Method, task: Task) -> Settled:
    """Settle every setting of a request that it decides without data; a `BenchError` names what is wrong in it."""
    reason = method.reason(task)
    if reason is not None:
        raise BenchError(f"method '{method.name}' does not apply to task '{task.name}': {reason}")
    values = defaults(method, task.family == "forecast")
    # A preset speaks for every method: what a method does not know (delays, for one without) is not for it.
    values |= {key: value for key, value in preset(request.profile, task).items() if key in values}
    for key, value in method.preset(task, request.profile).items():
        values |= full_keys({key: value}, values, f"presets of method '{method.name}'")
    usual = dict(values)
    short = {"training.epochs": request.epochs, "task.limit": request.limit}
    short = {key: value for key, value in short.items() if value is not None and key in values}
    values |= short
    given: dict[str, Any] = {}
    for key, value in request.overrides:
        if (full := full_key(key, values)) in given:
            raise BenchError(f"{full} is set twice, to {given[full]} and {value}; remove one")
        given[full] = value
    if twice := [key for key, value in short.items() if given.get(key, value) != value]:
        raise BenchError(f"{twice[0]} is given twice, {short[twice[0]]} and {given[twice[0]]}; omit one")
    values |= given
    if "network.hidden" in given:
        _fit_layers(values, given)
        values["budget"] = given.get("budget", 0)  # the user's widths, not a preset's
    found = None if request.trial else searched_settings(method, task.name, request.profile, request.data, values)
    searched, chosen = found if found and found[1].keys() - given.keys() else (None, {})  # if anything of it is used
    usual |= chosen
    values |= {key: value for key, value in chosen.items() if key not in given}
    point = {name: values[name] for name in sorted(values) if values[name] != usual[name]}
    return Settled(_checked(request, method, task, values), point, searched)


def _fit_layers(values: dict[str, Any], given: Mapping[str, Any]) -> None:
    """A preset numbers the layers of its own depth: in a network of another depth the delays are in all layers."""
    depth = len(_listed(values["network.hidden"]))
    for name in ("network.recurrent_layers", "network.feedforward_layers"):
        if name not in given and (layers := values.get(name)) and max(layers) >= depth:
            values[name] = None


def _checked(request: Request, method: Method, task: Task, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of every setting, checked by the model of its group, as they stand in a configuration."""
    tree: dict[str, dict[str, Any]] = defaultdict(dict)
    for key, value in values.items():
        group, _, name = key.rpartition(".")
        tree[group][name] = value
    options, training = TaskOptions(**tree["task"]), TrainingConfig(**tree["training"])
    evaluation = Evaluation(**tree["evaluation"]).canonical()
    if training.selection == "best-test" and request.study is None:
        raise BenchError(
            "training.selection is 'best-test', which chooses the epoch on the test set, so its score is not a "
            "result; use 'validation' or 'last'. Only `delrec-bench reproduce --study selection` shows its effect"
        )
    network = checked(_network_model(method), tree["network"], f"method '{method.name}'", "network.").model_dump()
    trains = method.build is not None
    seeds = {axis: value for axis, value in tree["seeds"].items() if value is not None}
    plain = {
        "method": method.name,
        "task": {"name": task.name, **asdict(options)},
        "training": asdict(training) if trains else {},
        "network": network,
        "seeds": asdict(replace(Seeds.of(request.repetition, request.trial), **seeds)),
        "repetition": request.repetition,
        "epochs": training.epochs if trains else 0,
        "limit": options.limit,
        **asdict(Whole(**tree[""]) if trains else Whole(dtype="float64")),
        "engine": request.engine,
        "device": request.device,
        "threads": request.threads,
    }
    # absent where there is none, so that the key of an ordinary run knows nothing of it
    more = {"evaluation": evaluation, "code": code_of(method, task)}
    return plain | {name: of for name, of in more.items() if of}


def code_of(method: Method, task: Task) -> dict[str, str]:
    """The digest of each file of a user's own that takes part in a run, by kind."""
    parts: dict[str, Any] = {"method": method, "task": task, "metric": metric_named(task.metric)}
    return {kind: one.code for kind, one in parts.items() if one.code}


def check_presets(methods: MethodTable, tasks: TaskTable) -> None:
    """Check that each preset of a method is of its settings, for a task (or a family of tasks) and a known profile."""
    known = ("*", *FAMILIES, *tasks), ("*", *profiles())
    for method in methods.values():
        for place, values in method.presets.items():
            full_keys(values, defaults(method), f"presets of method '{method.name}'")
            for what, name, names in zip(("task", "profile"), place, known, strict=True):
                if name not in names:
                    raise BenchError(f"method '{method.name}': presets for {what} '{name}'; {nearest(name, names)}")
