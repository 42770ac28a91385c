"""`leaderboard`: the board in the terminal, and only what is new is trained."""

from types import SimpleNamespace

import pytest
from delrec_bench import app
from delrec_bench.app import study_commands
from delrec_bench.methods.method import find_methods
from delrec_bench.report.declared import page_of
from delrec_bench.studies.expansion import Wanted, expand
from delrec_bench.studies.work import Cost, Job, Work
from delrec_bench.tasks.task import find_tasks
from short_runs import study

from benchmarks.tests.test_plugins import METHODS, METRIC, TASK

METHOD = METHODS.replace("visitor", "mine").replace("Visitor", "My method")


@pytest.fixture
def asked(monkeypatch):
    """What would be trained."""
    requests = []
    monkeypatch.setattr(Work, "missing", lambda self, of: ([Job(r, None, Cost(seconds=30.0)) for r in of], []))
    monkeypatch.setattr(Work, "do", lambda self, of: requests.extend(job.request for job in of) or [])
    return requests


@pytest.fixture
def mine(checkout):
    """A checkout with a folder of a method."""
    (checkout / "mine").mkdir()
    (checkout / "mine" / "mine.py").write_text(METHOD)
    return checkout


def test_only_the_new_methods_rows_are_trained_and_stand_marked_among_the_others(mine, asked, command, capsys):
    content, _ = command("leaderboard", "--methods", "mine")
    assert content["new"] == ["mine"] and {row["method"] for row in content["rows"]} > {"mine", "lif", "dcls"}
    assert {(r.method, r.repetition) for r in asked} == {("mine", 0)}
    assert {r.task for r in asked} == {"digits", "formants-20", "formants-35", "mackey-glass"}
    asked.clear()
    words = ["--methods", "mine", "--only-tasks", "digits", "--repetitions", "3"]
    assert app.main(["leaderboard", *words]) == 0
    assert [(r.task, r.repetition) for r in asked] == [("digits", r) for r in range(3)]
    told = capsys.readouterr()
    assert "My method (new, run here)" in told.out
    assert "3 runs, 3 to do with" in told.err and "minutes" in told.err, "also where stderr is no terminal"
    text = (mine / "out" / "leaderboard" / "leaderboard.html").read_text()
    assert "new, run here" in text and "delrec-bench leaderboard --methods mine" in text
    assert "planned run" not in text


@pytest.mark.parametrize("task", ["shd", "ps-mnist"])
def test_it_trains_on_files_of_a_user_where_they_are_named(mine, asked, capsys, task):
    words = ["leaderboard", "--methods", "mine", "--data", f"{task}=there"]
    assert app.main([*words, "--only-tasks", task]) == 0
    assert [(r.method, r.task, r.data) for r in asked] == [("mine", task, "there")]
    asked.clear()
    assert app.main(words) == 0
    assert {r.task for r in asked} == {"digits", "formants-20", "formants-35", "mackey-glass", task}


def test_the_command_of_a_folder_with_a_space_can_be_pasted(mine, asked, command):
    (mine / "mine").rename(mine / "my methods")
    content, _ = command("leaderboard", "--methods", "my methods", "--only-tasks", "digits")
    (row,) = (row for row in content["rows"] if (row["method"], row["task"]) == ("mine", "digits"))
    assert row["command"].endswith(" --methods 'my methods'")


def test_the_commands_of_a_study_name_the_folders_of_its_plug_ins(mine, monkeypatch):
    (mine / "own.toml").write_text(study(["mine", "lif"], task="visited"))
    scored = TASK.replace('"visited"', '"visited", metric="measured"')
    for folder, text in (("my tasks", scored), ("scores", METRIC)):
        (mine / folder).mkdir()
        (mine / folder / "own.py").write_text(text)
    monkeypatch.setenv("DELREC_BENCH_METRICS", "scores")
    methods, tasks = find_methods([mine / "mine"]), find_tasks([mine / "my tasks"])
    declared = page_of(expand("own.toml", None, methods, tasks), methods, tasks)
    task = " --tasks 'my tasks' --metrics scores"
    assert {row.method: row.given for row in declared.runs.values()} == {"mine": f" --methods mine{task}", "lif": task}
    assert all(command.endswith(f"--profile quick --methods mine{task}") for command in declared.again)
    (mine / "own.toml").rename(mine / "my tasks" / "own.toml")
    part = expand("my tasks/own.toml", None, methods, tasks, Wanted(("lif",)))
    (command,) = page_of(part, methods, tasks).again
    assert "--study 'my tasks/own.toml'" in command and command.endswith(f" --methods mine{task}"), "the file names it"


def test_its_latency_is_measured_too(mine, monkeypatch):
    seen = []
    measured = SimpleNamespace(records=[], measured=0, failed=[])
    monkeypatch.setattr(study_commands, "_measure", lambda _, study, *__, **___: seen.append(study) or measured)
    assert app.main("bench --methods mine --only-methods mine --only-tasks digits".split()) == 0
    assert {request.method for request in seen[0].requests} == {"mine"}


def test_a_dry_run_says_how_many_runs_and_minutes_and_trains_nothing(mine, asked, capsys):
    assert app.main(["leaderboard", "--methods", "mine", "--dry-run", "--jobs", "2"]) == 0
    said = capsys.readouterr().err
    assert asked == [] and "4 runs, 4 to do with 2 workers: about" in said and "minutes (a guess for 4 without" in said
    assert not (mine / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--methods mine --only-tasks shdd", "no task 'shdd'; did you mean 'shd'"),
        ("--methods mine --only-tasks digits --data shd=there", "on 'shd': --only-tasks excludes it"),
        ("--only-tasks digits", "nothing to train; give the folder of your method with --methods DIR"),
    ],
)
def test_a_wrong_request_is_named_with_its_remedy(mine, asked, capsys, words, message):
    assert app.main(["leaderboard", *words.split()]) == 2
    assert asked == [] and message in capsys.readouterr().err


def test_missing_data_is_named_before_anything_is_trained(mine, capsys):
    assert app.main(["leaderboard", "--methods", "mine", "--only-tasks", "shd", "--dry-run"]) == 2
    assert "delrec-bench data fetch shd" in capsys.readouterr().err


def test_without_a_new_method_nothing_is_trained(checkout, asked, capsys):
    assert app.main(["leaderboard"]) == 0
    assert asked == [] and "DelRec, fixed random delays" in capsys.readouterr().out
