"""`show`, `export-table`, `compare` and `ui`, as a user meets them."""

import json
import re
import shutil
import socket
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from delrec_bench import app
from delrec_bench.errors import BenchError
from delrec_bench.methods.base import find_methods
from delrec_bench.records import find_record, load_records, read_record, write_record
from delrec_bench.records.tracking import serving
from delrec_bench.report.content import build
from delrec_bench.report.export import escaped, export, read_rows
from delrec_bench.report.rasters import rasters
from delrec_bench.report.run_page import score_of, title_of
from delrec_bench.report.writing import publish, write_page
from delrec_bench.runs.models import network_of
from delrec_bench.runs.replay import replay, without_delays
from delrec_bench.tasks.base import find_tasks
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


def test_a_record_from_before_the_field_still_holds_and_is_the_same_record(root, tmp_path):
    record = record_of(root, "delrec-dcls")
    older = record.changed(delays=None)
    assert read_record(write_record(tmp_path / "record.json", older)) == older
    from delrec_bench.records import differences
    from delrec_bench.records.rerun import compare

    assert differences(record, older) == [] and compare(older, record).word == "equal"
    assert older.content != record.content


def test_show_writes_one_runs_page(call, root):
    key = record_of(root, "delrec-dcls").key
    code, content = call("show", key[:8])
    assert (code, content["key"], content["raster"]) == (0, key, True)
    text = Path(content["file"]).read_text()
    for name in ("history", "units", "raster", "confusion"):
        assert f'id="figure-{name}"' in text
    assert "delrec-bench run delrec-dcls digits" in text and "every delay 0" in text and key in text
    assert len(text.encode()) < 1_000_000 and not re.search(
        r'(src|href)="(?!#|delrec|raster|units|history|confusion)', text
    )
    assert call("show", "delrec-dcls/digits/0")[1]["key"] == key
    assert call("show", str(root / "runs" / key / "record.json"))[1]["key"] == key


def test_show_without_a_checkpoint_says_so_and_shows_the_rest(call, root):
    record = record_of(root, "delrec-dcls")
    path = root / "runs" / record.key / "checkpoint.pt"
    aside = path.rename(path.with_suffix(".aside"))
    try:
        code, content = call("show", record.key[:8])
    finally:
        aside.rename(path)
    assert code == 0 and content["raster"] is False and "has no checkpoint here" in content["why_not"]
    text = Path(content["file"]).read_text()
    assert 'id="figure-units"' in text and "figure-raster" not in text and "has no checkpoint here" in text


def test_show_of_a_floor_and_of_what_is_not_there(call):
    code, content = call("show", "counts-only/digits/0")
    assert code == 0 and "figure-confusion" in Path(content["file"]).read_text()
    assert call("show", "lif/digits/7")[1]["error"].startswith("no finished run is lif/digits/7")


def test_a_record_that_cannot_be_read_hides_no_other_run(tmp_path):
    """One run of somebody's own metric, or one broken file, and `show lif/digits/0` of all others ended."""
    workspace, made = workspace_at(tmp_path), made_up.record("lif", "digits", 0)
    write_record(workspace.runs / made.key / "record.json", made)
    (workspace.runs / "broken").mkdir()
    (workspace.runs / "broken" / "record.json").write_text("{")
    assert find_record("lif/digits/0", workspace) == made
    with pytest.raises(BenchError, match=r"no finished run is lif/digits/1 \(1 cannot be read: .*broken.*record.json"):
        find_record("lif/digits/1", workspace)


def test_several_settings_of_one_name_are_named_by_their_keys(root, tmp_path):
    workspace = workspace_at(tmp_path)
    for epochs in (10, 20):
        like = made_up.record("lif", "digits", 0)
        made = made_up.remade(like, configuration=like.configuration | {"epochs": epochs})
        write_record(workspace.runs / made.key / "record.json", made)
    with pytest.raises(BenchError, match="2 runs of different settings are lif/digits/0") as told:
        find_record("lif/digits/0", workspace)
    assert "(epochs 10)" in str(told.value) and "(epochs 20)" in str(told.value)


def test_a_replay_is_the_network_as_deployed_and_the_test_set_stays_closed(root, monkeypatch):
    record, workspace = record_of(root, "delrec-dcls"), workspace_at(root)
    from delrec_bench.training.held_out import HeldOut

    monkeypatch.setattr(HeldOut, "release", lambda *_: pytest.fail("the test set was opened"))
    seen = replay(record, find_methods(), find_tasks(), workspace)
    assert seen.sample == "the first validation sample" and len(seen.layers) == len(seen.spikes) == 2
    assert all(set(np.unique(s)) <= {0.0, 1.0} for s in seen.spikes)
    assert any(not np.array_equal(a, b) for a, b in zip(seen.spikes, seen.without, strict=True))
    starts = {layer["layer"]: layer["start"] for layer in seen.delays}
    assert starts == {layer["layer"]: layer["start"] for layer in record.delays}  # from the seed, as it was recorded


