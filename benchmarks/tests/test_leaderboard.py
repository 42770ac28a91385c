"""`leaderboard`: the board in the terminal, and only what is new is trained."""

import json

import pytest
from delrec_bench import app
from delrec_bench.studies.work import Work

METHOD = """
from delrec_bench.methods.base import Method
from delrec_bench.methods.plain import METHODS as PLAIN

METHODS = [Method(name="mine", title="My method", summary="a method of mine", source="a test", learned="weights",
                  settings=PLAIN[0].settings, build=PLAIN[0].build, presets=PLAIN[0].presets, control="lif")]
"""


@pytest.fixture
def asked(monkeypatch):
    """What would be trained."""
    requests = []
    monkeypatch.setattr(Work, "missing", lambda self, of: (list(of), []))
    monkeypatch.setattr(Work, "do", lambda self, of: requests.extend(of) or [])
    return requests


def test_only_the_new_methods_rows_are_trained_and_stand_marked_among_the_others(checkout, asked, capsys):
    (checkout / "mine").mkdir()
    (checkout / "mine" / "mine.py").write_text(METHOD)
    assert app.main(["leaderboard", "--methods", "mine", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["new"] == ["mine"] and {row["method"] for row in content["rows"]} > {"mine", "lif", "dcls"}
    assert {(r.method, r.repetition) for r in asked} == {("mine", 0)}
    assert {r.task for r in asked} == {"digits", "formants-20", "formants-35", "mackey-glass"}
    asked.clear()
    words = ["--methods", "mine", "--only-tasks", "digits", "--repetitions", "3"]
    assert app.main(["leaderboard", *words]) == 0
    assert [(r.task, r.repetition) for r in asked] == [("digits", r) for r in range(3)]
    assert "My method (new, run here)" in capsys.readouterr().out
    assert "new, run here" in (checkout / "out" / "leaderboard" / "leaderboard.html").read_text()


def test_without_a_new_method_nothing_is_trained(checkout, asked, capsys):
    assert app.main(["leaderboard"]) == 0
    assert asked == [] and "DelRec, fixed random delays" in capsys.readouterr().out
