"""What a page says: only its declared runs are rows, and every sentence is one that its verdicts allow."""

import random

import numpy as np
import pytest
from delrec_bench.metrics import metric_named
from delrec_bench.report.content import build
from delrec_bench.report.declared import Contrast, Expected, Primary
from delrec_bench.report.tables import size_cell
from delrec_bench.report.texts import published_groups
from delrec_bench.tasks.base import find_tasks

from benchmarks.tests import made_up
from benchmarks.tests.made_up_pages import PAIR, TASKS, page_of, pair_of, row, text_of


@pytest.fixture(scope="module")
def everything():
    return made_up.everything()


@pytest.fixture(scope="module")
def whole(everything):
    return page_of(everything)


def test_task_by_task_tells_of_the_pooled_tasks_alone():
    """ "Over 2 tasks" was followed by three, one of which the hypothesis is not over."""
    records = [*pair_of(0.05, tasks=("digits", "tones")), *pair_of(-0.05, tasks=("shd",))]
    page = page_of(records, primary=(*PAIR, ("digits", "tones")))
    pooled, by_task = page.answer[:2]
    assert "over 2 tasks" in pooled and "is better on digits and tones (" in by_task and "shd" not in by_task
    assert any("On shd, delrec-synaptic is worse" in told for part in page.parts for told in part.findings)


def test_a_toy_study_and_a_plain_run_never_change_a_page():
    """A study of 1 epoch and 100 samples turned 32.22 (n = 3) into 11.67 (n = 2); a plain `run` became a row."""
    records = [made_up.scored_at("lif", r, 0.3222) for r in range(3)]
    declaration = made_up.declared(records, primary=None)
    toy = [
        made_up.scored_at("lif", r, 0.1167, configuration=like.configuration | {"epochs": 1, "limit": 100})
        for r, like in enumerate(records[:2])
    ]
    plain = made_up.scored_at("rlif", 0, 0.9)
    page = build(declaration, [*toy, plain, *records])
    assert [(r["method"], r["n"], r["score_mean"]) for r in page.rows] == [("lif", 3, pytest.approx(0.322))]
    assert not page.missing
    assert {r.key for r in page.records} == {r.key for r in records}


def test_the_answer_is_the_pooled_primary_with_its_interval():
    page = page_of(pair_of(0.10))
    assert page.answer[0].startswith("Learning the delays of delrec-synaptic helps against the same delays left fixed")
    assert "%]" in page.answer[0] and "over 3 tasks" in page.answer[0]
    worse, same = page_of(pair_of(-0.10)), page_of(pair_of(0.0, spread=0.001))
    unknown = page_of(pair_of(0.0, n=4, spread=0.1))
    assert "harms against" in worse.answer[0]
    assert "makes no difference beyond the margin" in same.answer[0]
    assert "is not settled" in unknown.answer[0] and "could have seen" in unknown.answer[0]


def test_holm_is_over_the_pages_primaries_alone(whole):
    assert [(v.task, v.kind) for v in whole.judged.verdicts if v.kind == "primary"] == [("pooled", "primary")]
    assert len(whole.judged.verdicts) > 50  # and none of them costs the primary anything
    (corrected,) = [v for v in page_of(pair_of(0.1)).judged.verdicts if v.p_holm is not None]
    assert (corrected.task, corrected.p_holm) == ("pooled", corrected.p)  # a family of one


def test_three_repetitions_are_shown_not_compared(whole):
    assert {d.verdict.verdict for d in whole.judged.differences} == {"open"}
    assert all("shown, not compared" in d.verdict.reason for d in whole.judged.differences)
    assert "On shd, digits, mackey-glass and tones there are 3 repetitions a method: shown, not compared." in (
        whole.reservations
    )
    assert "shown, not compared" not in text_of(page_of(pair_of(0.1, n=4)))
    assert "told from the best" not in text_of(whole), "nothing was compared"
    assert "told from the best" in text_of(page_of(pair_of(0.0, n=4, spread=0.03)))


def test_an_open_verdict_says_what_the_design_could_have_seen():
    page = page_of(pair_of(0.0, n=5, spread=0.03))
    verdict = page.judged.primary
    assert verdict.verdict == "open" and verdict.detectable > 0
    assert "this design could have seen" in page.answer[0]


def test_equivalent_is_an_interval_within_the_margin_and_needs_one_declared():
    records = pair_of(0.0, n=10, spread=0.001)
    assert page_of(records).judged.primary.verdict == "equivalent"
    assert page_of(records, margins={}).judged.primary.verdict == "open"
    (answer,) = page_of(pair_of(0.0, n=10, tasks=("digits",), spread=0.001)).answer[:1]
    assert "there is no difference" in answer and "p =" not in answer, "that p is of a difference from 0"