def test_without_delays_every_spike_arrives_at_the_next_step(root):
    record, workspace = record_of(root, "delrec-dcls"), workspace_at(root)
    model = network_of(record, workspace.runs / record.key / "checkpoint.pt", find_methods())
    before = {name: delay.clone() for name, delay in model.delays().items()}
    silent = without_delays(model)
    assert all(float(delay.abs().max()) == 0 for delay in silent.delays().values())
    assert all(torch.equal(delay, before[name]) for name, delay in model.delays().items())
    plain = network_of(
        record_of(root, "lif"), workspace.runs / record_of(root, "lif").key / "checkpoint.pt", find_methods()
    )
    assert without_delays(plain) is None


@pytest.fixture(scope="module")
def paged(tmp_path_factory):
    """A workspace whose out/ holds a page."""
    root, records = tmp_path_factory.mktemp("paged"), made_up.everything()
    write_page(root / "out" / "made-up", build(made_up.declared(records), records))
    return root


def test_export_table_is_latex_with_booktabs_and_escapes(paged, capsys):
    assert app.main(["export-table", "made-up", "--task", "shd", "--root", str(paged)]) == 0
    out = capsys.readouterr().out
    assert all(rule in out for rule in (r"\toprule", r"\midrule", r"\bottomrule")) and r"\pm" in out
    assert r"delrec-synaptic-fixed & " in out and " \\%" in out and "±" not in out
    body = out[out.index(r"\midrule") : out.index(r"\bottomrule")]
    assert body.count(r"\\") == 10 and not re.search(r"(?<!\\)%", body)
    assert escaped(r"a_b & 50% {\x}") == r"a\_b \& 50\% \{\textbackslash x\}"


@pytest.mark.parametrize("how", ["markdown", "csv"])
def test_export_table_says_what_the_page_says(paged, capsys, how):
    words = ["--columns", "method,score,interval", "--format", how, "--task", "digits"]
    assert app.main(["export-table", str(paged / "out" / "made-up"), *words, "--root", str(paged)]) == 0
    out = capsys.readouterr().out
    rows = [r for r in read_rows(paged / "out" / "made-up" / "made-up.json") if r["task"] == "digits"]
    assert len(out.splitlines()) == len(rows) + (2 if how == "markdown" else 1)
    for row in rows:
        assert row["method"] in out and f"{100 * row['score_mean']:.2f}" in out


def test_export_table_names_what_it_does_not_know(paged, capsys):
    for words, said in (
        (["made-upp"], "did you mean 'made-up'"),
        (["made-up", "--task", "digit"], "did you mean 'digits'"),
        (["made-up", "--columns", "scor"], "did you mean 'score'"),
    ):
        assert app.main(["export-table", *words, "--root", str(paged)]) == 2
        assert said in capsys.readouterr().err


def test_names_cannot_break_a_latex_table():
    row = read_rows_of(made_up.scored_at("lif", 0, 0.5))[0] | {"method": r"a_b & \input{x} % $"}
    text = export([row], "latex")
    marked = export([row | {"method": "how a|b <c>"}], "latex")  # in OT1 these are a dash and two turned signs
    assert r"how a\textbar{}b \textless{}c\textgreater{}" in marked
    assert r"a\_b \& \textbackslash input\{x\} \% \$" in text.replace("textbackslash  ", "textbackslash ")


def read_rows_of(*records):
    from delrec_bench.report.texts import to_json

    page = build(made_up.declared(records, primary=None), records)
    return json.loads(to_json(page, ()))["rows"]


def compared(root, *words, capsys):
    code = app.main(["compare", *words, "--root", str(root)])
    out, err = capsys.readouterr()
    return code, out or err


def test_compare_takes_methods_by_a_page_of_out(paged, capsys):
    code, text = compared(paged, "dcls", "lif", "--of", "made-up", capsys=capsys)
    assert code == 0 and text.splitlines()[1].startswith("On ") and "dcls" in text
    code, text = compared(paged, "dcls", "lif", "--of", "mad", capsys=capsys)
    assert code == 2 and "no page of reports/ or out/" in text


