"""What a study's file says, and what the command line makes of it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from delrec_bench import app
from delrec_bench.app import reproducing
from delrec_bench.data.generated import Events, write
from delrec_bench.errors import BenchError
from delrec_bench.methods.base import find_methods
from delrec_bench.records import load_records
from delrec_bench.studies import expansion, file
from delrec_bench.tasks.base import find_tasks

ROOT = Path(__file__).parents[2]
MINE = """
summary = "a study of this test"
methods = ["lif", "delrec-axonal", "counts-only"]
repetitions = 5
set = { budget = 1000, test_limit = 60 }

[quick]
tasks = ["digits", "shd", "yin-yang"]
repetitions = 2
data = { shd = "corpora/shd" }

[quick.set]
budget = 2000
epochs = 3

[quick.set.yin-yang]
limit = 100
test_limit = 50
training.epochs = 5

[quick.set.delrec-axonal]
training.epochs = 7
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Expand a study of its own, its text changed or not."""
    monkeypatch.setattr(file, "FOLDER", tmp_path)

    def expand(wanted: expansion.Wanted | None = None, old: str = "", new: str = "") -> expansion.Study:
        (tmp_path / "mine.toml").write_text(MINE.replace(old, new))
        return expansion.expand("mine", "quick", find_methods(), find_tasks(), wanted)

    return expand


def test_a_study_has_settings_for_every_run_for_a_task_and_for_a_method(mine):
    of = {(r.method, r.task): dict(r.overrides) for r in mine().requests}
    assert of["lif", "digits"] == {"budget": 2000, "training.epochs": 3, "task.test_limit": 60}
    own = {"task.limit": 100, "task.test_limit": 50}
    assert of["lif", "yin-yang"] == {"budget": 2000, "training.epochs": 5, **own}
    assert of["counts-only", "yin-yang"] == own, "a method takes the settings that it knows"
    assert of["delrec-axonal", "digits"] == {"budget": 2000, "training.epochs": 7, "task.test_limit": 60}
    assert of["delrec-axonal", "yin-yang"] == {"budget": 2000, "training.epochs": 7, **own}


def test_the_command_line_narrows_a_study_and_gives_it_data(mine):
    assert {r.data for r in mine().requests if r.task == "shd"} == {"corpora/shd"}
    wanted = expansion.Wanted(("delrec-axonal", "lif"), ("shd",), 4, {"shd": "~/mine"})
    requests = mine(wanted).requests
    assert [r.method for r in requests] == ["lif", "delrec-axonal"] * 4, "in the study's order"
    assert {r.data for r in requests} == {str(Path("~/mine").expanduser())}
    assert {r.repetition for r in requests} == {0, 1, 2, 3}
    options = ("--only-methods delrec-axonal,lif", "--only-tasks shd", "--repetitions 4")
    assert mine(wanted).narrowed == options
    assert mine().narrowed == ()
    everything = expansion.Wanted(("lif", "counts-only", "delrec-axonal"), None, 2, {"shd": "~/mine"})
    assert mine(everything).narrowed == (), "nothing is taken away"


def test_a_study_file_of_ones_own_is_named_by_its_file(tmp_path):
    path = tmp_path / "theirs.toml"
    path.write_text(MINE)
    theirs = expansion.expand(str(path), "quick", find_methods(), find_tasks())
    assert theirs.argument == "theirs.toml"
    ours = expansion.expand("leaderboard", None, find_methods(), find_tasks())
    assert ours.argument == "leaderboard"


@pytest.mark.parametrize(
    ("wanted", "old", "new", "message"),
    [
        (expansion.Wanted(methods=("rlif",)), "", "", "study 'mine' has no method 'rlif'; did you mean 'lif'"),
        (expansion.Wanted(tasks=("digit",)), "", "", "has no task 'digit'; did you mean 'digits'"),
        (expansion.Wanted(data={"ssc": "x"}), "", "", "has no task 'ssc'; known: digits, shd"),
        (expansion.Wanted(repetitions=0), "", "", "repetitions is 0"),
        (None, "repetitions", "repetition", "unknown key 'repetition'; did you mean 'repetitions'"),
        (None, "set.yin-yang", "set.yinyang", "unknown table 'set.yinyang'; did you mean 'yin-yang'"),
        (None, "repetitions = 2", "repetitions = 0", "quick.: repetitions is 0; it must be at least 1"),
        (
            None,
            'methods = ["lif", "delrec-axonal", "counts-only"]',
            'methods = "lif"',
            "methods is 'lif'; it must be a list",
        ),
        (None, "set.delrec-axonal", "set.rlif", "has no method 'rlif'"),
        (None, "training.epochs = 7", "network.window = 7", "set.delrec-axonal: it has no setting 'network.window'"),
        (None, "repetitions = 2", "margin = { digits = 2.0 }", "digits is 2, but accuracy lies in 0 to 1: .* 1.00 %"),
        (
            None,
            "repetitions = 2",
            "sweep = { 'network.window' = [3, 5] }",
            "sweep: none of lif, delrec-axonal, counts-only has network.window",
        ),
        (
            None,
            "repetitions = 2",
            "primary = { method = 'lif', control = 'lif', over = ['digits'] }",
            "primary compares lif with itself",
        ),
        (None, "test_limit", "test_limits", "unknown key 'test_limits'; did you mean 'test_limit'"),
    ],
)
def test_a_study_that_names_something_unknown_is_told_the_nearest(mine, wanted, old, new, message):
    with pytest.raises(BenchError, match=message):
        mine(wanted, old, new)


def corpus(folder: Path) -> Path:
    """A few samples in SHD's layout."""
    for number, part in enumerate(("train", "test")):
        random = np.random.default_rng(number)
        counts = np.full(20, 30)
        times = np.sort(random.uniform(0, 0.2, (20, 30)), axis=1).ravel().astype(np.float16)
        labels = (np.arange(20) % 2).astype(np.uint16)
        units = random.integers(0, 700, 600).astype(np.uint16)
        write(folder / f"shd_{part}.h5", Events(labels, labels, counts, times, units), ("a", "b"))
    return folder


