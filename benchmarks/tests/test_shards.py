"""A study in parts, and the parts put together again."""

import json
from contextlib import nullcontext
from pathlib import Path

import pytest
from delrec_bench import app
from delrec_bench.errors import BenchError
from delrec_bench.methods.base import find_methods
from delrec_bench.records import load_records, read_record, write_record
from delrec_bench.studies import expansion, file
from delrec_bench.studies.sharding import parse_shard, shard
from delrec_bench.tasks.base import find_tasks

METHODS, TASKS = find_methods(), find_tasks()


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_of_n_parts_each_request_is_in_one_and_a_method_with_its_control(count):
    requests = expansion.expand("leaderboard", "quick", METHODS, TASKS).requests
    parts = [shard(requests, (number, count), METHODS, TASKS) for number in range(1, count + 1)]
    assert sorted(r.command() for part in parts for r in part) == sorted(r.command() for r in requests)
    assert all(parts) and parts[0] == shard(requests, (1, count), METHODS, TASKS)
    names = {request.method for request in requests}
    for part in parts:
        pairs = {(request.task, request.method) for request in part}
        for task, name in pairs:
            control = METHODS[name].control
            assert control not in names or (task, control) in pairs
            repetitions = {r.repetition for r in part if (r.task, r.method) == (task, name)}
            assert repetitions == {r.repetition for r in requests if (r.task, r.method) == (task, name)}


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2", "1/2/3"])
def test_a_part_that_cannot_be_is_refused(text):
    with pytest.raises(BenchError, match="it must be i/n"):
        parse_shard(text)


STUDY = """
summary = "floors"

[quick]
methods = ["counts-only", "time-slices"]
tasks = ["digits", "yin-yang"]
repetitions = 1

[quick.set]
task.limit = 40
task.test_limit = 30
"""


@pytest.fixture
def study(tmp_path, monkeypatch) -> Path:
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "leaderboard.toml").write_text(STUDY)
    monkeypatch.setattr(file, "FOLDER", tmp_path / "studies")
    for name in ("whole", "one", "two", "all ü"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "README.md").write_text("<!-- pages:start -->\n<!-- pages:end -->\n")
    return tmp_path


def called(capsys, *words: str) -> dict:
    code = app.main([*words, "--json"])
    out, err = capsys.readouterr()
    assert code == 0, err
    return json.loads(out)


def test_two_parts_collected_are_the_whole(study, capsys, monkeypatch):
    def left_out(*_: object) -> None:
        raise BenchError("MLflow is left out here")

    monkeypatch.setattr("delrec_bench.app.reproducing.sync", left_out)  # so that the pages come from the records
    monkeypatch.setattr("delrec_bench.studies.work.follow", lambda *_: nullcontext())
    words = ["reproduce", "--no-latency", "--jobs", "1", "--root"]
    called(capsys, *words, str(study / "whole"))
    counts = [called(capsys, *words, str(study / n), "--shard", f"{i}/2")["runs"] for i, n in ((1, "one"), (2, "two"))]
    whole = load_records(study / "whole" / "runs")
    assert sum(counts) == len(whole) and all(counts)
    here = ["collect", "--root", str(study / "all ü")]
    assert len(called(capsys, *here, str(study / "one"), str(study / "two" / "runs"))["added"]) == len(whole)
    again = called(capsys, *here, str(study / "two"), str(study / "whole"))
    assert (again["added"], len(again["same"])) == ([], len(whole))
    assert called(capsys, *words, str(study / "all ü"))["trained"] == 0
    for name in ("leaderboard.csv", "leaderboard.md"):
        merged, whole_page = (study / root / "out" / "leaderboard" / name for root in ("all ü", "whole"))
        assert merged.read_text() == whole_page.read_text() and "time-slices" in merged.read_text()


def test_a_conflict_is_named_and_nothing_is_collected(study, capsys):
    for name in ("one", "two"):
        for repetition in ("0", "1"):
            called(
                capsys, "run", "counts-only", "digits", "--limit", "40", "--root", str(study / name),
                "--repetition", repetition,
            )  # fmt: skip
    path = next((study / "two").glob("runs/*/record.json"))
    record = read_record(path)
    write_record(path, record.changed(learned="something else"))
    words = ["collect", str(study / "one"), str(study / "two"), "--root", str(study / "all ü")]
    assert app.main(words) == 2
    said = capsys.readouterr().err
    assert f"counts-only on digits, repetition {record.repetition}: " in said and "differ in learned; nothing" in said
    assert load_records(study / "all ü" / "runs") == []
    assert app.main(["collect", str(study / "studies"), "--root", str(study / "all ü")]) == 2
    assert "holds no runs/<key>/record.json" in capsys.readouterr().err
