"""Latency: ratios of synthetic times, pairing inside pytest-benchmark, and the yardstick held to the golden vectors."""

import random
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from delrec_bench.latency.timing import finished, quartiles, ratio

GOLDEN = sorted((Path(__file__).parents[2] / "packages/core/tests/golden").glob("delrec_*.npz"))


def test_ratio_is_paired_by_round_so_that_a_slow_moment_cancels():
    base = [1.0, 1.0, 10.0, 1.0, 1.0]  # the third round was slow for both
    result = ratio([2 * t for t in base], base)
    assert (result.median, result.low, result.high, result.count) == (2.0, 2.0, 2.0, 5)


def test_ratio_needs_equal_rounds():
    with pytest.raises(ValueError, match="same rounds"):
        ratio([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="at least one round"):
        quartiles([])


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


def test_networks_fire_at_a_realistic_rate():
    shapes = pytest.importorskip("benchmarks.latency.shapes")
    shape = shapes.SHAPES["tiny"]
    inputs, _ = shapes.make_inputs(shape)
    rates = shapes.spike_rates(shapes.make_network(shape.config("axonal", 3.0), inputs), inputs)
    assert all(0.02 <= rate <= 0.1 for rate in rates)


ABOUT = {"machine": "m", "threads": 2, "versions": {}, "revision": "0" * 40, "dirty": False, "quick": True, "failed": 0}


def test_what_a_card_measures_runs_on_the_cpu_at_a_tiny_shape():
    contenders = pytest.importorskip("benchmarks.latency.contenders")
    from benchmarks.latency.shapes import on

    assert on("SSC", "cuda").batch == 256 and on("SSC", "cpu").batch == 128
    shape = on("tiny", "cpu")
    for name in (
        "ours, axonal, sigma 0",
        "published, plain recurrent",
        "torch nn.LSTM",
        "floor: matrix products alone",
    ):
        built = contenders.build(name, shape)
        for mode in ("train", "forward"):
            finished(built.work(mode), "cpu")()


def test_work_on_a_card_ends_when_the_card_has_done_it(monkeypatch):
    order = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: order.append("waited"))
    assert finished(lambda: order.append("launched") or 7, "cuda")() == 7
    assert order == ["launched", "waited"]


def test_a_cards_table_has_the_aims():
    table = pytest.importorskip("benchmarks.latency.table")
    rows = [
        {"section": "network", "shape": "SSC", "mode": mode, "contender": table.OURS, "seconds": [s], "median": s}
        | {"iqr": [s, s], "against": {}}
        for mode, s in (("train", 0.02), ("forward", 0.004))
    ]
    text = table.markdown(rows, ABOUT | {"command": "nox -s gpu", "device": "cuda", "machine": "a card"})
    assert "| SSC | ours, axonal, sigma 10 | 20 ms [20, 20] | 15 ms | 25 ms |" in text
    assert "|  | training step | ratio | forward | ratio | saved MiB | peak MiB |" in text
    assert "a card; " in text and "plain recurrent |" not in text


def test_the_table_says_which_targets_are_missed():
    table = pytest.importorskip("benchmarks.latency.table")

    def row(contender, seconds, against):
        other = {name: {"seconds": times} for name, times in against.items()}
        times = {"seconds": seconds, "median": seconds[0], "iqr": [seconds[0]] * 2, "against": other}
        return {"section": "network", "shape": "SHD", "mode": "train", "contender": contender, **times}

    rows = [
        row("floor: matrix products alone", [1.0, 1.0], {table.OURS: [3.0, 3.0], table.OURS_0: [1.2, 1.2]}),
        row("published, axonal, sigma 10", [30.0, 30.0], {table.OURS: [2.0, 2.0]}),
    ]
    text = table.markdown(rows, ABOUT | {"command": "nox -s bench-engines", "device": "cpu"})
    lines = {line.split(" | ")[0][2:]: line for line in text.splitlines() if line.startswith("| SHD: ")}
    assert "3 [3, 3]" in lines["SHD: training step, ours, axonal, sigma 10 / products alone"]
    assert lines["SHD: training step, ours, axonal, sigma 10 / products alone"].endswith("MISSED |")
    assert lines["SHD: training step, ours, axonal, sigma 0 / products alone"].endswith("aim |")
    assert lines["SHD: training step, published / ours, sigma 10"].endswith("met |")


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