@pytest.mark.slow
def test_a_leaderboard_on_files_of_ones_own_with_its_latency_and_its_page_again(tmp_path, mine, capsys, monkeypatch):
    (tmp_path / "root").mkdir()
    shutil.copy(ROOT / "data.dvc", tmp_path / "root")
    monkeypatch.chdir(tmp_path / "root")
    for name in ("DELREC_BENCH_ROOT", "DELREC_BENCH_METHODS", "DELREC_BENCH_TASKS", "DELREC_ENGINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(reproducing, "LATENCY_SECONDS", 0.5)
    mine()
    words = "reproduce --study mine --jobs 1 --json --only-tasks shd --only-methods lif,counts-only --repetitions 1"
    assert app.main([*words.split(), "--data", f"shd={corpus(tmp_path / 'own')}"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert (content["trained"], content["latency"]) == (2, 1)
    records = load_records(tmp_path / "root" / "runs")
    assert len({r.task for r in records}) == 1 and records[0].task.startswith("shd:own@")
    networks = [r.configuration["network"] for r in records if r.kind in ("run", "latency")]
    assert networks[0] == networks[1], "latency is that of the study's networks"
    page = next((tmp_path / "root" / "out").glob("*/*.md"))
    page.unlink()
    assert app.main(["report", "--study", "mine", "--data", f"shd={tmp_path / 'own'}"]) == 0
    assert "| lif" in page.read_text(), "a page on files of one's own could be made by `reproduce` alone"
    capsys.readouterr()
    assert app.main(["reproduce", "--study", "mine", "--data", "shd"]) == 2
    assert "--data 'shd' is not TASK=DIR" in capsys.readouterr().err


@pytest.mark.parametrize("name", file.study_files())
def test_every_study_of_this_package_expands_in_every_profile(name):
    found = file.study_file(file.study_path(name))
    for profile in found.profiles:
        assert expansion.expand(name, profile, find_methods(), find_tasks()).requests, profile


def test_a_studys_first_profile_is_its_page_where_it_has_no_quick_one():
    pages = {name: expansion.expand(name, None, find_methods(), find_tasks()).page for name in file.study_files()}
    assert pages == {name: name for name in pages}


def test_a_page_of_sizes_and_latencies_needs_no_data(tmp_path, capsys):
    shutil.copy(ROOT / "data.dvc", tmp_path)
    assert app.main(["report", "--study", "three-tasks", "--root", str(tmp_path)]) == 0
    assert (tmp_path / "out" / "three-tasks" / "three-tasks.md").exists()


def test_a_profile_adds_to_the_notes_of_its_study():
    study = file.study_file(file.study_path("delay-range"))
    assert study.notes and study.profiles["mnist"].notes
    assert study.profile_named("mnist")[1].notes == [*study.notes, *study.profiles["mnist"].notes]
    assert study.profile_named("speech")[1].notes == study.notes


def test_draws_are_anew_for_each_repetition_and_shared_by_the_rows_of_a_task():
    study = expansion.expand("where-learning-helps", "embedded", find_methods(), find_tasks())
    space = ("training.lr_weights", "network.tau", "network.dropout")
    of = {r: {tuple(dict(q.overrides)[k] for k in space) for q in study.requests if q.repetition == r} for r in (0, 1)}
    assert len(of[0]) == len(of[1]) == 1  # all methods and points
    assert of[0] != of[1]
    fixed = next(q for q in study.requests if q.method == "delrec-axonal-fixed")
    learned = next(q for q in study.requests if q.method == "delrec-axonal")
    assert "training.lr_delays" in dict(learned.overrides)
    assert 2.0 <= dict(fixed.overrides)["network.tau"] <= 10.0


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        ('"training.epochs" = [1, 2]', "training.epochs is no hyperparameter"),
        ('"network.tau" = { low = 3, high = 2 }', "0 < low < high"),
        ('"budget" = [1, 2]', "budget is no hyperparameter"),
        ('"network.tua" = [1.0]', "did you mean 'network.tau'"),
    ],
)
def test_a_draw_that_cannot_be_is_refused(draw, message, tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(f'summary = "s"\n[quick]\nmethods = ["lif"]\ntasks = ["digits"]\ndraw = {{ {draw} }}\n')
    with pytest.raises(BenchError, match=message):
        expansion.expand(str(path), None, find_methods(), find_tasks())
