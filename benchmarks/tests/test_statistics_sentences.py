"""When each kind of sentence may be said, and when not."""

import dataclasses

import pytest
from delrec_bench.report import amounts
from delrec_bench.statistics import conditions
from delrec_bench.statistics import sentences as say
from delrec_bench.statistics.paired import Estimate
from delrec_bench.statistics.pooled import Pooled
from delrec_bench.statistics.ranks import Rank
from delrec_bench.statistics.reproduced import Reproduction
from delrec_bench.statistics.verdicts import Verdict

WORDS = ("better", "worse", "equivalent", "open")


def points(x):
    return f"{100 * x:+.2f} points"


def verdict(word, task="pooled", kind="primary", **rest):
    """A verdict with this word; its other numbers are those of a small gain and must never speak for themselves."""
    fields = dict(
        hypothesis="axonal against fixed",
        task=task,
        difference=-0.1 if task == "pooled" else 0.012,
        low=-0.2 if task == "pooled" else 0.002,
        high=-0.01 if task == "pooled" else 0.022,
        n=6,
        p=0.02,
        p_holm=0.02 if kind == "primary" else None,
        margin=0.05,
        verdict=word,
        detectable=0.15 if task == "pooled" else 0.014,
        kind=kind,
    )
    return Verdict(**(fields | rest))


ANSWERS = {word: say.answer(verdict(word), "learning the delays", "the same delays left fixed") for word in WORDS}


def test_learning_helps_only_if_the_pooled_primary_is_better():
    assert ANSWERS["better"] == (
        "Learning the delays helps against the same delays left fixed: "
        "error −9.5 % [−18.1 %, −1.0 %], p = 0.020 over 6 tasks."
    )
    assert all("delays helps" not in ANSWERS[w] for w in ("worse", "equivalent"))
    assert ANSWERS["open"].startswith("Whether learning the delays helps")
    for v in (verdict("better", kind="exploratory"), verdict("better", task="shd")):
        assert say.answer(v, "learning the delays", "fixed") is None


def test_learning_harms_only_if_worse():
    assert [w for w in WORDS if "harms" in ANSWERS[w]] == ["worse"]


def test_no_difference_only_if_equivalent():
    assert [w for w in WORDS if "no difference" in ANSWERS[w]] == ["equivalent"]
    assert "beyond the margin of −4.9 % or +5.1 % of the error against" in ANSWERS["equivalent"]
    found = {w: say.finding(verdict(w, "shd"), "axonal", "fixed", points) for w in WORDS}
    assert [w for w in WORDS if "no difference" in found[w]] == ["equivalent"]
    assert "beyond the margin of 5.00 points" in found["equivalent"]


def test_not_settled_only_if_open_and_with_what_the_design_could_have_seen():
    assert [w for w in WORDS if "not settled" in ANSWERS[w]] == ["open"]
    assert "design could have seen a change of the error by −13.9 % or +16.2 % with 80 percent power" in ANSWERS["open"]
    on_task = say.not_settled(verdict("open", "shd"), points)
    assert on_task == "this design could have seen a difference of 1.40 points with 80 percent power"
    for word in ("better", "worse", "equivalent"):
        with pytest.raises(ValueError, match="not open"):
            say.not_settled(verdict(word), points)


def test_task_by_task_each_is_named_under_its_own_word():
    fell = [verdict(w, t, "exploratory") for w, t in (("worse", "shd"), ("open", "ssc"), ("worse", "digits"))]
    told = say.by_task([verdict("better"), *fell], "axonal", "fixed")
    assert (
        told
        == f"Task by task axonal against fixed is worse on shd and digits and not settled on ssc ({say.EXPLORATORY})."
    )
    assert say.by_task([verdict("better"), verdict("open", "ssc")], "axonal", "fixed") is None
    within = say.by_task([verdict("equivalent", "shd")], "a", "b", lambda v: f"{v.task} ({points(v.difference)})")
    assert within == f"Task by task a against b is within the margin on shd (+1.20 points) ({say.EXPLORATORY})."


