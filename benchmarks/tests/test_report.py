"""The report is a function of records: what it says, what it leaves empty, and what it refuses to hide."""

import csv
import importlib.util
import io
import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from delrec_bench import report
from delrec_bench.errors import BenchError
from delrec_bench.records import PAGE_FILE, expected_key, read_page
from delrec_bench.report import figures, readme, tables, words
from delrec_bench.report.findings import find
from delrec_bench.report.page import to_html
from delrec_bench.report.published import published_values
from delrec_bench.report.rows import command_of, merge
from delrec_bench.studies.expansion import pages
from delrec_bench.workspace import find_workspace, workspace_at

_spec = importlib.util.spec_from_file_location("made_up", Path(__file__).with_name("made_up.py"))
made_up = importlib.util.module_from_spec(_spec)
sys.modules["made_up"] = made_up
_spec.loader.exec_module(made_up)

CONTRACT = (
    "task,data,method,learned,metric,n,score_mean,score_sd,score_low,score_high,selection,"
    "parameters_total,parameters_weights,parameters_delays,parameters_neuron,"
    "latency_train_ratio,latency_train_ratio_iqr,latency_infer_ratio,latency_infer_ratio_iqr,"
    "latency_batch1_ratio,latency_batch1_ratio_iqr,step_ms,steps,representation,augmentation,engine,"
    "code_revision,data_digest,published_score,published_source,command,search"
)


@pytest.fixture(scope="module")
def everything():
    return made_up.everything()


@pytest.fixture(scope="module")
def findings(everything):
    return find(everything)


@pytest.fixture(scope="module")
def drawn(findings):
    return figures.draw(findings)


@pytest.fixture(scope="module")
def page(findings, drawn):
    return to_html(findings, drawn, "2026-01-02T03:04:05+00:00")


def html_of(findings):
    return to_html(findings, figures.draw(findings), "2026-01-02T03:04:05+00:00")


def cells(findings):
    text = tables.to_csv(findings)
    assert text.splitlines()[0] == CONTRACT
    return {(line["task"], line["method"]): line for line in csv.DictReader(io.StringIO(text))}


def few(method="lif", repetitions=3, task="digits", **changes):
    return [made_up.record(method, task, r, **changes) for r in range(repetitions)]


def test_the_table_has_the_columns_and_rows_of_the_contract(findings):
    lines = cells(findings)
    line = lines["shd", "delrec-axonal"]
    assert (line["data"], line["n"], line["selection"], line["metric"]) == ("OFFICIAL", "3", "validation", "accuracy")
    assert (line["parameters_total"], line["parameters_delays"]) == ("9870", "42")
    assert 0 < float(line["score_low"]) < float(line["score_mean"]) < float(line["score_high"]) < 1
    assert line["latency_train_ratio_iqr"] == "0.11" and line["latency_infer_ratio_iqr"] == "0.04"
    assert line["code_revision"] == "0123456789ab" and len(line["data_digest"]) == 64
    assert len(lines) == 3 * (8 + 2) + 3


def test_missing_is_empty_never_zero(findings):
    floor = cells(findings)["digits", "counts"]
    for name in ("score_sd", "score_low", "parameters_total", "parameters_delays", "latency_train_ratio"):
        assert floor[name] == ""
    assert floor["score_mean"] != ""
    assert cells(findings)["digits", "lif"]["latency_batch1_ratio_iqr"] == ""
    assert cells(findings)["digits", "lif"]["parameters_delays"] == "0"  # counted, and none
    row = json.loads(tables.to_json(findings, "now"))["rows"][-1]
    assert row["kind"] == "floor" and row["parameters_total"] is None


def test_json_holds_what_the_contract_names(findings, everything):
    content = json.loads(tables.to_json(findings, "now"))
    assert {"schema", "generated", "machine", "rows", "repetitions", "records"} <= set(content)
    assert content["machine"] == [made_up.HOST]
    assert set(content["records"]) == {r.key for r in everything}
    assert len(content["repetitions"]) == sum(r.kind != "latency" for r in everything)


