"""`rerun` and `audit`: a record is made again, and a page is walked back to what it stands on."""

import csv
import json
from pathlib import Path

import made_up
import pytest
from delrec_bench import app
from delrec_bench.config import Request, resolve
from delrec_bench.data.dvc_files import listed
from delrec_bench.environment import is_commit
from delrec_bench.errors import BenchError
from delrec_bench.methods.base import find_methods
from delrec_bench.records import PAGE_FILE, RESULTS_VERSION, find_record, page_text, write_page, write_record
from delrec_bench.records import pages as pages_module
from delrec_bench.records.audit import Against, audit
from delrec_bench.records.rerun import compare
from delrec_bench.runs.again import request_of, rerun
from delrec_bench.runs.single import perform
from delrec_bench.tasks.base import find_tasks
from delrec_bench.workspace import workspace_at, write_atomic

METHODS, TASKS = find_methods(), find_tasks()
TINY = (("network.hidden", [6]), ("task.limit", 40), ("task.test_limit", 30), ("training.epochs", 2))
EARLY = {"losses": [2.3, 2.2], "logits": [[0.1, 0.2]]}


def run(**changes):
    return made_up.record("lif", "digits", 0, early=EARLY, **changes)


def agree(one, two):
    return one["losses"] == two["losses"], "the loss of update 2"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    workspace = workspace_at(tmp_path_factory.mktemp("made"))
    requests = {
        "network": Request("delrec-axonal", "digits", overrides=TINY),
        "budget": Request("lif", "digits", overrides=(("budget", 3000), *TINY[1:])),
        "floor": Request("counts-only", "digits"),
        "trial": Request("lif", "digits", overrides=TINY, trial=True),
        "forecast": Request("lif", "mackey-glass", overrides=TINY),
    }
    return workspace, {k: perform(resolve(r, METHODS, TASKS, workspace), workspace).record for k, r in requests.items()}


@pytest.mark.parametrize("kind", ["network", "budget", "floor", "trial", "forecast"])
def test_a_record_is_made_again_to_the_bit_from_its_configuration_alone(made, kind):
    workspace, records = made
    before = sorted(workspace.runs.rglob("*"))
    again, outcome = rerun(records[kind], METHODS, TASKS, workspace)
    assert again.key == records[kind].key
    assert (outcome.word, dict(outcome.differences)) == ("equal", {}), outcome.reason
    assert sorted(workspace.runs.rglob("*")) == before


def test_a_run_on_other_data_is_refused_and_files_of_ones_own_need_their_folder(made):
    workspace, records = made
    other = records["network"].changed(data=records["network"].data | {"digest": "0" * 64})
    with pytest.raises(BenchError, match="was made on data 000000000000, here are"):
        rerun(other, METHODS, TASKS, workspace)
    own = records["network"].changed(task="shd:mine@01234567", data=records["network"].data | {"kind": "OFFICIAL"})
    with pytest.raises(BenchError, match=r"files of somebody's own, shd:mine@01234567: give their folder"):
        request_of(own, TASKS)


def test_the_first_epoch_and_number_that_differ_are_named():
    history = [dict(entry) for entry in run().history]
    history[6]["loss"] = 0.25
    outcome = compare(run(), run(history=history))
    assert outcome.word == "different" and "epoch 7, loss (0.2857142857142857 and 0.25)" in outcome.reason
    assert list(outcome.differences) == ["history[6].loss"]


def test_on_another_processor_early_updates_decide_first():
    there = {"host": "another"}
    history = [entry | {"loss": entry["loss"] * (1 + 1e-6)} for entry in run().history]
    assert compare(run(), run(measured=there)).word == "equal"
    same = run(measured=there, history=history)
    assert compare(run(), same, agree).word == "equivalent"
    assert compare(run(), same).word == "open"
    assert compare(run(), made_up.record("lif", "digits", 0, measured=there, history=history), agree).word == "open"
    off = run(measured=there, history=history).changed(early={"losses": [2.3, 2.0], "logits": [[0.1, 0.2]]})
    outcome = compare(run(), off, agree)
    assert outcome.word == "different" and "early updates do not agree: the loss of update 2" in outcome.reason
    moved = [(p + 1) % 10 if i == 5 else p for i, p in enumerate(run().predictions.tolist())]
    correct = sum(p == t for p, t in zip(moved, run().targets.tolist(), strict=True))
    scored = run().result | {"correct": correct, "test_score": correct / 600}
    outcome = compare(run(), same.changed(predictions=moved, result=scored), agree)
    assert outcome.word == "open" and f"scores {run().score} and {correct / 600}" in outcome.reason


def test_early_samples_of_another_number_are_told_by_their_number():
    """Two long lists that begin alike looked the same in what was said of their difference."""
    more = run().changed(early={**EARLY, "logits": [[0.1, 0.2]] * 32})
    outcome = compare(more, run())
    assert (outcome.word, "first in early.logits (32 and 1 of them)" in outcome.reason) == ("different", True)


def test_another_configuration_is_another_run():
    outcome = compare(run(), run(configuration=run().configuration | {"epochs": 11}))
    assert outcome.word == "different" and "another run: configuration.epochs" in outcome.reason


