"""Latency: ratios of synthetic times, records of a tiny shape, and the yardstick held to the golden vectors."""

import itertools
import random
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from delrec_bench import latency
from delrec_bench.errors import BenchError
from delrec_bench.latency import measuring
from delrec_bench.latency.timing import interleave, quartiles, ratio
from delrec_bench.methods.base import find_methods
from delrec_bench.records import LATENCY_RATIOS
from delrec_bench.tasks.base import find_tasks
from delrec_bench.workspace import workspace_at

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


class Clock:
    """Time that passes only when work is done."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def work(self, seconds):
        def run():
            self.now += seconds

        return run


def test_interleave_times_every_candidate_once_a_round():
    clock = Clock()
    times = interleave({"a": clock.work(1.0), "b": clock.work(3.0)}, rounds=5, clock=clock)
    assert times == {"a": [1.0] * 5, "b": [3.0] * 5}


def test_interleave_keeps_to_its_seconds_and_leaves_out_the_slowest():
    clock = Clock()
    works = {"base": clock.work(1.0), "quick": clock.work(1.0), "slow": clock.work(30.0)}
    times = interleave(works, rounds=9, seconds=50.0, clock=clock)
    assert set(times) == {"base", "quick"}
    assert len(times["base"]) == 9
    assert clock.now <= 32 + 50


def test_short_work_is_timed_in_blocks():
    clock = Clock()
    calls = itertools.count()

    def short():
        next(calls)
        clock.now += 0.001

    times = interleave({"a": short}, rounds=2, clock=clock)
    assert times["a"] == pytest.approx([0.001, 0.001])
    assert next(calls) == 2 + 2 * 10


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
    about = {"machine": "m", "threads": 2, "versions": {}, "revision": "0" * 40, "dirty": False, "quick": True}
    text = table.markdown(rows, about | {"command": "nox -s bench-engines", "failed": 0})
    lines = {line.split(" | ")[0][2:]: line for line in text.splitlines() if line.startswith("| SHD: ")}
    assert "3 [3, 3]" in lines["SHD: training step, ours, axonal, sigma 10 / products alone"]
    assert lines["SHD: training step, ours, axonal, sigma 10 / products alone"].endswith("MISSED |")
    assert lines["SHD: training step, ours, axonal, sigma 0 / products alone"].endswith("aim |")
    assert lines["SHD: training step, published / ours, sigma 10"].endswith("met |")


@pytest.fixture
def few(tmp_path):
    methods, tasks = find_methods(), find_tasks()
    return [methods[n] for n in ("lif", "delrec-axonal")], [tasks["digits"]], workspace_at(tmp_path)


def test_measure_makes_records_and_measures_nothing_the_second_time(few, monkeypatch):
    def fake(candidates, **settings):  # real work once, made-up times
        for work in candidates.values():
            work()
        return {name: [1.0 + n, 1.0 + n] for n, name in enumerate(candidates)}

    monkeypatch.setattr(measuring, "interleave", fake)
    monkeypatch.setattr(measuring, "pin_threads", lambda threads: torch.set_num_threads(1))
    records = latency.measure(*few, budget_seconds=5)
    assert [r.method for r in records] == ["lif", "delrec-axonal"]
    for record in records:
        assert record.kind == "latency"
        assert all(record.result[name] > 0 and len(record.result[f"{name}_iqr"]) == 2 for name in LATENCY_RATIOS)
        assert record.parameters["total"] > 0
        assert record.measured["host"]
    assert records[1].result["train_ratio"] == 3.0
    assert records[1].parameters["delays"] > 0

    monkeypatch.setattr(measuring, "interleave", lambda *a, **k: pytest.fail("measured again"))
    assert [r.key for r in latency.measure(*few, budget_seconds=5)] == [r.key for r in records]


def test_a_budget_must_be_above_zero(few):
    with pytest.raises(BenchError, match="above 0"):
        latency.measure(*few, budget_seconds=0)


def test_a_method_that_does_not_stream_has_no_batch1_ratio():
    subject = latency.Subject.__new__(latency.Subject)
    subject.deployed = SimpleNamespace(streams=False)
    assert subject.work("batch1") is None
