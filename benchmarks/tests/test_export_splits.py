"""`data export-splits`: what others need to be compared by the same rules."""

import csv
import json
import re

import pytest
import torch
from delrec_bench.app import main
from delrec_bench.data.task_data import TaskOptions
from delrec_bench.tasks.base import find_tasks
from delrec_bench.workspace import find_workspace


def rows(path, split):
    with path.open() as file:
        return [row for row in csv.DictReader(file) if row["split"] == split]


def test_splits_permutation_and_seeds_give_another_program_the_same_samples(tmp_path, capsys):
    assert main(["data", "export-splits", "digits", "--repetitions", "2", "--out", str(tmp_path), "--json"]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert len(files) == 4
    about = json.loads((tmp_path / "digits" / "repetition-1.json").read_text())
    assert about["seeds"] == dict.fromkeys(("split", "permutation", "initialisation", "order"), 1)
    data = find_tasks()["digits"].load(TaskOptions(), 1, 1, None, find_workspace())
    from sklearn.datasets import load_digits

    bunch = load_digits()
    for split in ("train", "valid", "test"):
        listed = rows(tmp_path / "digits" / "repetition-1.csv", split)
        assert [int(row["target"]) for row in listed] == getattr(data, split).targets.tolist()
        theirs = bunch.data[[int(row["row"]) for row in listed]][:, about["permutation"]] / 16
        ours = getattr(data, split).batch(torch.arange(len(listed)))[:, :, 0].T
        assert torch.equal(ours, torch.tensor(theirs, dtype=torch.float32))


def test_all_tasks_at_hand_are_written_and_the_others_named(tmp_path, capsys):
    assert main(["data", "export-splits", "--repetitions", "1", "--out", str(tmp_path)]) == 0
    for name in ("yin-yang", "mackey-glass", "formants-20", "formants-35"):
        data = find_tasks()[name].load(TaskOptions(), 0, 0, None, find_workspace())
        for split, used in data.used.items():
            assert len(rows(tmp_path / name / "repetition-0.csv", split)) == used == len(getattr(data, split))
    if not (find_workspace().data / "shd").is_dir():
        assert "shd: left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nmnist"], "no .*NMNIST"),
        (["digit"], "did you mean 'digits'"),
        (["digits", "--repetitions", "0"], "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_exported_is_one_line(tmp_path, capsys, words, message):
    assert main(["data", "export-splits", *words, "--out", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(message, line)


def test_the_generated_corpora_say_that_they_favour_memory():
    for name in ("formants-20", "formants-35"):
        task = find_tasks()[name]
        data = task.load(TaskOptions(limit=10, test_limit=10), 0, 0, None, find_workspace())
        said = "made sounds, built around order and gaps, so they favour memory"
        assert said in task.summary and said in data.notes
