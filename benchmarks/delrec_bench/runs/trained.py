"""Trained networks: that of a finished run, from its record and checkpoint alone, or one that a user has."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from delrec import Trainable, count_parameters
from torch import nn

from delrec_bench.config import Seeds
from delrec_bench.data.task_data import TaskOptions
from delrec_bench.errors import BenchError, DivergedError
from delrec_bench.methods.method import MethodTable
from delrec_bench.records import Record
from delrec_bench.tasks.task import Task
from delrec_bench.training import HeldOut, engines_of, score_test
from delrec_bench.training.scoring import check_outputs
from delrec_bench.training.tensor_files import load_checkpoint
from delrec_bench.workspace import Workspace


def network_of(record: Record, checkpoint: Path, methods: MethodTable) -> Any:
    """The trained network of a run on the CPU, in evaluation mode, as it was trained (delays not rounded).

    A `BenchError` says why its record and checkpoint give no network.
    """
    method, settings = methods[record.method], record.configuration
    if method.build is None:
        raise BenchError(f"{record}: method '{record.method}' has no network")
    if method.code != settings.get("code", {}).get("method", ""):
        raise BenchError(f"{record}: its method's code is another one now; restore the file, or make a new run")
    network = {**settings["network"], "engine": "auto"}
    model = method.network(network, record.data["channels"], record.data["classes"])
    model.to(dtype=torch.float64 if settings["dtype"] == "float64" else torch.float32)
    load_weights(model, checkpoint, record)
    return model.eval()


def load_weights(model: Any, checkpoint: Path, record: Record) -> None:
    """Give a network, as it was built for a run, what the run came to: its checkpoint.pt, read as numbers only.

    A `BenchError` says that the checkpoint is not there, is of another run, cannot be read, or does not fit.
    """
    if not checkpoint.exists():
        raise BenchError(f"{record} has no {checkpoint}; only a run trained here has a network: {record.command}")
    saved = load_checkpoint(checkpoint)  # it may come from another folder, see `collect`
    if saved.get("key") != record.key:
        raise BenchError(f"{checkpoint} belongs to run {str(saved.get('key'))[:12]}, not to {record}")
    try:
        model.load_state_dict(saved["state_dict"])
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
        why = str(error).partition("\n")[0]
        raise BenchError(f"{checkpoint} does not contain the network of {record} ({why})") from error


def evaluate_network(
    network: nn.Module, task: Task, workspace: Workspace, repetition: int, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Score a network on the test samples of a task, with rounded delays and sigma 0; its columns of `records.COLUMNS`.

    It is a `delrec.Trainable`, or a module from (T, B, C) to (T', B, classes), whose outputs are summed. `options` are
    those of the data (`step_ms`, `channels`, ...) in place of the task's own, and `data`, the folder of `--data`.
    """
    if not isinstance(network, nn.Module):
        raise BenchError(f"evaluate: {network!r} is neither the name of a method nor a torch.nn.Module")
    seeds = Seeds.of(repetition)
    asked = {name: value for name, value in options.items() if name != "data"}
    folder = task.folder(str(options["data"]) if options.get("data") is not None else None)
    data = task.read(TaskOptions(**asked), seeds.split, seeds.permutation, folder, workspace)
    wrapped: Any = type(type(network).__name__, (nn.Sequential, Trainable), {})  # named as the user's in messages
    model = network if isinstance(network, Trainable) else wrapped(network)
    first = next(network.parameters(), torch.empty(0))
    device, modes = str(first.device), {module: module.training for module in network.modules()}
    try:
        check_outputs(model, data.test, data.classes, device)
        scored = score_test(model, HeldOut(data.test), data.metric, device)
    except DivergedError as error:
        raise BenchError(f"the network gives outputs on '{data.name}' that are not finite; train it anew") from error
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        shape = f"({data.steps}, batch, {data.channels}) to {data.classes} outputs"
        raise BenchError(f"the network does not fit task '{data.name}', {shape}: {error}") from error
    finally:
        for module, training in modes.items():
            module.training = training
    return {
        "task": data.name,
        "data": data.stamp,
        "method": type(network).__name__,
        "repetition": repetition,
        "metric": data.metric,
        "score": scored.score,
        "correct": int((scored.predictions == data.test.targets).sum()) if data.classifies else None,
        "total": len(data.test.targets),
        **{f"parameters_{name}": count for name, count in count_parameters(model).items()},
        "kind": "run",
        "step_ms": data.step_ms or None,
        "steps": data.steps,
        "representation": data.representation,
        "dtype": "float64" if first.dtype == torch.float64 else "float32",
        "engine": engines_of(model),
        "device": first.device.type,
        "data_digest": data.digest,
    }
