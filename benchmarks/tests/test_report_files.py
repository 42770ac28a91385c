"""The files of a page: the contract's columns, two forms that say the same, and who may write where."""

import csv
import html
import io
import json
import re
import subprocess
from dataclasses import replace

import pytest
from delrec_bench.errors import BenchError
from delrec_bench.records import RESULTS_VERSION
from delrec_bench.report import tables, words
from delrec_bench.report.content import build
from delrec_bench.report.figures import draw
from delrec_bench.report.publishing import publish
from delrec_bench.report.texts import said
from delrec_bench.report.writing import filled, to_json, to_metrics
from delrec_bench.workspace import workspace_at

from benchmarks.tests import made_up

CONTRACT = (
    "task,data,method,learned,metric,n,score_mean,score_sd,score_low,score_high,lost,rank_group,selection,"
    "parameters_total,parameters_weights,parameters_delays,parameters_neuron,"
    "latency_train_ms,latency_train_ms_iqr,latency_train_ratio,latency_infer_ms,latency_infer_ms_iqr,"
    "latency_infer_ratio,latency_batch1_ms,latency_batch1_ms_iqr,latency_batch1_ratio,"
    "spikes_per_neuron_step,synaptic_operations,delay_buffer,step_ms,steps,representation,augmentation,"
    "engine,device,host,code_revision,data_digest,published_score,published_source,published_selection,command"
)
VERDICT = ("hypothesis", "task", "difference", "low", "high", "n", "p", "p_holm", "margin", "verdict", "detectable")


@pytest.fixture(scope="module")
def page():
    records = made_up.everything(5)
    curved = [made_up.history(r) if r.kind == "run" and r.metric == "accuracy" else r for r in records]
    return build(made_up.declared(curved, notes=("made sounds favour memory",)), curved)


@pytest.fixture(scope="module")
def forms(page):
    """Its figures, and the page in HTML and in Markdown."""
    drawn = draw(page)
    return drawn, filled("html", page, drawn), filled("md", page, drawn)


def small(n=2):
    records = [made_up.record(m, "digits", r) for m in ("lif", "rlif") for r in range(n)]
    return made_up.declared(records, primary=None), records


def test_the_csv_has_the_columns_of_the_contract_and_missing_is_empty_never_zero(page):
    text = tables.to_csv(page)
    assert text.splitlines()[0] == CONTRACT
    lines = {(line["task"], line["method"]): line for line in csv.DictReader(io.StringIO(text))}
    line = lines["shd", "delrec-axonal"]
    assert (line["data"], line["n"], line["selection"], line["metric"]) == ("OFFICIAL", "5", "validation", "accuracy")
    assert (line["parameters_total"], line["parameters_delays"]) == ("9870", "42")
    assert 0 < float(line["score_low"]) < float(line["score_mean"]) < float(line["score_high"]) < 1
    assert line["latency_train_ms_iqr"] == "0.11" and line["latency_infer_ms_iqr"] == "0.04"
    assert len(lines) == 3 * (8 + 2) + 3 and [*lines] == [(row["task"], row["method"]) for row in page.rows]
    floor = lines["digits", "counts"]
    for name in ("score_sd", "score_low", "parameters_total", "latency_train_ms", "rank_group"):
        assert floor[name] == ""
    assert floor["score_mean"] != "" and lines["digits", "lif"]["parameters_delays"] == "0"  # counted, and none


def test_the_json_holds_the_verdicts_of_the_contract(page):
    content = json.loads(to_json(page))
    first = content["verdicts"][0]
    assert tuple(first)[: len(VERDICT)] == VERDICT and first["kind"] == "primary"
    assert {v["verdict"] for v in content["verdicts"]} <= {"better", "worse", "equivalent", "inconclusive"}
    assert content["answer"] == page.outcome and content["question"] == page.declared.title
    assert content["rows"][0].keys() >= set(CONTRACT.split(","))
    metrics = json.loads(to_metrics(page))
    for row in content["rows"]:
        assert metrics[row["task"]][row["method"]]["score_mean"] == pytest.approx(row["score_mean"], abs=1e-6)
    scores = [score for row in content["rows"] for score in row["scores"].values()]
    runs = {r.key: r.score for r in page.records if r.kind != "latency"}
    assert sorted(scores) == sorted(runs.values()) and content["complete"]
    assert [key for row in content["rows"] for key in row["keys"]] == list(runs)
    assert to_json(build(page.declared, page.records[::-1])) == to_json(page), "whatever the order of the records"


def test_a_floor_that_is_always_the_same_has_no_spread():
    scores = [("counts-only", r, 0.45) for r in range(3)] + [("time-slices", r, 0.5 + 0.01 * r) for r in range(3)]
    page = made_up.page_of([made_up.scored_at(*of, kind="floor", parameters={}) for of in scores], primary=None)
    assert list(map(str, map(tables.score_cell, page.rows))) == ["51.00 (range 50.00 to 52.00)", "45.00"]


def plain(text):
    text = re.sub(r"<(style|script|svg).*?</\1>", " ", text, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())


