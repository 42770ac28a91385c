"""Paired differences, intervals over samples too, verdicts and ranks: against scipy, closed forms, and coverage."""

import math
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
from delrec_bench.statistics.clusters import crossed, window_blocks
from delrec_bench.statistics.paired import Estimate, decide, paired, with_tuning
from delrec_bench.statistics.verdicts import Claim, holm, judge, mean_over, rank_groups
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

ours = [0.71, 0.74, 0.70, 0.77, 0.72]
theirs = [0.69, 0.70, 0.69, 0.72, 0.71]
scores = st.lists(st.tuples(st.floats(0, 1, width=32), st.floats(0, 1, width=32)), min_size=2, max_size=12).map(
    lambda pairs: np.array(pairs).T
)


def test_interval_and_p_values_are_those_of_the_paired_t_test_and_of_two_one_sided_ones():
    e = paired(ours, theirs)
    test = stats.ttest_rel(ours, theirs)
    interval = test.confidence_interval(0.95)
    assert (e.n, e.df, e.difference) == (5, 4, pytest.approx(0.026))
    assert e.sd == pytest.approx(np.std(np.subtract(ours, theirs), ddof=1))
    assert (e.low, e.high, e.p) == pytest.approx((interval.low, interval.high, test.pvalue))
    for margin in (0.02, 0.05, 0.08):
        two_tests, *_ = ttost_paired(np.array(ours), np.array(theirs), -margin, margin)
        assert e.p_equivalent(margin) == pytest.approx(two_tests)


@settings(deadline=None)
@given(scores, st.booleans(), st.floats(0.001, 0.5))
def test_the_verdict_turns_with_the_sides_and_with_the_direction(pair, more, margin):
    turned = {"better": "worse", "worse": "better", "equivalent": "equivalent", "inconclusive": "inconclusive"}
    word = decide(paired(*pair), more_is_better=more, margin=margin)
    assert decide(paired(*pair[::-1]), more_is_better=more, margin=margin) == turned[word]
    assert decide(paired(*pair), more_is_better=not more, margin=margin) == turned[word]


def test_words():
    e = paired(ours, theirs)  # 0.026 [0.0030, 0.0490]
    assert decide(e, more_is_better=True) == "better"
    assert decide(e, more_is_better=True, p=0.2) == "inconclusive"  # after Holm
    assert decide(e, more_is_better=True, margin=0.045) == "better"  # the interval is not within
    assert decide(e, more_is_better=True, margin=0.06) == "equivalent"  # excludes 0, but declared too small to matter


@pytest.mark.parametrize(("n", "family"), [(2, 1), (2, 35), (3, 1), (10, 1), (10, 35), (30, 5)])
def test_the_smallest_detectable_difference_has_80_percent_power(n, family):
    d = Estimate(0.0, n, se=1 / math.sqrt(n), df=n - 1).detectable(family)
    critical = stats.t.ppf(1 - 0.05 / family / 2, n - 1)
    spread = stats.chi.ppf((np.arange(100_000) + 0.5) / 100_000, n - 1) / math.sqrt(n - 1)  # of the estimated sd
    shift = d * math.sqrt(n)
    power = stats.norm.sf(critical * spread - shift) + stats.norm.cdf(-critical * spread - shift)
    assert power.mean() == pytest.approx(0.8, abs=1e-4)


def test_equal_scores_are_equivalent_and_equal_differences_do_not_become_certainty_by_rounding():
    e = paired(ours, ours)
    assert (e.difference, e.low, e.high, e.p, e.detectable()) == (0.0, 0.0, 0.0, 1.0, None)
    assert decide(e, more_is_better=True, margin=1e-6) == "equivalent"
    e = paired([0.3, 0.5, 0.9], [0.2, 0.4, 0.8])  # 0.3 - 0.2 != 0.5 - 0.4 in floating point
    assert (e.se, e.p, e.low) == (None, None, None)


