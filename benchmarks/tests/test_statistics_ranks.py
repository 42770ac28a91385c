"""Ranks are what the data tell apart."""

import numpy as np
from delrec_bench.statistics.ranks import rank_groups
from hypothesis import given, settings
from hypothesis import strategies as st


def drawn(means, sd=0.01, n=10, seed=0):
    rng = np.random.default_rng(seed)
    return {m: dict(enumerate(rng.normal(mean, sd, n))) for m, mean in means.items()}


def groups(scores, more=True, **rest):
    return {r.method: r.group for r in rank_groups(scores, more_is_better=more, **rest)}


def test_what_is_not_told_apart_shares_its_places():
    scores = drawn({"a": 0.80, "b": 0.80, "c": 0.50})
    assert groups(scores) == {"a": "1-2", "b": "1-2", "c": "3"}
    told = {r.method: r.unresolved for r in rank_groups(scores, more_is_better=True)}
    assert told == {"a": ("b",), "b": ("a",), "c": ()}


def test_a_chain_that_no_classes_can_hold():
    wave = np.array([1, -1] * 5)
    scores = {
        "a": dict(enumerate(0.60 + 0 * wave)),
        "b": dict(enumerate(0.55 + 0.1 * wave)),
        "c": dict(enumerate(0.50 + 0.001 * wave)),
    }
    assert groups(scores) == {"a": "1-2", "b": "1-3", "c": "2-3"}


def test_three_repetitions_are_shown_and_not_ranked():
    assert groups(drawn({"a": 0.9, "b": 0.5, "c": 0.1}, n=3)) == {"a": "1-3", "b": "1-3", "c": "1-3"}


def test_a_method_of_few_repetitions_is_not_ranked_and_hides_no_other():
    scores = drawn({"a": 0.9, "b": 0.5}) | {"new": {0: 0.95}, "none": {}}
    assert groups(scores) == {"new": "1-3", "a": "1-2", "b": "2-3"}


def test_equal_methods_are_rarely_told_apart_however_many_there_are():
    told = sum(
        any(r.unresolved != tuple(o.method for o in ranks if o is not r) for r in ranks)
        for seed in range(40)
        for ranks in [rank_groups(drawn(dict.fromkeys("abcdefgh", 0.5), seed=seed), more_is_better=True)]
    )
    assert told <= 6  # 5 percent of 40 pages is 2


@settings(deadline=None, max_examples=40)
@given(
    st.dictionaries(
        st.sampled_from("abcdef"), st.dictionaries(st.integers(0, 7), st.integers(0, 100).map(float)), min_size=1
    )
)
def test_places_are_consistent(scores):
    ranks = rank_groups(scores, more_is_better=True, resolution=1.0)
    m = len(ranks)
    assert {r.method for r in ranks} == {name for name, of in scores.items() if of}
    for r in ranks:
        assert 1 <= r.first <= r.last <= m
        assert len(r.unresolved) == r.last - r.first
        assert all(r.method in next(o for o in ranks if o.method == u).unresolved for u in r.unresolved)
