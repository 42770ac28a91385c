"""`rerun`: a record is made again, and compared."""

import json

import pytest
from delrec_bench import app
from delrec_bench.config import Request
from delrec_bench.errors import BenchError
from delrec_bench.runs.again import planned_again, rerun
from delrec_bench.runs.executors import Place
from delrec_bench.workspace import workspace_at
from short_runs import TINY, done


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    workspace = workspace_at(tmp_path_factory.mktemp("made"))
    requests = {
        "network": Request("delrec-axonal", "digits", overrides=TINY),
        "budget": Request("lif", "digits", overrides=(("budget", 3000), *TINY[1:])),
        "floor": Request("counts-only", "digits"),
        "trial": Request("lif", "digits", overrides=TINY, trial=True),
        "forecast": Request("lif", "mackey-glass", overrides=TINY),
        "derived": Request("delrec-axonal", "digits", overrides=(*TINY, ("evaluation.lesion", "noise=2"))),
    }
    return workspace, {kind: done(request, workspace) for kind, request in requests.items()}


@pytest.mark.parametrize("kind", ["network", "budget", "floor", "trial", "forecast", "derived"])
def test_a_record_is_made_again_to_the_bit_from_its_configuration_alone(made, kind):
    workspace, records = made
    before = sorted(workspace.runs.rglob("*"))
    again = rerun(records[kind], Place(workspace))
    assert again.key == records[kind].key and again.digest == records[kind].digest
    assert sorted(workspace.runs.rglob("*")) == before


def test_a_run_on_other_data_is_refused_and_files_of_ones_own_need_their_folder(made):
    workspace, records = made
    other = records["network"].changed(data=records["network"].data | {"digest": "0" * 64})
    with pytest.raises(BenchError, match="used other data for digits than is here"):
        rerun(other, Place(workspace))
    with pytest.raises(BenchError, match="the load of 'digits' must give the same samples each time"):
        rerun(other, Place(workspace))
    own = records["network"].changed(task="shd:mine@01234567", data=records["network"].data | {"kind": "STAND-IN"})
    with pytest.raises(BenchError, match=r"used your own files .shd:mine@01234567.; give their folder"):
        planned_again(own)
    varied = records["network"].changed(task="mackey-glass:tau17-h10")
    assert planned_again(varied).folder is None, "these are its own options, not files"


def test_the_command_answers_in_json_and_by_exit_code(tmp_path, made, capsys):
    workspace, records = made
    (tmp_path / "data.dvc").write_text("outs: []\n")
    path = workspace.runs / records["network"].key / "record.json"
    assert app.main(["rerun", str(path), "--root", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["word"] == "equal"
    assert app.main(["rerun", "abcdef", "--root", str(tmp_path)]) == 2
    assert "no run 'abcdef'" in capsys.readouterr().err
    failed = tmp_path / "runs" / ("abcdef" + "0" * 58) / "failure.json"
    failed.parent.mkdir(parents=True)
    failed.write_text("{}")
    assert app.main(["rerun", "abcdef", "--root", str(tmp_path)]) == 2
    assert f"run 'abcdef' failed and has no record; {failed} says why" in capsys.readouterr().err
