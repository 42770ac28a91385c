"""`data export-splits` and `score`: other code gets our splits, and its predictions are scored by our rules."""

import csv
import gzip
import json

import pytest
import torch
from delrec_bench.app import main
from delrec_bench.data.task_data import TaskOptions
from delrec_bench.tasks.task import find_tasks
from delrec_bench.workspace import find_workspace

from benchmarks.tests.test_evaluation import corpus


def rows(path, split):
    with path.open() as file:
        return [row for row in csv.DictReader(file) if row["split"] == split]


def test_splits_permutation_and_seeds_give_another_program_the_same_samples(splits):
    assert len(list(splits.iterdir())) == 4
    about = json.loads((splits / "repetition-1.json").read_text())
    assert about["seeds"] == dict.fromkeys(("split", "permutation", "initialisation", "order"), 1)
    data = find_tasks()["digits"].load(TaskOptions(), 1, 1, None, find_workspace())
    from sklearn.datasets import load_digits

    bunch = load_digits()
    for split in ("train", "valid", "test"):
        listed = rows(splits / "repetition-1.csv", split)
        assert [int(row["target"]) for row in listed] == getattr(data, split).targets.tolist()
        theirs = bunch.data[[int(row["row"]) for row in listed]][:, about["permutation"]] / 16
        ours = getattr(data, split).batch(torch.arange(len(listed)))[:, :, 0].T
        assert torch.equal(ours, torch.tensor(theirs, dtype=torch.float32))


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    """The digits' splits of two repetitions."""
    folder = tmp_path_factory.mktemp("splits")
    assert main(["data", "export-splits", "digits", "--repetitions", "2", "--out", str(folder)]) == 0
    return folder / "digits"


@pytest.fixture
def exported(splits, checkout, capsys):
    """A workspace, and the test split of repetition 1."""
    capsys.readouterr()
    return checkout, rows(splits / "repetition-1.csv", "test")


def written(folder, lines):
    path = folder / "predictions.csv"
    path.write_text("position,prediction\n" + "".join(f"{a},{b}\n" for a, b in lines))
    return str(path)


def test_the_splits_of_own_files_are_those_that_score_reads(tmp_path, checkout):
    folder = corpus(tmp_path / "made")
    asked = ["data", "export-splits", "--data", f"shd={folder}", "--repetitions", "1", "--out", str(tmp_path)]
    assert main(asked) == 0
    (table,) = tmp_path.glob("shd-made@*/repetition-0.csv")
    for wrong in (["--data", "shd=nowhere"], ["digits", "--data", f"shd={folder}"]):
        assert main(["data", "export-splits", *wrong, "--out", str(tmp_path)]) == 2, "no file is left out silently"
    right = [(row["position"], row["target"]) for row in rows(table, "test")]
    assert main(["score", written(tmp_path, right), "--task", "shd", "--data", str(folder)]) == 0


def test_the_exported_targets_score_everything_and_wrong_ones_count(exported, command):
    folder, test = exported
    right = [(row["position"], row["target"]) for row in test]
    asked = ["score", written(folder, reversed(right)), "--task", "digits", "--repetition", "1"]
    found, _ = command(*asked)
    assert (found["score"], found["correct"], found["total"]) == (1.0, len(test), len(test))
    wrong = [(p, (int(t) + 1) % 10) for p, t in right[:36]] + right[36:]
    written(folder, wrong)
    assert command(*asked)[0]["correct"] == len(test) - 36


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda rows: rows[:-1], "position 359 is missing"),
        (lambda rows: [*rows, rows[3]], "position 3 appears twice"),
        (lambda rows: [*rows[:-1], (99999, 1)], "position 99999"),
        (lambda rows: [*rows[:-1], (359, 10)], "must be a class from 0 to 9"),
        (lambda rows: [*rows[:-1], (359, "")], "prediction nan must be a finite number"),
        (lambda rows: [*rows[:-1], (359, "yes")], "the columns position and prediction"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(exported, capsys, spoil, said):
    folder, test = exported
    path = written(folder, spoil([(row["position"], row["target"]) for row in test]))
    assert main(["score", path, "--task", "digits", "--repetition", "1"]) == 2
    assert said in capsys.readouterr().err


def test_a_packed_file_that_is_cut_short_is_said(exported, capsys):
    path = exported[0] / "cut.csv.gz"
    path.write_bytes(gzip.compress(b"position,prediction\n0,1\n")[:-12])
    assert main(["score", str(path), "--task", "digits"]) == 2
    assert "cut.csv.gz cannot be read (Compressed file ended" in capsys.readouterr().err
