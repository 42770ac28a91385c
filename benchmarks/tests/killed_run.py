"""One short run in a process of its own that may be killed, or kills itself at a chosen moment.

    python killed_run.py ROOT [resume.pt|record.json|finished N]

The network draws from the generators of torch, numpy and Python while it trains, its two optimisers have different
schedules, and every epoch is checkpointed. Beside a finished run `last.pt` is left: the whole training as it ended.
"""

import io
import json
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from delrec_bench.config import Request, Resolved, resolve
from delrec_bench.methods.method import Method, MethodTable
from delrec_bench.networks import Network, NetworkConfig
from delrec_bench.records import differences, read_record, unequal
from delrec_bench.runs import folder, perform
from delrec_bench.runs.folder import RunFolder, unsealed
from delrec_bench.tasks.task import find_tasks
from delrec_bench.workspace import workspace_at

EPOCHS = 6
AS_IT_COMES = ("epoch_seconds", "time")  # of the clock, not of the training


class Noisy(Network):
    """Recurrent delays, and noise on the input from all three generators."""

    def hidden_spikes(self, inputs: torch.Tensor) -> torch.Tensor:
        if self.training:
            noise = torch.from_numpy(np.random.normal(0, 0.1, inputs.shape)).to(inputs)
            inputs = inputs + 0.1 * random.random() + noise
        return super().hidden_spikes(inputs)


def build(settings: Any, channels: int, classes: int) -> Network:
    shape: Any = {"inputs": channels, "classes": classes, "hidden": (12, 12), "engine": settings["engine"]}
    return Noisy(NetworkConfig(**shape, recurrent="axonal", batch_norm=True, dropout=0.2, sigma=3.0))


NOISY = Method("noisy", "noise from every generator", "these tests", "weights, recurrent delays", build=build)
METHODS = MethodTable(noisy=NOISY)
SETTINGS = (
    ("training.batch", 32),
    ("training.schedule_delays", "one-cycle"),
    ("training.schedule_weights", "plateau"),
    ("task.test_limit", 60),
)
REQUEST = Request("noisy", "digits", epochs=EPOCHS, limit=160, overrides=SETTINGS)


def once(root: Path) -> tuple[Any, bool]:
    """Do the run, and keep the last checkpoint beside its record."""
    folder.CHECKPOINT_SECONDS = 0.0
    finish = RunFolder.finish

    def keeping(self: RunFolder, record: Any, checkpoint: bytes | None) -> None:
        shutil.copy(self.path / "resume.pt", self.path / "last.pt")
        finish(self, record, checkpoint)

    RunFolder.finish = keeping  # type: ignore[method-assign]
    return perform(resolved(root), workspace_at(root))


def resolved(root: Path) -> Resolved:
    return resolve(REQUEST, METHODS, find_tasks(), workspace_at(root))


def die() -> None:
    """End as the kernel ends a process that is out of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def dies_at(moment: str, count: int = 1) -> None:
    """Let this process kill itself at the `count`-th time that it comes to a moment."""
    if moment == "finished":  # the record is there, and what was kept for resuming as well
        RunFolder.tidy = lambda self: die()  # type: ignore[method-assign, assignment]
        return
    left = count

    def half_written(handle: int) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.ftruncate(handle, os.fstat(handle).st_size // 2)
            die()

    when_written(moment, half_written)


def when_written(name: str, do: Callable[[int], None]) -> None:
    """Let this process call `do` with the handle of each file of this name before it reaches the disk."""
    fsync = os.fsync

    def watched(handle: int) -> None:
        if Path(f"/proc/self/fd/{handle}").readlink().name.startswith(f".{name}."):
            do(handle)
        fsync(handle)

    os.fsync = watched


def run_folder(root: Path) -> Path:
    (found,) = [path for path in (root / "runs").iterdir() if path.is_dir()]
    return found


def read_training(path: Path) -> dict[str, Any]:
    return dict(torch.load(io.BytesIO(unsealed(path.read_bytes())), weights_only=True))


def bits(value: Any) -> Any:
    """Nested tensors and numbers as dicts, lists and texts that are equal where every bit is."""
    if isinstance(value, torch.Tensor):
        return f"{value.dtype} {tuple(value.shape)} {value.numpy().tobytes().hex()}"
    if isinstance(value, dict):
        return {str(key): bits(of) for key, of in value.items() if key not in AS_IT_COMES}
    return [bits(of) for of in value] if isinstance(value, list | tuple) else repr(value)


def compare(a: Path, b: Path) -> list[str]:
    """Names of what differs between two finished runs: record, network, whole training, history, files."""
    found = differences(read_record(a / "record.json"), read_record(b / "record.json"))
    one, two = (
        {
            "network": torch.load(folder / "checkpoint.pt", weights_only=True),
            "training": read_training(folder / "last.pt")["training"],
            "history": [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()],
        }
        for folder in (a, b)
    )
    wanted = {"record.json", "checkpoint.pt", "history.jsonl", "lock", "last.pt"}
    left = [name for folder in (a, b) for name in {path.name for path in folder.iterdir()} ^ wanted]
    return found + list(unequal(bits(one), bits(two))) + left


if __name__ == "__main__":
    if sys.argv[2:]:
        dies_at(sys.argv[2], int(sys.argv[3]))
    once(Path(sys.argv[1]))