def test_rows_are_ranked_by_the_metrics_own_direction_with_the_floors_last(findings):
    digits = findings.of("digits")
    means = [row["score_mean"] for row in digits if row.kind == "run"]
    assert means == sorted(means, reverse=True)
    assert [row.kind for row in digits][-2:] == ["floor", "floor"]
    errors = [row["score_mean"] for row in findings.of("mackey-glass")]
    assert errors == sorted(errors)
    assert {row["metric"] for row in findings.of("mackey-glass")} == {"nmse"}


def test_every_table_and_figure_carries_the_stamp_of_its_data(findings, drawn, page):
    for task in findings.tasks:
        stamp = findings.stamp(task)
        assert f"## {task} ({stamp})" in tables.to_markdown(findings)
        assert re.search(rf'<h2>{task} <span class="stamp {stamp}">{stamp}</span>', page)
    for svg in (drawn.scatter, drawn.strips, drawn.forest):
        assert svg.count(">EMBEDDED<") == 3 and svg.count(">OFFICIAL<") == 1
    assert all("EMBEDDED" in line or "OFFICIAL" in line for line in _table_lines(readme.readme_block(findings)))


def test_rows_that_differ_by_the_method_alone_are_made_again_by_one_command(findings):
    rows = [row for row in findings.of("digits") if row.kind == "run"]
    same = {"command": "for r in 0 1; do delrec-bench run NAME digits --repetition $r; done", "engine": "cpu"}
    alike = [
        replace(row, values=row.values | same | {"command": same["command"].replace("NAME", row["method"])})
        for row in rows
    ]
    methods, settings, command = tables.commands(alike)[0]
    assert len(tables.commands(alike)) == 1 and methods == [row["method"] for row in rows]
    assert command.startswith(f"for m in {' '.join(methods)}; do for r in 0 1; do delrec-bench run $m digits ")
    assert settings == tables.settings_of(alike[0])
    other = replace(alike[0], values=alike[0].values | {"step_ms": 3.0})
    first, second = tables.commands([other, *alike[1:]])
    assert first[0] == [other["method"]] and first[2] == other["command"] and second[0] == methods[1:]


def test_a_column_that_no_row_fills_is_left_out(findings):
    rows = [
        replace(row, latency=None, values={k: None if "latency" in k else v for k, v in row.values.items()})
        for row in findings.rows
    ]
    assert "| training step |" in tables.to_markdown(findings)
    text = tables.to_markdown(replace(findings, rows=tuple(rows)), "mine: a study")
    assert text.startswith("# mine: a study\n")
    assert "| training step |" not in text and "| parameters |" in text and "Latency is" not in text


def test_an_interval_is_shown_where_a_score_can_be():
    assert words.score_range("accuracy", -0.0895, 0.8821) == "[0.00, 88.21]"
    assert words.score_range("accuracy", 0.913, 1.042) == "[91.30, 100.00]"
    assert words.score_range("nmse", -0.1, 1.7) == "[0.0000, 1.7000]"


def _table_lines(text):
    return [line for line in text.splitlines() if line.startswith("|")][2:]


def test_every_repetition_is_a_mark_in_the_figure_and_a_number_in_the_table(findings, drawn, page):
    row = next(row for row in findings.of("digits") if row["method"] == "lif")
    assert tables.points(row) in tables.to_markdown(findings) and tables.points(row) in page
    runs = sum(len(row.records) for row in findings.rows if row.kind == "run")
    marks = sum(_marks(part) for part in drawn.scatter.split('<g id="PathCollection_')[1:])
    assert marks == runs + sum(row.kind == "run" for row in findings.rows)


def _marks(collection):
    """How many marks a scatter's group draws, up to the next artist."""
    return re.split(r'<g id="(?!PathCollection)\w+_\d+">', collection)[0].count("clip-path")


def test_frozen_delays_are_fixed_whatever_the_method_is_called():
    frozen = [r.changed(parameters=r.parameters | {"frozen": 42}) for r in few("delrec-axonal")]
    assert find(frozen).rows[0].delays == "fixed" and "42 fixed delays" in html_of(find(frozen))
    assert [find(few(m)).rows[0].delays for m in ("delrec-axonal", "lif")] == ["learned", "none"]


