"""`compare`, and how a run is named on the command line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from delrec_bench import app
from delrec_bench.errors import BenchError
from delrec_bench.methods.base import find_methods
from delrec_bench.records import find_record, load_records, publish, read_record, write_record
from delrec_bench.runs.trained import network_of
from delrec_bench.workspace import workspace_at

from benchmarks.tests import made_up

ROOT = Path(__file__).parents[2]
TINY = "--epochs 2 --limit 60 --set hidden=8,8 --set task.test_limit=40".split()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A workspace with a run of two delayed layers, a plain one, a forecast and a floor."""
    root = tmp_path_factory.mktemp("root")
    shutil.copy(ROOT / "data.dvc", root)
    for words in ("delrec-dcls digits", "lif digits"):
        assert app.main(["run", *words.split(), *TINY, "--root", str(root)]) == 0
    assert app.main(["run", "counts-only", "digits", "--limit", "60", "--root", str(root)]) == 0
    return root


@pytest.fixture
def call(root, capsys):
    def call(*words):
        code = app.main([*words, "--root", str(root), "--json"])
        out, _ = capsys.readouterr()
        return code, json.loads(out)

    return call


def record_of(root, method):
    return next(r for r in load_records(root / "runs") if r.method == method)


def test_a_record_says_where_its_delays_began_and_ended(root):
    record = record_of(root, "delrec-dcls")
    kinds = {layer["kind"] for layer in record.delays}
    assert kinds == {"recurrent", "feedforward"}
    workspace = workspace_at(root)
    model = network_of(record, workspace.runs / record.key / "checkpoint.pt", find_methods())
    for layer in record.delays:
        end = model.delays()[layer["layer"]].flatten().numpy()
        assert layer["count"] == len(end)
        assert layer["end"] == pytest.approx(np.quantile(end, np.linspace(0, 1, 11)), rel=1e-3, abs=1e-6)
        assert len(layer["units"]["end"]) == len(layer["units"]["weight"]) == min(64, len(end))
    assert record_of(root, "lif").delays is None
    assert read_record(workspace.runs / record.key / "record.json") == record


def test_a_run_is_found_by_the_beginning_of_its_key(tmp_path):
    workspace = workspace_at(tmp_path)
    made = [made_up.record("lif", "digits", repetition) for repetition in range(20)]
    for record in made:
        write_record(workspace.runs / record.key / "record.json", record)
    (workspace.runs / "broken").mkdir()
    (workspace.runs / "broken" / "record.json").write_text("{")
    assert [find_record(record.key[:12], workspace) for record in made] == made
    first = max((record.key[0] for record in made), key=[record.key[0] for record in made].count)
    with pytest.raises(BenchError, match=f"runs are '{first}': .*write more of a key"):
        find_record(first, workspace)


def written(root, records):
    for record in records:
        write_record(root / "runs" / record.key / "record.json", record)
    return root


def compared(root, *words, capsys):
    code = app.main(["compare", *words, "--root", str(root)])
    out, err = capsys.readouterr()
    return code, (out or err).splitlines()


def pair(n=5):
    """Two methods on two tasks, the first 10 points better and a little more so at some repetitions."""
    return [
        made_up.scored_at(m, r, s + 0.005 * (r % 3) * (m == "dcls"), task=t, total=600)
        for m, s in (("lif", 0.5), ("dcls", 0.6))
        for t in ("digits", "tones")
        for r in range(n)
    ]


def test_two_methods_are_told_by_their_paired_differences_in_numbers(tmp_path, capsys):
    code, lines = compared(written(tmp_path, pair()), "dcls", "lif", capsys=capsys)
    assert code == 0 and lines[0] == "dcls - lif"
    assert lines[1] == "digits: +10.40 points (5 runs; 95 % interval +9.88 to +10.92, p 6.3e-07)"
    assert [line.partition(":")[0] for line in lines[1:]] == ["digits", "tones"]
    code, lines = compared(tmp_path, "dcl", "lif", capsys=capsys)
    assert code == 2 and "did you mean 'dcls'" in lines[0]


def test_methods_without_a_task_in_common_are_refused(tmp_path, capsys):
    apart = [r for r in pair() if (r.method == "lif") == (r.task == "digits")]
    code, lines = compared(written(tmp_path, apart), "dcls", "lif", capsys=capsys)
    assert code == 2 and "no task and repetition in common" in lines[0]


def test_two_settings_are_never_taken_for_one_another(tmp_path, capsys):
    both = [r for r in pair(1) if r.task == "digits"]
    both += [made_up.remade(r, configuration=r.configuration | {"epochs": 20}) for r in both]
    code, lines = compared(written(tmp_path, both), "lif", "dcls", capsys=capsys)
    assert code == 2 and "runs of several settings of" in lines[0] and "--of STUDY" in lines[0]


def test_two_sets_of_runs_are_compared_row_by_row_and_the_exit_code_follows(tmp_path, capsys):
    ours = written(tmp_path / "ours", pair())
    theirs = written(tmp_path / "theirs", pair()[:-5])
    code, lines = compared(tmp_path, str(ours), str(theirs), capsys=capsys)
    assert code == 0 and lines[-1] == "Reproduced: 3 of 3 rows equal."
    assert lines[0] == "no stored run for 1 row (dcls on tones)"
    moved = pair()[0].changed(history=[{**pair()[0].history[0], "loss": 0.1}, *pair()[0].history[1:]])
    written(tmp_path / "theirs", [moved])
    code, lines = compared(tmp_path, str(ours), str(theirs), capsys=capsys)
    assert code == 1 and lines[-1].startswith(
        "Not reproduced: 2 of 3 rows equal, 1 different. Different: lif on digits"
    )
    publish(tmp_path / "reports", pair())
    code, lines = compared(tmp_path, "published", str(ours), capsys=capsys)
    assert code == 0 and lines == ["Reproduced: 4 of 4 rows equal."]
    code, lines = compared(tmp_path, str(ours), "lif", capsys=capsys)
    assert code == 2 and "is a set of runs, but 'lif' is not" in lines[0]


def test_points_of_a_sweep_are_compared_by_a_studys_runs(root, tmp_path, capsys):
    (tmp_path / "mine.toml").write_text(STUDY)
    assert (
        app.main(
            ["reproduce", "--study", str(tmp_path / "mine.toml"), "--no-latency", "--jobs", "1", "--root", str(root)]
        )
        == 0
    )
    capsys.readouterr()
    words = ("delrec-axonal (sigma 3.0)", "delrec-axonal (sigma 0.0)", "--of", str(tmp_path / "mine.toml"))
    code, lines = compared(root, *words, capsys=capsys)
    assert (
        code == 0
        and lines[0] == "delrec-axonal (sigma 3.0) - delrec-axonal (sigma 0.0)"
        and "(2 runs: too few for an interval)" in lines[1]
    )


STUDY = """
summary = "a sweep"
methods = ["delrec-axonal"]
tasks = ["digits"]
repetitions = 2

[quick]

[quick.sweep]
sigma = [0.0, 3.0]

[quick.set]
training.epochs = 1
network.hidden = [6]
task.limit = 40
task.test_limit = 30
"""
