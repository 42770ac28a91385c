"""What many tests of the command line begin with. Runs of tests are done in this process, which computes portably."""

# ruff: noqa: E402
from delrec_bench import arithmetic

arithmetic.enter()  # before anything imports torch: `testpaths` names this folder first

import shutil
import sqlite3
from pathlib import Path

import pytest
from delrec_bench import tracking
from delrec_bench.report.figures import style
from delrec_bench.workspace import workspace_at

from benchmarks.tests.drawings import module

ROOT = Path(__file__).parents[2]


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
    """An empty database after its migrations, which take seconds; each test copies it."""
    workspace = workspace_at(tmp_path_factory.mktemp("migrated"))
    with tracking.opened(workspace):
        pass
    assert [p.name for p in workspace.root.iterdir() if "new-" in p.name] == []
    return workspace.database


@pytest.fixture
def workspace(tmp_path, migrated, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(migrated, tmp_path / "mlflow.db")
    made = workspace_at(tmp_path)
    # The experiment of the copied database keeps its artifacts where that was made.
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        connection.execute("UPDATE experiments SET artifact_location = ?", (made.artifacts.as_uri(),))
    return made


@pytest.fixture
def drawing(monkeypatch):
    """Draws a figure, and gives what it drew: the matplotlib figure and its `Drawn`."""
    kept = []
    whole = style.text_of

    def watched(figure):
        kept.append(figure)
        return whole(figure)

    def draw(name, *arguments):
        monkeypatch.setattr(module(name), "text_of", watched)
        made = getattr(module(name), name)(*arguments)
        return (None, None) if made is None else (kept[-1], made)

    return draw
