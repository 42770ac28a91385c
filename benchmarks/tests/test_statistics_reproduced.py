"""What is reproduced: bits, early updates, scores; a decay off by 5 percent is not."""

import numpy as np
import pytest
from delrec_bench.errors import BenchError
from delrec_bench.statistics.reproduced import Early, Row, bitwise, early_agreement, judge_reproduction, loss_tolerance

DECAY = 0.9


def beginning(decay=DECAY, dtype=np.float64, rate=0.05, moved_spike=False):
    """A LIF layer whose spike counts feed a softmax readout, trained for 20 updates from a fixed seed."""
    rng = np.random.default_rng(0)
    drive = (rng.random((32, 50, 12)) < 0.2).astype(dtype) @ rng.normal(0, 0.4, (12, 40)).astype(dtype)
    labels, weights = rng.integers(0, 5, 32), rng.normal(0, 0.1, (40, 5)).astype(dtype)
    v, counts = np.zeros((32, 40), dtype), np.zeros((32, 40), dtype)
    for t in range(50):
        v = dtype(decay) * v + drive[:, t]
        spikes = v > 1
        v = np.where(spikes, dtype(0), v)
        counts += spikes
    if moved_spike:
        counts[3, 7] += 1
    logits, losses = counts @ weights, []
    for _ in range(20):
        scores = counts @ weights
        p = np.exp(scores - scores.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        losses.append(float(-np.log(p[np.arange(32), labels]).mean()))
        weights = weights - dtype(rate) * counts.T @ (p - np.eye(5, dtype=dtype)[labels]) / 32
    return Early(losses, logits)


def test_a_decay_off_by_five_percent_is_different():
    for factor in (0.95, 1.05):
        found = early_agreement(beginning(), beginning(decay=DECAY * factor))
        assert not found.agrees
        assert found.logit > 5e-3
        row = Row("digits", "lif", {0: 0.5}, {0: 0.5}, margin=0.02, early=[found])
        (judged,) = judge_reproduction([row])
        assert judged.word == "different"  # though the scores happen to be equal
        assert "median logit" in judged.reason


def test_another_precision_and_one_moved_spike_agree():
    for other in (beginning(dtype=np.float32), beginning(moved_spike=True)):
        found = early_agreement(beginning(), other)
        assert found.agrees and not found.equal
    same = early_agreement(beginning(), beginning())
    assert same.equal and same.agrees and "bit for bit" in str(same)


def test_logits_alone_and_losses_alone_can_differ():
    logits, losses = np.linspace(-1, 1, 40).reshape(4, 10), [2.3] * 20
    assert not early_agreement(Early(losses, logits), Early(losses, 1.01 * logits)).agrees
    assert not early_agreement(Early(losses, logits), Early([2.3 * 1.01, *losses[1:]], logits)).agrees
    assert early_agreement(Early(losses, logits), Early([*losses[:-1], 2.3 * 1.01], logits)).agrees


def test_another_learning_rate_is_different_by_its_losses():
    found = early_agreement(beginning(), beginning(rate=0.1))
    assert not found.agrees
    assert found.logit == 0.0
    assert found.update > 1


def test_tolerance_grows_with_chaos_and_is_bounded():
    tolerances = [loss_tolerance(k) for k in range(1, 21)]
    assert tolerances[:3] == pytest.approx([0.005, 0.015, 0.045])
    assert tolerances == sorted(tolerances)
    assert max(tolerances) == 0.25


def test_only_the_first_twenty_losses_count_and_a_loss_that_is_not_finite_differs():
    x = np.ones((2, 2))
    assert early_agreement(Early([1.0] * 20 + [1.0], x), Early([1.0] * 20 + [9.0], x)).agrees
    assert not early_agreement(Early([1.0], x), Early([np.nan], x)).agrees
    assert early_agreement(Early([np.nan], x), Early([np.nan], x)).equal
    with pytest.raises(BenchError, match="make the run again"):
        early_agreement(Early([1.0], x), Early([1.0, 2.0], x))
    with pytest.raises(BenchError, match="at least one"):
        early_agreement(Early([], x), Early([], x))


def test_bits():
    a = np.array([0.1, np.nan])
    assert bitwise(a, a.copy()) == "equal"
    assert bitwise(a, np.nextafter(a, 1)) == "different"
    assert bitwise([0.0], [-0.0]) == "different"
    assert bitwise(a, a.astype(np.float32)) == "different"
    (row,) = judge_reproduction([Row("t", "m", {0: 0.5}, {0: 0.6}, 0.5, bits="different")])
    assert row.word == "different"  # one repetition, well within the margin, and still: it should have been equal
    (row,) = judge_reproduction([Row("t", "m", {0: 0.5}, {0: 0.5}, 0.5, bits="equal")])
    assert row.word == "equal"


def row(differences, margin=0.02, **rest):
    record = {r: 0.5 + 0.01 * r for r in range(len(differences))}
    return Row("t", "m", record, {r: record[r] + d for r, d in enumerate(differences)}, margin, **rest)


def words(*rows):
    return [r.word for r in judge_reproduction(rows)]


def test_words_of_the_scores():
    assert words(row([0.0, 0.0, 0.0])) == ["equal"]
    assert words(row([0.001, -0.002, 0.001, 0.0])) == ["equivalent"]
    assert words(row([-0.201, -0.199, -0.200, -0.198])) == ["different"]
    assert words(row([0.05, -0.04, 0.02])) == ["open"]
    assert words(row([0.03, 0.02, 0.025, 0.01])) == ["open"]  # resolved from 0, not from the margin


def test_a_score_of_9_against_40_at_few_repetitions_is_not_within_anything():
    found = judge_reproduction([Row("digits", "lif", {0: 0.39, 1: 0.40, 2: 0.40}, {0: 0.09, 1: 0.094}, 0.02)])[0]
    assert (found.word, found.n) == ("different", 2)
    assert found.difference == pytest.approx(-0.303)


def test_one_repetition_is_open_with_the_reason_unless_equal():
    (found,) = judge_reproduction([row([0.3])])
    assert (found.word, found.low, found.p_holm) == ("open", None, None)
    assert "one repetition" in found.reason
    assert words(row([0.0])) == ["equal"]
    (none,) = judge_reproduction([Row("t", "m", {0: 0.1}, {1: 0.1}, 0.02)])
    assert (none.word, none.n, none.difference) == ("open", 0, None)


def test_holm_over_the_rows_of_the_page():
    edge = row([-0.05, -0.03, -0.045, -0.04])
    assert words(edge) == ["different"]
    assert words(edge, *[row([0.05, -0.04, 0.02])] * 30)[0] == "open"


def test_a_page_made_twice_alike_is_seldom_called_different():
    rng = np.random.default_rng(2)
    pages = [words(*[row(rng.normal(0, 0.02, 3)) for _ in range(20)]) for _ in range(40)]
    assert sum("different" in page for page in pages) <= 4