def test_a_hypothesis_on_one_task_is_that_tasks():
    page = page_of(pair_of(0.1, tasks=("digits",)))
    assert (page.judged.primary.task, page.judged.primary.kind) == ("digits", "primary")
    assert page.answer[0].startswith("On digits, delrec-synaptic is better than delrec-synaptic-fixed: +9.95 points")


def test_what_was_not_declared_is_exploratory_and_says_so(whole):
    page = page_of(made_up.everything(), primary=None)
    assert page.judged.primary is None and "everything here is exploratory" in page.answer[0]
    assert {v.kind for v in page.judged.verdicts} == {"exploratory"}
    assert "exploratory, not corrected for the number of comparisons" in whole.answer[2]


def test_the_tally_leaves_out_the_declared_pair_and_nothing_else_of_its_method():
    """A page on recurrent delays against silif left learned against fixed, of the same method, out of its count."""
    controls = {"delrec-synaptic": PAIR[1], PAIR[1]: "rlif"}
    records = [
        made_up.scored_at(m, r, score + 0.002 * (r % 3), task=t)
        for t in TASKS
        for m, score in (("delrec-synaptic", 0.7), (PAIR[1], 0.6), ("rlif", 0.5))
        for r in range(6)
    ]
    runs = {r.key: Expected(r.method, controls.get(r.method)) for r in records}
    told = page_of(records, runs=runs, primary=("delrec-synaptic", "rlif")).answer[-1]
    assert "Of 6 comparisons" in told  # three tasks, learned against fixed and fixed against rlif
    assert "Of 3 comparisons" in page_of(records, runs=runs, primary=PAIR).answer[-1]


def test_a_contrast_is_exploratory_and_says_what_the_two_share():
    records = [
        made_up.scored_at(m, r, s, task=t)
        for t in TASKS
        for m, s in zip(PAIR, (0.8, 0.7), strict=True)
        for r in range(6)
    ]
    records += [made_up.scored_at("rlif", r, 0.75 + 0.002 * (r % 2), task=t) for t in TASKS for r in range(6)]
    page = page_of(records, primary=PAIR, contrasts=(Contrast(PAIR[0], "rlif", "At equal width"),))
    (told,) = [text for text in page.answer if text.startswith("At equal width")]
    assert told.startswith("At equal width: pooled over 3 tasks, delrec-synaptic is better than rlif: error −")
    assert told.endswith("(exploratory, not corrected for the number of comparisons).")
    assert (
        "Task by task delrec-synaptic against rlif is better on shd, digits and tones ("
        in page.answer[page.answer.index(told) + 1]
    )
    assert [v.kind for v in page.judged.verdicts if v.hypothesis == "delrec-synaptic against rlif"] == (
        ["exploratory"] * 4
    )
    assert all("rlif" not in text for text in page_of(records, primary=PAIR).answer)
    alone = [r for r in records if r.task == "digits"]
    (told,) = page_of(alone, primary=None, contrasts=(Contrast(PAIR[0], "rlif", "At equal width"),)).answer[1:2]
    assert told.startswith("At equal width: on digits, delrec-synaptic is better than rlif: +")


def test_a_control_without_the_spread_is_not_the_same_delays_left_fixed_and_no_more():
    """Learned delays under sigma 10 stood against fixed ones at sigma 0 as if learning were all the difference."""

    def blurred(r):
        sigma = 10.0 if r.method == PAIR[0] else 0.0
        return r.changed(configuration=r.configuration | {"network": {"hidden": [42, 42], "sigma": sigma}})

    page = page_of([blurred(r) for r in pair_of(0.1)])
    assert "against the same delays left fixed (sigma 0, not 10): error" in page.answer[0]


def test_the_same_delays_are_called_so_where_only_sigma_differs_by_task():
    """Equal widths and counts on both tasks were told as networks of their own sizes, since sigma 10 is not sigma 5."""

    def blurred(r):
        sigma = 0.0 if r.method != PAIR[0] else 10.0 if r.task == "digits" else 5.0
        return r.changed(configuration=r.configuration | {"network": {"hidden": [42, 42], "sigma": sigma}})

    page = page_of([blurred(r) for r in pair_of(0.1)])
    assert "against the same delays left fixed, with another sigma: error" in page.answer[0]


