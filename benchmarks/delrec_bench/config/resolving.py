"""The one door from a request to a run: everything that decides it, settled once, its data read and its key named.

The result is plain data, `Resolved.asked`, from which another process has the same run by `bound`.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from delrec import LIF, count_parameters
from delrec.engines import Request as Scan
from delrec.engines import engine_for

from delrec_bench.arithmetic import Arithmetic, why_not_portable
from delrec_bench.config.settings import code_of, settle
from delrec_bench.config.tree import NAMES, Evaluation, Request, Seeds, TrainingConfig, is_evaluation
from delrec_bench.data.task_data import TaskData, TaskOptions
from delrec_bench.environment import say_once
from delrec_bench.errors import BenchError, RunError
from delrec_bench.methods.method import Method, MethodTable
from delrec_bench.records import Asked, canonical_json, plain, run_key
from delrec_bench.tasks.task import Task, TaskTable
from delrec_bench.workspace import Workspace

LARGEST = 1 << 16  # neurons per layer, where the search for a width gives up


class Resolved:
    """A run: what decides it as plain data, and what that means in this process."""

    def __init__(self, asked: Asked, method: Method, data: TaskData) -> None:
        self.asked, self.method, self.data = asked, method, data
        self.key = asked.key  # SHA-256 of configuration and data, see `delrec_bench.records.run_key`
        self.configuration = c = asked.configuration  # every setting as plain values: the record's
        self.training, self.seeds = TrainingConfig(**c["training"]), Seeds(**c["seeds"])
        self.evaluation = Evaluation(**c.get("evaluation", {}))
        self.dtype: str = c["dtype"]
        self.device: str = c["device"]

    def trained(self) -> "Resolved":
        """The run with the same remaining settings, whose network a condition of evaluation is scored on."""
        asked = self.asked
        configuration = {name: value for name, value in asked.configuration.items() if name != "evaluation"}
        key = run_key(configuration, self.data.identity())
        point = {name: value for name, value in asked.point.items() if not is_evaluation(name)}
        command = re.sub(rf" --set (evaluation\.)?({'|'.join(NAMES)})=\S+", "", asked.command)
        changed = {"key": key, "configuration": configuration, "point": point, "command": command}
        return Resolved(asked.model_copy(update=changed), self.method, self.data)


def resolve(request: Request, methods: MethodTable, tasks: TaskTable, workspace: Workspace) -> Resolved:
    """Settle a request, read its data and name its key; a `BenchError` says what is wrong with them."""
    method, task = methods[request.method], tasks[request.task]
    values, point, searched = settle(request, method, task)
    # Runs on "cuda" may be queued where there is none.
    device = ("cuda" if torch.cuda.is_available() else "cpu") if request.device == "auto" else request.device
    engine = _engine(request.engine, device)
    engine = "none" if method.floor else engine  # but a wrong name is refused of a floor too
    data = _data(values, task, request.data, workspace)
    for key, value in point.items():
        if key.startswith("task.") and key.removeprefix("task.") not in data.used_options:
            raise BenchError(f"{key} is {value!r}, but task '{task.name}' does not use it; omit it")
    if method.build is not None:
        values = with_budget(method, values, data.channels, data.classes)
        if not data.classifies and values["network"].get("loss") == "cross-entropy":
            raise BenchError(f"network.loss is 'cross-entropy', but task '{task.name}' is of values; use 'mse'")
        if (skipped := values["network"].get("skip_steps", 0)) >= data.steps:
            raise BenchError(f"network.skip_steps is {skipped}, but '{data.name}' has only {data.steps} steps")
        with suppress(RunError):  # the run itself will fail by it, and leave a record of that
            counted(method, values["network"], data.channels, data.classes)
    evaluation = values.get("evaluation", {})
    if "condition" in evaluation and data.under is None:
        raise BenchError(
            f"evaluation.condition is '{evaluation['condition']}', but {data.name} has no events; use a spiking task"
        )
    shown = values["training"].get("selection") == "best-test"
    if request.trial and (evaluation or shown or method.floor):
        raise BenchError("a trial trains a network and never sees the test set; omit --trial")
    if request.trial and not len(data.valid):
        raise BenchError(f"a trial is scored on validation samples, and {data.name} has none: give it some")
    how = {"device": device, "engine": engine, "arithmetic": _arithmetic(request.arithmetic, device)}
    configuration = plain({**values, **how})
    if request.trial:  # a run of the same settings and seeds is another thing, with another key
        configuration["kind"] = "trial"
    key = run_key(configuration, data.identity())
    asked = Asked(
        key=key,
        method=method.name,
        task=data.name,
        repetition=request.repetition,
        configuration=configuration,
        profile=request.profile,
        point=plain(point),
        command=f"delrec-bench rerun {key}" if shown else request.command(),  # `run` refuses what only a study may show
        provenance={} if searched is None else {"searched": searched},
    )
    return Resolved(asked, method, data)


def bound(asked: Asked, folder: str | None, methods: MethodTable, tasks: TaskTable, workspace: Workspace) -> Resolved:
    """Return a run that was resolved elsewhere, or before; `folder` is that of the user's own files.

    Its configuration holds every setting, so that nothing is settled again. A `BenchError` says that the data is not
    that of its key.
    """
    method, task = methods[asked.method], tasks[asked.configuration["task"]["name"]]
    then, now = asked.configuration.get("code", {}), code_of(method, task)
    if other := " and ".join(kind for kind in then | now if then.get(kind) != now.get(kind)):
        raise BenchError(
            f"run {asked.key[:12]} of {asked.method} used other code of its {other} than is here; restore the file, or "
            "make a new run"
        )
    data = _data(asked.configuration, task, folder, workspace)
    if run_key(asked.configuration, data.identity()) != asked.key:
        remedy = "give a folder of the same name and files with --data DIR"
        if not task.accepts_data:
            remedy = f"the load of '{task.name}' must give the same samples each time"
        raise BenchError(
            f"run {asked.key[:12]} of {asked.method} used other data for {asked.task} than is here, "
            f"{data.digest[:12]}; {remedy}"
        )
    return Resolved(asked, method, data)


def _data(values: Mapping[str, Any], task: Task, folder: str | None, workspace: Workspace) -> TaskData:
    options = TaskOptions(**{name: value for name, value in values["task"].items() if name != "name"})
    seeds = Seeds(**values["seeds"])
    place = task.folder(folder)
    files = sorted(filter(Path.is_file, (place or workspace.data / task.name).resolve().rglob("*")))
    changed = tuple((file, file.stat().st_mtime_ns) for file in files)
    return _read(changed, task.read, options, seeds.split, seeds.permutation, place, workspace)


@lru_cache(2)  # the methods of one task and repetition follow each other in a study and share their data
def _read(changed: Any, read: Callable[..., TaskData], *where: Any) -> TaskData:
    return read(*where)


def _engine(name: str, device: str) -> str:
    """The engine that this name is on a device; a `BenchError` where it is named and trains nothing there."""
    try:
        engine, named = engine_for(name, device)
    except ValueError as error:
        raise BenchError(str(error)) from error
    if named and device == "cpu":
        tried = Scan(torch.zeros(1, 1, 1, requires_grad=True), LIF().attach(1))
        if reason := engine.broken or engine.supports(tried):
            raise BenchError(f"engine is '{engine.name}', but it {reason}; use --engine auto or reference")
    return engine.name


def _arithmetic(asked: Arithmetic, device: str) -> Arithmetic:
    if device == "cpu" and asked == "portable":
        if not (why := why_not_portable()):
            return "portable"
        say_once(f"this machine cannot compute portably ({why}): its runs are of native arithmetic")
    return "native"


def counted(method: Method, network: Mapping[str, Any], inputs: int, classes: int) -> int:
    """Trainable parameters of a method's network, exactly, without allocating them; the random state is left alone."""
    return _counted(method, canonical_json({**network, "engine": "reference"}), inputs, classes)


