"""Digests of short runs, one of each family of methods: what portable arithmetic and RESULTS_VERSION are held to.

`python benchmarks/tests/digests.py` makes the runs and says which of them came out otherwise than digests.json has it;
with `--write` it writes that file anew, for the versions that are installed here.
"""

import hashlib
import json
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from delrec_bench.config import Request, defaults
from delrec_bench.environment import provenance
from delrec_bench.methods.method import find_methods
from delrec_bench.records import RESULTS_VERSION, Record
from delrec_bench.runs.executors import Local, Place
from delrec_bench.workspace import workspace_at

FILE = Path(__file__).with_name("digests.json")
ON_DIGITS = (
    "lif rlif delrec-axonal delrec-axonal-conv dcls dcls-gauss delrec-dcls radlif se-adlif alif silif asrc gru "
    "counts-only time-slices"
)
RUNS = (
    ("delrec-synaptic", "mackey-glass"),
    ("eventprop-recurrent", "yin-yang"),
    ("delgrad-synaptic", "yin-yang"),
    *((method, "digits") for method in ON_DIGITS.split()),
    ("linear-forecast", "mackey-glass"),
)
FEW = (RUNS[1], *((method, "digits") for method in ("delrec-dcls", "gru", "counts-only")), RUNS[-1])
# widths off the vectors of 8 channels: behind the last whole one, torch's builds for CPU and CUDA round differently
ASKED = {"network.hidden": [45, 22], "training.batch": 20, "task.test_limit": 40, "network.dropout": 0.1}
STOOD_ON = ("torch", "numpy", "numba", "llvmlite", "scipy", "scikit-learn", "c-library")


def request(method: str, task: str, **more: Any) -> Request:
    known = defaults(find_methods()[method])
    overrides = tuple((key, value) for key, value in ASKED.items() if key in known)
    epochs = 2 if "training.epochs" in known else None
    return Request(method, task, epochs=epochs, limit=60, overrides=overrides, **more)


def digest(record: Record, weights: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of all that a run has computed, to the bit: what its record tells of it, and the trained network."""
    stamp = hashlib.sha256(record.digest.encode())
    for name, value in sorted(weights.items()):
        stamp.update(name.encode() + np.ascontiguousarray(value.numpy()).tobytes())
    return stamp.hexdigest()[:16]


def made(jobs: int = 2, runs: Iterable[tuple[str, str]] = RUNS, **more: Any) -> dict[str, str]:
    """Make runs, in processes that are started with the environment of this one; return their digests."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        workspace = workspace_at(Path(folder))
        place = Place(workspace)
        plans = [place.plan(request(method, task, **more)) for method, task in runs]
        for done in Local(jobs).map(plans, place):
            record = done.record(workspace)
            checkpoint = workspace.runs / record.key / "checkpoint.pt"
            weights = torch.load(checkpoint)["state_dict"] if checkpoint.exists() else {}
            found[f"{record.method} on {record.task}"] = digest(record, weights)
    return dict(sorted(found.items()))


def versions() -> str:
    """What the digests stand on, in words; other versions compute other bits."""
    installed = provenance()["versions"]
    return ", ".join(f"{name} {installed[name].partition('+')[0]}" for name in STOOD_ON)


def committed() -> dict[str, dict[str, str]]:
    """The digests of this version of results, by versions of what they stand on."""
    content = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    found: dict[str, dict[str, str]] = content.get("digests", {})
    return found if content.get("results_version") == RESULTS_VERSION else {}


def main() -> int:
    known, found = committed(), made()
    other = {name for name, value in found.items() if known.get(versions(), {}).get(name) != value}
    print("\n".join(f"{name}: {value}{' (other)' if name in other else ''}" for name, value in found.items()))
    if "--write" not in sys.argv:
        return 1 if other else 0
    content = {"results_version": RESULTS_VERSION, "digests": {**known, versions(): found}}
    FILE.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
