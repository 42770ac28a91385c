"""`ablate`: every ablation study's quick profile, its compute before, a summary after."""

import json
import shutil
from pathlib import Path

import pytest
from delrec_bench import app
from delrec_bench.app import ablating
from delrec_bench.app.options import Places
from delrec_bench.app.progress import Display
from delrec_bench.studies import file

ROOT = Path(__file__).parents[2]
ABLATIONS = {
    "learned-vs-fixed", "recurrent-vs-feedforward", "adaptive", "delay-range", "parameters", "sigma", "delay-init",
    "spread", "rounding", "step-length", "spike-penalty", "selection", "robustness", "delay-lesion",
}  # fmt: skip
STUDY = """
summary = "a study of this test"
ablation = true
methods = ["lif", "delrec-axonal"]
[quick]
tasks = ["digits"]
repetitions = 1
set = { training.epochs = 1, network.hidden = [6], task.limit = 40, task.test_limit = 30 }
[quick.sizes]
digits = [40, 64, 1]
"""


def test_the_ablation_studies_are_those_of_the_plan_each_with_its_three_profiles():
    assert set(ablating.ablation_studies()) == ABLATIONS
    for name in ABLATIONS:
        found = file.study_file(file.study_path(name))
        assert {"quick", "embedded", "paper"} <= set(found.profiles), name
        quick, embedded = found.profile_named("quick")[1], found.profile_named("embedded")[1]
        assert (len(quick.tasks), quick.repetitions, quick.primary) == (1, 3, None), "curves and no verdicts"
        assert embedded.repetitions >= 20 and embedded.primary is not None, name
        assert set(embedded.primary.over) <= set(embedded.margin) and set(embedded.primary.over) == set(embedded.tasks)


def test_all_quick_profiles_together_take_at_most_forty_minutes_on_two_cores():
    plans = ablating.plan(Places(root=str(ROOT), runs="/nonexistent/runs"), 2, Display())
    assert sum(planned.seconds for planned in plans) / 2 <= 40 * 60, {p.study.name: p.seconds / 60 for p in plans}


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    (tmp_path / "studies").mkdir()
    for name, change in (("one", ""), ("two", 'sweep = { "network.sigma" = [0.0, 10.0] }')):
        (tmp_path / "studies" / f"{name}.toml").write_text(
            STUDY.replace("repetitions = 1", f"repetitions = 1\n{change}")
        )
    (tmp_path / "studies" / "none.toml").write_text(STUDY.replace("ablation = true\n", ""))
    monkeypatch.setattr(file, "FOLDER", tmp_path / "studies")
    folder = tmp_path / "root"
    folder.mkdir()
    shutil.copy(ROOT / "data.dvc", folder)
    (folder / "README.md").write_text("<!-- pages:start -->\n<!-- pages:end -->\n")
    for name in ("DELREC_BENCH_ROOT", "DELREC_BENCH_METHODS", "DELREC_BENCH_TASKS", "DELREC_ENGINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(folder)
    return folder


def test_ablations_are_made_one_after_the_other_and_a_second_call_goes_on(root, capsys):
    assert app.main(["ablate", "--dry-run", "--json"]) == 0
    planned, said = capsys.readouterr()
    # two has lif, and delrec-axonal at sigma 0 and 10, the preset's: only sigma 0 is not one's.
    assert [(s["study"], s["runs"], s["missing"]) for s in json.loads(planned)["studies"]] == [
        ("one", 2, 2),
        ("two", 3, 1),
    ]
    assert "in all: 2 studies, 3 runs to do" in said and not list((root / "runs").glob("*/record.json"))
    assert app.main(["ablate", "--jobs", "1", "--json"]) == 0
    made, said = capsys.readouterr()
    content = json.loads(made)
    assert [(s["study"], s["trained"], s["latency"]) for s in content["studies"]] == [("one", 2, 0), ("two", 1, 0)]
    assert said.index("in all: 2 studies") < said.index("study one") < said.index("study two") < said.index("summary:")
    assert {path.name for path in (root / "out").iterdir()} == {"one", "two"}
    assert app.main(["ablate", "--jobs", "1", "--json"]) == 0
    again, said = capsys.readouterr()
    assert [s["trained"] for s in json.loads(again)["studies"]] == [0, 0] and "0 runs to do" in said
