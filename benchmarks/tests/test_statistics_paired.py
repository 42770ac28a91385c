"""The paired difference against scipy and closed forms; what may be called better, equivalent or open."""

import math

import numpy as np
import pytest
from delrec_bench.errors import BenchError
from delrec_bench.statistics.paired import Estimate, decide, paired, with_tuning
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.weightstats import ttost_paired

ours = [0.71, 0.74, 0.70, 0.77, 0.72]
theirs = [0.69, 0.70, 0.69, 0.72, 0.71]
scores = st.lists(st.tuples(st.floats(0, 1, width=32), st.floats(0, 1, width=32)), min_size=2, max_size=12).map(
    lambda pairs: np.array(pairs).T
)


def test_interval_and_p_are_those_of_the_paired_t_test():
    e = paired(ours, theirs)
    test = stats.ttest_rel(ours, theirs)
    interval = test.confidence_interval(0.95)
    assert (e.n, e.df, e.difference) == (5, 4, pytest.approx(0.026))
    assert e.sd == pytest.approx(np.std(np.subtract(ours, theirs), ddof=1))
    assert (e.low, e.high, e.p) == pytest.approx((interval.low, interval.high, test.pvalue))


@pytest.mark.parametrize(("n", "half"), [(3, 2.48), (5, 1.24), (10, 0.72), (20, 0.47)])
def test_half_widths_of_the_protocol_in_standard_deviations(n, half):
    x = np.arange(n, dtype=float)
    e = paired(x, np.zeros(n))
    assert (e.high - e.difference) / e.sd == pytest.approx(half, abs=0.005)


def test_equivalence_is_two_one_sided_tests():
    for margin in (0.02, 0.05, 0.08):
        assert paired(ours, theirs).p_equivalent(margin) == pytest.approx(
            ttost_paired(np.array(ours), np.array(theirs), -margin, margin)[0]
        )


@settings(deadline=None)
@given(scores, st.floats(0.001, 1))
def test_p_values_and_interval_never_contradict_each_other(pair, margin):
    e = paired(*pair)
    assume(e.se is not None and e.se > 1e-9)
    near = [abs(abs(end) - edge) < 1e-9 for end in (e.low, e.high) for edge in (0, margin)]
    assume(not any(near))
    assert (e.p < 0.05) == (not e.low <= 0 <= e.high)
    assert (e.p_equivalent(margin) < 0.025) == (-margin < e.low and e.high < margin)


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
    assert decide(e, more_is_better=False) == "worse"
    assert decide(e, more_is_better=True, p=0.2) == "inconclusive"  # after Holm
    assert decide(e, more_is_better=True, margin=0.01) == "better"
    assert decide(e, more_is_better=True, margin=0.045) == "better"  # the interval is not within
    assert decide(e, more_is_better=True, margin=0.06) == "equivalent"  # excludes 0, but declared too small to matter
    assert decide(paired([0.5, 0.6, 0.4], [0.4, 0.6, 0.5]), more_is_better=True, margin=0.05) == "inconclusive"


@pytest.mark.parametrize(("n", "family"), [(2, 1), (2, 35), (3, 1), (10, 1), (10, 35), (30, 5)])
def test_the_smallest_detectable_difference_has_80_percent_power(n, family):
    d = Estimate(0.0, n, se=1 / math.sqrt(n), df=n - 1).detectable(family)
    critical = stats.t.ppf(1 - 0.05 / family / 2, n - 1)
    spread = stats.chi.ppf((np.arange(100_000) + 0.5) / 100_000, n - 1) / math.sqrt(n - 1)  # of the estimated sd
    shift = d * math.sqrt(n)
    power = stats.norm.sf(critical * spread - shift) + stats.norm.cdf(-critical * spread - shift)
    assert power.mean() == pytest.approx(0.8, abs=1e-4)


@pytest.mark.parametrize("n", [0, 1])
def test_below_two_repetitions_it_is_open_with_the_reason(n):
    e = paired(ours[:n], theirs[:n])
    assert (e.low, e.high, e.p, e.detectable()) == (None, None, None, None)
    assert "repetition" in e.reason
    assert decide(e, more_is_better=True, margin=0.1) == "inconclusive"


def test_equal_scores_are_equivalent_within_any_margin_and_never_better():
    e = paired(ours, ours)
    assert (e.difference, e.low, e.high, e.p, e.detectable()) == (0.0, 0.0, 0.0, 1.0, None)
    assert decide(e, more_is_better=True, margin=1e-6) == "equivalent"
    assert decide(e, more_is_better=True) == "inconclusive"


def test_equal_differences_do_not_become_certainty_by_rounding():
    e = paired([0.3, 0.5, 0.9], [0.2, 0.4, 0.8])  # 0.3 - 0.2 != 0.5 - 0.4 in floating point
    assert (e.se, e.p, e.low) == (None, None, None)
    assert "equal" in e.reason
    assert decide(e, more_is_better=True, margin=0.01) == "inconclusive"


def test_the_step_of_a_score_bounds_the_spread_from_below():
    few = paired([0.6, 0.6, 0.6], [0.5, 0.5, 0.5], resolution=0.1)  # ten test samples: one more is right
    many = paired([0.6, 0.6, 0.6], [0.5, 0.5, 0.5], resolution=0.001)
    assert few.se == pytest.approx(0.1 / math.sqrt(6) / math.sqrt(3))
    assert decide(few, more_is_better=True) == "inconclusive"
    assert decide(many, more_is_better=True) == "better"
    assert paired(ours, theirs, resolution=1e-4) == paired(ours, theirs)


def test_what_is_not_a_pair_is_an_error():
    with pytest.raises(BenchError, match="same repetitions"):
        paired([1.0, 2.0], [1.0])
    with pytest.raises(BenchError, match="not finite"):
        paired([1.0, math.nan], [1.0, 1.0])


def test_an_interval_with_the_tuning_variance_holds_the_truth_as_often_as_it_says():
    """No difference between methods: 0.5 points over repetitions, 1 point by what each search chose."""
    rng, covered, alone = np.random.default_rng(0), 0, 0
    for _ in range(2000):
        tuning = rng.normal(0, 0.01, 2)
        rows = [rng.normal(0.8 + shift, 0.005, 10) for shift in tuning]
        searches = [(float(rng.normal(0, 0.01, 5).var(ddof=1)), 4.0) for _ in rows]
        found = paired(*rows)
        wide = with_tuning(found, searches)
        covered += wide.low <= 0 <= wide.high
        alone += found.low <= 0 <= found.high
    assert 0.93 < covered / 2000 < 0.985
    assert alone / 2000 < 0.5


def test_the_standard_error_with_tuning_is_that_of_the_sum():
    alone = paired([0.8, 0.81, 0.79], [0.7, 0.72, 0.71])
    assert with_tuning(alone, []) is alone and with_tuning(alone, [(0.0, 4.0)]) is alone, "they share a search"
    assert with_tuning(paired([0.8], [0.7]), [(0.01, 4.0)]).low is None, "one repetition"
    found, own = with_tuning(alone, [(3e-4, 4.0), (1e-4, 4.0)]), alone.se
    assert found.se == pytest.approx((own**2 + 4e-4) ** 0.5)
    assert found.df == pytest.approx((own**2 + 4e-4) ** 2 / (own**4 / 2 + (9e-8 + 1e-8) / 4))
