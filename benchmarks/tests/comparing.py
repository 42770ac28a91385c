"""Whether a run that was killed and one that was not ended the same, to the bit."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from delrec_bench.records import differences, read_record
from delrec_bench.runs.folder import unsealed

AS_IT_COMES = ("epoch_seconds", "time")  # of the clock, not of the training


def run_folder(root: Path) -> Path:
    """The folder of the one run below a root."""
    (found,) = [path for path in (root / "runs").iterdir() if path.is_dir()]
    return found


def unlike(a: Any, b: Any, where: str = "") -> Iterator[str]:
    """Where two checkpoints differ, by dotted names."""
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        same = a.dtype == b.dtype and a.shape == b.shape
        if not (
            same and torch.equal(a.contiguous().view(torch.uint8), b.contiguous().view(torch.uint8))
            if a.dim()
            else same and a.item() == b.item()
        ):
            yield where
    elif isinstance(a, dict) and isinstance(b, dict):
        for key in {**a, **b}:
            if key in AS_IT_COMES:
                continue
            if key not in a or key not in b:
                yield f"{where}.{key}"
            else:
                yield from unlike(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            yield from unlike(x, y, f"{where}[{i}]")
    elif type(a) is not type(b) or (a != b and not (a != a and b != b)):
        yield where


def read_network(path: Path) -> dict[str, Any]:
    """What a checkpoint.pt holds."""
    return dict(torch.load(path, weights_only=True))


def read_training(path: Path) -> dict[str, Any]:
    """What a resume.pt holds."""
    return dict(torch.load(io.BytesIO(unsealed(path.read_bytes())), weights_only=True))


def left_over(folder: Path) -> list[str]:
    """Files of a finished run's folder that should not be there."""
    wanted = {"record.json", "checkpoint.pt", "history.jsonl", "lock", "last.pt"}
    return sorted({path.name for path in folder.iterdir()} ^ wanted)


def compare(a: Path, b: Path) -> list[str]:
    """Names of what differs between two finished runs: record, network, whole training, history, files."""
    found = [f"record.{name}" for name in differences(read_record(a / "record.json"), read_record(b / "record.json"))]
    found += list(unlike(*(read_network(folder / "checkpoint.pt") for folder in (a, b)), "checkpoint.pt"))
    found += list(unlike(*(read_training(folder / "last.pt")["training"] for folder in (a, b)), "last.pt"))
    lines = [[json.loads(line) for line in (f / "history.jsonl").read_text().splitlines()] for f in (a, b)]
    found += list(unlike(*lines, "history"))
    return found + [f"file {name}" for folder in (a, b) for name in left_over(folder)]
