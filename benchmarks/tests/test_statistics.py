"""Intervals against closed forms and simulation; verdicts that never claim more than the data."""

import math

import numpy as np
import pytest
from delrec_bench.errors import BenchError
from delrec_bench.records import Record, run_key
from delrec_bench.statistics import (
    compare_family,
    crossed_interval,
    family_of,
    holm,
    sample_scores,
    summarise,
    t_interval,
)
from scipy import stats


def run(method, repetition, correct, total=100, task="digits", control=None):
    """A record whose first `correct` of `total` predictions are right."""
    configuration = {"method": method, "task": task, "repetition": repetition, "correct": correct}
    return Record(
        kind="run",
        key=run_key(configuration, {}),
        method=method,
        task=task,
        repetition=repetition,
        configuration=configuration,
        data={"kind": "EMBEDDED", "digest": "0" * 64},
        metric="accuracy",
        control=control,
        result={
            "test_score": correct / total,
            "correct": correct,
            "total": total,
        },
        predictions=[0] * correct + [1] * (total - correct),
        targets=[0] * total,
    )


def error(method, repetition, scale, control=None):
    """A record of a forecast whose errors are `scale` times a fixed pattern."""
    base = run(method, repetition, 1, 2, "mackey-glass", control)
    targets = [math.cos(0.3 * i) for i in range(50)]
    predictions = [t + scale * math.sin(i + 0.01 * repetition) for i, t in enumerate(targets)]
    score = float(np.mean(np.square(np.subtract(predictions, targets))) / np.var(targets))
    return base.changed(metric="nmse", result={"test_score": score}, predictions=predictions, targets=targets)


def test_spread_is_the_sample_standard_deviation_and_the_interval_students():
    values = [0.50, 0.52, 0.57]
    summary = summarise(values)
    assert summary.sd == pytest.approx(np.std(values, ddof=1))
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert (summary.low, summary.high) == (pytest.approx(low), pytest.approx(high))
    # Half-widths in standard deviations, as the protocol quotes them.
    for n, width in ((3, 2.48), (5, 1.24), (10, 0.72)):
        x = np.arange(n, dtype=float)
        assert (t_interval(list(x)).high - x.mean()) / x.std(ddof=1) == pytest.approx(width, abs=0.005)


def test_one_repetition_has_no_spread():
    summary = summarise([0.5])
    assert (summary.n, summary.mean, summary.sd, summary.low) == (1, 0.5, None, None)
    with pytest.raises(BenchError, match="no value"):
        t_interval([])


def test_the_interval_over_samples_is_the_binomial_one_for_one_repetition():
    scores = np.array([[1.0] * 80 + [0.0] * 20])
    interval = crossed_interval(scores)
    half = stats.t.ppf(0.975, 99) * math.sqrt(0.8 * 0.2 / 99)
    assert interval.high - interval.mean == pytest.approx(half)


def test_the_interval_over_repetitions_and_samples_covers_the_truth():
    rng = np.random.default_rng(0)
    hits, plain_hits, trials = 0, 0, 400
    for _ in range(trials):
        y = 0.3 + rng.normal(0, 0.1, (5, 1)) + rng.normal(0, 1.0, (1, 60)) + rng.normal(0, 0.5, (5, 60))
        wide, narrow = crossed_interval(y), t_interval(list(y.mean(axis=1)))
        hits += wide.low <= 0.3 <= wide.high
        plain_hits += narrow.low <= 0.3 <= narrow.high
    assert 0.92 <= hits / trials <= 0.985
    assert plain_hits / trials < 0.85  # repetitions alone ignore that they share one test set


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == [pytest.approx(0.03), pytest.approx(0.06), pytest.approx(0.06)]
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([0.02, None]) == [0.04, None]
    assert holm([]) == []


def test_a_clear_gain_is_better_and_a_clear_loss_worse():
    control = [run("fixed", r, 50 + r) for r in range(5)]
    up = [run("learned", r, 60 + r + r % 2, control="fixed") for r in range(5)]
    down = [run("other", r, 40 + r + r % 2, control="fixed") for r in range(5)]
    verdicts = {c.method: c for c in compare_family([*control, *up, *down])}
    assert verdicts["learned"].verdict == "better" and verdicts["other"].verdict == "worse"
    assert verdicts["learned"].interval.mean == pytest.approx(0.104)
    assert verdicts["learned"].p_holm >= verdicts["learned"].p


def test_an_interval_that_crosses_zero_is_not_resolved():
    control = [run("fixed", r, c) for r, c in enumerate((50, 52, 48))]
    learned = [run("learned", r, c, control="fixed") for r, c in enumerate((53, 51, 49))]
    (comparison,) = compare_family([*control, *learned])
    assert not comparison.interval.excludes_zero() and comparison.verdict == "not resolved"
    assert [r for r, _ in comparison.differences] == [0, 1, 2]


def test_holm_can_take_a_verdict_back():
    records = [run("fixed", r, 50) for r in range(5)]
    for i, hits in enumerate([(51, 53, 50, 53, 52)] + [(50, 51, 49, 52, 48)] * 8):
        records += [run(f"m{i}", r, h, control="fixed") for r, h in enumerate(hits)]
    verdicts = {c.method: c for c in compare_family(records)}
    assert verdicts["m0"].p < 0.05 < verdicts["m0"].p_holm
    assert verdicts["m0"].interval.excludes_zero() and verdicts["m0"].verdict == "not resolved"


def test_equal_differences_and_single_repetitions_resolve_nothing():
    same = [run("fixed", r, 50) for r in range(3)] + [run("m", r, 55, control="fixed") for r in range(3)]
    one = [run("fixed", 0, 10), run("m", 0, 90, control="fixed")]
    for records in (same, one):
        (comparison,) = compare_family(records)
        assert comparison.p is None and comparison.verdict == "not resolved"


def test_only_shared_repetitions_are_paired():
    records = [run("fixed", r, 50) for r in (0, 1)] + [run("m", r, 60, control="fixed") for r in (1, 2)]
    (comparison,) = compare_family(records)
    assert comparison.n == 1 and comparison.differences[0][0] == 1
    assert compare_family([run("fixed", 0, 50), run("m", 1, 60, control="fixed")]) == []


def test_for_an_error_less_is_better():
    control = [error("fixed", r, 1.0 + 0.01 * r) for r in range(4)]
    learned = [error("learned", r, 0.6 + 0.012 * r, control="fixed") for r in range(4)]
    (comparison,) = compare_family([*control, *learned])
    assert comparison.interval.mean < 0 and comparison.verdict == "better"
    assert sample_scores(control[0]).mean() == pytest.approx(control[0].score)


def test_another_test_set_leaves_out_the_second_interval():
    control = [run("fixed", r, 50 + r, total=100 + r) for r in range(3)]
    learned = [run("m", r, 55, total=100 + r, control="fixed") for r in range(3)]
    (comparison,) = compare_family([*control, *learned])
    assert comparison.samples is None


def test_a_method_has_one_control():
    with pytest.raises(BenchError, match="declares the controls a and b"):
        family_of([run("m", 0, 1, control="a"), run("m", 1, 1, control="b")])
