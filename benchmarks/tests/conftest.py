"""What many tests of the command line begin with. Runs of tests are done in this process, which computes portably."""

import os

from delrec_bench import arithmetic

os.environ.update(arithmetic.environment("portable"))  # before torch: `testpaths` names this folder first

import json
import shutil
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from delrec_bench import app, tracking
from delrec_bench.studies import work
from delrec_bench.tracking import mlflow_store
from delrec_bench.workspace import workspace_at

ROOT = Path(__file__).parents[2]
COMPILE = (
    "method_contract networks export latency provenance reproduced evaluation compare contributing executors search "
    "neurons_engine neurons_adaptive"
).split()


def pytest_collection_modifyitems(items):
    """What compiles kernels comes first, so that of two processes only one compiles a kernel where none is there yet.

    The bits of all families of methods, in processes of their own, come last and take what is compiled by then.
    """
    items.sort(key=lambda item: 2 * ("test_arithmetic" in item.path.stem) - (item.path.stem[5:] in COMPILE))


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """An empty checkout, which is the current folder and the only place that the suite knows."""
    shutil.copy(ROOT / "data.dvc", tmp_path)
    for name in ("DELREC_BENCH_ROOT", "DELREC_BENCH_METHODS", "DELREC_BENCH_TASKS", "DELREC_ENGINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DELREC_BENCH_METRICS", "")  # which `--metrics` sets; what was set before is put back
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def migrated(tmp_path_factory):
    """Gives an empty database of MLflow after its migrations, which take seconds and are done once."""
    path, make_database = tmp_path_factory.mktemp("migrated") / "mlflow.db", mlflow_store.make_database
    return cache(lambda: make_database(path) or path)


@pytest.fixture(autouse=True)
def without_mlflow(request, migrated, monkeypatch):
    """Tests leave MLflow out, which takes longer than their runs; one that is marked `mlflow` copies its database."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(mlflow_store, "make_database", lambda path: shutil.copyfile(migrated(), path))
    if request.node.get_closest_marker("mlflow") is None:
        monkeypatch.setattr(tracking, "sync", lambda *_, **__: "left out")
        monkeypatch.setattr(tracking, "log_page", lambda *_, **__: None)
        for module in (tracking, work):
            monkeypatch.setattr(module, "follow", lambda *_, **__: nullcontext(MagicMock()))


@pytest.fixture
def without_fingerprint(monkeypatch):
    """For runs whose fingerprint is not looked at: its kernels, in float64, take longer to compile than the run."""
    monkeypatch.setattr("delrec_bench.training.loop.fingerprint", lambda *_: {})


@pytest.fixture
def command(capsys):
    """Runs a command, which ends with this code; gives its JSON object, and what it said on stderr."""

    def run(*words, code=0):
        found = app.main([*map(str, words), "--json"])
        out, err = capsys.readouterr()
        assert found == code, err
        return json.loads(out), err

    return run


@pytest.fixture
def workspace(tmp_path):
    return workspace_at(tmp_path)