def test_a_task_without_a_ratio_of_errors_is_said_to_be_left_out_of_the_pool():
    perfect = [made_up.forecast(m, i, 0.0) for m in PAIR for i in range(8)]
    page = page_of([*pair_of(0.1), *perfect])
    assert "over 3 tasks" in page.answer[0] and "Of its tasks mackey-glass is not pooled" in page.answer[1]


def test_a_contrast_with_a_floor_leaves_the_floors_findings_whole():
    floors = [made_up.scored_at("time-slices", r, 0.9, kind="floor", parameters={}) for r in range(6)]
    runs = [made_up.scored_at(m, r, 0.5 + 0.002 * (r % 3)) for m in ("lif", "rlif") for r in range(6)]
    page = page_of([*floors, *runs], primary=None, contrasts=(Contrast("lif", "time-slices", "Against a floor"),))
    assert "are below the method-free floor time-slices" in text_of(page)
    assert "lif" in next(t for t in page.parts[0].findings if "below" in t).split(" are ")[0].replace("rlif", "")
    hypotheses = [(v.hypothesis, v.task) for v in page.judged.verdicts]
    assert len(set(hypotheses)) == len(hypotheses)


def test_the_primary_is_pooled_over_its_own_tasks():
    declared = made_up.declared(pair_of(0.1), primary=(*PAIR, ("digits", "tones")))
    page = build(declared, pair_of(0.1))
    assert page.judged.primary.n == 2
    assert declared.primary == Primary(*PAIR, ("digits", "tones"))


def test_no_evidence_of_using_time_is_said_only_where_counts_are_not_beaten():
    """It was said of methods at 71.7 where counts alone reach 11.5."""
    floors = [made_up.scored_at("counts-only", r, 0.115, kind="floor", parameters={}) for r in range(6)]
    slices = [made_up.scored_at("time-slices", r, 0.72, kind="floor", parameters={}) for r in range(6)]
    good = [made_up.scored_at("rlif", r, 0.690 + 0.002 * (r % 3)) for r in range(6)]
    page = page_of([*floors, *slices, *good], primary=None)
    assert "no evidence of using time" not in text_of(page)
    assert "rlif is below the method-free floor time-slices" in text_of(page)  # resolved, and said
    poor = [made_up.scored_at("lif", r, 0.09 + 0.002 * (r % 3)) for r in range(6)]
    assert "lif is worse than what counts without time give" in text_of(page_of([*floors, *poor], primary=None))
    few = [made_up.scored_at("lif", r, 0.09) for r in range(2)]
    assert "using time" not in text_of(page_of([*floors, *few], primary=None))  # not resolved


def test_the_same_delays_left_fixed_needs_the_same_widths_and_counts():
    """It was said of [66,66] with 4,356 delays against [91,91] with 8,281."""

    def sized(r):
        hidden, delays = ([66, 66], 4356) if r.method == PAIR[0] else ([91, 91], 8281)
        counts = r.parameters | {"delays": delays, "total": r.parameters["weights"] + delays}
        counts |= {"frozen": 0 if r.method == PAIR[0] else delays}
        configuration = r.configuration | {"network": {"hidden": hidden}}
        return r.changed(parameters=counts, configuration=configuration)

    page = page_of([sized(r) for r in pair_of(0.1)])
    assert "the same delays left fixed" not in text_of(page)
    assert "a network of [91, 91] with 8,281 fixed delays (its own: [66, 66] with 4,356)" in page.answer[0]


def test_three_repetitions_are_neither_compared_nor_pooled_into_a_verdict():
    """A toy study of two repetitions answered README's question: "makes no difference beyond the margin"."""
    page = page_of(pair_of(0.1, n=3))
    assert page.judged.primary.verdict == "open"
    assert "is not settled" in page.answer[0] and "3 repetitions are shown, not compared" in page.answer[0]
    assert not any("further task" in told for told in page.answer), "of one sign, on README's first screen"
    assert any("On a further task like these" in told for told in page_of(pair_of(0.1, n=4)).answer)
    mixed = page_of([*pair_of(0.1, n=8, tasks=TASKS[:2]), *pair_of(0.1, n=3, tasks=TASKS[2:])]).answer
    assert "is better on digits and tones and not settled on shd (" in mixed[1] and len(mixed) == 2
    exploratory = page_of(pair_of(0.1, n=3), primary=None)
    assert any("none can be settled: 3 repetitions are shown, not compared" in told for told in exploratory.answer)
    assert not any("could have seen" in told for told in (*page.answer, *exploratory.answer))