@lru_cache(None)  # the repetitions of a study, its conditions of evaluation, and the search for a width ask alike
def _counted(method: Method, network: str, inputs: int, classes: int) -> int:
    settings = json.loads(network)
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                return count_parameters(method.network(settings, inputs, classes))["trainable"]
        except (RuntimeError, RunError):  # it asks for values, which a tensor without memory has not
            return count_parameters(method.network(settings, inputs, classes))["trainable"]


def solve_width(method: Method, settings: Mapping[str, Any], inputs: int, classes: int, budget: int) -> list[int]:
    """The hidden layers, all of one width, of a method's widest network with at most `budget` trainable parameters.

    Parameters grow with the width, so it is bisected; each candidate is built and counted, never estimated. The number
    of layers is that of `settings["hidden"]`.
    """
    hidden = settings.get("hidden")
    if not isinstance(hidden, list | tuple) or not hidden:
        raise BenchError(
            f"budget {budget} decides the layer widths of method '{method.name}', but its setting 'hidden' is "
            f"{hidden!r}; give it a list, such as [32], or --set budget=0"
        )
    depth = len(hidden)

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


def with_budget(method: Method, values: dict[str, Any], inputs: int, classes: int) -> dict[str, Any]:
    """Give a run the widths that its setting `budget` allows; its configuration then holds both."""
    if not values["budget"]:
        return values
    widths = solve_width(method, values["network"], inputs, classes, values["budget"])
    return {**values, "network": values["network"] | {"hidden": widths}}
