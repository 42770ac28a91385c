"""MLflow is a view of the records: seen live, idempotent, complete, and made again from them at any time."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import made_up
import mlflow
import pytest
import torch
from delrec_bench import records
from delrec_bench.config import Request, resolve
from delrec_bench.errors import BenchError
from delrec_bench.methods.base import find_methods
from delrec_bench.records import tracking
from delrec_bench.records.tracking import Begun, Follower, begun, follow, records_from_mlflow, store, sync, writing
from delrec_bench.records.tracking.values import flat
from delrec_bench.runs.models import network_of, with_example
from delrec_bench.runs.single import perform
from delrec_bench.tasks.base import find_tasks
from delrec_bench.workspace import locked, workspace_at
from mlflow import MlflowClient


@pytest.fixture(scope="module")
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


def run(method="lif", repetition=0, **changes):
    return made_up.record(method, "digits", repetition, **changes)


def children(workspace):
    with tracking.opened(workspace) as opened:
        found = opened.client.search_runs([opened.experiment])
        return opened.client, {r.data.tags["delrec.key"]: r for r in found if "delrec.key" in r.data.tags}


def history(workspace, record, epochs, first=1, more=""):
    """A worker's file after so many epochs, one a second."""
    path = workspace.runs / record.key / "history.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [entry | {"time": f"2026-01-02T03:04:{n:02}.250+00:00"} for n, entry in enumerate(record.history, 1)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines[first - 1 : epochs]) + more)


def losses(client, run):
    return sorted((m.step, m.value, m.timestamp) for m in client.get_metric_history(run.info.run_id, "loss"))


def test_a_record_becomes_a_run_below_its_method_below_its_study(workspace):
    record = run()
    summary = sync(workspace, [record, run(repetition=1), run(study=None, method="rlif")])
    assert (summary.added, summary.replaced, summary.unchanged) == (3, 0, 0)
    client, runs = children(workspace)
    child = runs[record.key]
    method = client.get_run(child.data.tags["mlflow.parentRunId"])
    study = client.get_run(method.data.tags["mlflow.parentRunId"])
    assert (method.info.run_name, study.info.run_name) == ("lif", "leaderboard")
    assert child.data.params["network.hidden"] == "[42, 42]"
    assert child.data.metrics["result.test_score"] == record.score
    assert "result.predictions" not in child.data.metrics
    (given,) = child.inputs.dataset_inputs
    assert given.dataset.name == "digits" and given.dataset.digest == record.data["digest"][:36]
    assert json.loads(given.dataset.source) == {"uri": "data/digits"}
    assert child.data.tags["delrec.data_digest"] == record.data["digest"]
    assert child.data.tags["mlflow.source.git.commit"] == "0123456789abcdef"
    assert child.info.end_time - child.info.start_time == 12_000
    assert {a.path for a in client.list_artifacts(child.info.run_id)} == {"record.json"}


def test_its_page_opens_on_training_runs(workspace):
    client = MlflowClient(tracking.tracking_uri(workspace))
    with tracking.opened(workspace) as opened:
        tags = opened.client.get_experiment(opened.experiment).tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    assert client.get_experiment_by_name("delrec-bench") is not None
    pages = Path(mlflow.__file__).parent / "server" / "js" / "build" / "static" / "js"
    if pages.is_dir():  # the value is one that this MLflow's own page knows
        assert any('="custom_model_development"' in p.read_text("utf-8", "ignore") for p in pages.glob("*.js"))