def test_published_values_stand_beside_the_same_data_only(findings, page):
    lines = cells(findings)
    shd = lines["shd", "delrec-axonal"]
    assert shd["published_score"] == "0.9339" and shd["published_source"] == "https://arxiv.org/abs/2509.24852"
    assert lines["digits", "delrec-axonal"]["published_score"] == ""
    assert lines["mackey-glass", "delrec-synaptic"]["published_score"] == "0.0336"
    assert {row["method"] for row in findings.rows}.isdisjoint(p.method for p in published_values())
    assert "never ranked with them" in page and "SpikCommander 1L" in page


def test_another_horizon_has_no_published_value():
    record = made_up.forecast("delrec-synaptic", 0, 0.2)
    configuration = record.configuration | {"task": {"tau": 17, "horizon": 50}}
    (row,) = find([record.changed(configuration=configuration)]).rows
    assert row.published is None


def test_latency_is_joined_by_method_task_and_network():
    network = {"hidden": [256, 256]}
    other = made_up.latency("lif", "digits").changed(configuration={"network": network})
    found = find([*few(), other])
    assert found.rows[0]["latency_train_ratio"] is None
    assert any("measured with another network" in note for note in found.notes)
    assert find([*few(), made_up.latency("lif", "digits")]).rows[0]["latency_train_ratio"] == 1.3
    assert find([*few(), made_up.latency("lif", "tones")]).rows[0]["latency_train_ratio"] is None


def test_learning_that_does_not_help_is_said_in_words():
    scores = {"delrec-axonal-fixed": (0.50, 0.54, 0.52), "delrec-axonal": (0.53, 0.51, 0.53)}
    records = [_at(m, r, s) for m, values in scores.items() for r, s in enumerate(values)]
    found = find(records)
    assert "Does learning the delays help" in found.headline[0]
    assert "Not resolved in the one comparison" in found.headline[0]
    assert "not resolved" in tables.to_markdown(found) and "not resolved" in html_of(found)
    worse = [_at(m, r, s - 0.3 * (m == "delrec-axonal")) for m, v in scores.items() for r, s in enumerate(v)]
    text = find(worse).headline[0]
    assert "worse in 1" in text and "Worse: delrec-axonal over delrec-axonal-fixed" in text


def test_many_resolved_comparisons_are_told_by_pair_and_task():
    tasks = ("digits", "tones", "shd")
    scores = {"lif": (0.30, 0.32, 0.31), "dcls-fixed": (0.80, 0.83, 0.81), "rlif": (0.31, 0.32, 0.70)}
    scores["delrec-axonal-fixed"] = tuple(score + 0.2 for score in scores["rlif"])
    records = [_at(m, r, s, task) for task in tasks for m, v in scores.items() for r, s in enumerate(v)]
    few, many = (find([r for r in records if r.task in of]).headline for of in (tasks[:1], tasks))
    assert any("dcls-fixed over lif (digits: +50.33 points [" in text for text in few)
    assert any(text.count("dcls-fixed over lif (") == 1 and text.count("+50.33 points") == 3 for text in many)
    assert not any("[" in text for text in many)


def _at(method, repetition, score, task="digits"):
    made = made_up.record(method, task, repetition)
    correct = round(score * 100)
    return made.changed(
        result={"test_score": correct / 100, "correct": correct, "total": 100},
        predictions=[0] * correct + [1] * (100 - correct),
        targets=[0] * 100,
    )


def test_a_method_below_the_method_free_floor_is_named(findings, page):
    (warning,) = [w for w in findings.warnings if "method-free floor" in w]
    assert warning.startswith("tones: lif and rlif are worse")
    assert page.count('class="below">worse than the method-free floor') == 2 and warning in page


def test_rows_that_mix_revisions_or_come_from_a_dirty_tree_are_marked():
    records = few()
    mixed = [*records[:2], records[2].changed(provenance={"revision": "f" * 40, "results_version": 1})]
    found = find(mixed)
    assert found.warnings == ("digits: records mix code revisions 0123456789ab and ffffffffffff in lif.",)
    assert "mixes code revisions" in html_of(found) and found.warnings[0] in readme.readme_block(found)
    dirty = [r.changed(provenance=r.provenance | {"dirty": True}) for r in records]
    assert any("uncommitted changes" in w for w in find(dirty).warnings)
    assert find(records).warnings == ()