def test_markdown_and_html_say_the_same(page, forms):
    drawn, markup, markdown = forms
    shown_text = plain(markup)
    sentences = [*page.answer, *page.footnotes, *said("notes", page), *said("setup", page)]
    sentences += [f.caption for f in drawn]
    sentences += [tables.repetitions(row) for row in page.rows]
    for sentence in sentences:
        assert sentence in shown_text, sentence
        assert sentence in " ".join(markdown.split()), sentence
    shown = [tables.row_table(page.of(task)) for task in page.tasks] + [tables.verdict_table(page)]
    shown += [tables.more_table(page, task) for task in page.tasks]
    for table in shown:
        for cell in table.to_numpy().ravel():
            assert cell.text in shown_text and cell.note.replace("`", "") in shown_text, cell
            assert words.escaped(str(cell)) in markdown


def test_the_html_answers_first_folds_the_rest_and_needs_nothing_from_elsewhere(forms):
    _, markup, _ = forms
    places = [markup.index(text) for text in ('class="answer"', "<figure>", "<table", "Caveats", "Setup", "<details>")]
    assert places == sorted(places)
    assert markup.index("Learning curves") > places[-1] and markup.count("<details>") > 5
    loaded = re.findall(r"<(?!a )[^>]*\b(?:src|href|srcset|data)=\"([^\"]*)\"", markup)
    assert loaded and all(address.startswith("data:image/svg+xml;base64,") for address in loaded)
    assert "@import" not in markup and "url(http" not in markup and "fetch(" not in markup


def test_names_cannot_break_the_page():
    name = "<script>alert(1)</script>"
    made = [made_up.scored_at("lif", r, 0.5, learned="a & b | c") for r in range(2)]
    records = [r.changed(method=name) for r in made]
    page = build(made_up.declared(records, primary=None, question=name), records)
    text = filled("html", page, draw(page))
    assert "<script>alert" not in text and "&lt;script&gt;alert" in text
    assert "<script>" not in filled("md", page)
    records = [r.changed(method="[a](https://b)") for r in made]
    text = filled("md", build(made_up.declared(records, primary=None), records))
    assert "| \\[a](https://b) |" in text and "| [a](" not in text


@pytest.fixture
def clone(tmp_path):
    def git(*words):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True, capture_output=True)

    (tmp_path / "code.py").write_text("x = 1\n")
    git("init", "-q")
    git("add", ".")
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "first")
    return workspace_at(tmp_path)


def test_publishing_writes_the_page_from_a_clean_tree_alone(clone, tmp_path_factory):
    declared, records = small()
    paths = publish(clone, declared, records)
    assert {p.parent for p in paths} == {clone.reports / "made-up", clone.reports / "runs", clone.reports}
    (clone.root / "dvc.lock").write_text("schema: '2.0'\n")
    publish(clone, declared, records)  # reports/ and dvc.lock do not make the tree unclean
    (clone.root / "code.py").write_text("x = 2\n")
    with pytest.raises(BenchError, match=r"uncommitted changes \(such as code\.py\)"):
        publish(clone, declared, records)
    with pytest.raises(BenchError, match="not a git repository"):
        publish(workspace_at(tmp_path_factory.mktemp("elsewhere")), declared, records)


def test_publishing_refuses_what_is_empty_mixed_or_of_several_revisions(clone):
    declared, records = small()
    with pytest.raises(BenchError, match="it has no runs"):
        publish(clone, declared, [])
    other = records[0].changed(data=records[0].data | {"digest": "9" * 64})
    with pytest.raises(BenchError, match="data, engines or results versions are mixed in lif on digits"):
        publish(clone, declared, [other, *records[1:]])
    with pytest.raises(BenchError, match="results versions are mixed in lif on digits"):
        lost = made_up.failure_of(records[0])
        newer = lost.model_copy(update={"provenance": lost.provenance | {"results_version": RESULTS_VERSION + 1}})
        publish(clone, replace(declared, diverged=(newer,)), records[1:])
    older = records[0].changed(provenance=records[0].provenance | {"revision": "f" * 40})
    with pytest.raises(BenchError, match="--allow-mixed"):
        publish(clone, declared, [older, *records[1:]])
    dirty = [r.changed(provenance=r.provenance | {"dirty": True}) for r in records]
    with pytest.raises(BenchError, match=r"uncommitted code, revision .*\+dirty; use --allow-mixed"):
        publish(clone, declared, dirty)
    assert not clone.reports.exists()
    publish(clone, declared, [older, *records[1:]], allow_mixed=True)
    text = (clone.reports / "made-up" / "made-up.md").read_text()
    assert "from 2 revisions" in text and text.count("(2 code revisions) |") == 1, "of lif's runs, not rlif's"


def test_a_page_is_published_though_a_run_diverged_and_says_so(clone):
    declared, records = small(n=3)
    lost = made_up.failure_of(records[0])
    lost = lost.model_copy(update={"provenance": lost.provenance | {"revision": "f" * 40}})
    publish(clone, replace(declared, diverged=(lost,)), records[1:], allow_mixed=True)
    folder = clone.reports / "made-up"
    text = (folder / "made-up.md").read_text()
    said = "One run diverged and has no score; its row is not ranked, and comparisons leave out its repetition."
    assert said in text and said in (folder / "made-up.html").read_text()
    assert "| 2 of 3 (2 code revisions) |" in text and "r0 diverged, r1 " in text
    counts = {line["method"]: (line["n"], line["lost"]) for line in csv.DictReader((folder / "made-up.csv").open())}
    assert counts == {"lif": ("2", "0.333333"), "rlif": ("3", "0")}, "numbers to programs"
    assert json.loads((folder / "made-up.json").read_text())["complete"]


def test_a_table_without_lines_is_nothing_in_a_terminal():
    """A page of one row has no comparisons."""
    assert tables.as_text(tables.table([])) == ""
