"""Claims judged once: Holm over the primaries alone, and the fields of a page's JSON."""

import math

import pytest
from delrec_bench.statistics.paired import Estimate
from delrec_bench.statistics.verdicts import Claim, holm, judge
from hypothesis import given, settings
from hypothesis import strategies as st


def estimate(t, n=10):
    """An estimate with this t value, in standard errors of 0.01."""
    return Estimate(0.01 * t, n, se=0.01, df=n - 1, sd=0.01 * math.sqrt(n))


def claim(name, t, kind="exploratory", task="shd", n=10, margin=None, more=True):
    return Claim(name, task, estimate(t, n), more, margin, kind)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.02, None, 0.5]) == [pytest.approx(0.06), None, 1.0]  # what has no p value is of the family too
    assert holm([]) == []
    assert holm([None]) == [None]


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_p_and_bonferroni_and_keeps_the_order(p):
    adjusted = holm(p)
    assert all(a <= q + 1e-12 <= min(1.0, len(p) * a) + 1e-9 for a, q in zip(p, adjusted, strict=True))
    assert sorted(range(len(p)), key=lambda i: (p[i], i)) == sorted(range(len(p)), key=lambda i: (adjusted[i], p[i], i))


def test_thirty_five_exploratory_comparisons_cost_the_primary_nothing():
    primary = claim("learning", 2.5, "primary", task="pooled", n=8, more=False)
    alone = judge([primary])[0]
    beside = judge([*(claim(f"other {i}", 1.0) for i in range(35)), primary])[-1]
    assert beside == alone
    assert alone.p_holm == alone.p
    assert alone.verdict == "worse"  # more error


def test_primaries_are_corrected_together_and_their_detectable_difference_with_them():
    one, two = judge([claim("a", 2.5, "primary"), claim("b", 0.3, "primary")])
    assert one.p < 0.05 < one.p_holm == pytest.approx(2 * one.p)
    assert one.verdict == "inconclusive"
    assert one.detectable > judge([claim("a", 2.5, "primary")])[0].detectable
    assert two.verdict == "inconclusive"


def test_equivalence_of_primaries_is_corrected_too():
    near = claim("a", 0.0, "primary", margin=0.024)
    assert judge([near])[0].verdict == "equivalent"
    assert judge([near, *(claim(f"b{i}", 3.0, "primary", margin=0.024) for i in range(4))])[0].verdict == "inconclusive"


def test_an_exploratory_claim_is_judged_by_its_own_interval_and_says_so():
    (v,) = judge([claim("a", 2.5)])
    assert (v.verdict, v.kind, v.p_holm) == ("better", "exploratory", None)


def test_few_repetitions_are_shown_not_compared():
    (v,) = judge([claim("a", 40.0, n=3, margin=1.0)])
    assert (v.verdict, v.p, v.compared) == ("inconclusive", None, False) and v.low is not None
    assert v.detectable is None, "what is not compared could have seen nothing"
    (v,) = judge([Claim("a", "shd", Estimate(0.1, 1, reason="one repetition says nothing about spread"), True)])
    assert (v.verdict, v.low, v.p, v.detectable) == ("inconclusive", None, None, None)