def test_the_step_of_a_score_bounds_the_spread_from_below():
    few = paired([0.6, 0.6, 0.6], [0.5, 0.5, 0.5], resolution=0.1)  # ten test samples: one more is right
    many = paired([0.6, 0.6, 0.6], [0.5, 0.5, 0.5], resolution=0.001)
    assert few.se == pytest.approx(0.1 / math.sqrt(6) / math.sqrt(3))
    assert decide(few, more_is_better=True) == "inconclusive"
    assert decide(many, more_is_better=True) == "better"
    assert paired(ours, theirs, resolution=1e-4) == paired(ours, theirs)


def test_the_standard_error_with_tuning_is_that_of_the_sum():
    alone = paired([0.8, 0.81, 0.79], [0.7, 0.72, 0.71])
    assert with_tuning(alone, []) is alone and with_tuning(alone, [(0.0, 4.0)]) is alone, "they share a search"
    assert with_tuning(paired([0.8], [0.7]), [(0.01, 4.0)]).low is None, "one repetition"
    found, own = with_tuning(alone, [(3e-4, 4.0), (1e-4, 4.0)]), alone.se
    assert found.se == pytest.approx((own**2 + 4e-4) ** 0.5)
    assert found.df == pytest.approx((own**2 + 4e-4) ** 2 / (own**4 / 2 + (9e-8 + 1e-8) / 4))
    assert found.high == pytest.approx(found.difference + stats.t.ppf(0.975, found.df) * found.se)


def test_crossed_variances_by_hand():
    # d = [[0, 2], [4, 10]]: mean 4; rows 1, 7: MS_a = 2 * 18 = 36; columns 2, 6: MS_b = 2 * 8 = 16;
    # residuals +-1: MS_e = 4. se^2 = (4 + 32 + 12) / 4 = 12
    e = crossed([[0, 2], [4, 10]], np.zeros((2, 2)))
    assert (e.difference, e.se, e.df) == pytest.approx((4, math.sqrt(12), 48**2 / (36**2 + 16**2 + 4**2)))
    # d = [[0, 10], [4, 2]]: rows 5, 3: MS_a = 4; columns 2, 6: MS_b = 16; residuals +-3: MS_e = 36; nothing added
    e = crossed([[0, 10], [4, 2]], np.zeros((2, 2)))
    assert (e.difference, e.se, e.df) == pytest.approx((4, 3, 36**2 / (4**2 + 16**2 + 36**2)))
    # d = [1, 1, 4], mean 2; clusters {0, 1} and {2}: totals -2 and 2, times G / N = 2/3: u = -4/3, 4/3
    e = crossed([[1, 1, 4]], np.zeros((1, 3)), ["anna", "anna", "ben"])
    assert (e.difference, e.se, e.df) == pytest.approx((2, 4 / 3, 1))
    e = crossed(np.ones((3, 4)), np.zeros((3, 4)), [7, 7, 7, 7])
    assert (e.difference, e.se, e.low) == (1.0, None, None), "one cluster"


@settings(deadline=None)
@given(st.integers(1, 4), st.integers(2, 12), st.integers(0, 1000))
def test_copies_of_a_sample_in_its_cluster_tell_nothing_new(R, N, seed):
    a, b = np.random.default_rng(seed).random((2, R, N))
    copies = [np.repeat(x, 5, axis=1) for x in (a, b)]
    once, often = crossed(a, b), crossed(*copies, np.repeat(np.arange(N), 5).tolist())
    assert (often.difference, often.se, often.df) == pytest.approx((once.difference, once.se, once.df))
    order = np.random.default_rng(seed).permutation(N)
    turned = crossed(a[:, order], b[:, order], order.tolist())
    assert turned.se == pytest.approx(once.se)
    assert crossed(b, a).difference == pytest.approx(-once.difference)


def coverage(draw, truth, trials=400):
    """How often each of the intervals that `draw` makes holds the truth."""
    return np.mean([[e.low <= truth <= e.high for e in draw()] for _ in range(trials)], axis=0)