def test_an_open_verdict_without_spread_tells_its_reason_and_no_design():
    shown = verdict("open", "shd", reason="3 repetitions are shown, not compared")
    assert say.not_settled(shown, points) == "3 repetitions are shown, not compared"
    assert "the same in every repetition" in say.not_settled(verdict("open", "shd", detectable=None), points)


def test_better_and_worse_are_said_of_those_verdicts_alone():
    found = {w: say.finding(verdict(w, "shd"), "axonal", "fixed", points) for w in WORDS}
    assert (
        found["better"]
        == "On shd, axonal is better than fixed: +1.20 points [+0.20 points, +2.20 points], n = 6, p = 0.020."
    )
    assert [w for w in WORDS if "better" in found[w]] == ["better"]
    assert [w for w in WORDS if "worse" in found[w]] == ["worse"]
    assert say.finding(verdict("better"), "axonal", "fixed", points).startswith("Pooled over 6 tasks, axonal is better")


def test_what_is_exploratory_says_so_and_what_is_primary_does_not():
    for word in WORDS:
        assert say.EXPLORATORY in say.finding(verdict(word, "shd", "exploratory"), "a", "b", points)
        assert "exploratory" not in say.finding(verdict(word, "shd"), "a", "b", points)


def test_a_further_task_is_spoken_of_only_with_a_prediction_interval():
    def pooled(prediction):
        return Pooled(Estimate(-0.1, 3), 0.01, prediction, None, (), ())

    assert say.further_task(pooled(None)) is None
    either = say.further_task(pooled((-0.3, 0.1)))
    expected = "On a further task like these the error's change is expected between −25.9 % and"
    assert either == f"{expected} +10.5 %, of either sign (95 percent prediction interval)."
    assert "either sign" not in say.further_task(pooled((-0.3, -0.1)))
    assert say.further_task(pooled((-2.4, 2.3))).startswith("Of a further task these tell nothing: its 95 percent")


def test_the_effect_depends_on_the_task_only_where_one_effect_is_ruled_out():
    def pooled(homogeneity, tau2=0.0396, se=0.1):
        estimate = Estimate(-0.1, 4, se=se, df=3.0, sd=0.2)
        return Pooled(estimate, tau2, (-0.4, 0.2), None, (), (), 40, homogeneity)

    assert say.tasks_differ(verdict("open"), pooled(None)) is None
    assert say.tasks_differ(verdict("open"), pooled((7.8, 0.05))) is None
    told = "The effect depends on the task: Q = 812.3 on 3 degrees of freedom, p < 0.001."
    more = " More repetitions would hardly narrow the pooled interval; more tasks would."
    assert say.tasks_differ(verdict("open"), pooled((812.3, 1e-9))) == told + more
    for word in ("better", "worse", "equivalent"):  # it lacks nothing
        assert say.tasks_differ(verdict(word), pooled((812.3, 1e-9))) == told
    assert say.tasks_differ(verdict("open"), pooled((812.3, 1e-9), tau2=0.03)) == told  # repetitions are lacking too
    assert "p = 0.012" in say.tasks_differ(verdict("open"), pooled((11.0, 0.012)))


def test_of_this_test_set_alone_only_if_resolved_over_repetitions_and_not_over_samples():
    wide, narrow = Estimate(0.012, 6, se=0.01, df=8.0), Estimate(0.012, 6, se=0.001, df=8.0)
    said = {w: say.this_test_set(verdict(w, "shd"), wide, points) for w in WORDS}
    assert [w for w in WORDS if said[w]] == ["better", "worse"]
    assert "known of this test set alone" in said["better"]
    assert say.this_test_set(verdict("better", "shd"), narrow, points) is None
    assert say.this_test_set(verdict("better", "shd"), Estimate(0.012, 6, reason="one cluster"), points) is None


