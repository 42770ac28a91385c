"""Latency: ratios of synthetic times, pairing inside pytest-benchmark, and the yardstick held to the golden vectors."""

import random
from pathlib import Path
from types import SimpleNamespace

import pytest
from delrec_bench.latency.timing import ratio

GOLDEN = sorted((Path(__file__).parents[2] / "packages/core/tests/golden").glob("delrec_*.npz"))


def test_ratio_is_paired_by_round_so_that_a_slow_moment_cancels():
    base = [1.0, 1.0, 10.0, 1.0, 1.0]  # the third round was slow for both
    result = ratio([2 * t for t in base], base)
    assert (result.median, result.low, result.high, result.count) == (2.0, 2.0, 2.0, 5)


def test_a_method_against_itself_contains_1_as_often_as_promised():
    draw = random.Random(1)
    hits = 0
    for _ in range(400):
        a = [draw.lognormvariate(0, 0.2) for _ in range(31)]
        b = [draw.lognormvariate(0, 0.2) for _ in range(31)]
        hits += ratio(a, b).contains(1.0)
    assert hits >= 390  # 99 percent are promised
    slower = ratio(
        [1.5 * draw.lognormvariate(0, 0.1) for _ in range(31)], [draw.lognormvariate(0, 0.1) for _ in range(31)]
    )
    assert not slower.contains(1.0)


@pytest.mark.parametrize("path", GOLDEN[::6], ids=lambda p: p.stem)
def test_published_loop_passes_the_golden_vectors(path):
    gate = pytest.importorskip("benchmarks.latency.gate")
    errors = gate.check_published_file(path)
    assert {"spikes", "v_seq", "grad_x", "grad_W", "grad_d"} <= set(errors)


@pytest.mark.parametrize("recurrent", ["axonal", "plain", "none"])
def test_the_gate_passes_on_a_tiny_shape(recurrent):
    gate = pytest.importorskip("benchmarks.latency.gate")
    from benchmarks.latency.shapes import SHAPES

    errors = gate.check_shape(SHAPES["tiny"], recurrent, 3.0 if recurrent == "axonal" else 0.0)
    assert errors["published"] < 1e-9


def test_the_gate_stops_a_wrong_result(monkeypatch):
    gate = pytest.importorskip("benchmarks.latency.gate")
    from benchmarks.latency.published import RingLayer
    from benchmarks.latency.shapes import SHAPES

    right = RingLayer.block
    monkeypatch.setattr(RingLayer, "block", lambda self, spike, taps: 1.01 * right(self, spike, taps))
    with pytest.raises(gate.GateError, match="published"):
        gate.check_shape(SHAPES["tiny"], "axonal", 3.0)


class Benchmark:
    """Stands for pytest-benchmark's fixture: rounds of set-up and target, on a clock that the work moves."""

    enabled = True

    def __init__(self, clock):
        self.clock, self.extra_info = clock, {}

    def pedantic(self, target, setup, rounds, iterations):
        assert iterations == 1
        data = []
        for _ in range(rounds):
            setup()
            start = self.clock.now
            target()
            data.append(self.clock.now - start)
        self.stats = SimpleNamespace(stats=SimpleNamespace(data=data))


class Clock:
    """Time that passes only when work is done; each call of it may be slower than the one before."""

    def __init__(self, drift=1.0):
        self.now, self.pace, self.drift, self.calls = 0.0, 1.0, drift, []

    def work(self, name, seconds):
        def run():
            self.calls.append(name)
            self.now += seconds * self.pace
            self.pace *= self.drift

        return run


@pytest.fixture
def pairs(monkeypatch):
    pairing = pytest.importorskip("benchmarks.latency.pairing")

    def make(clock, candidate, baseline, **more):
        monkeypatch.setattr(pairing.time, "perf_counter", lambda: clock.now)
        works = clock.work("method", candidate), {"lif": clock.work("lif", baseline)}
        return pairing.Pairs(*works, **more).run(Benchmark(clock), task="t", mode="train", contender="method")

    return make


def test_every_round_of_a_method_follows_one_of_the_no_delay_network(pairs):
    row = pairs(clock := Clock(), 0.3, 0.1, seconds=4.0)
    assert clock.calls[-20:] == ["lif", "method"] * 10
    assert row["against"]["lif"]["ratio"] == pytest.approx(3.0)
    assert len(row["seconds"]) == len(row["against"]["lif"]["seconds"]) == 10


def test_a_machine_that_slows_down_threefold_moves_the_times_but_not_the_ratio(pairs):
    row = pairs(Clock(drift=1.02), 0.3, 0.1, seconds=12.5)
    assert max(row["seconds"]) > 3 * min(row["seconds"])
    assert row["against"]["lif"]["ratio"] == pytest.approx(3.0 * 1.02)


@pytest.mark.parametrize(("seconds", "rounds"), [(0.001, 301), (1.0, 8), (50.0, 3)])
def test_short_work_has_more_rounds_and_slow_work_the_fewest(pairs, seconds, rounds):
    assert len(pairs(Clock(), seconds, seconds, seconds=16.0)["seconds"]) == rounds
