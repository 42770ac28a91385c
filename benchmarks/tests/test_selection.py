"""Choosing the epoch on the test set: what it gains is shown by a study that says so, and done nowhere else."""

import csv
import json
from pathlib import Path

import pytest
from delrec_bench import app
from delrec_bench.methods.method import find_methods
from delrec_bench.records import read_folder
from delrec_bench.report.content import TEST_SELECTED
from delrec_bench.runs import single
from delrec_bench.runs.again import rerun
from delrec_bench.runs.executors import Place
from delrec_bench.statistics.reproduced import MadeTwice, judge
from delrec_bench.tasks.task import find_tasks
from delrec_bench.workspace import workspace_at

ROOT = Path(__file__).parents[2]
METHODS, TASKS = find_methods(), find_tasks()
STUDY = """
summary = "a study of this test"
exhibits = "test selection"
[quick]
methods = ["delrec-axonal"]
tasks = ["digits"]
repetitions = 2
sweep = { "training.selection" = ["validation", "last", "best-test"] }
set = { training.epochs = 4, network.hidden = [8], task.limit = 60, task.test_limit = 50 }
"""


def reproduced(checkout, capsys, text=STUDY, code=0):
    (checkout / "choosing.toml").write_text(text)
    assert app.main(["reproduce", "--study", "choosing.toml", "--jobs", "1", "--no-latency", "--json"]) == code
    return capsys.readouterr()


def test_the_same_runs_chosen_in_three_ways(checkout, capsys, monkeypatch):
    released = []
    held = single.HeldOut

    class Watched(held):
        def release(self, condition="deployed"):
            released.append(condition)
            return super().release(condition)

    monkeypatch.setattr(single, "HeldOut", Watched)
    content = json.loads(reproduced(checkout, capsys).out)
    epochs = [f"epoch {n}" for n in (1, 2, 3, 4)]
    assert sorted(released) == sorted(2 * ["deployed", "deployed", "deployed", *epochs])
    records = {(r.result["selection"], r.repetition): r for r in read_folder(checkout / "runs")[0]}
    assert len(records) == 6
    for repetition in (0, 1):
        validation, last, cheated = (records[s, repetition] for s in ("validation", "last", "best-test"))
        for entry, other, third in zip(validation.history, last.history, cheated.history, strict=True):
            assert entry == other == {name: value for name, value in third.items() if name != "test_accuracy"}
        scores = [entry["test_accuracy"] for entry in cheated.history]
        assert cheated.score == max(scores) and cheated.result["best_epoch"] == max(
            n for n, score in enumerate(scores, 1) if score == max(scores)
        )
        assert last.score == scores[-1] and validation.score == scores[validation.result["best_epoch"] - 1]
        assert cheated.command == f"delrec-bench rerun {cheated.key}"
    page = next(Path(name) for name in content["files"] if name.endswith(".md")).read_text()
    assert TEST_SELECTED in page and "(selection best-test)" in page
    with next(Path(name) for name in content["files"] if name.endswith(".csv")).open() as table:
        found = {row["method"]: row["selection"] for row in csv.DictReader(table)}
    assert found["delrec-axonal (selection best-test)"] == "best-test"

    cheated = records["best-test", 0]
    again = rerun(cheated, Place(workspace_at(checkout)))
    [judged] = judge([MadeTwice(str(cheated), [(cheated, again)], [])]).rows
    assert (again.key, judged.word) == (cheated.key, "equal"), judged.reason


def test_a_single_run_is_refused_it(checkout, capsys):
    assert app.main(["run", "lif", "digits", "--set", "training.selection=best-test"]) == 2
    said = capsys.readouterr().err
    assert "training.selection is 'best-test'" in said and "reproduce --study selection" in said
    assert not (checkout / "runs").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('exhibits = "test selection"\n', "", "training.selection is 'best-test'"),
        ('"test selection"', '"test set"', "exhibits is 'test set'; it must be 'test selection'"),
    ],
)
def test_a_study_must_say_what_it_exhibits(checkout, capsys, old, new, message):
    assert message in reproduced(checkout, capsys, STUDY.replace(old, new), code=2).err
    assert not (checkout / "runs").exists() or not list((checkout / "runs").glob("*/record.json"))
