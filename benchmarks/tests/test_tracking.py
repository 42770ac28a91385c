"""MLflow is a view of the records: live, idempotent, complete, made again from them; its store may be broken."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from unittest.mock import MagicMock

import made_up
import pytest
import torch
from delrec_bench import app, records, results, tracking
from delrec_bench.config import Request, resolve
from delrec_bench.errors import BenchError
from delrec_bench.records.store import store_text
from delrec_bench.runs.single import perform
from delrec_bench.runs.trained import network_of
from delrec_bench.tracking import Follower, follow, log_page, runs_from_mlflow, sync
from delrec_bench.tracking.mlflow_store import Store, texts
from delrec_bench.workspace import locked, workspace_at
from mlflow import MlflowClient
from short_runs import METHODS, TASKS, TINY

pytestmark = pytest.mark.mlflow


def run(method="lif", repetition=0, **changes):
    return made_up.record(method, "digits", repetition, **changes)


def children(workspace):
    with tracking.opened(workspace) as opened:
        found = opened.client.search_runs([opened.experiment])
        return opened.client, {r.data.tags["delrec.key"]: r for r in found if "delrec.key" in r.data.tags}


def losses(client, run):
    return sorted((m.step, m.value, m.timestamp) for m in client.get_metric_history(run.info.run_id, "loss"))


SCORES = {
    "digits/lif": 0.5,
    "shd:mine@12345678/lif": 0.75,
    "formants-35/delrec-axonal (delay_high 80.0)": 0.25,
    "shd:../ü$ &@12345678/a//b (hidden [8, 8])": 0.125,
    "digits/" + 300 * "x": 0.0625,
}


def test_a_record_becomes_a_run_below_its_study_which_carries_page_and_mean_scores(workspace, tmp_path):
    record = run()
    summary = sync(workspace, [record, run("rlif")], study_of={record.key: "leaderboard"})
    assert (summary.added, summary.replaced, summary.unchanged) == (2, 0, 0)
    page = tmp_path / "leaderboard.html"
    page.write_text("<p>the page</p>")
    for _ in range(2):
        log_page(workspace, "leaderboard", SCORES, [page])
    client, runs = children(workspace)
    child = runs[record.key]
    tags = client.get_experiment(child.info.experiment_id).tags
    assert tags["mlflow.experimentKind"] == "custom_model_development", "its page opens on training runs"
    assert child.data.params["network.hidden"] == "[42, 42]"
    assert child.data.metrics["result.test_score"] == record.score
    assert "result.predictions" not in child.data.metrics
    assert child.data.tags["delrec.data_digest"] == record.data["digest"]
    assert child.info.end_time - child.info.start_time == 12_000
    assert {a.path for a in client.list_artifacts(child.info.run_id)} == {"record.json"}
    assert "mlflow.parentRunId" not in runs[run("rlif").key].data.tags
    study = client.get_run(child.data.tags["mlflow.parentRunId"])
    assert study.info.run_name == "leaderboard"
    assert sorted(study.data.metrics.values()) == sorted(SCORES.values())
    assert {"digits/lif", "formants-35/delrec-axonal delay_high 80.0"} < set(study.data.metrics)
    assert [file.path for file in client.list_artifacts(study.info.run_id)] == ["leaderboard.html"]


def test_syncing_again_duplicates_nothing_and_replaces_a_record_made_again(workspace, monkeypatch):
    made = [run(repetition=r) for r in range(6)]
    with ThreadPoolExecutor(2) as threads:
        summaries = list(threads.map(lambda _: sync(workspace, made), range(2)))
    assert sorted((one.added, one.unchanged) for one in summaries) == [(0, 6), (6, 0)]
    with tracking.opened(workspace) as opened:
        before = [r.to_dictionary() for r in opened.runs()]
    assert sorted(r["data"]["tags"]["delrec.key"] for r in before) == sorted(r.key for r in made)
    assert sync(workspace, made, study_of={made[0].key: "another"}).unchanged == 6, "a study moves no run"
    with tracking.opened(workspace) as opened:
        assert [r.to_dictionary() for r in opened.runs()] == before
    again = made[0].changed(measured=made[0].measured | {"wall_seconds": 9.0})
    read = []
    monkeypatch.setattr(Store, "runs", lambda *of, runs=Store.runs: read.append(runs(*of)) or read[-1])
    assert sync(workspace, [again]).replaced == 1
    assert max(map(len, read)) == 1, "all runs were read to sync one, seconds in a store of a thousand"
    assert children(workspace)[1][again.key].data.metrics["measured.wall_seconds"] == 9.0
    busy = pytest.raises(BenchError, match="is in use: another process has held")
    with locked(workspace.database), busy, tracking.opened(workspace, seconds=0.05):
        pass


def test_an_interrupted_sync_is_completed(workspace, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    for name in ("log_batch", "log_text", "set_terminated", "set_tag"):
        with monkeypatch.context() as patch:
            patch.setattr(MlflowClient, name, interrupted)
            with pytest.raises(KeyboardInterrupt):
                sync(workspace, [run()])
    sync(workspace, [run()])
    assert runs_from_mlflow(workspace)[0] == [run()]
    client, runs = children(workspace)
    assert runs[run().key].data.params == texts(run().configuration)
    assert [n for n, _, _ in losses(client, runs[run().key])] == list(range(1, 11))


def test_mlflow_holds_the_records_as_they_were_and_may_be_deleted(workspace, capsys):
    known = {("digits", "lif"), ("digits", "counts"), ("mackey-glass", "rlif")}
    made = [r for r in made_up.everything(repetitions=2) if (r.task, r.method) in known]
    sync(workspace, made)
    assert store_text(*runs_from_mlflow(workspace)) == store_text(made)
    assert results("mlflow", root=str(workspace.root)).equals(records.table(made))
    path, *_ = workspace.artifacts.rglob("record.json")
    path.write_text(path.read_text().replace('"repetition":', '"repetition":9'))
    assert len(runs_from_mlflow(workspace)[0]) == len(made) - 1
    assert "cannot be read: " in (said := capsys.readouterr().err) and "it was modified" in said
    path.unlink()
    with pytest.raises(BenchError, match="has lost its record.json; delete the run, and sync again"):
        runs_from_mlflow(workspace)
    workspace.database.unlink()
    assert sync(workspace, made).added == len(made)
    assert store_text(*runs_from_mlflow(workspace)) == store_text(made)


def test_a_run_that_failed_is_there_with_its_error_until_it_ends_well(workspace):
    diverged, other = (made_up.failure_of(run(repetition=r)) for r in (0, 1))
    other = other.model_copy(update={"diverged": False, "error": "of memory"})
    made = [diverged, other, run(repetition=2)]
    assert sync(workspace, made).added == 3 and sync(workspace, made).unchanged == 3
    assert runs_from_mlflow(workspace) == ([made[2]], sorted([diverged, other], key=lambda failure: failure.key))
    table = results("mlflow", root=str(workspace.root))
    assert table.score.isna().sum() == 1 and table.equals(records.table([made[2]], [diverged])), "as of a folder"
    found = children(workspace)[1]
    assert [found[one.key].info.status for one in made] == ["FAILED", "FAILED", "FINISHED"]
    assert found[other.key].data.tags["delrec.error"] == "of memory"
    assert found[other.key].data.params["network.hidden"] == "[42, 42]"
    again = run(repetition=1)
    assert sync(workspace, [diverged, again]).replaced == 1
    assert runs_from_mlflow(workspace) == ([again, made[2]], [diverged])
    assert children(workspace)[1][again.key].info.status == "FINISHED"
    for runs in ([other], [other, again], [again, other]):
        assert sync(workspace, runs).unchanged == len(runs), "it failed on another machine, which uses the same server"
        assert runs_from_mlflow(workspace) == ([again, made[2]], [diverged])


def test_a_failed_run_that_is_tried_again_goes_on_where_it_stood(workspace, monkeypatch):
    failure = made_up.failure_of(run())
    sync(workspace, [failure], study_of={failure.key: "mine"})
    history(workspace, run(), 3)
    with follow(workspace, print, [run()], seconds=60.0):
        pass
    assert children(workspace)[1][failure.key].info.status == "KILLED"
    assert sync(workspace, [failure]).added == 1
    assert children(workspace)[1][failure.key].info.status == "FAILED"
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_terminated", MagicMock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            sync(workspace, [failure.model_copy(update={"attempts": 2})])
    sync(workspace, [run()])
    client, runs = children(workspace)
    found = runs[failure.key]
    assert found.info.status == "FINISHED" and "mlflow.parentRunId" in found.data.tags
    assert not {"delrec.error", "delrec.diverged"} & set(found.data.tags)
    assert [when for _, _, when in losses(client, found)][:3] == [1767323040250 + 1000 * n for n in (1, 2, 3)]
    assert runs_from_mlflow(workspace) == ([run()], [])


def test_a_single_run_that_fails_is_there_with_its_error(workspace, checkout, monkeypatch):
    def torn(*_):
        raise OSError("cannot open caf\udce9.txt")  # a name that is not UTF-8

    monkeypatch.setattr("delrec_bench.runs.single._made", torn)
    assert app.main(["run", "lif", "digits", "--limit", "40", "--epochs", "1"]) == 1
    (failure,) = runs_from_mlflow(workspace_at(checkout))[1]
    assert r"OSError: cannot open caf\udce9.txt" in failure.error
    with pytest.raises(BenchError, match="failed_at"):
        type(failure)(**failure.model_dump() | {"failed_at": "yesterday"})


def test_the_checkpoint_in_mlflow_is_the_network_that_was_scored(workspace):
    ready = resolve(Request("delrec-axonal", "digits", overrides=TINY), METHODS, TASKS, workspace)
    record = perform(ready, workspace)[0]
    sync(workspace, [record])
    with tracking.opened(workspace) as store:
        run_id = store.by_key()[record.key].info.run_id
        network = network_of(record, Path(store.client.download_artifacts(run_id, "checkpoint.pt")), METHODS)
    samples = torch.arange(len(ready.data.test))
    with torch.no_grad(), network.deployed():
        scores = network.classify(ready.data.test.batch(samples))
    assert scores.argmax(1).tolist() == record.predictions.array.tolist()
    assert record.groups is None and set(record.fingerprint) == {"logits", "gradient"}
    checkpoint = workspace.runs / record.key / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:200])
    with pytest.raises(BenchError, match=r"checkpoint\.pt cannot be read as tensors and numbers"):
        network_of(record, checkpoint, METHODS)
    again = record.changed(measured=record.measured | {"wall_seconds": 9.0})
    summary = sync(workspace, [again, run(repetition=1)])
    assert (summary.replaced, summary.added) == (1, 1), "a truncated checkpoint stops no sync"


def script(sql):
    return lambda database, _: sqlite3.connect(database).executescript(sql)


def raises(call, error):
    return lambda _, patch: patch.setattr(MlflowClient, call, MagicMock(side_effect=error))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda database, _: database.write_bytes(b"this is not a database" * 100), "file is not a database"),
        (script("DROP TABLE metrics"), "OperationalError"),
        (raises("log_batch", OSError(28, "No space left on device")), "No space left on device"),
        (raises("get_experiment_by_name", ValueError("No such constraint")), "No such constraint"),  # alembic's
    ],
)
def test_a_store_that_is_broken_is_told_in_one_line_with_what_to_do(workspace, migrated, monkeypatch, change, words):
    workspace.database.write_bytes(migrated().read_bytes())
    change(workspace.database, monkeypatch)
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
    assert runs_from_mlflow(workspace)[0] == [run()]


def test_another_tracking_uri_is_respected(workspace, tmp_path, migrated, monkeypatch):
    other = tmp_path / "elsewhere.db"
    other.write_bytes(migrated().read_bytes())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{other}")
    assert "elsewhere.db" in str(sync(workspace, [run()]))
    assert runs_from_mlflow(workspace)[0] == [run()] and not workspace.database.exists()
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true" and os.environ["DO_NOT_TRACK"] == "1"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(BenchError, match="127.0.0.1:9 cannot be used"):
        sync(workspace, [run()])


def history(workspace, record, epochs, more=""):
    """A worker's file after so many epochs, one a second."""
    path = workspace.runs / record.key / "history.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [entry | {"time": f"2026-01-02T03:04:{n:02}.250+00:00"} for n, entry in enumerate(record.history, 1)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines[:epochs]) + more)