def test_rows_on_unequal_footing_are_marked():
    other = few("rlif", 2)
    other = [r.changed(data=r.data | {"step_ms": 5.0}) for r in other]
    warnings = find([*few(), *other]).warnings
    assert any("differ in step ms (14.0 and 5.0)" in w for w in warnings)
    assert any("differ in n (2 and 3)" in w for w in warnings)


def test_one_profile_a_task_and_one_configuration_a_row():
    single = [few()[0].changed(study=None, key="9" * 64, configuration={"epochs": 99})]
    paper = [
        r.changed(key=f"{i}" * 64, configuration=r.configuration | {"profile": "paper"})
        for i, r in enumerate(few("rlif", 2))
    ]
    found = find([*few(), *few("dcls"), *single, *paper])
    assert [(row["method"], row["n"]) for row in found.rows] == [("dcls", 3), ("lif", 3)]
    assert len(found.notes) == 2 and any("“paper”" in note for note in found.notes)
    assert [row["method"] for row in find([*few(), *paper], profile="paper").rows] == ["rlif"]
    swept = [
        r.changed(study=None, key=f"{i + 4}" * 64, configuration=r.configuration | {"epochs": 99})
        for i, r in enumerate(few(repetitions=3))
    ]
    (row,) = find([*few(), *swept]).rows
    assert row.records[0].study == "leaderboard"


def test_committed_records_stand_in_only_where_nothing_was_run():
    own, committed = few(repetitions=1), [*few(repetitions=3), *few("rlif")]
    assert [(row["method"], row["n"]) for row in find(merge(own, committed)).rows] == [("lif", 1), ("rlif", 3)]
    single = own[0].changed(study=None, key="9" * 64, configuration={"profile": "quick", "epochs": 99})
    found = find(merge([single], committed))
    assert [(row["method"], row["n"]) for row in found.rows] == [("lif", 3), ("rlif", 3)]
    assert found.notes == ("digits: 1 record of lif with another configuration not shown.",)


def test_what_is_committed_is_what_stands_behind_the_page(tmp_path):
    single = few()[0].changed(study=None, configuration=few()[0].configuration | {"epochs": 99})
    single = single.changed(key=expected_key(single))
    workspace = workspace_at(tmp_path)
    paths = report.commit_report(workspace, [*few(), single])
    committed = read_page(workspace.reports / PAGE_FILE)
    assert committed == few()
    before = {p: p.read_bytes() for p in paths}
    report.write_report(workspace, [], committed)
    assert {p: p.read_bytes() for p in paths} == before
    report.commit_report(workspace, few("rlif"), committed)  # other rows stay
    assert {r.method for r in read_page(workspace.reports / PAGE_FILE)} == {"lif", "rlif"}


def test_a_task_without_duration_has_no_step():
    pixels = [r.changed(data=r.data | {"step_ms": 0.0}) for r in few()]
    assert cells(find(pixels))["digits", "lif"]["step_ms"] == ""


def test_a_rows_command_makes_all_its_repetitions():
    assert command_of(few()) == ("for r in 0 1 2; do delrec-bench run lif digits --repetition $r --profile quick; done")
    assert command_of(few(repetitions=1)) == "delrec-bench run lif digits --repetition 0 --profile quick"
    assert command_of([r.changed(command="") for r in few()]) is None


def test_the_report_is_the_same_for_the_same_records(tmp_path):
    records = [*few("lif"), *few("rlif"), *few("counts", 1, kind="floor"), made_up.latency("lif", "digits")]
    workspace = workspace_at(tmp_path)
    (tmp_path / "README.md").write_text(f"# Title\n\n{readme.START}\nold\n{readme.END}\n\nrest\n")
    paths = report.write_report(workspace, records, generated="2026-01-02T03:04:05+00:00")
    assert {p.name for p in paths} == {
        *("leaderboard.csv", "leaderboard.md", "leaderboard.json", "leaderboard.html"),
        *(tables.FIGURE, "README.md"),
    }
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in paths}
    report.write_report(workspace, records[::-1])  # later, in another order: not even the time changes
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in paths} == before
    report.write_report(workspace, [], records)  # from the committed ones
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in paths} == before
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("# Title\n") and text.endswith("\n\nrest\n") and "old" not in text
    assert readme.block_of(text) == readme.readme_block(find(records)).strip() + "\n"


