"""Random effects for few studies, against hand-made numbers and the estimating equation."""

import math

import numpy as np
import pytest
from delrec_bench.errors import BenchError
from delrec_bench.statistics.pooled import TaskErrors, _random_effects, log_margin, log_ratios, pool
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats


def task(name, ratio, sd, n=10, error=0.2, **rest):
    """A task whose log ratios have exactly this mean and this sample standard deviation."""
    x = np.linspace(-1, 1, n)
    x = ratio + sd * (x - x.mean()) / x.std(ddof=1)
    return TaskErrors(name, list(error * np.exp(x)), [error] * n, **rest)


def test_two_tasks_by_hand():
    # y = (-0.3, -0.1), v = 0.01 each: m = -0.2; tau2 + v = sum (y - m)^2 / (k - 1) = 0.02; se^2 = 0.02 / 2 = 0.01
    found = pool([task("a", -0.3, 0.1 * math.sqrt(10)), task("b", -0.1, 0.1 * math.sqrt(10))])
    assert found.tau2 == pytest.approx(0.01, rel=1e-4)
    assert (found.estimate.difference, found.estimate.se, found.estimate.df) == (
        pytest.approx(-0.2),
        pytest.approx(0.1, rel=1e-4),
        1,
    )
    assert found.estimate.low == pytest.approx(-0.2 - 12.7062 * 0.1, rel=1e-4)
    assert found.prediction is None  # k - 2 = 0
    assert dict(found.weights) == pytest.approx({"a": 0.5, "b": 0.5})


def test_three_tasks_by_hand_with_the_prediction_interval():
    # y = (-0.4, -0.2, 0), v = 0.01: tau2 + v = 0.08 / 2 = 0.04, tau2 = 0.03, se^2 = 0.04 / 3
    found = pool([task(name, y, 0.1 * math.sqrt(10)) for name, y in zip("abc", (-0.4, -0.2, 0.0), strict=True)])
    se = math.sqrt(0.04 / 3)
    assert found.tau2 == pytest.approx(0.03, rel=1e-4)
    assert found.estimate.se == pytest.approx(se, rel=1e-4)
    assert found.estimate.high == pytest.approx(-0.2 + 4.302653 * se, rel=1e-4)
    assert found.prediction == pytest.approx(
        [-0.2 + s * 12.7062 * math.sqrt(0.03 + 0.04 / 3) for s in (-1, 1)], rel=1e-4
    )


def test_the_larger_of_the_two_standard_errors():
    # Tasks that agree better than their spreads allow: tau2 = 0, Hartung-Knapp's se would be 0.
    found = pool([task(name, -0.2, 0.1 * math.sqrt(10)) for name in "abcd"])
    assert found.tau2 == 0
    assert found.estimate.se == pytest.approx(math.sqrt(0.01 / 4))
    # Unequal spreads: Hartung-Knapp's is the larger; values by hand from the formula at the root of the equation.
    y, v = np.array([-0.5, 0.1, 0.2]), np.array([0.001, 0.02, 0.04])
    tau2, se, weights = _random_effects(y, v)
    w = 1 / (v + tau2)
    m = w @ y / w.sum()
    assert weights @ y == pytest.approx(m)
    assert se == pytest.approx(math.sqrt(max(1 / w.sum(), w @ (y - m) ** 2 / (2 * w.sum()))))


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.tuples(st.floats(-2, 2), st.floats(1e-6, 0.5)), min_size=2, max_size=10),
    st.floats(-3, 3).map(lambda x: 10**x),
)
def test_tau2_is_the_root_of_paule_and_mandels_equation(pairs, scale):
    y, v = np.array(pairs).T * np.array([[scale], [scale**2]])

    def excess(tau2):
        w = 1 / (v + tau2)
        return w @ (y - w @ y / w.sum()) ** 2 - (len(y) - 1)

    tau2, se, _ = _random_effects(y, v)
    if excess(0.0) <= 0:
        assert tau2 == 0
    else:
        root = optimize.brentq(excess, 0, 10 * (np.ptp(y) ** 2 + v.max()))
        assert tau2 == pytest.approx(root, rel=1e-3, abs=1e-4 * v.mean())
    assert np.isfinite(se) and se > 0


def test_coverage_with_five_tasks_that_truly_differ():
    rng = np.random.default_rng(11)
    hits, inside, trials = 0, 0, 400
    for _ in range(trials):
        truth = rng.normal(-0.2, 0.15, size=6)
        tasks = [
            TaskErrors(str(i), list(0.2 * np.exp(rng.normal(t, 0.2, 8))), [0.2] * 8) for i, t in enumerate(truth[:5])
        ]
        found = pool(tasks)
        hits += found.estimate.low <= -0.2 <= found.estimate.high
        inside += found.prediction[0] <= truth[5] <= found.prediction[1]
    assert 0.92 <= hits / trials <= 0.99
    assert 0.91 <= inside / trials <= 0.99


