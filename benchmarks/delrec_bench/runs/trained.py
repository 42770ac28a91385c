"""The network of a finished run, from its record and checkpoint alone."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from delrec_bench.errors import BenchError
from delrec_bench.methods.method import MethodTable
from delrec_bench.records import Record
from delrec_bench.runs.folder import why_unread
from delrec_bench.training.tensor_files import load_checkpoint


def network_of(record: Record, checkpoint: Path, methods: MethodTable) -> Any:
    """The trained network of a run on the CPU, in evaluation mode, as it was trained (delays not rounded).

    Args:
        record: Says how it is built.
        checkpoint: Its checkpoint.pt, read as numbers only; a `BenchError` says why it gives no network.
        methods: Builds it.
    """
    method, settings = methods[record.method], record.configuration
    if method.build is None:
        raise BenchError(f"{record}: method '{record.method}' has no network")
    try:
        model = method.build({**settings["network"], "engine": "auto"}, record.data["channels"], record.data["classes"])
    except (RuntimeError, ValueError, TypeError) as error:
        raise BenchError(f"{record} has no usable network ({type(error).__name__}: {error})") from error
    model.to(dtype=torch.float64 if settings["dtype"] == "float64" else torch.float32)
    load_weights(model, checkpoint, record)
    return model.eval()


def load_weights(model: Any, checkpoint: Path, record: Record) -> None:
    """Give a network, as it was built for a run, what the run came to: its checkpoint.pt, read as numbers only.

    A `BenchError` says that the checkpoint is not there, is of another run, cannot be read, or does not fit.
    """
    if not checkpoint.exists():
        raise BenchError(f"{record} has no {checkpoint}; delete its folder to repeat the run")
    saved = load_checkpoint(checkpoint)  # it may come from another folder, see `collect`
    if saved.get("key") != record.key:
        raise BenchError(f"{checkpoint} belongs to run {str(saved.get('key'))[:12]}, not to {record}")
    try:
        model.load_state_dict(saved["state_dict"])
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BenchError(f"{checkpoint} does not contain the network of {record} ({why_unread(error)})") from error


class Deployed(torch.nn.Module):
    """A trained network as its test set was scored: batches (B, T, channels) to scores (B, classes)."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the scores of a batch of sequences."""
        with self.network.deployed():
            scores: torch.Tensor = self.network.classify(inputs.transpose(0, 1))
            return scores


def with_example(record: Record, checkpoint: Path, methods: MethodTable) -> tuple[Any, np.ndarray, np.ndarray] | None:
    """The network as `Deployed`, an example of its input and its output for it; None of a method without one."""
    if methods[record.method].build is None:
        return None
    model = Deployed(network_of(record, checkpoint, methods))
    dtype = next(iter(model.parameters())).dtype
    example = torch.zeros(1, record.data["steps"], record.data["channels"], dtype=dtype)
    try:
        with torch.no_grad():
            return model, example.numpy(), model(example).numpy()
    except Exception as error:  # the method's own code
        raise BenchError(f"{record.method} fails on a silent sample ({type(error).__name__}: {error})") from error