@pytest.mark.parametrize("spread", [0.0, 0.1, 0.3, 1.0, 3.0])
def test_what_covers_samples_too_is_never_better_known_than_over_repetitions_at_any_level(spread):
    """Its own tail is often the shorter one at the levels of Holm: ranks were known better than over repetitions."""
    rng, shorter = np.random.default_rng(7), 0
    for _ in range(40):
        a = rng.normal(size=(5, 30)) + spread * rng.normal(size=(5, 1)) + 3 * spread
        own, alone = crossed(a, np.zeros_like(a)), paired(a.mean(1), np.zeros(5))
        both = replace(own, alone=alone)
        for value in ("half_width", "p"):
            assert getattr(both, value) == max(getattr(own, value), getattr(alone, value))
        assert both.detectable(99) == max(own.detectable(99), alone.detectable(99))
        assert both.p_equivalent(9.0) == max(own.p_equivalent(9.0), alone.p_equivalent(9.0))
        assert mean_over([both, both]).p == max(mean_over([own, own]).p, mean_over([alone, alone]).p)
        assert replace(both, se=0.0).detectable() == alone.detectable()
        shorter += own.p < alone.p
    assert shorter or not spread


def test_coverage_with_speakers_and_repetitions():
    rng = np.random.default_rng(5)
    sizes = (4, 8, 8, 12, 12, 12, 16, 16, 20, 24, 28, 40)  # twelve speakers, unequal as in the spoken digits
    speakers = np.repeat(np.arange(12), sizes)
    R, N = 5, len(speakers)

    def draw():
        """Right or wrong of two methods whose gain depends on the speaker and on the repetition."""
        gain = 0.08 + rng.normal(0, 0.06, 12)[speakers] + rng.normal(0, 0.02, R)[:, None]
        base = np.clip(0.7 + rng.normal(0, 0.1, 12)[speakers], 0.2, 0.85)
        b = rng.random((R, N)) < base
        a = rng.random((R, N)) < base + gain
        return crossed(a, b, speakers.tolist()), crossed(a, b), paired(a.mean(axis=1), b.mean(axis=1))

    clustered, naive, repetitions = coverage(draw, 0.08)
    assert 0.90 <= clustered <= 0.985
    assert naive < clustered - 0.03  # samples of one speaker taken for independent
    assert repetitions < clustered - 0.03  # the twelve speakers taken for all there are


def test_coverage_with_windows_that_overlap():
    rng = np.random.default_rng(6)
    width, n = 8, 400
    blocks = window_blocks(n, width)

    def draw():
        squared = np.convolve(rng.normal(size=n + width), np.ones(width) / width, "valid")[:n]
        a = squared + rng.normal(0, 0.02, (4, n))
        return crossed(a, np.zeros((4, n)), blocks), crossed(a, np.zeros((4, n)))

    blocked, naive = coverage(draw, 0.0)
    assert naive < 0.75 and 0.89 <= blocked <= 0.985
    assert np.bincount(blocks).tolist() == [32] * 12 + [16], "four overlaps each"
    assert max(window_blocks(80, 8)) + 1 == 8  # ten windows each, at least one overlap of eight


def claim(t, n=10, **more):
    """The claim of an estimate with this t value, in standard errors of 0.01."""
    return Claim(Estimate(0.01 * t, n, se=0.01, df=n - 1, sd=0.01 * math.sqrt(n)), more_is_better=True, **more)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.sampled_from([0.0, 0.01, 0.02, 0.5]) | st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_that_of_statsmodels(p):
    with mock.patch("gc.collect"):  # nearly all of its time
        assert holm(p) == pytest.approx(multipletests(p, method="holm")[1].tolist())
    assert holm([0.02, None, 0.5]) == [pytest.approx(0.06), None, 1.0], "what has no p value is of the family too"
    assert holm([]) == []