def page(tmp_path, records):
    write_page(tmp_path / "reports" / "leaderboard" / PAGE_FILE, records)
    with (tmp_path / "reports" / "leaderboard" / "leaderboard.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ["task", "method", "n", "score_mean"])
        table.writeheader()
        for method in sorted({r.method for r in records}):
            scores = [r.score for r in records if r.method == method]
            table.writerow(
                {"task": "digits", "method": method, "n": len(scores), "score_mean": sum(scores) / len(scores)}
            )
    return tmp_path / "reports"


def against(tmp_path, files=(), commits=True):
    return Against(dict(files), lambda revision: commits, tmp_path / "runs")


def study():
    files = made_up.record("lif", "digits", 0).data | {"files": {"digits.csv.gz": "a" * 32}}
    return [made_up.record(m, "digits", r, data=files) for m in ("lif", "rlif") for r in range(2)]


def test_the_published_pages_stand_on_the_data_that_the_checkout_lists():
    """Records hold the content digest of a generated file, the list was asked for its md5: 195 false findings."""
    root = workspace_at(Path(__file__).parents[2])
    files = {"/".join(Path(path).parts[1:]): entry.digest for path, entry in listed(root).items()}
    found = audit(root.reports, Against(files, lambda revision: True, root.root / "no-runs"))
    assert [finding for finding in found if finding.what != "code"] == []


def test_a_page_that_matches_has_no_findings(tmp_path):
    assert RESULTS_VERSION == study()[0].provenance["results_version"]
    assert audit(page(tmp_path, study()), against(tmp_path, {"digits/digits.csv.gz": "a" * 32})) == []
    assert audit(tmp_path / "nothing", against(tmp_path)) == []


def test_the_rows_of_a_sweep_and_of_conditions_have_their_records_behind_them(tmp_path):
    plain = made_up.record("lif", "digits", 0).configuration
    records, means = [], {}
    for name, lesion in (("lif (lesion none)", {}), ("lif (lesion zero)", {"evaluation": {"lesion": "zero"}})):
        of = [
            made_up.record("lif", "digits", r, configuration=plain | lesion | {"repetition": r, "seeds": {"split": r}})
            for r in range(2 + bool(lesion))
        ]
        records += of
        means[name] = (len(of), sum(r.score for r in of) / len(of))
    reports = page(tmp_path, records)
    table = reports / "leaderboard" / "leaderboard.csv"
    rows = [f"digits,{name},{n},{mean}" for name, (n, mean) in means.items()]
    table.write_text("\n".join(["task,method,n,score_mean", *rows]))
    assert audit(reports, against(tmp_path)) == []
    table.write_text(
        "\n".join(["task,method,n,score_mean", "digits,lif (lesion zero),3,0.5", "digits,lif (x 1),4,0.5"])
    )
    texts = [f.text for f in audit(reports, against(tmp_path))]
    assert "score_mean is 0.5" in texts[0] and "n is 4, but 2 or 3 records" in texts[1]


def test_what_no_longer_matches_is_listed(tmp_path):
    records = study()
    reports = page(tmp_path, records)
    (finding, *more) = audit(reports, against(tmp_path, {"digits/digits.csv.gz": "b" * 32}))
    assert finding.what == "data" and "the checkout lists bbbbbbbbbbbb" in finding.text and len(more) == 3
    assert {f.what for f in audit(reports, against(tmp_path, commits=False))} == {"code"}
    own = records[0].changed(history=records[0].history[:9], result=records[0].result | {"epochs": 9})
    write_record(tmp_path / "runs" / own.key / "record.json", own)
    (finding,) = audit(reports, against(tmp_path))
    assert finding.what == "run" and "differs in history, result.epochs" in finding.text
    (tmp_path / "runs" / own.key / "record.json").unlink()
    table = reports / "leaderboard" / "leaderboard.csv"
    rows = table.read_text().splitlines()
    table.write_text(
        "\n".join([rows[0], rows[1].rpartition(",")[0] + ",0.99", "digits,dcls,3,0.9", rows[2].replace(",2,", ",3,")])
    )
    texts = [f.text for f in audit(reports, against(tmp_path))]
    assert len(texts) == 3
    assert (
        "score_mean is 0.99" in texts[0] and "dcls on digits has no record" in texts[1] and "n is 3, but 2" in texts[2]
    )


def test_a_record_whose_score_does_not_follow_from_its_predictions_is_found(tmp_path, monkeypatch):
    records = study()
    reports = page(tmp_path, records)
    text = page_text(records)
    score = f'"test_score":{records[0].score!r}'
    assert text.count(score) == 1
    path = reports / "leaderboard" / PAGE_FILE
    write_atomic(path, pages_module.lzma.compress(text.replace(score, '"test_score":0.99').encode()))
    findings = audit(reports, against(tmp_path))
    assert findings[0].what == "record" and "result.test_score is 0.99, but its predictions score" in findings[0].text
    assert findings[1].what == "table" and "n is 2, but 1 records" in findings[1].text
    path.write_bytes(b"garbage" * 9)
    assert "not an xz file" in audit(reports, against(tmp_path))[0].text


def test_a_revision_is_looked_up_in_the_history():
    assert not is_commit("0" * 40) and not is_commit("--all") and not is_commit("unknown")


def test_both_commands_answer_in_json_and_by_exit_code(tmp_path, made, capsys):
    workspace, records = made
    (tmp_path / "data.dvc").write_text("outs: []\n")
    path = Path(workspace.runs / records["network"].key / "record.json")
    assert app.main(["rerun", str(path), "--root", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["word"] == "equal"
    assert app.main(["rerun", "abcdef", "--root", str(tmp_path)]) == 2
    assert "0 records have a key that begins so" in capsys.readouterr().err
    page(tmp_path, study())
    for folder in (workspace, workspace_at(tmp_path)):  # among finished runs, and behind a page
        one = records["network"] if folder is workspace else study()[0]
        assert find_record(one.key[:12], folder) == one
    with pytest.raises(BenchError, match="'' is no file, and 0 records"):
        find_record("", workspace)
    assert app.main(["audit", "--root", str(tmp_path), "--json"]) == 1  # the made-up revision is in no history
    told = json.loads(capsys.readouterr().out)
    assert told["pages"] == 1 and {finding["what"] for finding in told["findings"]} == {"code"}
