"""`compare`, and how a run is named on the command line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from delrec_bench import app
from delrec_bench.errors import BenchError
from delrec_bench.methods.base import find_methods
from delrec_bench.records import find_record, load_records, read_record, write_record
from delrec_bench.report.content import build
from delrec_bench.report.writing import write_page
from delrec_bench.runs.models import network_of
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


@pytest.fixture(scope="module")
def paged(tmp_path_factory):
    """A workspace whose out/ holds a page."""
    root, records = tmp_path_factory.mktemp("paged"), made_up.everything()
    write_page(root / "out" / "made-up", build(made_up.declared(records), records))
    return root


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


def test_compare_takes_a_users_runs_and_a_page(tmp_path, capsys):
    workspace = workspace_at(tmp_path)
    old = [made_up.record(m, "digits", r) for m in ("lif", "rlif") for r in range(3)]
    new = [r.changed(history=[*r.history[:-1], r.history[-1] | {"loss": 0.1}]) for r in old]
    write_page(workspace.reports / "made-up", build(made_up.declared(new, primary=None), new))
    for r in old:
        write_record(workspace.runs / r.key / "record.json", r)
    code, text = compared(tmp_path, str(workspace.runs), "made-up", capsys=capsys)
    assert code == 0 and text.count("different") >= 2
    code, text = compared(tmp_path, "made-up", "lif", capsys=capsys)
    assert code == 2 and "'made-up' is a set of records and 'lif' is none" in text