def test_primaries_are_corrected_together_and_exploratory_claims_not_at_all():
    primary, near = claim(2.5, primary=True), claim(0.0, primary=True, margin=0.024)
    (alone,), (same,) = judge([primary]), judge([near])
    assert (alone.verdict, alone.p_holm, same.verdict) == ("better", alone.p, "equivalent")
    *others, beside = judge([*[claim(2.5)] * 35, primary])
    assert beside == alone, "exploratory comparisons cost the primary nothing"
    assert {(v.verdict, v.p_holm) for v in others} == {("better", None)}
    together, equal = judge([primary, near])
    assert together.p < 0.05 < together.p_holm == pytest.approx(2 * together.p)
    assert together.verdict == "inconclusive" and together.detectable > alone.detectable
    assert equal.verdict == "inconclusive", "equivalence is corrected too"


def test_few_repetitions_are_shown_not_compared():
    (v,) = judge([claim(40.0, n=3, margin=1.0)])
    assert (v.verdict, v.p, v.compared) == ("inconclusive", None, False) and v.low is not None
    assert v.detectable is None, "what is not compared could have seen nothing"
    for n in (0, 1):
        (v,) = judge([Claim(paired(ours[:n], theirs[:n]), True, margin=0.1)])
        assert (v.verdict, v.low, v.high, v.p, v.detectable) == ("inconclusive", None, None, None, None)


def drawn(means, sd=0.01, n=10, seed=0):
    rng = np.random.default_rng(seed)
    return {m: dict(enumerate(rng.normal(mean, sd, n))) for m, mean in means.items()}


def groups(scores, more_is_better=True, resolution=0.0):
    def estimate(a, b):
        shared = sorted(scores[a].keys() & scores[b].keys())
        return paired(*([scores[m][r] for r in shared] for m in (a, b)), resolution=resolution)

    means = {m: sum(of.values()) / len(of) for m, of in scores.items() if of}
    return rank_groups(means, estimate, more_is_better=more_is_better)


def test_what_is_not_told_apart_shares_its_places():
    scores = drawn({"a": 0.80, "b": 0.80, "c": 0.50})
    assert groups(scores) == {"a": "1-2", "b": "1-2", "c": "3"}
    assert groups(scores, more_is_better=False) == {"c": "1", "a": "2-3", "b": "2-3"}
    wave = np.array([1, -1] * 5)  # a chain that no classes can hold
    means = {"a": 0.60 + 0 * wave, "b": 0.55 + 0.1 * wave, "c": 0.50 + 0.001 * wave}
    assert groups({m: dict(enumerate(of)) for m, of in means.items()}) == {"a": "1-2", "b": "1-3", "c": "2-3"}
    few = drawn({"a": 0.9, "b": 0.5}) | {"new": {0: 0.95}, "none": {}}
    assert groups(few) == {"new": "1-3", "a": "1-2", "b": "2-3"}, "few repetitions are not ranked and hide no other"


def test_equal_methods_are_rarely_told_apart_however_many_there_are():
    pages = [groups(drawn(dict.fromkeys("abcdefgh", 0.5), seed=seed)) for seed in range(40)]
    assert sum(set(page.values()) != {"1-8"} for page in pages) <= 6  # 5 percent of 40 pages is 2


SCORES = st.dictionaries(st.integers(0, 7), st.integers(0, 100).map(float))


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(st.sampled_from("abcdef"), SCORES, min_size=1))
def test_places_are_consistent(scores):
    ranks = groups(scores, resolution=1.0)
    assert set(ranks) == {name for name, of in scores.items() if of}
    ends = [[int(end) for end in rank.split("-")] for rank in ranks.values()]
    assert all(1 <= of[0] <= of[-1] <= len(ranks) for of in ends)
    told = sum(of[0] - 1 for of in ends)
    assert told == sum(len(ranks) - of[-1] for of in ends), "who is resolved better has one who is resolved worse"