def test_ranks_are_groups_never_one_to_n_by_mean(whole):
    assert {r["rank_group"] for r in whole.of("digits") if r.kind == "run"} == {"1-8"}
    assert {r["rank_group"] for r in whole.rows if r.kind == "floor"} == {None}
    scores = {"lif": 0.3, "rlif": 0.5, "dcls": 0.502}
    wobble = {m: [0.004 * ((r * (3 + i) + i) % 5 - 2) for r in range(8)] for i, m in enumerate(scores)}
    records = [made_up.scored_at(m, r, s + wobble[m][r]) for m, s in scores.items() for r in range(8)]
    page = page_of(records, primary=None)
    assert {r["method"]: r["rank_group"] for r in page.rows} == {"lif": "3", "rlif": "1-2", "dcls": "1-2"}
    assert "nothing is resolved better than dcls and rlif, which are not all told apart" in text_of(page)


def test_speakers_are_clusters_of_the_second_interval():
    """Speakers were stored and never used."""

    def spoken(r, speakers):
        return r.changed(groups=speakers)

    records = pair_of(0.03, n=6, tasks=("digits",))
    two = [i // 500 for i in range(1000)]
    alone, clustered = (page_of([spoken(r, s) for r in records]).judged.differences[0].wide for s in (None, two))
    assert clustered.difference == pytest.approx(alone.difference)
    assert clustered.high - clustered.low > 2 * (alone.high - alone.low)


def test_overlapping_windows_are_clusters_of_the_second_interval():
    """The windows of Mackey-Glass share 149 of 150 values with the next, and counted as so many samples."""

    def smooth(method, repetition, scale, control):
        like, rng = made_up.forecast(method, repetition, scale, control), random.Random(method)
        of_block = [rng.gauss(0, scale) for _ in range(8)]
        targets = np.asarray(like.targets.array)
        predictions = [t + of_block[i // 25] + 0.001 * repetition for i, t in enumerate(targets)]
        return like.changed(
            predictions=predictions, result={"test_score": metric_named("nmse").score(predictions, targets)}
        )

    pair = ((PAIR[0], 0.3, PAIR[1]), (PAIR[1], 0.4, None))
    records = [smooth(m, r, scale, control) for m, scale, control in pair for r in range(6)]
    alone, clustered = (
        page_of(records, primary=None, overlaps=overlaps).judged.differences[0].wide
        for overlaps in ({}, {"mackey-glass": 25})
    )
    assert clustered.difference == pytest.approx(alone.difference)
    assert clustered.high - clustered.low > 2 * (alone.high - alone.low)
    assert find_tasks()["mackey-glass"].overlap == 150


def test_another_test_set_has_no_interval_over_samples():
    records = pair_of(0.03, n=4, tasks=("digits",))
    moved = [r.changed(targets=np.asarray(r.targets)[::-1]) for r in records[:1]]
    assert page_of([*moved, *records[1:]]).judged.differences[0].wide is not None  # the same targets, in one class
    shorter = made_up.scored_at(PAIR[0], 0, 0.5, total=500)
    other = shorter.changed(key=records[0].key)
    assert page_of([other, *records[1:]]).judged.differences[0].wide is None


def test_published_values_stand_beside_the_same_data_only(whole):
    shd = row(whole, "shd", "delrec-axonal")
    assert (shd["published_score"], shd["published_selection"]) == (0.9339, "validation")
    assert shd["published_source"].startswith("https://")
    assert row(whole, "digits", "delrec-axonal")["published_score"] is None
    assert row(whole, "mackey-glass", "delrec-synaptic")["published_score"] == 0.0336

    def own(kind, limit=None):
        """Of a folder of one's own."""
        made = made_up.scored_at("delrec-axonal", 0, 0.5, task="shd").changed(task="shd:folder@1234")
        task = made.configuration["task"] | {"limit": limit}
        return made.changed(configuration=made.configuration | {"task": task}, data=made.data | {"kind": kind})

    fetched = own("OFFICIAL", 2000).changed(task="shd")
    records = own("OFFICIAL"), own("OFFICIAL", 2000), own("STAND-IN"), fetched
    for record, value in zip(records, (0.9339, None, None, None), strict=True):
        page = page_of([record], primary=None)
        assert page.rows[0]["published_score"] == value
        assert bool(published_groups(page)) == (value is not None)


def test_an_interval_ends_where_scores_do_in_every_form_of_a_page():
    """100.00 in the tables, 1.001 in the csv."""
    records = [made_up.scored_at("lif", r, score) for r, score in enumerate((0.99, 1.0, 1.0))]
    (line,) = page_of(records, primary=None).rows
    assert line["score_high"] == 1.0 and line["score_low"] < 0.99


def test_spreads_that_are_learned_beside_fixed_delays_are_not_called_fixed():
    """ "128 delays, fixed", of which 64 were spreads that were trained."""
    counts = {"weights": 900, "delays": 128, "spreads": 64, "learned_delays": 0, "neuron": 0, "total": 1028}
    (line,) = page_of(
        [made_up.scored_at("lif", 0, 0.5, parameters=counts, learned="weights, spread")], primary=None
    ).rows
    assert "64 delays, fixed and 64 spreads" in size_cell(line).note
    learned = line.records[0].changed(parameters=counts | {"learned_delays": 64})
    (line,) = page_of([learned], primary=None).rows
    assert "64 delays and 64 spreads" in size_cell(line).note and line.delays == "learned"


def test_latencies_made_elsewhere_never_mix_and_the_newest_never_replaces_unlike():
    runs = [made_up.record(m, "digits", 0) for m in ("lif", "rlif")]
    here = [made_up.latency(m, "digits", 1.2) for m in ("lif", "rlif")]
    newer = made_up.latency("lif", "digits", 9.9).changed(
        key="7" * 64,
        measured={"host": "another machine", "finished_at": "2030-01-01T00:00:00+00:00"},
    )
    page = build(made_up.declared(runs, primary=None), [*runs, *here, newer])
    assert {r["latency_train_ratio"] for r in page.rows} == {1.2}
    network = here[0].changed(configuration=here[0].configuration | {"network": {"hidden": [256]}})
    page = build(made_up.declared(runs, primary=None), [*runs, network])
    assert row(page, "digits", "lif")["latency_train_ms"] is None


def test_a_row_without_a_score_has_size_latency_and_the_published_value():
    unscored = (("shd", "dcls"), ("ssc", "delrec-axonal"))
    declared = made_up.declared([], primary=None, page="three-tasks", unscored=unscored)
    page = build(declared, [made_up.latency("dcls", "shd", 1.9)])
    dcls, axonal = page.rows
    assert (dcls["task"], dcls["n"], dcls["score_mean"], dcls["rank_group"]) == ("shd", 0, None, None)
    assert (dcls["parameters_total"], dcls["latency_train_ms"], dcls["latency_train_ratio"]) == (10_448, 9.5, 1.9)
    assert dcls["published_score"] == 0.9377
    assert axonal["parameters_total"] is None and axonal["published_score"] == 0.8242
    assert page.answer == ("Size, latency and published scores of 2 methods on shd and ssc; none is scored here.",)


def test_a_point_of_a_sweep_is_a_row_with_the_control_at_the_same_point():
    records, runs = [], {}
    for sigma in (0, 3):
        for m in PAIR:
            for r in range(4):
                made = made_up.scored_at(m, r, 0.5 + 0.01 * sigma + 0.001 * r)
                made = made.changed(key=f"{len(records):064x}")
                records.append(made)
                control = f"{PAIR[1]} (sigma {sigma})" if m == PAIR[0] else None
                runs[made.key] = Expected(f"{m} (sigma {sigma})", control)
    page = build(made_up.declared(records, primary=None, runs=runs), records)
    assert {r["method"] for r in page.rows} == {f"{m} (sigma {s})" for m in PAIR for s in (0, 3)}
    assert {(d.method["method"], d.control["method"]) for d in page.judged.differences} == {
        (f"{PAIR[0]} (sigma {s})", f"{PAIR[1]} (sigma {s})") for s in (0, 3)
    }


def test_no_record_is_a_page_that_says_so():
    page = build(made_up.declared([], primary=None), [])
    assert page.answer == ("There is no record yet: nothing can be said.",) and page.rows == ()


def test_a_hypothesis_on_one_task_says_what_is_known_of_its_test_set_alone():
    """Only a page's other comparisons did."""
    records = [
        made_up.scored_at(m, r, 0.5 + 0.02 * (m == PAIR[0]) + 0.001 * r, total=50) for m in PAIR for r in range(6)
    ]
    answer = " ".join(page_of(records).answer)
    assert "is better than" in answer and "test set" in answer


def test_what_a_task_is_is_not_said_of_other_files_in_its_layout():
    """Ten spoken digits of another corpus were told as "German and English, 20 classes"."""

    def of(kind):
        records = [made_up.scored_at("lif", r, 0.5, task="shd") for r in range(2)]
        records = [r.changed(data=r.data | {"kind": kind, "stamp": kind}) for r in records]
        return page_of(records, primary=None, summaries={"shd": "spoken digits"}).parts[0].used[0]

    assert of("OFFICIAL") == "Spoken digits"
    assert of("STAND-IN") == "Other data, in the layout of: spoken digits"