def test_runs_are_seen_live_epoch_by_epoch_at_their_own_times(workspace):
    one, two = run(), run(repetition=1)
    follower = Follower(workspace, [one, two], "mine")
    history(workspace, one, 0)
    number = b'{"epoch": "one", "time": "2026-01-02T03:04:05+00:00"}\n'
    for damaged in (b"", b"\xff\xfe\n", b"[]\n", number, b"[" * 9999 + b"\n"):
        (workspace.runs / one.key / "history.jsonl").write_bytes(damaged)
        follower.poll()
    history(workspace, one, 3, more='{"epoch": 4, "lo')  # the fourth line is being written
    follower.poll()
    client, runs = children(workspace)
    assert set(runs) == {one.key} and runs[one.key].info.status == "RUNNING"
    start = 1767323040250
    assert losses(client, runs[one.key]) == [(n, 2.0 / n, start + 1000 * n) for n in (1, 2, 3)]
    assert runs[one.key].data.params["arithmetic"] == "portable"
    assert client.get_run(runs[one.key].data.tags["mlflow.parentRunId"]).info.run_name == "mine"
    history(workspace, one, 5)
    history(workspace, two, 1)
    follower.poll()
    again = Follower(workspace, [one, two])  # the parent was killed
    history(workspace, one, 6)
    again.poll()
    history(workspace, one, 10)
    again.end(one.key, "FINISHED")
    again.end(two.key, "FAILED")
    again.poll()
    client, runs = children(workspace)
    assert {key: found.info.status for key, found in runs.items()} == {one.key: "FINISHED", two.key: "FAILED"}
    sync(workspace, [one, two])
    client, runs = children(workspace)
    assert {found.info.status for found in runs.values()} == {"FINISHED"}
    assert losses(client, runs[one.key]) == [(n, 2.0 / n, start + 1000 * n) for n in range(1, 11)]