def test_runs_are_seen_live_epoch_by_epoch_at_their_own_times(workspace):
    one, two = run(), run(repetition=1)
    follower = Follower(workspace, [begun(one), begun(two)])
    assert follower.poll() == 0
    history(workspace, one, 3, more='{"epoch": 4, "lo')  # the fourth line is being written
    assert follower.poll() == 3
    client, runs = children(workspace)
    assert set(runs) == {one.key} and runs[one.key].info.status == "RUNNING"
    start = 1767323040250
    assert losses(client, runs[one.key]) == [(n, 2.0 / n, start + 1000 * n) for n in (1, 2, 3)]
    assert runs[one.key].data.params["profile"] == "quick"
    assert follower.poll() == 0
    history(workspace, one, 5)
    history(workspace, two, 1)
    assert follower.poll() == 3
    again = Follower(workspace, [begun(one), begun(two)])  # the parent was killed
    history(workspace, one, 6)
    again.poll()
    history(workspace, one, 10)  # what the parent did not see any more, the sync reads
    sync(workspace, [one, two])
    client, runs = children(workspace)
    assert len(runs) == 2 and {r.info.status for r in runs.values()} == {"FINISHED"}
    assert losses(client, runs[one.key]) == [(n, 2.0 / n, start + 1000 * n) for n in range(1, 11)]


def test_the_store_is_read_once_however_many_runs_begin(workspace, monkeypatch):
    runs, reads, whole = [run(repetition=r) for r in range(5)], [], writing._all
    monkeypatch.setattr(writing, "_all", lambda store: reads.append(1) or whole(store))
    follower = Follower(workspace, [begun(one) for one in runs])
    for one in runs[:3]:
        history(workspace, one, 1)
        assert follower.poll() == 1
    assert len(reads) == 1
    history(workspace, runs[3], 1)
    assert Follower(workspace, [begun(runs[3])]).poll() == 1  # another process was the first with this run
    follower.poll()
    assert set(children(workspace)[1]) == {one.key for one in runs[:4]} and len(reads) == 2
    workspace.database.unlink()  # another store, of which nothing is known
    history(workspace, runs[4], 1)
    assert follower.poll() == 1 and len(reads) == 3
    assert set(children(workspace)[1]) == {runs[4].key}


def test_two_processes_that_begin_at_once_share_a_study(workspace):
    one, two = run(), run(repetition=1)
    first, second = Follower(workspace, [begun(one)]), Follower(workspace, [begun(one), begun(two)])
    with tracking.opened(workspace) as opened:  # both have read the store while it was empty
        first._known, second._known = writing.Runs(opened), writing.Runs(opened)
    for record, follower in ((one, first), (two, second)):
        history(workspace, record, 1)
        follower.poll()
    client, runs = children(workspace)
    assert set(runs) == {one.key, two.key}
    assert len({r.data.tags["mlflow.parentRunId"] for r in runs.values()}) == 1
    groups = [r for r in client.search_runs([opened.experiment]) if "delrec.key" not in r.data.tags]
    assert len(groups) == 2  # the study, and its method


