"""What stands under "Read first": what is lacking, how settings were chosen, on which footing rows stand."""

from dataclasses import replace

import pytest
from delrec_bench.records import Failure
from delrec_bench.report.content import build

from benchmarks.tests import made_up
from benchmarks.tests.made_up_pages import page_of, pair_of, row, text_of


def test_a_page_names_the_runs_that_it_lacks():
    records = [made_up.scored_at("lif", r, 0.3) for r in range(4)]
    page = build(made_up.declared(records, primary=None), records[:3])
    assert page.missing == (records[3].key,)
    assert any(told.startswith("This page is not complete: 3 of 4 runs are there.") for told in page.reservations)


def test_whether_scores_still_rose_is_read_first():
    late = [made_up.history(made_up.scored_at("lif", r, 0.5), 7) for r in range(4)]  # best at epoch 7
    early = [made_up.history(made_up.scored_at("rlif", r, 0.5), 10) for r in range(4)]
    early = [r.changed(history=[e | {"valid_accuracy": 1 - e["valid_accuracy"]} for e in r.history]) for r in early]
    text = text_of(page_of([*late, *early], primary=None))
    assert "The last epoch was the best in 100 percent of a row's runs on digits (7 epochs, 14 by chance):" in text
    assert "(10 epochs" not in text and "trials" not in text
    last = [r.changed(result=r.result | {"selection": "last"}) for r in late]
    assert "last epoch" not in text_of(page_of(last, primary=None)), "it was taken because it is the last"
    flat = [r.changed(history=[e | {"valid_accuracy": 0.9} for e in r.history]) for r in late]
    assert "last epoch" not in text_of(page_of(flat, primary=None)), "a tie with all before is no best epoch"


def test_a_margin_that_is_much_of_the_error_is_told():
    text = text_of(page_of(made_up.everything(), margins={"mackey-glass": 0.02}))
    assert (
        "On mackey-glass the margin of 0.0200 NMSE is " in text
        and "percent of the error of delrec-synaptic-fixed" in text
    )
    assert "what is equivalent there" not in text_of(page_of(made_up.everything(), margins={"mackey-glass": 0.002}))


def test_a_task_is_told_in_a_line_and_the_studys_notes_are_read_first():
    page = page_of(pair_of(0.1), summaries={"digits": "pixels in a permuted order"}, notes=("Sigma is in steps.",))
    (used,) = [part.used for part in page.parts if part.task == "digits"]
    assert used[0] == "Pixels in a permuted order" and used[1].startswith("EMBEDDED: all 2,000 training samples, 400")
    assert "Sigma is in steps." in page.reservations


def test_parameters_are_told_as_they_are():
    """ "10,000 parameters" stood beside 18,119."""
    records = [made_up.scored_at(m, r, 0.5) for m in ("lif", "rlif") for r in range(2)]
    sizes = {"lif": 9_910, "rlif": 18_119}
    records = [
        r.changed(
            configuration=r.configuration | {"budget": 10_000},
            parameters=r.parameters | {"total": sizes[r.method], "weights": sizes[r.method]},
        )
        for r in records
    ]
    page = page_of(records, primary=None)
    assert "On digits: 9,910 (lif) to 18,119 (rlif) parameters." in page.reservations
    assert "10,000 parameters" not in text_of(page)


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ("validation", "validation data alone"),
        ("test", "too good"),
        ("published", "published ones"),
        ("unknown", "not on record"),
    ],
)
def test_scored_once_is_said_with_what_the_presets_were_chosen_on(chosen, words):
    page = page_of(pair_of(0.1), chosen_on=chosen)
    (said,) = [t for t in page.reservations if "scored the test set once" in t]
    assert words in said
    assert ("validation data alone" in said) == (chosen == "validation")


def test_what_a_study_sets_in_the_place_of_presets_is_told():
    """ "Presets were chosen on validation data alone" stood over settings that a study's file had put by hand."""
    page = page_of(pair_of(0.1), chosen_on="validation", by_hand=("network.tau", "training.batch"))
    assert "In their place the study's file sets network.tau and training.batch by hand." in text_of(page)
    assert "by hand" not in text_of(page_of(pair_of(0.1), chosen_on="validation"))


def test_a_page_of_a_narrowed_study_says_so_and_is_not_complete():
    """`--repetitions 2` made out/<study>/ with a verdict on the declared hypothesis, called complete."""
    whole, part = (page_of(pair_of(0.1), narrowed=options) for options in ((), ("--repetitions 2",)))
    assert whole.complete and not part.complete
    assert part.reservations[0] == "This is not the page that its study declares: it was made with --repetitions 2."
    assert not any("declares" in told for told in whole.reservations)


def test_subset_is_stamped_beside_official_where_less_than_the_whole_was_used():
    """OFFICIAL stood on 5,000 images and three epochs."""

    def part(limit, **data):
        made = made_up.scored_at("lif", 0, 0.5, task="shd")
        task = made.configuration["task"] | {"limit": limit, "test_limit": None}
        sizes = {"train": 4_000, "valid": 1_000, "test": 1_000}
        configuration = made.configuration | {"task": task, "epochs": 3}
        return made.changed(configuration=configuration, data=made.data | {"sizes": sizes} | data)

    page = page_of([part(5_000)], primary=None)
    assert row(page, "shd", "lif")["data"] == "OFFICIAL SUBSET" and page.stamps == ("OFFICIAL SUBSET",)
    assert "SUBSET: a part of 4,000 training samples, 1,000 for validation, all 1,000 test samples, 3" in text_of(page)
    known = page_of([part(5_000, whole={"train": 54_000, "test": 1_000})], primary=None)
    assert "4,000 of 54,000 training samples" in text_of(known)
    assert page_of([part(None)], primary=None).stamps == ("OFFICIAL",)