def test_none_resolved_is_told_as_the_designs_doing():
    open_ones = [verdict("open", task, "exploratory", detectable=d) for task, d in (("shd", 0.01), ("ssc", 0.2))]
    text = say.tally(open_ones, points)
    assert text == (
        "Of 2 comparisons none is settled, which is no finding about the methods: "
        "the design could have seen between a difference of 1.00 points and a difference of 20.00 points."
    )
    mixed = say.tally([*open_ones, verdict("worse", "ssc")], points)
    assert mixed == "Of 3 comparisons: 1 worse and 2 open."
    assert "no finding" not in mixed
    shown = [dataclasses.replace(v, detectable=None, reason="one repetition") for v in open_ones]
    assert say.tally(shown, points) == "Of 2 comparisons none can be settled: one repetition."
    assert say.tally([], points) is None


def test_the_same_delays_only_at_equal_widths_and_delay_counts():
    assert conditions.fixed_delays(([66, 66], [66, 66]), (4356, 4356)) == "the same delays left fixed"
    for widths, delays in ((([66, 66], [91, 91]), (4356, 8281)), (([66], [91]), (9, 9)), (([66], [66]), (66, 4356))):
        text = conditions.fixed_delays(widths, delays)
        assert "same" not in text
        assert str(widths[1]) in text and f"{delays[1]:,}" in text


def test_a_spread_that_only_one_of_the_two_has_is_told():
    alike = ([66], [66]), (9, 9)
    assert conditions.fixed_delays(*alike, (10.0, 10.0)) == conditions.fixed_delays(*alike, (0.0, None))
    assert conditions.fixed_delays(*alike, (10.0, 0.0)) == "the same delays left fixed (sigma 0, not 10)"


def test_scores_still_rise_only_where_the_median_row_was_often_best_at_its_end():
    assert conditions.best_at_the_end([("digits", 12, [0.0, 0.2, 1.0]), ("shd", 9, []), ("ssc", 2, [0.5])]) is None
    told = conditions.best_at_the_end([("digits", 12, [0.1, 0.3, 0.6]), ("shd", 9, [0.5]), ("ssc", 9, [0.1])])
    assert told == (
        "The last epoch was the best in 10 to 60 percent of a row's runs on digits (12 epochs, 8 by chance) and 50 "
        "percent on shd (9 epochs, 11 by chance): with more, scores and places may be others."
    )


def test_a_margin_is_coarse_from_a_quarter_of_the_error_on():
    assert conditions.coarse_margin("digits", "+2.00 points", 0.02, "lif", 0.1) is None
    assert conditions.coarse_margin("digits", "+2.00 points", 0.02, "lif", 0.0) is None
    told = conditions.coarse_margin("digits", "+2.00 points", 0.02, "lif", 0.04)
    assert told.startswith("On digits the margin of 2.00 points is 50 percent of the error of lif")


def test_below_the_floor_only_if_resolved_worse():
    said = {w: say.below_floor("counts-logistic", {"lif": verdict(w, "shd")}) for w in WORDS}
    assert said["worse"] == "On shd, lif is below the method-free floor counts-logistic."
    assert [w for w in WORDS if said[w]] == ["worse"]
    several = {w: verdict("worse" if w != "b" else "open", "shd") for w in "abc"}
    assert say.below_floor("counts", several) == "On shd, a and c are below the method-free floor counts."


def test_no_evidence_of_using_time_never_of_a_method_above_the_counts_floor_or_not_settled():
    said = {w: say.without_time("lif", verdict(w, "shd")) for w in WORDS}
    assert said["better"] is None  # 71.7 where counts reach 11.5, whatever the floor with time slices reaches
    assert said["open"] is None
    assert "worse than what counts" in said["worse"] and "no evidence of using time" in said["worse"]
    assert "within the margin of what counts" in said["equivalent"]


def ranked(*places):
    return [Rank(chr(97 + i), 0.9 - i / 10, first, last, ()) for i, (first, last) in enumerate(places)]


