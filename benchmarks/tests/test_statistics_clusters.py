"""The interval over repetitions and samples: closed forms, and coverage where speakers or windows hang together."""

import math

import numpy as np
import pytest
from delrec_bench.statistics.clusters import crossed, window_blocks
from delrec_bench.statistics.paired import paired
from hypothesis import given, settings
from hypothesis import strategies as st

SIZES = (4, 8, 8, 12, 12, 12, 16, 16, 20, 24, 28, 40)  # twelve speakers, unequal as in the spoken digits


def test_one_repetition_is_the_t_interval_over_samples():
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 1, 30))
    e, plain = crossed(a, b), paired(a[0], b[0])
    assert (e.difference, e.se, e.df) == pytest.approx((plain.difference, plain.se, plain.df))
    assert (e.low, e.high) == pytest.approx((plain.low, plain.high))


def test_two_by_two_by_hand():
    # d = [[0, 2], [4, 10]]: mean 4; rows 1, 7: MS_a = 2 * 18 = 36; columns 2, 6: MS_b = 2 * 8 = 16;
    # residuals +-1: MS_e = 4. se^2 = (4 + 32 + 12) / 4 = 12; 48^2 / (36^2 + 16^2 + 4^2) is above R - 1 = 1, and with it
    # the interval would be narrower than that of the rows
    e = crossed([[0, 2], [4, 10]], np.zeros((2, 2)))
    assert (e.difference, e.se, e.df) == pytest.approx((4, math.sqrt(12), 1))
    # d = [[0, 10], [4, 2]]: rows 5, 3: MS_a = 4; columns 2, 6: MS_b = 16; residuals +-3: MS_e = 36; nothing added
    e = crossed([[0, 10], [4, 2]], np.zeros((2, 2)))
    assert (e.difference, e.se, e.df) == pytest.approx((4, 3, 36**2 / (4**2 + 16**2 + 36**2)))


def test_clusters_by_hand_of_unequal_size():
    # d = [1, 1, 4], mean 2; clusters {0, 1} and {2}: totals -2 and 2, times G / N = 2/3: u = -4/3, 4/3
    e = crossed([[1, 1, 4]], np.zeros((1, 3)), ["anna", "anna", "ben"])
    assert (e.difference, e.se, e.df) == pytest.approx((2, 4 / 3, 1))


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
    hits = np.array([[e.low <= truth <= e.high for e in draw()] for _ in range(trials)])
    return hits.mean(axis=0)


@pytest.mark.parametrize("spread", [0.0, 0.1, 0.3, 1.0, 3.0])
def test_the_interval_over_samples_too_is_never_narrower_than_that_over_repetitions(spread):
    """Satterthwaite's degrees of freedom alone gave 4.2 for 4 where repetitions differ by most of it."""
    rng = np.random.default_rng(7)
    for _ in range(40):
        a = rng.normal(size=(5, 30)) + spread * rng.normal(size=(5, 1))
        wide, narrow = crossed(a, np.zeros_like(a)), paired(a.mean(1), np.zeros(5))
        assert wide.low <= narrow.low + 1e-12 and narrow.high <= wide.high + 1e-12


def test_coverage_with_speakers_and_repetitions():
    rng = np.random.default_rng(5)
    speakers = np.repeat(np.arange(len(SIZES)), SIZES)
    R, N = 5, len(speakers)

    def draw():
        """Right or wrong of two methods whose gain depends on the speaker and on the repetition."""
        gain = 0.08 + rng.normal(0, 0.06, len(SIZES))[speakers] + rng.normal(0, 0.02, R)[:, None]
        base = np.clip(0.7 + rng.normal(0, 0.1, len(SIZES))[speakers], 0.2, 0.85)
        b = rng.random((R, N)) < base
        a = rng.random((R, N)) < base + gain
        over_repetitions = paired(a.mean(axis=1), b.mean(axis=1))
        return crossed(a, b, speakers.tolist()), crossed(a, b), over_repetitions

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
    assert 0.89 <= blocked <= 0.985
    assert naive < 0.75


def test_blocks_hold_four_overlaps_and_there_are_eight_if_they_can_be():
    assert np.bincount(window_blocks(400, 8)).tolist() == [32] * 12 + [16]
    assert max(window_blocks(80, 8)) + 1 == 8  # ten windows each, at least one overlap of eight
    assert window_blocks(6, 10) == [0] * 6


def test_one_cluster_is_open_with_the_reason():
    e = crossed(np.ones((3, 4)), np.zeros((3, 4)), [7, 7, 7, 7])
    assert (e.difference, e.se, e.low) == (1.0, None, None) and "one cluster" in e.reason
    with pytest.raises(ValueError, match="shape"):
        crossed(np.ones((3, 4)), np.zeros((3, 4)), [1, 2, 3])