def test_homogeneity_by_hand_and_only_with_four_repetitions_and_a_spread():
    # y = (-0.3, -0.1), v = 0.01, n = 10: w = 7 / 9 / 0.01, Q = 2 w 0.1^2 = 14 / 9
    found = pool([task("a", -0.3, 0.1 * math.sqrt(10)), task("b", -0.1, 0.1 * math.sqrt(10))])
    assert found.homogeneity == pytest.approx((14 / 9, stats.chi2.sf(14 / 9, 1)))
    assert pool([task("a", -0.3, 0.1, n=3), task("b", -0.1, 0.1, n=10)]).homogeneity is None
    assert pool([task("a", -0.3, 0.0), task("b", -0.1, 0.1)]).homogeneity is None


def test_homogeneity_is_rejected_at_its_level_where_it_holds():
    rng = np.random.default_rng(3)
    p = []
    for _ in range(400):
        ratios = rng.normal(0, 0.2, (4, 8))
        tasks = [TaskErrors(str(i), list(0.2 * np.exp(of)), [0.2] * 8) for i, of in enumerate(ratios)]
        p.append(pool(tasks).homogeneity[1])
    assert 0.02 <= np.mean(np.array(p) < 0.05) <= 0.09


def test_a_zero_error_takes_half_a_sample_on_both_sides():
    method, control = log_ratios(TaskErrors("a", [0.0, 0.02], [0.01, 0.02], samples=100))
    assert np.exp(method) * 101 == pytest.approx([0.5, 2.5])
    assert np.exp(control) * 101 == pytest.approx([1.5, 2.5])
    untouched, _ = log_ratios(TaskErrors("a", [0.01], [0.01], samples=100))
    assert np.exp(untouched) == pytest.approx([0.01])


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=2, max_size=8))
def test_the_continuity_rule_favours_neither_side(wrong):
    a, b = np.array(wrong).T / 50
    there = pool([TaskErrors("a", a, b, samples=50)] * 2)
    back = pool([TaskErrors("a", b, a, samples=50)] * 2)
    assert there.estimate.difference == pytest.approx(-back.estimate.difference, abs=1e-12)


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        (TaskErrors("mackey-glass", [0.0, 0.1], [0.1, 0.1]), "mackey-glass: an NMSE of exactly 0"),
        (TaskErrors("shd", [1.2, 0.1], [0.1, 0.1], samples=10), "shd: errors must be finite"),
        (TaskErrors("shd", [math.nan, 0.1], [0.1, 0.1], samples=10), "shd: errors must be finite"),
        (TaskErrors("shd", [-0.1, 0.1], [0.1, 0.1]), "shd: errors must be finite"),
    ],
)
def test_what_has_no_logarithm_is_an_error_by_name(errors, said):
    with pytest.raises(BenchError, match=said):
        log_ratios(errors)


def test_fewer_than_two_tasks_are_not_pooled_and_say_so():
    found = pool([task("a", -0.2, 0.1), TaskErrors("b", [0.1], [0.2]), TaskErrors("c", [], [])])
    assert found.estimate.se is None
    assert found.estimate.reason == "1 of 3 tasks can be pooled: two are needed"
    assert [name for name, _ in found.left_out] == ["b", "c"]
    assert pool([]).estimate.difference is None


def test_a_task_without_spread_weighs_like_the_mean_of_the_others():
    flat = TaskErrors("flat", [0.1, 0.1, 0.1], [0.2, 0.2, 0.2])
    weights = dict(pool([flat, task("b", -0.3, 0.4), task("c", -0.2, 0.4)]).weights)
    assert weights["flat"] == pytest.approx(1 / 3)
    only = pool([flat, TaskErrors("other", [0.1, 0.1], [0.1, 0.1])])
    assert only.estimate.difference == pytest.approx(math.log(0.5) / 2)
    assert only.estimate.se == pytest.approx(stats.sem([math.log(0.5), 0.0]))


def test_the_step_of_an_accuracy_bounds_the_spread_of_its_log_ratio_from_below():
    same = [pool([TaskErrors(name, [0.5] * 4, [0.5] * 4, samples=n) for name in "ab"]) for n in (100, 400)]
    rounding = [math.sqrt(2 / 12) * (1 / n) / 0.5 / math.sqrt(4) for n in (100, 400)]  # of a ratio's mean over four
    assert [found.estimate.se for found in same] == pytest.approx([r / math.sqrt(2) for r in rounding])
    assert same[0].estimate.low < 0 < same[0].estimate.high  # never [0.0 %, 0.0 %]
    assert same[0].repetitions == 4


def test_margins_on_the_log_scale():
    assert log_margin(0.01, 0.1) == pytest.approx(math.log(1.1))
    assert log_margin(0.05, 1.0) == pytest.approx(math.log(1.05))
    assert log_margin(0.01, 0.1) < -math.log(1 - 0.01 / 0.1)  # the shorter way
    with pytest.raises(BenchError, match="above 0"):
        log_margin(0.0, 0.1)
    tasks = [task("a", -0.1, 0.1, error=0.1, margin=0.01), task("b", -0.1, 0.1, error=0.4, margin=0.02)]
    assert pool(tasks).margin == pytest.approx((math.log(1.1) + math.log(1.05)) / 2)
    assert pool([*tasks, task("c", -0.1, 0.1)]).margin is None
    at_margin = [
        TaskErrors(t.task, np.array(t.control) + t.margin, t.control, margin=t.margin) for t in tasks
    ]  # exactly at its margin everywhere: exactly at the pooled margin
    assert pool(at_margin).estimate.difference == pytest.approx(pool(at_margin).margin)