def test_unequal_footing_and_mixed_revisions_are_told():
    records = pair_of(0.1, tasks=("digits",))
    other = [
        r.changed(data=r.data | {"step_ms": 5.0}, provenance=r.provenance | {"revision": "f" * 40}) for r in records[:8]
    ]
    said = text_of(page_of([*other, *records[8:]]))
    assert "On digits the rows differ in step: 14.0 and 5.0." in said
    assert "made by 2 revisions of the code: 0123456789ab and ffffffffffff" in said
    assert "revisions" not in text_of(page_of(records))


def test_a_row_of_few_repetitions_has_no_place_among_rows_of_more():
    records = pair_of(0.1, tasks=("digits",))
    few = [made_up.scored_at("rlif", r, 0.9) for r in range(2)]
    page = page_of([*records, *few])
    assert "On digits, rlif has no place: up to 3 repetitions are shown, not compared." in text_of(page)
    assert row(page, "digits", "rlif")["rank_group"] is None
    assert row(page, "digits", "delrec-synaptic")["rank_group"] == "1", "of two, not of three"
    assert "digits, delrec-synaptic is the best of 2." in text_of(page)
    alike = page_of([*pair_of(0.1, n=2, tasks=("digits",)), *few])
    assert "no place" not in text_of(alike) and row(alike, "digits", "rlif")["rank_group"] == "1-3"


def test_times_of_many_rows_are_told_in_a_line():
    few = [made_up.latency(m, "shd") for m in ("lif", "rlif")]
    many = [made_up.latency(m, t) for m in made_up.METHODS for t in ("digits", "tones")]
    many = [r.changed(result=r.result | {"batch": 64}) for r in many]
    rows = [(r.task, r.method) for r in (*few, *many)]
    declared = made_up.declared([], primary=None, unscored=tuple(rows))
    said = text_of(build(declared, [*few, *many]))
    assert "a step is of 64 samples, 256 of lif (shd) and rlif (shd)." in said
    swapped = [r.changed(result=r.result | {"engines": {"train": "reference"}}) for r in many]
    assert said.count("compiled") == 0 and "in Python: 8 methods (digits and tones)." in text_of(
        build(declared, [*few, *swapped])
    )


def test_what_a_time_does_not_say_is_not_told():
    bare = made_up.latency("lif", "shd")
    result = {name: value for name, value in bare.result.items() if name not in ("threads", "engines")}
    declared = made_up.declared([], primary=None, unscored=(("shd", "lif"),))
    said = text_of(build(declared, [bare.changed(result=result)]))
    assert "Times are of threads that are not on record, by the code of 0123456789ab; a step is of 256 samples." in said
    del result["batch"]
    assert "by the code of 0123456789ab." in text_of(build(declared, [bare.changed(result=result)]))


def lost(records):
    """Failures of these runs."""
    about = {
        "command": "delrec-bench run",
        "error": "NaN",
        "traceback": "",
        "diverged": True,
        "attempts": 1,
        "configuration": {},
        "failed_at": "",
    }
    return tuple(Failure(key=r.key, method=r.method, task=r.task, repetition=r.repetition, **about) for r in records)


def test_runs_that_were_trained_are_counted_and_rows_that_are_gone_named():
    """Floors and runs that were not made counted too; of a row that lost all its runs nothing was said."""
    records = [*pair_of(0.1, n=5, tasks=("digits",)), made_up.record("counts", "digits", 0, kind="floor")]
    declared = made_up.declared(records)
    half = replace(declared, diverged=lost(records[:2]))
    said = text_of(build(half, records[2:8]))
    assert "2 of 8 trained runs diverged and have no score: 2 of 5 of delrec-synaptic. A row is" in said
    gone = text_of(build(replace(declared, diverged=lost(records[:5])), records[5:]))
    assert "5 of 10 trained runs diverged and have no score: 5 of 5 of delrec-synaptic. Nothing is left of " in gone
    assert "cannot be judged yet: its runs diverged" in gone and "flatters" not in gone


def test_one_row_of_more_repetitions_than_all_others_is_no_order():
    few = [made_up.scored_at("rlif", r, 0.9) for r in range(2)]
    page = page_of([*(made_up.scored_at("lif", r, 0.5) for r in range(5)), *few], primary=None)
    assert [r["rank_group"] for r in page.rows] == [None, None]


def test_the_declared_hypothesis_is_not_counted_twice():
    said = text_of(page_of([*pair_of(0.1, tasks=("digits",)), *own_controls()]))
    assert "Each method against its own control, the declared hypothesis apart, accuracy" in said


def own_controls():
    """A further method, with its own control."""
    return [
        made_up.scored_at(m, r, 0.6 + 0.01 * (r % 2))
        for m in ("delrec-axonal", "delrec-axonal-fixed")
        for r in range(8)
    ]
