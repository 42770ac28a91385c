"""What a page says: only its declared runs are rows, and its answer and finding are what its verdicts allow."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest
from delrec_bench.metrics import metric_named
from delrec_bench.report.content import build
from delrec_bench.report.declared import Comparison, Expected
from delrec_bench.report.figures import draw
from delrec_bench.report.tables import delay_table, more_table, score_cell, verdict_table
from delrec_bench.report.texts import said
from delrec_bench.report.writing import to_json
from delrec_bench.studies.file import FindingTable
from delrec_bench.tasks.task import find_tasks
from scipy import stats

from benchmarks.tests import made_up
from benchmarks.tests.made_up import PAIR, page_of, pair_of

TASKS = ("digits", "formants-20", "shd")


@pytest.fixture(scope="module")
def whole():
    return page_of(made_up.everything())


def row(page, task, method):
    return next(r for r in page.rows if (r["task"], r["method"]) == (task, method))


@pytest.mark.parametrize(
    ("answer", "records"),
    [
        ("better on all", pair_of(0.1)),
        ("worse on all", pair_of(-0.1)),
        ("equivalent on all", pair_of(0.0, spread=0.001)),
        ("depends on the task", [*pair_of(0.1, tasks=TASKS[:2]), *pair_of(-0.1, tasks=TASKS[2:])]),
        ("inconclusive", [*pair_of(0.1, tasks=TASKS[:2]), *pair_of(0.0, spread=0.1, tasks=TASKS[2:])]),
    ],
)
def test_the_answer_is_what_the_declared_comparison_comes_to_over_its_tasks(answer, records):
    page = page_of(records)
    assert page.outcome == answer and page.answer[0].startswith(answer.capitalize())
    assert [d.method["task"] for d in page.primary] == list(dict.fromkeys(r["task"] for r in page.rows))


def test_the_answer_is_one_sentence_with_every_difference_and_the_mean_is_of_one_metric():
    page = page_of(pair_of(0.1))
    each = "+10.00 points on shd, +9.95 points on digits and +10.05 points on formants-20"
    said, mean = page.answer
    assert said == f"Better on all tasks. {PAIR[0]} minus {PAIR[1]}: {each}."
    assert mean.startswith("Mean of the declared comparison over these 3 tasks: +10.00 points (95 % interval +9.")
    forecasts = [made_up.forecast(m, r, 0.3 + 0.1 * i + 0.01 * r) for i, m in enumerate(PAIR) for r in range(8)]
    assert len(page_of([*pair_of(0.1), *forecasts]).answer) == 1


def test_holm_is_over_the_tasks_of_the_declared_comparison_alone(whole):
    page = page_of(pair_of(0.006, spread=0.01, n=5))
    least = min(d.verdict.p for d in page.primary)
    assert min(d.verdict.p_holm for d in page.primary) == pytest.approx(min(1.0, 3 * least))
    others = [d.verdict.p_holm for d in whole.differences if not d.primary]
    assert others and set(others) == {None}
    page = page_of(pair_of(0.1), primary=Comparison(*PAIR, over=("digits", "formants-20")))
    assert [d.method["task"] for d in page.primary] == ["digits", "formants-20"], "those of its own tasks"


def test_a_task_of_the_declared_comparison_without_runs_counts_and_leaves_the_answer_open():
    asked = Comparison(*PAIR, over=("digits", "formants-20", "yin-yang"))
    page = page_of([r for r in pair_of(0.1, n=6) if r.task in asked.over], primary=asked)
    assert [d.method["task"] for d in page.primary] == ["digits", "formants-20"]
    least, most = sorted(page.primary, key=lambda d: d.verdict.p)
    assert least.verdict.p_holm == pytest.approx(3 * least.verdict.p) and most.verdict.p_holm >= 2 * most.verdict.p
    assert {d.verdict.verdict for d in page.primary} == {"better"} and page.outcome == "inconclusive"
    assert page.answer[0].startswith("Inconclusive. ") and page.answer[0].endswith(" No scores on yin-yang.")
    alone = [r for r in pair_of(0.1) if r.method == PAIR[0]]
    page = page_of(alone, primary=Comparison(*PAIR, over=("digits", "yin-yang")))
    assert page.answer == ["No answer: the declared comparison has no scores on digits and yin-yang."]


def test_an_interaction_is_the_gain_here_less_the_gain_there_repetition_by_repetition():
    gains = [(0.10, 0.02), (0.08, 0.01), (0.11, 0.02), (0.09, 0.00), (0.12, 0.03)]  # learned here, learned there
    here, there = np.array(gains).T
    scores = {PAIR[0]: 0.6 + here, PAIR[1]: 0.6 + 0 * here, "rlif": 0.7 + there, "lif": 0.7 + 0 * there}
    made = [made_up.scored_at(m, r, score) for m, of in scores.items() for r, score in enumerate(of)]
    asked = Comparison(*PAIR, over=("digits",), minus=("rlif", "lif"))
    page = page_of(made, primary=asked, contrasts=(Comparison(*PAIR, "here alone"),))
    (claim,) = page.primary
    assert np.subtract(*claim.scores) == pytest.approx(here - there)
    interval = stats.t.interval(0.95, 4, np.mean(here - there), stats.sem(here - there))
    assert (claim.verdict.low, claim.verdict.high) == pytest.approx(interval)
    assert claim.hypothesis == f"{PAIR[0]} against {PAIR[1]}, less rlif against lif"
    assert ", compared with rlif minus lif: " in page.answer[0]
    alone = next(d for d in page.differences if d.about == "here alone")
    assert alone.verdict.difference == pytest.approx(np.mean(here))


def test_fewer_than_five_repetitions_have_neither_verdict_nor_place_nor_interval():
    page = page_of(pair_of(0.1, n=4))
    assert "fewer than five runs" in page.footnotes[0] and page.answer[0].endswith("Too few runs for a verdict.")
    assert "inconclusive" not in page.answer[0] and {"verdict", "95 % interval"}.isdisjoint(verdict_table(page))
    assert {(r["rank_group"], r["score_low"], r["score_high"]) for r in page.rows} == {(None, None, None)}
    assert score_cell(page.rows[0]).note == "range 79.60 to 80.40"
    assert page_of(pair_of(0.1, n=5)).outcome == "better on all"


def test_a_contrast_is_exploratory_and_what_is_compared_twice_stands_once():
    records = pair_of(0.1, n=6)
    records += [made_up.scored_at("rlif", r, 0.75 + 0.002 * (r % 2), task=t) for t in TASKS for r in range(6)]
    contrasts = Comparison(PAIR[0], "rlif", "At equal width"), Comparison(*PAIR, "as declared")
    page = page_of(records, contrasts=contrasts)
    told = [d for d in page.differences if d.about]
    assert [(d.about, d.primary, d.verdict.verdict) for d in told] == [("At equal width", False, "better")] * 3
    compared = [(d.hypothesis, d.method["task"]) for d in page.differences]
    assert len(set(compared)) == len(compared) > 6


def test_a_finding_is_filled_with_numbers_where_the_runs_support_it():
    text = "Learned delays gain {digits.difference} {digits.interval} on digits, {formants-20.difference} on words."
    finding = FindingTable(text=text, verdicts={"digits": "better", "formants-20": "better"})
    said = page_of(pair_of(0.1), finding=finding).finding
    assert said.startswith("Learned delays gain +9.95 points +9.") and "{" not in said
    assert page_of(pair_of(-0.1), finding=finding).finding is None, "the runs say otherwise"
    assert page_of(pair_of(0.1, tasks=("digits",)), finding=finding).finding is None, "a task is not there"
    own = [r.changed(task="digits:mine@01234567") for r in pair_of(0.1, tasks=("digits",))]
    for task, shown in (("digits:mine", True), ("digits", False), ("digits:yours", False)):
        of_files = FindingTable(text="{digits.n} runs", verdicts={task: "better"})
        assert page_of(own, finding=of_files).finding == ("8 runs" if shown else None)
    of_files = FindingTable(text="{digits.n} runs", verdicts={"digits": "inconclusive"})
    assert page_of(pair_of(0.1, n=4, tasks=("digits",)), finding=of_files).finding is None, "too few for a verdict"
    page = page_of([], finding=finding)
    assert (page.finding, page.answer, page.rows) == (None, [], ())


def test_what_a_reader_must_know_first_stands_in_the_footnotes():
    records = [made_up.scored_at("lif", r, 0.3) for r in range(6)]
    page = build(made_up.declared(records, primary=None, notes=("made sounds favour memory",)), records[:5])
    assert page.missing == [records[5].key] and not page.complete
    missing, note, exploratory = page.footnotes
    gone = replace(page, rows=())
    assert gone.footnotes[0] == "0 of 6 planned runs were made."
    assert (missing, note) == ("5 of 6 planned runs were made.", "made sounds favour memory")
    assert "exploratory" in exploratory
    late = [made_up.history(r, 10) for r in records]
    chosen = [r.changed(history=[e | {"valid_accuracy": i / 10} for i, e in enumerate(r.history)]) for r in late]
    assert page_of(chosen, primary=None).too_short == ["6 of 6 runs on digits"]
    others = [made_up.scored_at("gru", r, 0.3).changed(history=chosen[0].history[::-1]) for r in range(30)]
    page = page_of([*chosen[:3], *others], primary=None, notes=("what a person says",))
    assert page.too_short == ["3 of 3 runs of lif on digits"]
    short = [r.changed(history=late[0].history[-2:]) for r in records[:3]]  # by chance, half of them end so
    others = [made_up.scored_at("lif", r, 0.3).changed(history=late[0].history[::-1]) for r in range(6, 9)]
    assert page_of([*short, *others], primary=None).too_short == []
    (short,) = (text for text in page.footnotes if "every other in 3 of 3 runs of lif on digits." in text)
    assert page.footnotes.index("what a person says") < page.footnotes.index(short)
    cheating = [r.changed(result=r.result | {"selection": "best-test"}) for r in records]
    assert "best-test" in page_of(cheating, primary=None).footnotes[0]


def test_a_toy_study_and_a_plain_run_never_change_a_page():
    records = [made_up.scored_at("lif", r, 0.3222) for r in range(3)]
    short = [r.configuration | {"epochs": 1, "limit": 100} for r in records[:2]]
    toy = [made_up.scored_at("lif", r, 0.1167, configuration=configuration) for r, configuration in enumerate(short)]
    plain = made_up.scored_at("rlif", 0, 0.9)
    page = build(made_up.declared(records, primary=None), [*toy, plain, *records])
    assert [(r["method"], r["n"], r["score_mean"]) for r in page.rows] == [("lif", 3, pytest.approx(0.322))]
    assert not page.missing and {r.key for r in page.records} == {r.key for r in records}


def smooth(method, repetition, scale):
    """A forecast whose errors hang together over blocks of 25 samples."""
    like, rng = made_up.forecast(method, repetition, scale), random.Random(method)
    of_block = [rng.gauss(0, scale) for _ in range(8)]
    targets = np.asarray(like.targets.array)
    predictions = [t + of_block[i // 25] + 0.001 * repetition for i, t in enumerate(targets)]
    score = metric_named("nmse").score(predictions, targets)
    return like.changed(predictions=predictions, result={"test_score": score})


def test_speakers_and_overlapping_windows_are_clusters_of_the_second_interval():
    def wide(records, **changes):
        return page_of(records, **changes).differences[0].over_samples

    records, two = pair_of(0.03, n=6, tasks=("digits",)), [i // 500 for i in range(1000)]
    pairs = [[wide([r.changed(groups=s) for r in records]) for s in (None, two)]]
    smoothed = [smooth(m, r, 0.3 + 0.1 * i) for i, m in enumerate(PAIR) for r in range(6)]
    task = made_up.KNOWN["mackey-glass"]
    known = [{"mackey-glass": replace(task, overlap=overlap)} for overlap in (1, 25)]
    pairs += [[wide(smoothed, primary=None, tasks=tasks) for tasks in known]]
    for alone, clustered in pairs:
        assert clustered.difference == pytest.approx(alone.difference)
        assert clustered.high - clustered.low > 2 * (alone.high - alone.low)
    assert find_tasks()["mackey-glass"].overlap == 150
    other = made_up.scored_at(PAIR[0], 0, 0.5, total=500).changed(key=records[0].key)
    assert wide([other, *records[1:]]) is None, "another test set"


def test_where_samples_have_speakers_the_interval_over_runs_and_speakers_decides():
    records = pair_of(0.03, n=6, tasks=("digits",))
    alone, by_speaker = (
        page_of([r.changed(groups=g) for r in records]) for g in (None, [i // 100 for i in range(1000)])
    )
    for page, name, word, rank in (
        (alone, "over_repetitions", "better", "1"),
        (by_speaker, "over_samples", "inconclusive", "1-2"),
    ):
        (difference,) = page.differences
        verdict, decides = difference.verdict, getattr(difference, name)
        assert (verdict.low, verdict.high, verdict.p) == (decides.low, decides.high, decides.p)
        assert verdict.verdict == word and page.rows[0]["rank_group"] == rank
        # a second column with the same interval says nothing
        assert ("95 % interval, also over samples" in verdict_table(page)) == (page is alone)
        (told,) = json.loads(to_json(page))["verdicts"]
        assert told[name] == [told["low"], told["high"]] and told["over_samples"] != told["over_repetitions"]
    one = page_of([r.changed(groups=[7] * 1000) for r in records]).differences[0]
    assert one.verdict.low == alone.differences[0].verdict.low, "a single speaker tells nothing of others"


def test_published_values_stand_beside_the_same_data_only(whole):
    shd = row(whole, "shd", "delrec-axonal")
    assert (shd["published_score"], shd["published_selection"]) == (0.9339, "validation")
    assert shd["published_source"].startswith("https://")
    assert row(whole, "digits", "delrec-axonal")["published_score"] is None
    assert row(whole, "mackey-glass", "delrec-synaptic")["published_score"] == 0.0336

    def own(stamp, task="shd:folder@1234"):
        made = made_up.scored_at("delrec-axonal", 0, 0.5, task="shd").changed(task=task)
        return made.changed(data=made.data | {"kind": stamp.split()[0], "stamp": stamp})

    pages = [page_of([own(*of)], primary=None) for of in (("OFFICIAL",), ("OFFICIAL SUBSET", "shd"), ("STAND-IN",))]
    assert [page.rows[0]["published_score"] for page in pages] == [0.9339, None, None]
    titles = [page.title_of(page.tasks[0]) for page in pages]
    assert titles == ["shd", "shd", "shd stand-in (folder)"], "the official files in a user's folder are the task's"
    varied = made_up.forecast("rlif", 0, 0.4).changed(task="mackey-glass:tau17-h10")
    page = page_of([varied], primary=None)
    assert page.title_of(varied.task) == "mackey-glass (tau17-h10)", "its own options, no files"


def test_an_interval_ends_where_scores_do_and_learned_spreads_are_no_learned_delays():
    records = [made_up.scored_at("lif", r, score) for r, score in enumerate((0.99, 1.0, 1.0, 1.0, 1.0))]
    (line,) = page_of(records, primary=None).rows
    assert line["score_high"] == 1.0 and line["score_low"] < 0.996
    counts = {"weights": 900, "delays": 128, "spreads": 64, "learned_delays": 0, "neuron": 0, "total": 1028}
    fixed, learned = (records[0].changed(parameters=counts | {"learned_delays": n}) for n in (0, 64))
    assert [page_of([r], primary=None).rows[0].delays for r in (fixed, learned)] == ["fixed", "learned"]


def test_hosts_are_told_apart_and_named_once():
    runs = [made_up.record(m, "digits", r) for m in ("lif", "rlif") for r in range(2)]
    places = [runs[0].measured | {"host": host} for host in ("A (R) CPU, 2 cores", "B, 4 cores")]
    mixed = page_of(
        [r.changed(measured=place) for r, place in zip(runs, places[::-1] + places, strict=True)], primary=None
    )
    assert {r["host"] for r in mixed.rows} == {"A (R) CPU, 2 cores; B, 4 cores", "B, 4 cores; A (R) CPU, 2 cores"}
    assert "on cpu (B, 4 cores; A (R) CPU, 2 cores)" in "".join(said("setup", mixed))


def test_latencies_made_elsewhere_never_mix_and_the_newest_never_replaces_unlike():
    runs = [made_up.record(m, "digits", 0) for m in ("lif", "rlif")]
    here = [made_up.latency(m, "digits", 1.2) for m in ("lif", "rlif")]
    elsewhere = {"host": "another machine", "finished_at": "2030-01-01T00:00:00+00:00"}
    newer = made_up.latency("lif", "digits", 9.9).changed(key="7" * 64, measured=elsewhere)
    page = build(made_up.declared(runs, primary=None), [*runs, *here, newer])
    assert {r["latency_train_ratio"] for r in page.rows} == {1.2}
    later = {"finished_at": "2031-01-01T00:00:00+00:00"}
    last = made_up.latency("lif", "digits", 1.3).changed(key="8" * 64, measured=here[0].measured | later)
    page = build(made_up.declared(runs, primary=None), [*runs, here[0], newer, last])
    assert row(page, "digits", "lif")["latency_train_ratio"] == 1.3, "the newest of several sets of one size"
    network = here[0].changed(configuration=here[0].configuration | {"network": {"hidden": [256]}})
    page = build(made_up.declared(runs, primary=None), [*runs, network])
    assert row(page, "digits", "lif")["latency_train_ms"] is None


def test_a_row_without_a_score_has_size_latency_and_the_published_value():
    runs = {
        "a": Expected("dcls", base="dcls", task="shd", command="delrec-bench run dcls shd"),
        "b": Expected("delrec-axonal", base="delrec-axonal", task="ssc"),
    }
    declared = made_up.declared([], primary=None, page="three-tasks", runs=runs, scored=False)
    page = build(declared, [made_up.latency("dcls", "shd", 1.9)])
    dcls, axonal = page.rows
    assert (dcls["task"], dcls["n"], dcls["score_mean"], dcls["rank_group"]) == ("shd", 0, None, None)
    assert (dcls["parameters_total"], dcls["latency_train_ms"], dcls["latency_train_ratio"]) == (10_448, 9.5, 1.9)
    assert (dcls["published_score"], dcls["command"]) == (0.9377, "delrec-bench run dcls shd")
    assert axonal["parameters_total"] is None and axonal["published_score"] == 0.8242
    assert page.answer == []
    (times,) = draw(page)
    assert times.name == "times" and ">dcls</text>" in times.svg


def test_what_a_task_is_is_not_said_of_other_files_in_its_layout():
    known = {"shd": replace(made_up.KNOWN["shd"], summary="spoken digits")}
    lines = {}
    for kind in ("OFFICIAL", "STAND-IN"):
        record = made_up.scored_at("lif", 0, 0.5, task="shd")
        record = record.changed(data=record.data | {"kind": kind, "stamp": kind})
        lines[kind] = said("setup", page_of([record], primary=None, tasks=known))[0]
    assert "; spoken digits; the official files; 20 classes, 2,000 training" in lines["OFFICIAL"]
    assert "spoken digits" not in lines["STAND-IN"] and "not comparable with published values" in lines["STAND-IN"]


def test_where_delays_went_and_how_often_layers_fire_are_means_over_runs():
    runs = [made_up.record("delrec-axonal", "digits", r) for r in range(2)]
    ends = ([1, 5, 20], [3, 5, 30])
    delays = [[made_up.layer_delays([0, 5, 10], end)] for end in ends]
    rates = [{"rates": rates} for rates in ([0.1, 0.2], [0.3, 0.2])]
    made = [r.changed(delays=d, activity=r.activity | a) for r, d, a in zip(runs, delays, rates, strict=True)]
    page = page_of(made, primary=None)
    (moved,) = delay_table(page).map(str).to_numpy().tolist()
    assert moved[2:] == ["1, recurrent", "5.0 (0.0 to 10.0)", "5.0 (2.0 to 25.0)", "67 %"]
    (fired,) = more_table(page, "digits")["spikes per neuron and step"]
    assert fired.note == "by layer: 0.200, 0.200"
