"""`rerun`: a record is made again, and compared."""

import json
from pathlib import Path

import made_up
import pytest
from delrec_bench import app
from delrec_bench.config import Request, resolve
from delrec_bench.errors import BenchError
from delrec_bench.methods.base import find_methods
from delrec_bench.records import PAGE_FILE, find_record, write_page
from delrec_bench.records.rerun import compare
from delrec_bench.runs.again import request_of, rerun
from delrec_bench.runs.single import perform
from delrec_bench.tasks.base import find_tasks
from delrec_bench.workspace import workspace_at

METHODS, TASKS = find_methods(), find_tasks()
TINY = (("network.hidden", [6]), ("task.limit", 40), ("task.test_limit", 30), ("training.epochs", 2))
EARLY = {"losses": [2.3, 2.2], "logits": [[0.1, 0.2]]}


def run(**changes):
    return made_up.record("lif", "digits", 0, early=EARLY, **changes)


def agree(one, two):
    return one["losses"] == two["losses"], "the loss of update 2"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    workspace = workspace_at(tmp_path_factory.mktemp("made"))
    requests = {
        "network": Request("delrec-axonal", "digits", overrides=TINY),
        "budget": Request("lif", "digits", overrides=(("budget", 3000), *TINY[1:])),
        "floor": Request("counts-only", "digits"),
        "trial": Request("lif", "digits", overrides=TINY, trial=True),
        "forecast": Request("lif", "mackey-glass", overrides=TINY),
    }
    return workspace, {k: perform(resolve(r, METHODS, TASKS, workspace), workspace).record for k, r in requests.items()}


@pytest.mark.parametrize("kind", ["network", "budget", "floor", "trial", "forecast"])
def test_a_record_is_made_again_to_the_bit_from_its_configuration_alone(made, kind):
    workspace, records = made
    before = sorted(workspace.runs.rglob("*"))
    again, outcome = rerun(records[kind], METHODS, TASKS, workspace)
    assert again.key == records[kind].key
    assert (outcome.word, dict(outcome.differences)) == ("equal", {}), outcome.reason
    assert sorted(workspace.runs.rglob("*")) == before


def test_a_run_on_other_data_is_refused_and_files_of_ones_own_need_their_folder(made):
    workspace, records = made
    other = records["network"].changed(data=records["network"].data | {"digest": "0" * 64})
    with pytest.raises(BenchError, match="was made on data 000000000000, here are"):
        rerun(other, METHODS, TASKS, workspace)
    own = records["network"].changed(task="shd:mine@01234567", data=records["network"].data | {"kind": "OFFICIAL"})
    with pytest.raises(BenchError, match=r"files of somebody's own, shd:mine@01234567: give their folder"):
        request_of(own, TASKS)


def test_the_first_epoch_and_number_that_differ_are_named():
    history = [dict(entry) for entry in run().history]
    history[6]["loss"] = 0.25
    outcome = compare(run(), run(history=history))
    assert outcome.word == "different" and "epoch 7, loss (0.2857142857142857 and 0.25)" in outcome.reason
    assert list(outcome.differences) == ["history[6].loss"]


def test_on_another_processor_early_updates_decide_first():
    there = {"host": "another"}
    history = [entry | {"loss": entry["loss"] * (1 + 1e-6)} for entry in run().history]
    assert compare(run(), run(measured=there)).word == "equal"
    same = run(measured=there, history=history)
    assert compare(run(), same, agree).word == "equivalent"
    assert compare(run(), same).word == "open"
    assert compare(run(), made_up.record("lif", "digits", 0, measured=there, history=history), agree).word == "open"
    off = run(measured=there, history=history).changed(early={"losses": [2.3, 2.0], "logits": [[0.1, 0.2]]})
    outcome = compare(run(), off, agree)
    assert outcome.word == "different" and "early updates do not agree: the loss of update 2" in outcome.reason
    moved = [(p + 1) % 10 if i == 5 else p for i, p in enumerate(run().predictions.tolist())]
    correct = sum(p == t for p, t in zip(moved, run().targets.tolist(), strict=True))
    scored = run().result | {"correct": correct, "test_score": correct / 600}
    outcome = compare(run(), same.changed(predictions=moved, result=scored), agree)
    assert outcome.word == "open" and f"scores {run().score} and {correct / 600}" in outcome.reason


def test_early_samples_of_another_number_are_told_by_their_number():
    """Two long lists that begin alike looked the same in what was said of their difference."""
    more = run().changed(early={**EARLY, "logits": [[0.1, 0.2]] * 32})
    outcome = compare(more, run())
    assert (outcome.word, "first in early.logits (32 and 1 of them)" in outcome.reason) == ("different", True)


def test_another_configuration_is_another_run():
    outcome = compare(run(), run(configuration=run().configuration | {"epochs": 11}))
    assert outcome.word == "different" and "another run: configuration.epochs" in outcome.reason


def test_the_command_answers_in_json_and_by_exit_code(tmp_path, made, capsys):
    workspace, records = made
    (tmp_path / "data.dvc").write_text("outs: []\n")
    path = Path(workspace.runs / records["network"].key / "record.json")
    assert app.main(["rerun", str(path), "--root", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["word"] == "equal"
    assert app.main(["rerun", "abcdef", "--root", str(tmp_path)]) == 2
    assert "0 records have a key that begins so" in capsys.readouterr().err
    one = made_up.record("lif", "digits", 0)
    write_page(tmp_path / "reports" / "leaderboard" / PAGE_FILE, [one])
    assert find_record(records["network"].key[:12], workspace) == records["network"]
    assert find_record(one.key[:12], workspace_at(tmp_path)) == one, "behind a page"
    with pytest.raises(BenchError, match="'' is no file, and 0 records"):
        find_record("", workspace)
