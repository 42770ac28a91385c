"""A study from one command to the report, and what the second call leaves alone."""

import json

import pytest
from delrec_bench import app
from delrec_bench.errors import DivergedError, RunError
from delrec_bench.records import read_folder
from delrec_bench.studies import file
from delrec_bench.workspace import workspace_at
from short_runs import study
from test_tracking import children

OUTPUTS = ("leaderboard.csv", "leaderboard.md", "leaderboard.json", "leaderboard.html", "metrics.json")
REPRODUCE = ("reproduce", "--all", "--no-latency", "--jobs", "1")


@pytest.fixture
def root(checkout, tmp_path_factory, monkeypatch):
    """A checkout whose leaderboard is the study of this test."""
    folder = tmp_path_factory.mktemp("studies")
    (folder / "leaderboard.toml").write_text(
        study(["lif", "delrec-axonal", "time-slices"], settings={"training.epochs": 1})
    )
    monkeypatch.setattr(file, "FOLDER", folder)
    return checkout


@pytest.mark.mlflow
@pytest.mark.timeout(300)
def test_reproduce_goes_from_runs_to_report_and_the_second_call_trains_nothing(root, command, capsys):
    first, said = command(*REPRODUCE)
    assert (first["runs"], first["trained"], first["failed"]) == (6, 6, [])
    runs = children(workspace_at(root))[1].values()
    assert len(runs) == 6 and all("mlflow.parentRunId" in found.data.tags for found in runs)
    assert "minutes left" in said
    folder = root / "out" / "leaderboard"
    page = {name: (folder / name).read_bytes() for name in OUTPUTS}
    assert b"delrec-axonal" in page["leaderboard.md"] and first["complete"] and first["page"] == "leaderboard"
    assert not (root / "reports").exists()
    records = read_folder(root / "runs")[0]
    assert len(records) == 6
    assert app.main(["report"]) == 0
    assert {name: (folder / name).read_bytes() for name in OUTPUTS} == page
    assert app.main(["report", "--source", "mlflow"]) == 0
    assert {name: (folder / name).read_bytes() for name in OUTPUTS} == page
    assert app.main(["report", "--source", "published"]) == 2
    assert "no run of 'leaderboard' in 'published'; use another --source" in capsys.readouterr().err
    assert {name: (folder / name).read_bytes() for name in OUTPUTS} == page
    capsys.readouterr()

    (root / "mlflow.db").unlink()
    second, said = command(*REPRODUCE)
    assert (second["trained"], second["reused"]) == (0, 6)
    assert "MLflow: 6 added" in said, "a deleted database is filled again"
    assert {name: (folder / name).read_bytes() for name in OUTPUTS} == page
    assert second["comparison"].startswith("Nothing to compare with") and not second["rows"]
    assert second["word"] is None
    assert read_folder(root / "runs")[0] == records

    assert app.main(["sync"]) == 0
    assert "0 added, 0 replaced" in capsys.readouterr().out


@pytest.mark.parametrize("kind", [RunError, DivergedError])
def test_a_failed_run_is_counted_and_the_others_are_kept(root, command, capsys, monkeypatch, kind):
    from delrec_bench.runs import single

    whole = single.fit

    def fit(model, *arguments, **named):
        if type(model.blocks[0].spiking).__name__ == "RecurrentDelays":
            raise kind("the loss is nan in epoch 1")
        return whole(model, *arguments, **named)

    monkeypatch.setattr(single, "fit", fit)
    content, _ = command(*REPRODUCE, code=1)
    assert {entry["method"] for entry in content["failed"]} == {"delrec-axonal"}
    assert len(read_folder(root / "runs")[0]) == 4
    page = json.loads((root / "out" / "leaderboard" / "leaderboard.json").read_text())
    assert page["complete"] == content["complete"] == (kind is DivergedError)
    (failure, _) = (root / "runs").glob("*/failure.json")
    failure.write_text("garbage")  # it says nothing any more: one run is awaited again
    assert app.main(["report"]) == 0
    assert f"{failure}" in capsys.readouterr().err
    assert not json.loads((root / "out" / "leaderboard" / "leaderboard.json").read_text())["complete"]