def test_compare_takes_two_points_of_a_sweep(tmp_path, capsys):
    records, runs = made_up.swept({"sigma": [0, 3]}, n=6)
    write_page(tmp_path / "out" / "made-up", build(made_up.declared(records, primary=None, runs=runs), records))
    a, b = "delrec-synaptic (sigma 3)", "delrec-synaptic-fixed (sigma 3)"
    code, text = compared(tmp_path, a, b, "--of", "made-up", capsys=capsys)
    assert code == 0 and "+2.00 points" in text
    code, text = compared(tmp_path, "delrec-synaptic", b, "--of", "made-up", capsys=capsys)
    assert code == 2 and "did you mean" in text


def test_compare_never_takes_two_settings_for_one_another(tmp_path, capsys):
    """Runs of two profiles in one folder of runs: the later one silently stood for both."""
    workspace, made = workspace_at(tmp_path), {}
    for epochs in (10, 20):
        like = [made_up.record(method, "digits", 0) for method in ("lif", "rlif")]
        made[epochs] = [made_up.remade(r, configuration=r.configuration | {"epochs": epochs}) for r in like]
        for r in made[epochs]:
            write_record(workspace.runs / r.key / "record.json", r)
    code, text = compared(tmp_path, "lif", "rlif", capsys=capsys)
    assert code == 2 and "holds runs of several settings of" in text and "--of PAGE" in text
    code, text = compared(tmp_path, str(workspace.runs), str(workspace.runs), capsys=capsys)
    assert code == 2 and "name a page, or a folder that holds one setting" in text
    write_page(tmp_path / "out" / "made-up", build(made_up.declared(made[20], primary=None), made[20]))
    code, text = compared(tmp_path, str(workspace.runs), "made-up", capsys=capsys)
    assert code == 0 and "Reproduced: of 2 rows 2 equal." in text  # the page says which setting is meant


def test_a_run_page_says_under_what_its_network_was_scored_and_what_chose_its_epoch(tmp_path, capsys):
    """A lesioned network was told to be run again for its raster, and one that the test set chose as scored once."""
    plain = made_up.record("lif", "digits", 0)
    assert title_of(plain) == "lif on digits, repetition 0" and "scored once after training" in score_of(plain)
    chosen = plain.changed(result=plain.result | {"selection": "best-test"})
    assert "NO RESULT: the test set was scored after every epoch and chose it" in score_of(chosen)
    assert "scored once" not in score_of(chosen)
    lesion = {"evaluation": {"lesion": "noise=2"}}
    under = made_up.remade(plain, configuration=plain.configuration | lesion)
    assert title_of(under) == "lif on digits, repetition 0, lesion noise=2"
    assert "the trained network scored once more" in score_of(under)
    write_record(workspace_at(tmp_path).runs / under.key / "record.json", under)
    assert app.main(["show", under.key, "--root", str(tmp_path)]) == 0
    said, _ = capsys.readouterr()
    assert "show the run without it" in said and "make the run again" not in said


def test_compare_says_where_two_rows_are_two_experiments(tmp_path, capsys):
    """A user's runs of 2 epochs beside the published 20 were "different (the first updates differ)" and no more."""
    mine = [made_up.record(m, "digits", r) for m in ("lif", "rlif") for r in range(4)]
    theirs = [made_up.remade(r, configuration=r.configuration | {"epochs": 20}) for r in mine if r.method == "lif"]
    for name, records in (("mine", mine), ("theirs", theirs)):
        write_page(tmp_path / "out" / name, build(made_up.declared(records, primary=None, page=name), records))
    code, text = compared(tmp_path, "mine", "theirs", capsys=capsys)
    epochs = mine[0].configuration["epochs"]
    assert code == 0
    assert f"digits, lif: equal (every score is the same); the settings differ: epochs {epochs} against 20\n" in text
    assert "1 row of other settings: another experiment, which has nothing to reproduce." in text
    code, text = compared(tmp_path, "mine", "mine", capsys=capsys)
    assert "settings" not in text
    write_page(tmp_path / "out" / "rlif", build(made_up.declared(mine[4:], primary=None, page="rlif"), mine[4:]))
    code, text = compared(tmp_path, "theirs", "rlif", capsys=capsys)
    assert code == 0 and "No row of theirs is one of rlif: there is nothing to compare." in text


