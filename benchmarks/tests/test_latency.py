"""Latency: times paired by round, the yardstick held to golden vectors, what is timed, and what becomes a record."""

import json
import random
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from delrec_bench import app, environment, latency
from delrec_bench.config import Request
from delrec_bench.data.task_data import TaskOptions
from delrec_bench.latency import measuring, timing
from delrec_bench.latency.drawn import drawn
from delrec_bench.latency.timing import Times
from delrec_bench.records import expected_key, read_folder, read_record, write_record
from delrec_bench.runs.executors import Place
from delrec_bench.studies.expansion import expand
from delrec_bench.workspace import workspace_at
from short_runs import METHODS, TASKS

from benchmarks.latency import gate
from benchmarks.latency.contenders import SHAPES
from benchmarks.latency.published import RingLayer

SMALL = (("network.hidden", (12, 12)), ("training.batch", 8))


def test_a_method_against_itself_contains_1_as_often_as_promised():
    draw = random.Random(1)

    def measured(factor, spread):
        own, base = ([draw.lognormvariate(0, spread) for _ in range(31)] for _ in range(2))
        low, high = Times([factor * t for t in own], {"lif": base}).over("lif").sure
        return low <= 1 <= high

    assert sum(measured(1.0, 0.2) for _ in range(400)) >= 390 and not measured(1.5, 0.1)  # 99 percent are promised


class Clock:
    """Time that passes only when work is done, each call slower by `drift`; and what stands for pytest-benchmark."""

    enabled, stats = True, None

    def __init__(self, drift):
        self.now, self.pace, self.drift, self.calls, self.extra_info = 0.0, 1.0, drift, [], {}

    def work(self, name, seconds):
        def run():
            self.calls.append(name)
            self.now += seconds * self.pace
            self.pace *= self.drift

        return run

    def pedantic(self, target, setup, rounds, iterations):
        assert iterations == 1 and self.group == "t train", "set before the measurement, which takes it over"
        data = []
        for _ in range(rounds):
            setup()
            start = self.now
            target()
            data.append(self.now - start)
        self.stats = SimpleNamespace(stats=SimpleNamespace(data=data))


@pytest.mark.parametrize(("seconds", "rounds"), [(0.001, 301), (1.0, 8), (50.0, 3)])
def test_every_round_follows_one_of_the_no_delay_network_so_that_a_slower_machine_moves_no_ratio(
    monkeypatch, seconds, rounds
):
    """Short work has more rounds, and slow work the fewest."""
    clock = Clock(drift=1.0001)
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock.now)
    method, lif = clock.work("method", 1.5 * seconds), clock.work("lif", 0.5 * seconds)
    times = timing.time_in_turn(clock, method, {"lif": lif}, group="t train", quick=False, seconds=16.1)
    assert clock.calls[-2 * rounds :] == ["lif", "method"] * rounds
    assert len(times.own) == len(times.against["lif"]) == rounds and times.own[-1] > times.own[0]
    assert clock.extra_info == {"ratio to lif": pytest.approx(3.0 * 1.0001)}


@pytest.mark.parametrize(("recurrent", "sigma"), [("axonal", 3.0), ("synaptic", 3.0), ("plain", 0.0), ("none", 0.0)])
def test_the_gate_passes_on_a_tiny_shape(recurrent, sigma):
    gate.check_shape(SHAPES["tiny"], recurrent, sigma)


