"""A network that was trained elsewhere, scored on a task's test samples as it is deployed."""

from collections.abc import Mapping
from typing import Any

import torch
from delrec import Trainable
from torch import Tensor, nn

from delrec_bench.config import Seeds
from delrec_bench.data.samples import Cast
from delrec_bench.data.task_data import TaskOptions
from delrec_bench.errors import BenchError
from delrec_bench.metrics import metric_named
from delrec_bench.runs.recording import counts_of
from delrec_bench.tasks.task import Task
from delrec_bench.training import HeldOut, score_test
from delrec_bench.workspace import Workspace


class _Wrapped(Trainable):
    """Any module that maps sequences (T, B, C) to outputs (T', B, classes)."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, inputs: Tensor) -> Tensor:
        """The module's outputs."""
        outputs: Tensor = self.module(inputs)
        return outputs


def evaluate_network(
    network: nn.Module, task: Task, workspace: Workspace, repetition: int = 0, options: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Score a network on the test samples of a task, with rounded delays and sigma 0; its columns of `records.COLUMNS`.

    Args:
        network: A `delrec.Trainable`, or a module from (T, B, C) to (T', B, classes), whose outputs are summed.
        task: Whose samples.
        workspace: Where its data is.
        repetition: Whose split and permutation.
        options: Of the data (`step_ms`, `channels`, `test_limit`, ...); else the task's own.
    """
    seeds = Seeds.of(repetition)
    data = task.load(TaskOptions(**(options or {})), seeds.split, seeds.permutation, None, workspace)
    model: Any = network if isinstance(network, Trainable) else _Wrapped(network)
    first = next(network.parameters(), torch.empty(0))
    dtype = "float64" if first.dtype == torch.float64 else "float32"
    training = network.training
    try:
        scored = score_test(model, HeldOut(Cast(data.test, dtype)), data.metric, first.device.type)
    except (RuntimeError, ValueError, IndexError) as error:
        shape = f"({data.steps}, batch, {data.channels}) to {data.classes} outputs"
        raise BenchError(f"the network does not fit task '{data.name}', {shape}: {error}") from error
    finally:
        network.train(training)
    total = len(data.test.targets)
    return {
        "task": data.name,
        "data": data.stamp,
        "method": type(network).__name__,
        "repetition": repetition,
        "metric": data.metric,
        "score": scored.score,
        "correct": round(scored.score * total) if metric_named(data.metric).classifies else None,
        "total": total,
        **{f"parameters_{name}": count for name, count in counts_of(model).items()},
        "kind": "run",
        "step_ms": data.step_ms or None,
        "steps": data.steps,
        "representation": data.representation,
        "dtype": dtype,
        "engine": model.engines(),
        "device": first.device.type,
        "data_digest": data.digest,
    }
