"""Short runs whose numbers are kept: a change that alters results must raise RESULTS_VERSION.

After such a change, mark it in CHANGELOG.md, raise RESULTS_VERSION, and write the numbers anew:
`DELREC_BENCH_WRITE_GOLDEN=1 nox -s tests -- benchmarks/tests/test_golden_run.py`. A change of quick presets needs the
last of these alone, as every setting is in a run's key already.
"""

import json
import os
from pathlib import Path

import pytest
from delrec_bench.config import Request, defaults
from delrec_bench.methods.base import find_methods
from delrec_bench.records import RESULTS_VERSION
from delrec_bench.runs import run
from delrec_bench.tasks.base import find_tasks
from delrec_bench.workspace import workspace_at

GOLDEN = Path(__file__).with_name("golden_run.json")
RUNS = (
    ("lif", "digits"),
    ("delrec-dcls", "digits"),
    ("delrec-synaptic", "mackey-glass"),
    ("delrec-axonal", "yin-yang"),
    ("dcls-gauss", "digits"),
    ("se-adlif", "digits"),
    ("delrec-axonal-silif", "digits"),
    ("asrc", "digits"),
    ("gru", "digits"),
    ("delgrad-axonal", "yin-yang"),
    ("eventprop-recurrent", "yin-yang"),
    ("time-slices", "digits"),
)


def numbers(method: str, task: str, folder: Path) -> dict:
    known = defaults(find_methods()[method])
    asked = {"network.hidden": [8, 8], "training.batch": 16, "task.test_limit": 30, "dtype": "float64"}
    settings = tuple((key, value) for key, value in asked.items() if key in known)
    epochs = 2 if "training.batch" in known else None
    request = Request(method, task, epochs=epochs, limit=48, engine="reference", overrides=settings)
    record = run(request, find_methods(), find_tasks(), workspace_at(folder)).record
    found = {
        "loss": [entry["loss"] for entry in record.history],
        "valid_loss": [entry["valid_loss"] for entry in record.history],
        "test_score": record.score,
        "parameters": record.parameters.get("total"),
        "spikes": record.activity.get("spikes_per_neuron_step"),
    }
    return {name: value for name, value in found.items() if value is not None}


@pytest.mark.parametrize(("method", "task"), RUNS)
def test_results_change_only_with_their_version(method, task, tmp_path):
    found = numbers(method, task, tmp_path)
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {"results_version": RESULTS_VERSION, "runs": {}}
    name = f"{method} on {task}"
    if os.environ.get("DELREC_BENCH_WRITE_GOLDEN"):
        golden["runs"][name] = found
        golden["results_version"] = RESULTS_VERSION
        GOLDEN.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n")
    assert golden["results_version"] == RESULTS_VERSION, "RESULTS_VERSION was raised: write the golden numbers anew"
    for field, value in golden["runs"][name].items():
        assert found[field] == pytest.approx(value, rel=1e-7), f"{name}: {field} changed; {__doc__}"
