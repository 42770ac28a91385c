"""Runs are seen in MLflow while they are made, epoch by epoch, from what workers append to their histories."""

import json

from delrec_bench import tracking
from delrec_bench.tracking import Begun, Follower, begun, follow, records_from_mlflow, sync, writing
from tracked import children, losses, run


def history(workspace, record, epochs, first=1, more=""):
    """A worker's file after so many epochs, one a second."""
    path = workspace.runs / record.key / "history.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [entry | {"time": f"2026-01-02T03:04:{n:02}.250+00:00"} for n, entry in enumerate(record.history, 1)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines[first - 1 : epochs]) + more)


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
    assert runs[one.key].data.params["arithmetic"] == "portable"
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


def test_what_is_begun_needs_no_record():
    assert begun(run(), "leaderboard") == Begun(
        key=run().key,
        method="lif",
        task="digits",
        repetition=0,
        study="leaderboard",
        configuration=run().configuration,
        command=run().command,
    )
