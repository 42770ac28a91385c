"""MLflow's store: deleted, locked, broken, elsewhere."""

import os
import sqlite3
import subprocess
import sys
import time
from unittest.mock import MagicMock

import pytest
from delrec_bench import tracking
from delrec_bench.errors import BenchError
from delrec_bench.tracking import records_from_mlflow, sync
from delrec_bench.workspace import locked
from mlflow import MlflowClient
from tracked import run

pytestmark = pytest.mark.mlflow


def test_one_process_at_a_time_writes(workspace):
    busy = pytest.raises(BenchError, match="is in use: another process has held")
    with locked(workspace.database), busy, tracking.opened(workspace, seconds=0.05):
        pass


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: path.write_bytes(b"this is not a database" * 100), "file is not a database"),
        (lambda path: sqlite3.connect(path).executescript("DROP TABLE metrics"), "OperationalError"),
        (lambda path: sqlite3.connect(path).executescript("UPDATE alembic_version SET version_num = 'abc'"), "schema"),
    ],
)
def test_a_store_that_is_broken_is_told_in_one_line_with_what_to_do(workspace, migrated, change, words):
    workspace.database.write_bytes(migrated().read_bytes())
    change(workspace.database)
    with pytest.raises(BenchError) as error:
        sync(workspace, [run()])
    told = str(error.value)
    assert words in told and "mlflow.db" in told and "move the store away and sync again" in told
    assert "\n" not in told


@pytest.mark.slow
def test_a_database_whose_making_is_killed_is_made_anew(workspace):
    making = (
        "import sys; from pathlib import Path; from delrec_bench.tracking.mlflow_store import make_database as make; "
    )
    process = subprocess.Popen([sys.executable, "-c", making + "make(Path(sys.argv[1]))", workspace.database])
    while not list(workspace.root.glob(".mlflow.db.*")):
        time.sleep(0.05)
    time.sleep(0.5)  # MLflow takes seconds to make its tables
    process.kill()
    process.wait()
    assert not workspace.database.exists()
    sync(workspace, [run()])
    assert records_from_mlflow(workspace) == [run()]


def test_a_folder_that_is_read_only_is_told_at_once(workspace, monkeypatch):
    refused = PermissionError(13, "Permission denied")
    monkeypatch.setattr("delrec_bench.workspace.FileLock", MagicMock(side_effect=refused))
    with pytest.raises(BenchError, match="Permission denied"):
        sync(workspace, [run()])


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("log_batch", OSError(28, "No space left on device")),
        ("get_experiment_by_name", ValueError("No such constraint")),  # alembic's, of a store made half
    ],
)
def test_what_mlflow_raises_of_its_store_is_told_in_one_line(workspace, monkeypatch, call, error):
    monkeypatch.setattr(MlflowClient, call, MagicMock(side_effect=error))
    with pytest.raises(BenchError, match=error.args[-1]):
        sync(workspace, [run()])


def test_another_tracking_uri_is_respected(workspace, tmp_path, migrated, monkeypatch):
    other = tmp_path / "elsewhere.db"
    other.write_bytes(migrated().read_bytes())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{other}")
    assert "elsewhere.db" in str(sync(workspace, [run()]))
    assert records_from_mlflow(workspace) == [run()] and not workspace.database.exists()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(BenchError, match="127.0.0.1:9 cannot be used"):
        sync(workspace, [run()])


def test_nothing_is_reported_home():
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true" and os.environ["DO_NOT_TRACK"] == "1"


def test_a_deleted_database_is_filled_again_by_the_process_that_had_it_open(workspace):
    made = [run(repetition=r) for r in range(3)]
    for _ in range(2):
        assert sync(workspace, made).added == 3
        assert records_from_mlflow(workspace) == made
        workspace.database.unlink()
