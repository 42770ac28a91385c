"""`compare`, and how a run is named on the command line."""

from pathlib import Path

import numpy as np
import pytest
from delrec_bench import app
from delrec_bench.errors import BenchError
from delrec_bench.methods.method import find_methods
from delrec_bench.records import find_record, publish, read_folder, read_record, write_record
from delrec_bench.runs.trained import network_of
from delrec_bench.workspace import workspace_at
from short_runs import study

from benchmarks.tests import made_up

TINY = "--epochs 2 --limit 60 --set hidden=8,8 --set task.test_limit=40".split()


def test_a_record_says_where_its_delays_began_and_ended(tmp_path):
    for method in ("delrec-dcls", "lif"):
        assert app.main(["run", method, "digits", *TINY, "--root", str(tmp_path)]) == 0
    record, plain = sorted(read_folder(tmp_path / "runs")[0], key=lambda r: r.method)
    assert {layer["kind"] for layer in record.delays} == {"recurrent", "feedforward"} and plain.delays is None
    folder = workspace_at(tmp_path).runs / record.key
    model = network_of(record, folder / "checkpoint.pt", find_methods())
    for layer in record.delays:
        end = model.delays()[layer["layer"]].flatten().numpy()
        assert layer["count"] == len(end)
        assert layer["end"] == pytest.approx(np.quantile(end, np.linspace(0, 1, 11)), rel=1e-3, abs=1e-6)
        assert len(layer["units"]["end"]) == len(layer["units"]["weight"]) == min(64, len(end))
    assert read_record(folder / "record.json") == record


def test_a_run_is_found_by_the_beginning_of_its_key(tmp_path):
    workspace = workspace_at(tmp_path)
    made = [made_up.record("lif", "digits", repetition) for repetition in range(20)]
    written(tmp_path, made)
    (workspace.runs / "broken").mkdir()
    (workspace.runs / "broken" / "record.json").write_text("{")
    assert [find_record(record.key[:12], workspace) for record in made] == made
    first = max((record.key[0] for record in made), key=[record.key[0] for record in made].count)
    with pytest.raises(BenchError, match=f"runs match '{first}': .*give more characters"):
        find_record(first, workspace)
    with pytest.raises(BenchError, match="no run ''"):
        find_record("", workspace)
    stored = made_up.record("rlif", "digits", 0)
    publish(tmp_path / "reports", [stored])
    assert find_record(stored.key[:12], workspace).digest == stored.digest


def written(root, records):
    for record in records:
        write_record(root / "runs" / record.key / "record.json", record)
    return root


@pytest.fixture
def compared(tmp_path, capsys):
    def compare(*words):
        code = app.main(["compare", *words, "--root", str(tmp_path)])
        out, err = capsys.readouterr()
        return code, (out or err).splitlines()

    return compare


def test_two_methods_are_told_by_their_paired_differences_in_numbers(tmp_path, compared):
    gain = {"lif": 0.0, "rlif": 0.1}
    like = made_up.of_the_board(
        "quick", 5, "digits", tuple(gain), lambda m, r: 0.5 + gain[m] + 0.005 * (r % 3) * (m == "rlif")
    )
    written(tmp_path, like)
    code, (sides, head, line) = compared("rlif", "lif")
    assert code == 0 and sides == "rlif − lif" and "95 % interval" in head
    assert " ".join(line.split()).startswith("digits +10.40 points +9.88 to +10.92")
    code, (line,) = compared("rlf", "lif")
    assert code == 2 and "did you mean 'rlif'" in line
    code, (line,) = compared("lif", "dcls")
    assert code == 2 and "no task and repetition in common" in line


def test_a_run_of_another_method_that_diverged_does_not_matter(tmp_path, compared):
    like = made_up.of_the_board("quick", 5, "digits", ("lif", "rlif", "gru"), lambda m, r: 0.5 + 0.1 * (m == "gru"))
    gone = next(record for record in like if record.method == "rlif")
    written(tmp_path, [record for record in like if record is not gone])
    folder = tmp_path / "runs" / gone.key
    folder.mkdir()
    (folder / "failure.json").write_text(made_up.failure_of(gone).model_dump_json())
    code, (sides, _, line) = compared("gru", "lif")
    assert code == 0 and sides == "gru − lif" and "+10.00 points" in line


def test_two_sets_of_runs_are_compared_row_by_row_and_the_exit_code_follows(tmp_path, compared):
    made = made_up.pair_of(0.1, n=2, tasks=("digits", "shd"))
    ours, theirs = written(tmp_path / "ours", made), written(tmp_path / "theirs", made[:-2])
    code, lines = compared(str(ours), str(theirs))
    assert code == 0 and lines == [
        "no stored run for 1 of the rows, such as delrec-synaptic-fixed on shd",
        "Reproduced: 3 of 3 rows equal.",
    ]
    first = made[0]
    written(theirs, [first.changed(history=[{**first.history[0], "loss": 0.1}, *first.history[1:]])])
    code, lines = compared(str(ours), str(theirs))
    assert code == 1 and lines[-1] == "Not reproduced: 2 of 3 rows equal, 1 different."
    publish(tmp_path / "reports", made)
    assert compared("published", str(ours)) == (0, ["Reproduced: 4 of 4 rows equal."])
    other = written(tmp_path / "other", made_up.pair_of(0.1, n=1, tasks=("formants-20",)))
    code, (line,) = compared(str(ours), str(other))
    assert code == 1 and line == f"Nothing was compared: '{ours}' and '{other}' have no run in common."
    code, (line,) = compared(str(ours), "lif")
    assert code == 2 and "'lif' is not a set of runs" in line


def test_points_of_a_sweep_are_compared_by_a_studys_runs(tmp_path, compared, capsys):
    path = tmp_path / "mine.toml"
    path.write_text(study(["delrec-axonal"], sweep={"sigma": [0.0, 3.0]}))
    words = ["reproduce", "--study", str(path), "--no-latency", "--jobs", "1", "--root", str(tmp_path)]
    assert app.main(words) == 0
    capsys.readouterr()
    code, lines = compared("delrec-axonal (sigma 3.0)", "delrec-axonal (sigma 0.0)", "--of", str(path))
    assert code == 0 and lines[0] == "delrec-axonal (sigma 3.0) − delrec-axonal (sigma 0.0)"
    assert "verdict" not in lines[1] and lines[2].split()[-1] == "2"


def test_published_runs_on_files_are_compared_where_their_folder_is_named(capsys):
    words = "compare delrec-axonal-fixed lif --of larger-network --profile speech --data shd=spoken-digits".split()
    assert app.main([*words, "--root", str(Path(__file__).parents[2])]) == 0
    assert "+6.38 points" in capsys.readouterr().out
