"""One short run in a process of its own that may be killed, or kills itself at a chosen moment.

    python killed_run.py ROOT [--moment epoch|checkpoint|record|finished] [--count N]

The network draws from the generators of torch, numpy and Python while it trains, its two optimisers have different
schedules, and every epoch is checkpointed. Beside a finished run `last.pt` is left: the whole training as it ended.
"""

import argparse
import io
import json
import os
import random
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import torch
from delrec_bench.config import Request, resolve
from delrec_bench.methods.method import Method, MethodTable
from delrec_bench.networks import Network, NetworkConfig
from delrec_bench.records import differences, read_record, unequal
from delrec_bench.runs import RunOutcome, folder, perform
from delrec_bench.runs.folder import RunFolder, unsealed
from delrec_bench.tasks.task import find_tasks
from delrec_bench.training import loop
from delrec_bench.workspace import workspace_at

EPOCHS = 6
AS_IT_COMES = ("epoch_seconds", "time")  # of the clock, not of the training


class Noisy(Network):
    """Recurrent delays, and noise on the input from all three generators."""

    def hidden_spikes(self, inputs: torch.Tensor) -> torch.Tensor:
        if self.training:
            inputs = (
                inputs + 0.1 * random.random() + torch.from_numpy(np.random.normal(0, 0.1, inputs.shape)).to(inputs)
            )
        return super().hidden_spikes(inputs)


def build(settings: Any, channels: int, classes: int) -> Network:
    return Noisy(
        NetworkConfig(
            inputs=channels,
            classes=classes,
            hidden=(12, 12),
            recurrent="axonal",
            batch_norm=True,
            dropout=0.2,
            sigma=3.0,
            engine=settings["engine"],
        )
    )


NOISY = Method("noisy", "noise from every generator", "these tests", "weights, recurrent delays", build=build)
SETTINGS = (
    ("training.batch", 32),
    ("training.schedule_delays", "one-cycle"),
    ("training.schedule_weights", "plateau"),
    ("task.test_limit", 60),
)
REQUEST = Request("noisy", "digits", epochs=EPOCHS, limit=160, overrides=SETTINGS)


def once(root: Path) -> RunOutcome:
    """Do the run, and keep the last checkpoint beside its record."""
    folder.CHECKPOINT_SECONDS = 0.0
    finish = RunFolder.finish

    def keeping(self: RunFolder, record: Any, checkpoint: bytes | None) -> None:
        shutil.copy(self.path / "resume.pt", self.path / "last.pt")
        finish(self, record, checkpoint)

    RunFolder.finish = keeping  # type: ignore[method-assign]
    workspace = workspace_at(root)
    return perform(resolve(REQUEST, MethodTable(noisy=NOISY), find_tasks(), workspace), workspace)


def die() -> None:
    """End as the kernel ends a process that is out of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def dies_at(moment: str, count: int) -> None:
    """Let this process kill itself at the `count`-th time that it comes to a moment."""
    left = count

    def due() -> bool:
        nonlocal left
        left -= 1
        return left == 0

    if moment == "epoch":  # half-way through it
        step = loop.Optimisation.step

        def stepping(self: Any, loss: Any) -> None:
            step(self, loss)
            if due():
                die()

        loop.Optimisation.step = stepping  # type: ignore[method-assign]
    elif moment in ("checkpoint", "record"):  # its draft is half written
        name = {"checkpoint": ".resume.pt.", "record": ".record.json."}[moment]
        fsync = os.fsync

        def syncing(handle: int) -> None:
            if Path(f"/proc/self/fd/{handle}").readlink().name.startswith(name) and due():
                os.ftruncate(handle, os.fstat(handle).st_size // 2)
                die()
            fsync(handle)

        os.fsync = syncing
    elif moment == "finished":  # the record is there, and what was kept for resuming as well
        RunFolder.tidy = lambda self: die()  # type: ignore[method-assign, assignment]


def run_folder(root: Path) -> Path:
    """The folder of the one run below a root."""
    (found,) = [path for path in (root / "runs").iterdir() if path.is_dir()]
    return found


def read_training(path: Path) -> dict[str, Any]:
    """What a resume.pt holds."""
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
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("--moment", default="none")
    parser.add_argument("--count", type=int, default=1)
    arguments = parser.parse_args()
    dies_at(arguments.moment, arguments.count)
    once(arguments.root)