def test_a_damaged_history_stops_nothing(workspace):
    one = run()
    path = workspace.runs / one.key / "history.jsonl"
    number = b'{"epoch": true, "time": "2026-01-02T03:04:05+00:00"}\n'
    for content in (b"\xff\xfe\n", b"[]\n", number, b"[" * 9999 + b"\n"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        assert Follower(workspace, [begun(one)]).poll() == 0
    sync(workspace, [one])
    assert records_from_mlflow(workspace) == [one]


def test_a_thread_follows_and_trouble_is_said_once_and_stops_nothing(workspace):
    one, said = run(), []
    with follow(workspace, [begun(one)], said.append, seconds=0.01):
        history(workspace, one, 2)
    client, runs = children(workspace)
    assert len(losses(client, runs[one.key])) == 2 and said == []
    workspace.database.write_bytes(b"garbage" * 1000)
    with follow(workspace, [begun(one)], said.append, seconds=0.01):
        history(workspace, one, 4)
    assert len(said) == 1 and "is not a database" in said[0]


def test_syncing_twice_changes_nothing(workspace):
    made = [run(repetition=r) for r in range(2)]
    sync(workspace, made)
    before = {k: r.to_dictionary() for k, r in children(workspace)[1].items()}
    summary = sync(workspace, made)
    assert (summary.added, summary.replaced, summary.unchanged) == (0, 0, 2)
    assert {k: r.to_dictionary() for k, r in children(workspace)[1].items()} == before


def test_two_syncs_at_once_do_not_duplicate(workspace):
    made = [run(repetition=r) for r in range(6)]
    threads = [threading.Thread(target=sync, args=(workspace, made)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with tracking.opened(workspace) as opened:
        found = [r for r in opened.client.search_runs([opened.experiment]) if "delrec.key" in r.data.tags]
    assert sorted(r.data.tags["delrec.key"] for r in found) == sorted(r.key for r in made)


def test_a_duplicate_of_another_machine_is_removed(workspace):
    sync(workspace, [run()])
    with tracking.opened(workspace) as opened:
        opened.client.create_run(opened.experiment, tags={"delrec.key": run().key})
    assert sync(workspace, [run()]).unchanged == 1
    assert len(children(workspace)[1]) == 1


def test_a_record_made_again_replaces_its_run(workspace):
    sync(workspace, [run()])
    again = run().changed(measured={"wall_seconds": 9.0})
    summary = sync(workspace, [again])
    assert (summary.added, summary.replaced) == (0, 1)
    assert children(workspace)[1][again.key].data.metrics["measured.wall_seconds"] == 9.0
    assert sync(workspace, [again.changed(study="tuned")]).replaced == 1


def test_an_interrupted_sync_is_completed(workspace, monkeypatch):
    for name in ("log_batch", "log_inputs", "log_text", "set_terminated"):
        with monkeypatch.context() as patch:
            patch.setattr(MlflowClient, name, interrupted)
            with pytest.raises(KeyboardInterrupt):
                sync(workspace, [run()])
    sync(workspace, [run()])
    assert records_from_mlflow(workspace) == [run()]
    client, runs = children(workspace)
    assert runs[run().key].data.params == flat(run().configuration)
    assert [n for n, _, _ in losses(client, runs[run().key])] == list(range(1, 11))


def test_a_page_from_mlflow_alone_is_byte_for_byte_that_of_the_records(workspace):
    made = [r for r in made_up.everything(repetitions=1) if r.task == "mackey-glass" or r.method in ("lif", "counts")]
    for record in made:
        records.write_record(workspace.runs / record.key / "record.json", record)
    sync(workspace, made)
    shutil.rmtree(workspace.runs)
    for_page = {record.key for record in made if record.task == "digits"}
    from_mlflow = tracking.records_of(workspace, "mlflow", for_page)
    assert records.page_text(from_mlflow) == records.page_text(r for r in made if r.key in for_page)
    assert len(records_from_mlflow(workspace)) == len(made)


def test_deleted_artifacts_are_restored(workspace):
    made = [run(repetition=r) for r in range(2)]
    sync(workspace, made)
    shutil.rmtree(workspace.artifacts)
    with pytest.raises(BenchError, match="has lost its record.json: sync again"):
        records_from_mlflow(workspace)
    summary = sync(workspace, made)
    assert (summary.added, summary.restored) == (0, 2)
    assert records_from_mlflow(workspace) == made


def test_artifacts_whose_restoring_was_cut_short_are_restored_again(workspace, monkeypatch):
    checkpoint = workspace.runs / run().key / "checkpoint.pt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"weights")
    sync(workspace, [run()])
    log = MlflowClient.log_text

    def half(self, run_id, text, name):
        log(self, run_id, text[: len(text) // 2], name)
        raise KeyboardInterrupt

    for stopped, how in (("log_artifact", interrupted), ("log_text", half)):
        shutil.rmtree(workspace.artifacts)
        with monkeypatch.context() as patch:
            patch.setattr(MlflowClient, stopped, how)
            with pytest.raises(KeyboardInterrupt):
                sync(workspace, [run()])
        assert sync(workspace, [run()]).restored == 1
        assert records_from_mlflow(workspace) == [run()]
        assert len(list(workspace.artifacts.rglob("checkpoint.pt"))) == 1


def test_what_a_killed_upload_left_is_swept_a_day_later(workspace):
    sync(workspace, [run()])
    (whole,) = workspace.artifacts.rglob("record.json")
    old, new = (whole.with_name(f".artifact.uploading.{name}") for name in ("abcdefgh", "ijklmnop"))
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    sync(workspace, [run()])
    assert not old.exists() and new.exists()
    assert records_from_mlflow(workspace) == [run()]


def interrupted(*_, **__):
    raise KeyboardInterrupt


def test_a_record_altered_in_mlflow_is_refused(workspace):
    sync(workspace, [run()])
    (path,) = workspace.artifacts.rglob("record.json")
    path.write_text(path.read_text().replace('"method":"lif"', '"method":"rlif"'))
    with pytest.raises(BenchError, match="it was altered"):
        records_from_mlflow(workspace)


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


def test_a_store_that_another_program_locks_is_named_with_what_to_do(workspace, monkeypatch):
    monkeypatch.setattr(store, "BUSY_SECONDS", 0.05)
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
        "from delrec_bench.records import tracking; from delrec_bench.records.tracking import store;"
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


def test_a_runs_network_comes_back_by_mlflow_pytorch(workspace):
    record = run()
    checkpoint = workspace.runs / record.key / "checkpoint.pt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"weights")
    network = torch.nn.Linear(3, 2)
    example = torch.ones(5, 3)

    def model_of(made, path):
        assert made == record and path == checkpoint
        return network, example.numpy(), network(example).detach().numpy()

    sync(workspace, [record], model_of)
    client, runs = children(workspace)
    files = workspace.artifacts / runs[record.key].info.run_id / "artifacts"
    assert (files / "checkpoint.pt").read_bytes() == b"weights"
    back = tracking.load_model(workspace, record.key[:10])
    assert torch.equal(back(example), network(example))
    assert "MLFLOW_TRACKING_URI" not in os.environ
    address = f"runs:/{runs[record.key].info.run_id}/model"
    with tracking.opened(workspace) as opened, opened.fluent():
        assert torch.equal(mlflow.pytorch.load_model(address).weight, network.weight)
        signature = mlflow.models.get_model_info(address).signature
    assert list(workspace.artifacts.glob("models/*/artifacts/MLmodel"))
    assert signature.inputs.inputs[0].shape == (-1, 3)
    assert client.get_run(runs[record.key].info.run_id).info.status == "FINISHED"
    with pytest.raises(BenchError, match="holds 0 runs whose key begins with 'zz'"):
        tracking.load_model(workspace, "zz")
    sync(workspace, [run("rlif")])
    with pytest.raises(BenchError, match="no network of run"):
        tracking.load_model(workspace, run("rlif").key)


def test_the_network_of_a_real_run_says_the_same_as_its_checkpoint(workspace):
    methods, tasks = find_methods(), find_tasks()
    overrides = (("network.hidden", [6]), ("task.limit", 40), ("task.test_limit", 30), ("training.epochs", 1))
    ready = resolve(Request("delrec-axonal", "digits", overrides=overrides), methods, tasks, workspace)
    record = perform(ready, workspace).record
    sync(workspace, [record], partial(with_example, methods=methods))
    network = tracking.load_model(workspace, record.key)
    saved = torch.load(workspace.runs / record.key / "checkpoint.pt", weights_only=True)["state_dict"]
    assert all(torch.equal(value, saved[name]) for name, value in network.state_dict().items())
    test = ready.data.test
    with network.deployed(), torch.no_grad():
        classes = network.predict(network.classify(test.batch(torch.arange(len(test)))))
    assert classes.tolist() == record.predictions.tolist()
    assert record.groups is None and set(record.early) == {"losses", "logits"}
    checkpoint = workspace.runs / record.key / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:200])
    with pytest.raises(BenchError, match=r"checkpoint\.pt gives no network of record"):
        network_of(record, checkpoint, methods)


def test_nothing_is_reported_home():
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true" and os.environ["DO_NOT_TRACK"] == "1"


def test_what_is_begun_needs_no_record():
    assert begun(run()) == Begun(
        key=run().key,
        method="lif",
        task="digits",
        repetition=0,
        study="leaderboard",
        configuration=run().configuration,
        command=run().command,
    )