def test_the_best_only_where_nothing_else_may_be():
    assert say.leaders("shd", ranked((1, 1), (2, 3), (2, 3))) == "On shd, a is the best of 3."
    assert "best of" not in say.leaders("shd", ranked((1, 2), (1, 2), (3, 3)))
    assert say.leaders("shd", ranked((1, 2), (1, 3), (2, 3))).startswith(
        "On shd, nothing is resolved better than a and b"
    )
    assert say.leaders("shd", ranked((1, 2), (2, 3), (2, 3))) == "On shd, nothing is resolved better than a."
    assert say.leaders("shd", ranked((1, 2), (1, 2))) == "On shd, no method is told from the best."
    assert say.leaders("shd", ranked((1, 1))) is None


def amount(**rest):
    return amounts.Amount(
        **(dict(data="OFFICIAL", training=(54_000, 54_000), test=(10_000, 10_000), epochs=200) | rest)
    )


def test_subset_stands_beside_official_where_less_than_the_whole_was_used():
    assert amounts.stamp(amount()) == "OFFICIAL"
    assert amounts.stamp(amount(training=(5_000, 54_000))) == "OFFICIAL SUBSET"
    assert amounts.stamp(amount(test=(100, 10_000))) == "OFFICIAL SUBSET"
    assert amounts.stamp(amount(data="EMBEDDED", training=(5, 54))) == "EMBEDDED"
    assert amounts.stamp(amount(training=(5_000, None))) == "OFFICIAL SUBSET"  # of a whole that is not known
    assert "a part of 5,000 training samples" in amounts.amount_used(amount(training=(5_000, None)))


def test_samples_and_epochs_are_told_as_they_were():
    assert amounts.amount_used(amount(training=(5_000, 54_000), epochs=3, published_epochs=200)) == (
        "OFFICIAL SUBSET: 5,000 of 54,000 training samples, all 10,000 test samples, 3 epochs (published: 200)"
    )
    assert amounts.amount_used(amount(epochs=1)).endswith("all 10,000 test samples, 1 epoch")
    assert "published" not in amounts.amount_used(amount(epochs=200, published_epochs=200))


def test_a_number_of_parameters_only_where_every_method_has_it():
    assert conditions.parameters({"a": 9_910, "b": 10_290}, 10_000) == "10,000 parameters, within 5 percent"
    assert conditions.parameters({"a": 9_910, "b": 18_119}, 10_000) == "9,910 (a) to 18,119 (b) parameters"


def test_the_test_set_was_not_chosen_on_only_where_the_presets_were_not():
    assert "validation data alone" in conditions.scored_once("validation")
    assert "may be too good" in conditions.scored_once("test")
    assert "published ones" in conditions.scored_once("published")
    assert "not on record" in conditions.scored_once("unknown")
    with pytest.raises(ValueError, match="'a guess'"):
        conditions.scored_once("a guess")


def reproduction(word, **rest):
    fields = dict(task="shd", method="lif", word=word, difference=0.01, low=-0.01, high=0.03, n=3, p_holm=0.5)
    return Reproduction(**(fields | dict(margin=0.05, reason="because") | rest))


def test_reproduced_only_where_every_row_is_equal_or_equivalent():
    rows = {w: reproduction(w) for w in ("equal", "equivalent", "different", "open")}
    assert (
        say.reproduced_in_all([rows["equal"], rows["equivalent"]]) == "Reproduced: of 2 rows 1 equal and 1 equivalent."
    )
    assert say.reproduced_in_all([rows["equal"], rows["open"]]).startswith("Neither reproduced nor refuted")
    assert say.reproduced_in_all(list(rows.values())).startswith("Not reproduced")
    assert say.reproduced_in_all([]) is None


def test_a_rows_reproduction_tells_numbers_and_reason():
    text = say.reproduced(reproduction("equivalent"), points)
    assert (
        text == "shd, lif: equivalent (because; +1.00 points [-1.00 points, +3.00 points], n = 3, margin 5.00 points)"
    )
    assert (
        say.reproduced(reproduction("open", difference=None, low=None, high=None), points) == "shd, lif: open (because)"
    )