def test_rows_that_one_side_alone_has_may_be_of_several_settings(tmp_path, capsys):
    """A workspace of many studies could not be compared with a page for a method that the page does not have."""
    workspace = workspace_at(tmp_path)
    page = [made_up.record("lif", "digits", r) for r in range(3)]
    other = [made_up.record("rlif", "digits", 0)]
    other += [made_up.remade(r, configuration=r.configuration | {"epochs": 20}) for r in other]
    for r in (*page, *other):
        write_record(workspace.runs / r.key / "record.json", r)
    write_page(tmp_path / "out" / "made-up", build(made_up.declared(page, primary=None), page))
    code, text = compared(tmp_path, str(workspace.runs), "made-up", capsys=capsys)
    assert code == 0 and "Reproduced: of 1 row 1 equal." in text and "digits, rlif: not in made-up" in text


def test_compare_takes_a_users_runs_and_a_page_and_a_page_at_a_revision(tmp_path, capsys):
    def git(*words):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True, capture_output=True)

    (tmp_path / "README.md").write_text("nothing\n")
    (tmp_path / ".gitignore").write_text("runs\n")
    git("init", "-q")
    git("add", ".")
    commit = ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm")
    git(*commit, "first")
    workspace = workspace_at(tmp_path)
    old = [made_up.record(m, "digits", r) for m in ("lif", "rlif") for r in range(3)]
    publish(workspace, made_up.declared(old, primary=None), old)
    git("add", ".")
    git(*commit, "page")
    new = [r.changed(history=[*r.history[:-1], r.history[-1] | {"loss": 0.1}]) for r in old]
    write_page(workspace.reports / "made-up", build(made_up.declared(new, primary=None), new))
    for r in old:
        write_record(workspace.runs / r.key / "record.json", r)
    code, text = compared(tmp_path, "made-up", "made-up@HEAD", capsys=capsys)
    assert code == 0 and text.count("different") >= 2
    code, text = compared(tmp_path, str(workspace.runs), "made-up@HEAD", capsys=capsys)
    assert code == 0 and "Reproduced: of 2 rows 2 equal." in text
    code, text = compared(tmp_path, "made-up", "made-up@nowhere", capsys=capsys)
    assert code == 2 and "git has no such page at that revision" in text
    code, text = compared(tmp_path, "made-up", "lif", capsys=capsys)
    assert code == 2 and "'made-up' is a set of records and 'lif' is none" in text


def test_ui_shows_the_workspaces_own_store_on_this_computer_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    workspace = workspace_at(tmp_path)
    assert app.main(["ui", "--root", str(tmp_path)]) == 2
    assert "delrec-bench sync makes it" in capsys.readouterr().err
    workspace.database.write_text("")
    started = []
    monkeypatch.setattr(serving, "serve", lambda words, port: started.append((words, port)) or 0)
    assert app.main(["ui", "--root", str(tmp_path), "--port", "5123"]) == 0
    ((words, port),) = started
    assert words[words.index("--backend-store-uri") + 1] == f"sqlite:///{workspace.database}"
    assert words[words.index("--host") + 1] == "127.0.0.1" and port == 5123
    assert "http://127.0.0.1:5123" in capsys.readouterr().err
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere:5000")
    assert app.main(["ui", "--root", str(tmp_path)]) == 0
    assert "http://elsewhere:5000" in capsys.readouterr().out and len(started) == 1


def test_ui_says_that_a_port_is_taken():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BenchError, match=f"port {port} of this computer cannot be had"):
            serving.serve(["true"], port)


def test_a_published_page_has_rasters_where_checkpoints_are_at_hand(root, tmp_path, capsys):
    record, workspace = record_of(root, "delrec-dcls"), workspace_at(root)
    page = build(made_up.declared([record], primary=None), [record])
    (drawn,) = rasters(page, find_methods(), find_tasks(), workspace, {})
    assert (drawn.name, drawn.title) == ("raster-digits", "One sample, with delays and without")
    assert "delrec-dcls on digits, repetition 0" in drawn.caption and "From the run's checkpoint" in drawn.caption
    write_page(tmp_path / "made-up", page, [drawn])
    assert (
        "![One sample, with delays and without](raster-digits.svg)" in (tmp_path / "made-up" / "made-up.md").read_text()
    )
    assert 'id="figure-raster-digits"' in (tmp_path / "made-up" / "made-up.html").read_text()
    assert (tmp_path / "made-up" / "raster-digits.svg").is_file()
    assert rasters(page, find_methods(), find_tasks(), workspace_at(tmp_path), {}) == []
    assert "no raster of" in capsys.readouterr().err
    other = record.changed(data=record.data | {"digest": "0" * 64})
    page = build(made_up.declared([other], primary=None), [other])
    assert rasters(page, find_methods(), find_tasks(), workspace, {}) == []
    assert "no raster: " in capsys.readouterr().err
