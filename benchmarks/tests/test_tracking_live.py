"""Runs are seen in MLflow while they are made, epoch by epoch, and end there when they end."""

import json
import signal
import subprocess
import sys
import time

import pytest
from delrec_bench import tracking
from delrec_bench.tracking import Follower, follow, records_from_mlflow, sync
from tracked import children, losses, run

pytestmark = pytest.mark.mlflow


def history(workspace, record, epochs, more=""):
    """A worker's file after so many epochs, one a second."""
    path = workspace.runs / record.key / "history.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [entry | {"time": f"2026-01-02T03:04:{n:02}.250+00:00"} for n, entry in enumerate(record.history, 1)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines[:epochs]) + more)


def test_runs_are_seen_live_epoch_by_epoch_at_their_own_times(workspace):
    one, two = run(), run(repetition=1)
    follower = Follower(workspace, [one, two], "mine")
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


def test_a_damaged_history_stops_nothing(workspace):
    one = run()
    path = workspace.runs / one.key / "history.jsonl"
    number = b'{"epoch": "one", "time": "2026-01-02T03:04:05+00:00"}\n'
    for content in (b"\xff\xfe\n", b"[]\n", number, b"[" * 9999 + b"\n"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        Follower(workspace, [one]).poll()
    sync(workspace, [one])
    assert records_from_mlflow(workspace) == [one]


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


def test_trouble_with_the_store_is_said_once_and_stops_nothing(workspace):
    workspace.database.write_bytes(b"garbage" * 1000)
    one, said = run(), []
    with follow(workspace, said.append, [one], seconds=0.01):
        history(workspace, one, 4)
    assert len(said) == 1 and "is not a database" in said[0]


def test_what_another_than_the_store_raises_is_not_blamed_on_it(workspace):
    with pytest.raises(KeyError, match="own"), tracking.opened(workspace):
        raise KeyError("a mistake of our own")


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_single_run_is_live_and_killed_by_an_interrupt(workspace, monkeypatch):
    workspace.root.joinpath("data.dvc").touch()
    words = ["run", "lif", "digits", "--limit", "100", "--epochs", "100000", "--set", "hidden=8", "--root"]
    command = [sys.executable, "-m", "delrec_bench.app", *words, str(workspace.root)]
    children(workspace)  # makes the database
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while not (runs := children(workspace)[1]):
        assert process.poll() is None
        time.sleep(0.5)
    assert [found.info.status for found in runs.values()] == ["RUNNING"]
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    client, runs = children(workspace)
    (found,) = runs.values()
    assert found.info.status == "KILLED" and len(losses(client, found)) > 1
    assert "mlflow.parentRunId" not in found.data.tags
