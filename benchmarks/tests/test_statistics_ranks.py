"""Ranks are what the data tell apart."""

import numpy as np
from delrec_bench.statistics.verdicts import rank_groups
from hypothesis import given, settings
from hypothesis import strategies as st


def drawn(means, sd=0.01, n=10, seed=0):
    rng = np.random.default_rng(seed)
    return {m: dict(enumerate(rng.normal(mean, sd, n))) for m, mean in means.items()}


def groups(scores):
    return rank_groups(scores, more_is_better=True)


def test_what_is_not_told_apart_shares_its_places():
    scores = drawn({"a": 0.80, "b": 0.80, "c": 0.50})
    assert groups(scores) == {"a": "1-2", "b": "1-2", "c": "3"}
    assert rank_groups(scores, more_is_better=False) == {"c": "1", "a": "2-3", "b": "2-3"}


def test_a_chain_that_no_classes_can_hold():
    wave = np.array([1, -1] * 5)
    means = {"a": 0.60 + 0 * wave, "b": 0.55 + 0.1 * wave, "c": 0.50 + 0.001 * wave}
    assert groups({m: dict(enumerate(of)) for m, of in means.items()}) == {"a": "1-2", "b": "1-3", "c": "2-3"}


def test_few_repetitions_are_not_ranked_and_hide_no_other():
    assert set(groups(drawn({"a": 0.9, "b": 0.5, "c": 0.1}, n=3)).values()) == {"1-3"}
    scores = drawn({"a": 0.9, "b": 0.5}) | {"new": {0: 0.95}, "none": {}}
    assert groups(scores) == {"new": "1-3", "a": "1-2", "b": "2-3"}


def test_equal_methods_are_rarely_told_apart_however_many_there_are():
    pages = [groups(drawn(dict.fromkeys("abcdefgh", 0.5), seed=seed)) for seed in range(40)]
    assert sum(set(page.values()) != {"1-8"} for page in pages) <= 6  # 5 percent of 40 pages is 2


SCORES = st.dictionaries(st.integers(0, 7), st.integers(0, 100).map(float))


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(st.sampled_from("abcdef"), SCORES, min_size=1))
def test_places_are_consistent(scores):
    ranks = rank_groups(scores, more_is_better=True, resolution=1.0)
    assert set(ranks) == {name for name, of in scores.items() if of}
    ends = [[int(end) for end in rank.split("-")] for rank in ranks.values()]
    assert all(1 <= of[0] <= of[-1] <= len(ranks) for of in ends)
    told = sum(of[0] - 1 for of in ends)
    assert told == sum(len(ranks) - of[-1] for of in ends), "who is resolved better has one who is resolved worse"