def test_a_thread_follows_and_an_interrupt_kills_what_has_not_ended(workspace):
    one, two, said = run(), run(repetition=1), []
    with pytest.raises(KeyboardInterrupt), follow(workspace, said.append, [one, two], seconds=0.01) as live:
        history(workspace, one, 2)
        history(workspace, two, 2)
        live.end(two.key, "FINISHED")
        raise KeyboardInterrupt
    client, runs = children(workspace)
    assert {key: found.info.status for key, found in runs.items()} == {one.key: "KILLED", two.key: "FINISHED"}
    assert len(losses(client, runs[one.key])) == 2 and said == []
    workspace.database.write_bytes(b"garbage" * 1000)  # said once, and stops nothing
    with follow(workspace, said.append, [one], seconds=0.01):
        history(workspace, one, 4)
    assert len(said) == 1 and "is not a database" in said[0]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_single_run_is_live_and_killed_by_an_interrupt(workspace, monkeypatch):
    workspace.root.joinpath("data.dvc").touch()
    words = ["run", "lif", "digits", "--limit", "100", "--epochs", "100000", "--set", "hidden=8", "--root"]
    command = [sys.executable, "-m", "delrec_bench.app", *words, str(workspace.root)]
    children(workspace)  # makes the database
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # in the background, a shell has it ignored
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, preexec_fn=heard)
    while not (runs := children(workspace)[1]):
        assert process.poll() is None
        time.sleep(0.5)
    assert [found.info.status for found in runs.values()] == ["RUNNING"]
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert [*workspace.runs.rglob("resume.pt")], "the run goes on from its last epoch"
    client, runs = children(workspace)
    (found,) = runs.values()
    assert found.info.status == "KILLED" and len(losses(client, found)) > 1
    assert "mlflow.parentRunId" not in found.data.tags