def test_a_readme_without_one_of_its_markers_is_an_error_and_nothing_is_written(tmp_path):
    (tmp_path / "README.md").write_text(f"# Title\n{readme.START}\n")
    with pytest.raises(BenchError, match="once each"):
        report.write_report(workspace_at(tmp_path), few())
    assert not (tmp_path / "reports").exists()


def test_no_record_is_a_page_that_says_so(tmp_path):
    paths = report.write_report(workspace_at(tmp_path), [])
    assert "There is no record yet" in (tmp_path / "reports" / "leaderboard.html").read_text()
    assert (tmp_path / "reports" / "leaderboard.csv").read_text() == CONTRACT + "\n"
    assert tables.FIGURE not in {p.name for p in paths}


class _Page(HTMLParser):
    """Collects what a page would load, and checks that its tags close."""

    VOID = ("meta", "br", "link", "img", "input", "hr")

    def __init__(self, text):
        super().__init__()
        self.open, self.loads, self.rows = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag not in ("a", "use"):
            self.loads += [v for k, v in attrs if k in ("src", "href", "xlink:href", "srcset", "data")]
        if tag == "use":
            self.loads += [v for k, v in attrs if k.endswith("href") and not v.startswith("#")]
        if tag == "tr":
            self.rows.append(0)
        if tag in ("td", "th"):
            self.rows[-1] += int(values.get("colspan", 1))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_needs_nothing_from_elsewhere_and_is_well_formed(page):
    parsed = _Page(page)
    assert parsed.loads == [] and parsed.open == []
    assert "@import" not in page and "url(http" not in page
    assert "prefers-color-scheme: dark" in page and "currentColor" in page


def test_names_cannot_break_the_page():
    nasty = [r.changed(method="<script>alert(1)</script>", learned="a & b | c") for r in few()]
    text = html_of(find(nasty))
    assert "<script>alert" not in text and "a &amp; b" in text
    assert "a & b \\| c" in tables.to_markdown(find(nasty))


def test_rows_made_here_are_compared_with_the_committed_ones():
    committed = report.rows_of([*few("lif"), *few("rlif"), *few("dcls")])
    here = report.rows_of([*few("lif"), _moved("rlif", 0.004), *few("rlif")[1:], *few("delrec-axonal")])
    verdicts = {c.method: c.verdict for c in report.compare(here, committed)}
    expected = {"lif": "same", "rlif": "within interval", "delrec-axonal": "new", "dcls": "not run here"}
    assert verdicts == expected
    far = report.rows_of([_moved("lif", -0.5 + 0.01 * r, r) for r in range(3)])
    assert {c.verdict for c in report.compare(far, committed) if c.method == "lif"} == {"different"}
    stored = json.loads(tables.to_json(find([*few("lif")]), "now"))["rows"]
    assert [c.verdict for c in report.compare(report.rows_of(few("lif")), stored)] == ["same"]
    changed = [r.changed(data=r.data | {"digest": "9" * 64}) for r in few("lif")]
    (difference,) = report.compare(report.rows_of(changed), stored)
    assert difference.verdict == "different" and "data_digest" in str(difference)


def _moved(method, by, repetition=0):
    made = made_up.record(method, "digits", repetition)
    total = made.result["total"]
    correct = made.result["correct"] + round(by * total)
    result = made.result | {"correct": correct, "test_score": correct / total}
    predictions = [t if i < correct else t + 1 for i, t in enumerate(made.targets.tolist())]
    return made.changed(result=result, predictions=predictions)


@pytest.mark.parametrize("page", ["", *pages()])
def test_the_committed_records_of_a_page_are_still_read_and_make_its_rows(page):
    records = find_workspace(str(Path(__file__).parents[2])).reports / page / PAGE_FILE
    if not records.exists():  # a study's page need not be committed: then nothing of it is
        return
    assert find(read_page(records)).rows
