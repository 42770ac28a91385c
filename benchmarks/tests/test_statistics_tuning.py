"""The tuning variance is part of the interval between rows that were searched separately."""

import numpy as np
import pytest
from delrec_bench.statistics.paired import paired
from delrec_bench.statistics.tuning import with_tuning


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


def test_rows_without_a_search_of_their_own_keep_their_interval():
    found = paired([0.8, 0.81, 0.79], [0.7, 0.72, 0.71])
    assert with_tuning(found, []) is found and with_tuning(found, [(0.0, 4.0)]) is found


def test_one_repetition_stays_without_an_interval():
    assert with_tuning(paired([0.8], [0.7]), [(0.01, 4.0)]).low is None


def test_the_standard_error_is_that_of_the_sum():
    found = with_tuning(paired([0.8, 0.81, 0.79], [0.7, 0.72, 0.71]), [(3e-4, 4.0), (1e-4, 4.0)])
    own = paired([0.8, 0.81, 0.79], [0.7, 0.72, 0.71]).se
    assert found.se == pytest.approx((own**2 + 4e-4) ** 0.5)
    assert found.df == pytest.approx((own**2 + 4e-4) ** 2 / (own**4 / 2 + (9e-8 + 1e-8) / 4))