def test_the_gate_stops_a_wrong_result_in_the_published_loop_too(monkeypatch):
    gate.check_published_file(next(gate.GOLDEN.glob("delrec_*.npz")))
    right = RingLayer.block
    monkeypatch.setattr(RingLayer, "block", lambda self, spike, taps: 1.01 * right(self, spike, taps))
    with pytest.raises(gate.GateError, match="published"):
        gate.check_shape(SHAPES["tiny"], "axonal", 3.0)
    with pytest.raises(gate.GateError, match="published"):
        gate.check_published_file(next(gate.GOLDEN.glob("delrec_*.npz")))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A subject of a small network on drawn inputs, by method."""
    workspace = workspace_at(tmp_path_factory.mktemp("latency"))

    @cache
    def make(method):
        request = Request(method, "shd", profile="paper", overrides=SMALL)
        run = latency.planned(request, METHODS, TASKS, workspace)
        return latency.subject(latency.opened(run, METHODS, TASKS, workspace))

    return make


def record(made, method="delrec-axonal", slower=2.0, more=0):
    base = [0.1, 0.4, 0.2] + [0.2] * more
    times = {mode: Times([slower * t for t in base], {"lif": base}) for mode in latency.MODES}
    return measuring.record_of(made(method), times, 1, "delrec-bench bench")


def test_times_become_a_record_with_milliseconds_ratio_and_what_identifies_it(made, tmp_path):
    found = record(made)
    assert (found.kind, found.method, found.task, found.data["kind"]) == ("latency", "delrec-axonal", "shd", "DRAWN")
    for mode in latency.MODES:
        median, ratio_, spreads = (found.result[f"{mode}_{name}"] for name in ("ms", "ratio", "ms_iqr"))
        assert (median, ratio_, *spreads) == pytest.approx((400.0, 2.0, 300.0, 600.0))
        assert found.result[f"{mode}_ratio_iqr"] == pytest.approx([2.0, 2.0])
    assert found.result["engines"] == {"train": "cpu", "infer": "cpu", "batch1": "events"}
    assert found.measured["host"] and found.parameters["delays"] == 12
    assert read_record(write_record(tmp_path / found.key / "record.json", found)) == found
    assert found.key == expected_key(found) == record(made, slower=3.0).key, "the newer one takes its place"
    partial = measuring.record_of(made("lif"), {"infer": Times([0.2], {"lif": [0.1]})}, 1, "")
    assert partial.result["train_ms"] is None and partial.result["infer_ratio"] == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("method", "engine"), [("delrec-axonal", "events"), ("gru", "torch"), ("asrc", "cpu"), ("delrec-dcls", "cpu")]
)
def test_batch_1_is_a_deployed_sample_by_events_or_by_its_own_engine_which_the_row_names(made, method, engine):
    found = made(method)
    assert found.engine("batch1") == engine and (found.by_events is None) == (engine != "events")
    assert found.inputs.shape == (140, 8, 140) and not found.deployed.training
    with torch.no_grad():
        whole = found.deployed.classify(found.inputs[:, :1])
    torch.testing.assert_close(found.single(), whole, rtol=1e-3, atol=1e-4)
    assert whole.shape == (1, 20)
    if engine == "events":
        assert all(torch.equal(d, d.round()) for d in found.deployed.delays().values())


@pytest.mark.parametrize("method", ["lif", "delrec-axonal", "adlif"])
def test_layers_fire_as_trained_ones_do_and_a_training_step_changes_nothing_so_that_rounds_are_equal(made, method):
    found = made(method)
    assert len(found.rates) == 2 and all(0.01 <= rate <= 0.15 for rate in found.rates)
    before = [p.detach().clone() for p in found.model.parameters()]
    found.train_step()
    assert all(torch.equal(a, b) for a, b in zip(before, found.model.parameters(), strict=True))


@pytest.mark.parametrize(
    ("task", "options", "shape", "busy"),
    [
        ("shd", {}, (140, 140), (0.25, 0.35)),
        ("ssc", {"step_ms": 14.0, "channels": 700}, (100, 700), (0.05, 0.15)),
        ("ps-mnist", {}, (784, 1), (0.17, 0.21)),
    ],
)
def test_drawn_inputs_have_the_shape_and_rate_of_the_official_files(task, options, shape, busy):
    data = drawn(task, TaskOptions(**options), samples=16)
    batch = data.train.batch(torch.arange(16))
    assert batch.shape == (shape[0], 16, shape[1]) and data.kind == "DRAWN"
    assert busy[0] < float((batch > 0).float().mean()) < busy[1]
    assert drawn(task, TaskOptions(**options), samples=16).digest == data.digest


def test_the_three_tasks_are_measured_without_any_data_the_no_delay_network_first(workspace):
    wanted = latency.to_measure(expand("three-tasks", None, METHODS, TASKS).requests, METHODS, TASKS)
    assert len(wanted) == len({(r.task, r.method) for r in wanted}) == 3 * 15 - 2, "adLIF overflows on ps-mnist"
    for task in ("shd", "ssc", "ps-mnist"):
        first = next(r for r in wanted if r.task == task)
        found = latency.opened(latency.planned(first, METHODS, TASKS, workspace), METHODS, TASKS, workspace)
        assert (first.method, found.data.kind, found.training.batch) == ("lif", "DRAWN", 256)


def test_a_network_is_measured_once_and_without_a_condition_of_evaluation():
    kinds = ((), (("evaluation.lesion", "zero"),), (("evaluation.lesion", "permute"),))
    asked = [Request("delrec-axonal", "digits", n, overrides=kind) for n in (0, 1) for kind in kinds[::-1]]
    assert latency.to_measure(asked, METHODS, TASKS) == [Request("lif", "digits"), Request("delrec-axonal", "digits")]


def test_what_was_measured_is_not_measured_again_and_what_failed_stops_no_other(made, workspace, monkeypatch):
    asked, fails = [], {"gru"}

    def suite(plan, quick, options, say):
        asked.append([plan.runs[i].asked.method for i in plan.measure])
        lost = fails & set(asked[-1])
        for method in set(asked[-1]) - lost:
            of = record(made, method, slower=1.0 + len(asked), more=0 if quick else 2)
            write_record(workspace.runs / of.key / "record.json", of)
        line = "FAILED bench_methods.py::test_method[shd-{}-train] - MemoryError: too large\n"
        return len(lost), "".join(map(line.format, lost))

    def measure(**more):
        requests = [Request(m, "shd", profile="paper", overrides=SMALL) for m in ("delrec-axonal", "gru")]
        found = latency.measure(requests, Place(workspace), **more)
        return [r.method for r in found.records], found.measured, found.failed

    monkeypatch.setattr(measuring, "_run_suite", suite)
    assert measure(quick=True) == (["lif", "delrec-axonal"], 2, ["gru on shd: MemoryError: too large"])
    assert measure() == (["lif", "delrec-axonal"], 2, ["gru on shd: MemoryError: too large"])
    fails.clear()
    assert measure() == (["lif", "delrec-axonal", "gru"], 1, [])
    assert measure(again=True) == (["lif", "delrec-axonal", "gru"], 3, [])
    every = ["lif", "delrec-axonal", "gru"]
    assert asked == [every, every, ["gru"], every], "three rounds are not measured enough"


@pytest.mark.slow
def test_bench_measures_through_pytest_itself_and_keeps_what_benchmark_compare_reads(tmp_path, capsys):
    words = ["bench", "--quick", "--only-tasks", "digits", "--only-methods", "rlif", "--each", "0.1", "--json"]
    words += ["--root", str(Path(__file__).parents[2]), "--runs", str(tmp_path / "runs")]
    storage = ["--benchmark-autosave", f"--benchmark-storage=file://{tmp_path / 'kept'}"]
    assert app.main([*words, "--", *storage]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["measured"] == 2 and [row["method"] for row in content["latency"]] == ["lif", "rlif"]
    assert {row[f"{mode}_rounds"] for row in content["latency"] for mode in latency.MODES} == {3}
    assert app.main([*words, "--again", "--", *storage, "--benchmark-compare"]) == 0
    said = capsys.readouterr().err
    assert "(NOW)" in said and "(0001_" in said, "the comparison is shown"
    kept = [json.loads(path.read_text()) for path in (tmp_path / "kept").rglob("*.json")]
    assert len(kept) == 2 and {one["group"] for one in kept[0]["benchmarks"]} == {f"digits {m}" for m in latency.MODES}
    assert len(read_folder(tmp_path / "runs")[0]) == 2, "alike: replaced"


def test_a_network_on_a_card_is_refused_by_name_without_one(workspace, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    outcome = latency.measure([Request("lif", "digits", device="cuda")], Place(workspace))
    assert not outcome.records and "torch finds no CUDA device" in outcome.failed[0]
    assert environment.machine("cuda") == f"no card; {environment.machine()}"
    monkeypatch.chdir(workspace.root)
    outcome = latency.measure([Request("lif", "shd", data="corpora/shd")], Place(workspace))
    assert str(workspace.root / "corpora" / "shd") in outcome.failed[0]
