"""What many tests of the command line begin with. Runs of tests are done in this process, which computes portably."""

import os

from delrec_bench import arithmetic

os.environ.update(arithmetic.environment("portable"))  # before torch: `testpaths` names this folder first

import shutil
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from delrec_bench import tracking
from delrec_bench.studies import work
from delrec_bench.tracking import mlflow_store
from delrec_bench.workspace import workspace_at

ROOT = Path(__file__).parents[2]
MLFLOW = {
    (module, name): getattr(module, name)
    for module in (tracking, work)
    for name in ("sync", "log_page", "follow")
    if hasattr(module, name)
}


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """An empty checkout, which is the current folder and the only place that the suite knows."""
    shutil.copy(ROOT / "data.dvc", tmp_path)
    for name in ("DELREC_BENCH_ROOT", "DELREC_BENCH_METHODS", "DELREC_BENCH_TASKS", "DELREC_ENGINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def migrated(tmp_path_factory):
    """Gives an empty database of MLflow after its migrations, which take seconds and are done once."""
    path = tmp_path_factory.mktemp("migrated") / "mlflow.db"

    def given():
        if not path.exists():
            mlflow_store.make_database(path)
        return path

    return given


@pytest.fixture(autouse=True)
def quick_database(migrated, monkeypatch):
    """A database that a test would make is copied."""
    whole = mlflow_store.Store.__init__

    def opened(self, workspace, uri):
        if uri == f"sqlite:///{workspace.database}" and not workspace.database.exists():
            shutil.copy(migrated(), workspace.database)
        whole(self, workspace, uri)

    monkeypatch.setattr(mlflow_store.Store, "__init__", opened)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="session", autouse=True)
def without_mlflow():
    """Tests leave MLflow out, which takes longer than their runs."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in MLFLOW:
            answer = {"sync": "left out", "follow": nullcontext(MagicMock())}.get(name)
            patch.setattr(module, name, lambda *_, answer=answer, **__: answer)
        yield


@pytest.fixture(autouse=True)
def with_mlflow(request, monkeypatch):
    """Those marked `mlflow` do not."""
    if request.node.get_closest_marker("mlflow") is not None:
        for (module, name), whole in MLFLOW.items():
            monkeypatch.setattr(module, name, whole)


@pytest.fixture
def workspace(tmp_path):
    return workspace_at(tmp_path)
