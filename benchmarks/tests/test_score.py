"""Predictions made elsewhere: the exported test split in, the score of our own rules out."""

import csv
import json

import numpy as np
import pytest
from delrec_bench import app
from delrec_bench.records import read_record


@pytest.fixture
def exported(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DELREC_BENCH_ROOT", str(tmp_path))
    (tmp_path / "data.dvc").write_text("outs: []\n")
    assert app.main(["data", "export-splits", "digits", "--repetitions", "2"]) == 0
    capsys.readouterr()
    rows = list(csv.DictReader((tmp_path / "out/splits/digits/repetition-1.csv").open()))
    return tmp_path, [row for row in rows if row["split"] == "test"]


def written(folder, rows):
    path = folder / "predictions.csv"
    path.write_text("position,prediction\n" + "".join(f"{a},{b}\n" for a, b in rows))
    return str(path)


def test_the_exported_targets_score_everything_and_wrong_ones_count(exported, capsys):
    folder, test = exported
    right = [(row["position"], row["target"]) for row in test]
    asked = ["score", written(folder, reversed(right)), "--task", "digits", "--repetition", "1", "--json"]
    assert app.main(asked) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["score"], found["correct"], found["total"]) == (1.0, len(test), len(test))
    wrong = [(p, (int(t) + 1) % 10) for p, t in right[:36]] + right[36:]
    written(folder, wrong)
    assert app.main(asked) == 0
    assert json.loads(capsys.readouterr().out)["correct"] == len(test) - 36


def test_it_is_the_score_of_a_record(exported, capsys):
    """What a run of ours predicted, given back as a file, has the run's own score."""
    folder, _ = exported
    assert app.main(["run", "time-slices", "digits", "--repetition", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    record = json.loads(next((folder / "runs").glob("*/record.json")).read_text())
    predictions = read_record(next((folder / "runs").glob("*/record.json"))).predictions
    assert record["method"] == "time-slices"
    path = written(folder, enumerate(np.asarray(predictions).tolist()))
    assert app.main(["score", path, "--task", "digits", "--repetition", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["score"] == told["test_score"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda rows: rows[:-1], "position 359 is the first to lack"),
        (lambda rows: [*rows, rows[3]], "position 3 is there twice"),
        (lambda rows: [*rows[:-1], (99999, 1)], "position 99999"),
        (lambda rows: [*rows[:-1], (359, 10)], "no class of 0 to 9"),
        (lambda rows: [*rows[:-1], (359, "nan")], "not finite"),
        (lambda rows: [*rows[:-1], (359, "")], "no number"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(exported, capsys, spoil, said):
    folder, test = exported
    rows = [(row["position"], row["target"]) for row in test]
    path = written(folder, spoil(rows))
    assert app.main(["score", path, "--task", "digits", "--repetition", "1"]) == 2
    assert said in capsys.readouterr().err


def test_a_file_without_the_columns_or_not_there(exported, capsys):
    folder, _ = exported
    (folder / "a.csv").write_text("sample,class\n0,1\n")
    for name, said in (("a.csv", "position and prediction"), ("none.csv", "cannot be read")):
        assert app.main(["score", str(folder / name), "--task", "digits"]) == 2
        assert said in capsys.readouterr().err
