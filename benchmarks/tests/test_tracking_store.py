"""MLflow's store: made whole or not at all; deleted, locked, older, broken, elsewhere."""

import os
import shutil
import sqlite3
import subprocess
import sys

import mlflow
import pytest
from delrec_bench import tracking
from delrec_bench.errors import BenchError
from delrec_bench.tracking import database, records_from_mlflow, sync
from delrec_bench.workspace import locked, workspace_at
from mlflow import MlflowClient
from tracked import run


def test_a_store_that_another_program_locks_is_named_with_what_to_do(workspace, monkeypatch):
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    with sqlite3.connect(workspace.database) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(BenchError, match=r"mlflow\.db is locked by another program"):
            sync(workspace, [run()])
    busy = pytest.raises(BenchError, match="is in use: another process has held")
    with locked(workspace.database), busy, tracking.opened(workspace, seconds=0.05):
        pass


def script(text):
    return lambda path: sqlite3.connect(path).executescript(text)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: path.write_bytes(b"this is not a database" * 100), "is not a database that can be read"),
        (lambda path: path.write_bytes(b""), "has no finished schema: delete it"),
        (script("UPDATE alembic_version SET version_num = 'abc'"), "run 'mlflow db upgrade"),
        (script("DELETE FROM alembic_version"), "of no version"),
        (script("DROP TABLE metrics"), "is not a database that can be read"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot be opened"),
    ],
)  # fmt: skip
def test_a_store_that_is_older_or_broken_is_told_apart(workspace, change, words):
    change(workspace.database)
    with pytest.raises(BenchError) as error:
        sync(workspace, [run()])
    assert words in str(error.value) and "mlflow.db" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (sqlite3.OperationalError("attempt to write a readonly database"), "make it and its folder writable"),
        (sqlite3.OperationalError("database or disk is full"), "make room"),
        (OSError(28, "No space left on device"), "make room"),
        (mlflow.MlflowException("API request failed: Max retries exceeded with url"), "start the server"),
        (mlflow.MlflowException("something\nelse"), "failed (MlflowException: something else)"),
    ],
)
def test_each_trouble_has_its_own_remedy(workspace, monkeypatch, error, words):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(MlflowClient, "log_batch", fail)
    with pytest.raises(BenchError) as told:
        sync(workspace, [run()])
    assert words in str(told.value) and "\n" not in str(told.value)


def test_a_kill_while_the_schema_is_made_leaves_no_database(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from delrec_bench.workspace import workspace_at;"
        "from delrec_bench import tracking; from delrec_bench.tracking import database as store;"
        "import sqlalchemy.event, sqlalchemy.engine\n"
        "count = [0]\n"
        "def kill(*_):\n count[0] += 1\n if count[0] == int(sys.argv[2]): os.kill(os.getpid(), 9)\n"
        "sqlalchemy.event.listen(sqlalchemy.engine.Engine, 'before_cursor_execute', kill)\n"
        "tracking.opened(workspace_at(Path(sys.argv[1]))).__enter__()"
    )
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    for at in (5, 120):
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path), str(at)], env=environment, check=False)
        assert done.returncode == -9 and not (tmp_path / "mlflow.db").exists()
    assert list(tmp_path.glob(".mlflow.db.new-*"))
    with tracking.opened(workspace_at(tmp_path)):
        assert (tmp_path / "mlflow.db").exists() and not list(tmp_path.glob(".mlflow.db.new-*"))


def test_another_tracking_uri_is_respected(workspace, tmp_path, migrated, monkeypatch):
    other = tmp_path / "elsewhere" / "other.db"
    other.parent.mkdir()
    shutil.copy(workspace.database, other)
    before = workspace.database.read_bytes()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{other}")
    assert "other.db" in str(sync(workspace, [run()]))
    assert records_from_mlflow(workspace) == [run()]
    assert workspace.database.read_bytes() == before
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(BenchError, match="127.0.0.1:9 does not answer: start the server"):
        sync(workspace, [run()])


def test_nothing_is_reported_home():
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true" and os.environ["DO_NOT_TRACK"] == "1"


def test_deleting_the_database_and_syncing_again_gives_the_same_records(workspace, migrated):
    made = [run(repetition=r) for r in range(3)]
    sync(workspace, made)
    workspace.database.unlink()
    shutil.rmtree(workspace.artifacts)
    shutil.copy(migrated, workspace.database)  # in the process that had it open
    with sqlite3.connect(workspace.database) as connection:
        connection.execute("UPDATE experiments SET artifact_location = ?", (workspace.artifacts.as_uri(),))
    assert sync(workspace, made).added == 3
    assert records_from_mlflow(workspace) == made
