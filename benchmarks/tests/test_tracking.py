"""MLflow is a view of the records: idempotent, complete, and made again from them at any time."""

import dataclasses
import shutil

import pytest
from delrec_bench import records
from delrec_bench.errors import BenchError
from delrec_bench.records import Record, run_key, tracking
from delrec_bench.workspace import workspace_at
from mlflow import MlflowClient


@pytest.fixture(scope="module")
def migrated(tmp_path_factory):
    """An empty database after its migrations, which take seconds; each test copies it."""
    workspace = workspace_at(tmp_path_factory.mktemp("migrated"))
    MlflowClient(tracking.tracking_uri(workspace)).search_experiments()
    return workspace.database


@pytest.fixture
def workspace(tmp_path, migrated):
    shutil.copy(migrated, tmp_path / "mlflow.db")
    return workspace_at(tmp_path)


def run(method="lif", repetition=0, study="leaderboard"):
    configuration = {
        "method": method,
        "task": {"name": "digits", "steps": 64},
        "training": {"epochs": 2, "hidden": [64, 64]},
        "seeds": {"split": repetition},
    }
    return Record(
        kind="run",
        key=run_key(configuration, {"digest": "d" * 64}),
        method=method,
        task="digits",
        repetition=repetition,
        configuration=configuration,
        data={"kind": "EMBEDDED", "digest": "d" * 64, "files": {"digits.npz": "e" * 32}, "steps": 64},
        metric="accuracy",
        result={"test_score": 0.5, "correct": 1, "total": 2, "predictions": [0, 1], "targets": [0, 0]},
        study=study,
        history=[
            {"epoch": e, "loss": 2.0 - e, "valid_accuracy": 0.4 + 0.1 * e, "rates": {"0": 0.05}} for e in range(3)
        ],
        parameters={"weights": 10, "total": 10},
        measured={"wall_seconds": 2.0, "finished_at": "2026-01-02T03:04:05+00:00"},
    )


def children(workspace):
    client, experiment = tracking._open(workspace)
    return client, {
        r.data.tags["delrec.key"]: r for r in client.search_runs([experiment]) if "delrec.key" in r.data.tags
    }


def test_a_record_becomes_a_child_run_of_its_study(workspace):
    record = run()
    checkpoint = workspace.runs / record.key / "checkpoint.pt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"weights")
    summary = tracking.sync(workspace, [record, run(repetition=1), run(study=None, method="rlif")])
    assert (summary.added, summary.replaced, summary.unchanged) == (3, 0, 0)
    client, runs = children(workspace)
    child = runs[record.key]
    parent = client.get_run(child.data.tags["mlflow.parentRunId"])
    assert parent.info.run_name == "leaderboard"
    assert child.data.params["training.hidden"] == "[64, 64]"
    assert child.data.params["task.steps"] == "64"
    assert child.data.metrics["result.test_score"] == 0.5
    assert child.data.metrics["parameters.total"] == 10
    assert [m.value for m in client.get_metric_history(child.info.run_id, "loss")] == [2.0, 1.0, 0.0]
    assert [m.step for m in client.get_metric_history(child.info.run_id, "rates.0")] == [0, 1, 2]
    dataset = child.inputs.dataset_inputs[0].dataset
    assert dataset.name == "digits" and dataset.digest == ("d" * 64)[:36]
    assert child.data.tags["delrec.data_digest"] == "d" * 64
    assert child.info.end_time - child.info.start_time == 2000
    names = {a.path for a in client.list_artifacts(child.info.run_id)}
    assert names == {"record.json", "configuration.json", "checkpoint.pt"}
    assert (workspace.artifacts / child.info.run_id / "artifacts" / "checkpoint.pt").read_bytes() == b"weights"


def test_syncing_twice_changes_nothing(workspace):
    made = [run(repetition=r) for r in range(2)]
    tracking.sync(workspace, made)
    before = {k: r.to_dictionary() for k, r in children(workspace)[1].items()}
    summary = tracking.sync(workspace, made)
    assert (summary.added, summary.replaced, summary.unchanged) == (0, 0, 2)
    assert {k: r.to_dictionary() for k, r in children(workspace)[1].items()} == before


def test_a_record_made_again_replaces_its_run(workspace):
    tracking.sync(workspace, [run()])
    again = dataclasses.replace(run(), measured={"wall_seconds": 9.0})
    summary = tracking.sync(workspace, [again])
    assert (summary.added, summary.replaced) == (0, 1)
    _, runs = children(workspace)
    assert runs[again.key].data.metrics["measured.wall_seconds"] == 9.0


def test_an_interrupted_sync_is_completed(workspace, monkeypatch):
    def fail(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_inputs", fail)
        with pytest.raises(KeyboardInterrupt):
            tracking.sync(workspace, [run()])
    assert tracking.tracked_records(workspace) == []
    tracking.sync(workspace, [run()])
    assert tracking.tracked_records(workspace) == [run()]


def test_deleting_the_database_and_syncing_again_gives_the_same_records(workspace):
    made = [run(repetition=r) for r in range(3)]
    for record in made:
        records.write_record(workspace.runs / record.key / "record.json", record)
    tracking.sync(workspace, records.load_records(workspace.runs))
    first = tracking.tracked_records(workspace)
    workspace.database.unlink()
    shutil.rmtree(workspace.artifacts)
    tracking.sync(workspace, records.load_records(workspace.runs))  # in the process that had it open
    assert tracking.tracked_records(workspace) == first == records.load_records(workspace.runs)


def test_a_file_that_is_no_database_is_named(workspace):
    workspace.database.write_bytes(b"this is not a database" * 100)
    with pytest.raises(BenchError, match=r"mlflow\.db cannot be opened"):
        tracking.sync(workspace, [run()])


def test_nothing_is_reported_home():
    import os

    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true" and os.environ["DO_NOT_TRACK"] == "1"
