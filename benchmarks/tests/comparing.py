"""Whether a run that was killed and one that was not ended the same, to the bit."""

import io
import json
from pathlib import Path
from typing import Any

import torch
from delrec_bench.records import differences, read_record, unequal
from delrec_bench.runs.folder import unsealed

AS_IT_COMES = ("epoch_seconds", "time")  # of the clock, not of the training


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
