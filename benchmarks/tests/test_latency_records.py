"""Latency as records: what is timed, what the suite's JSON becomes, what is measured again, and what replaces what."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from delrec_bench import app, environment, latency
from delrec_bench.config import Request
from delrec_bench.data.task_data import TaskOptions
from delrec_bench.errors import BenchError
from delrec_bench.latency import importing, measuring, networks
from delrec_bench.latency.drawn import drawn
from delrec_bench.methods.base import find_methods
from delrec_bench.records import load_records, read_record, verify, write_record
from delrec_bench.studies.expansion import expand
from delrec_bench.tasks.base import find_tasks
from delrec_bench.workspace import workspace_at

METHODS, TASKS = find_methods(), find_tasks()
SMALL = (("network.hidden", (12, 12)), ("training.batch", 8))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return workspace_at(tmp_path_factory.mktemp("latency"))


@pytest.fixture(scope="module")
def made(workspace):
    """A subject of a small network on a drawn task, by method."""
    held = {}

    def make(method, task="shd", overrides=SMALL, profile="paper"):
        place = (method, task, overrides)
        if place not in held:
            request = Request(method, task, profile=profile, overrides=overrides)
            held[place] = latency.subject(latency.resolved(request, METHODS, TASKS, workspace))
        return held[place]

    yield make
    for found in held.values():
        found.settle.close()


def benchmarks(made, method="delrec-axonal", slower=2.0, **changes):
    """What pytest-benchmark writes of one method: three modes of three rounds."""
    suite = pytest.importorskip("benchmarks.latency.bench_methods")
    plan = measuring.Plan(root=".", runs=".", requests=[], measure=[], seconds=1.0, command="delrec-bench bench")
    found = made(method)
    about = suite.about(found, plan, 1).model_dump() | changes
    out = []
    for n, mode in enumerate(latency.MODES):
        base = [0.1 * (n + 1), 0.4, 0.2]
        info = {"delrec": 1, "mode": mode, "engine": "events" if mode == "batch1" else "cpu", "about": about}
        stats = {"data": [slower * t for t in base], "median": 1.0}
        out.append({"name": f"test[{mode}]", "extra_info": info | {"baseline_seconds": base}, "stats": stats})
    return out


def written(folder: Path, *entries):
    path = folder / "benchmark.json"
    path.write_text(json.dumps({"machine_info": {}, "version": "5", "benchmarks": [e for one in entries for e in one]}))
    return path


def test_a_benchmark_json_becomes_a_record_with_milliseconds_ratio_and_what_identifies_it(made, tmp_path):
    [record] = latency.import_json(written(tmp_path, benchmarks(made)))
    verify(record)
    result = record.result
    assert (record.kind, record.method, record.task, record.data["kind"]) == (
        "latency",
        "delrec-axonal",
        "shd",
        "DRAWN",
    )
    for mode in latency.MODES:
        assert result[f"{mode}_ratio"] == pytest.approx(2.0)
        assert result[f"{mode}_ratio_iqr"] == pytest.approx([2.0, 2.0])
        assert result[f"{mode}_ms"] == pytest.approx(400.0) if mode == "train" else result[f"{mode}_ms"] > 0
    assert result["train_ms_iqr"] == pytest.approx([300.0, 600.0])
    assert result["engines"] == {"train": "cpu", "infer": "cpu", "batch1": "events"}
    assert result["threads"] == 1 and record.measured["host"] and record.provenance["versions"]["torch"]
    assert record.parameters["delays"] == 12 and record.parameters["total"] > 12
    assert read_record(write_record(tmp_path / record.key / "record.json", record)) == record


def no_rounds(entries):
    entries[0]["stats"]["data"] = []


def unpaired_rounds(entries):
    entries[0]["extra_info"]["baseline_seconds"].pop()


def a_mode_twice(entries):
    entries.append(copy.deepcopy(entries[0]))


def modes_of_two_hosts(entries):
    entries[0]["extra_info"]["about"] = entries[0]["extra_info"]["about"] | {"host": "another"}


@pytest.mark.parametrize("change", [no_rounds, unpaired_rounds, a_mode_twice, modes_of_two_hosts])
def test_a_file_that_contradicts_itself_is_one_clear_error(made, tmp_path, change):
    entries = copy.deepcopy(benchmarks(made))
    change(entries)
    with pytest.raises(BenchError, match="benchmark.json"):
        latency.import_json(written(tmp_path, entries))


def test_a_file_that_is_not_there_or_too_large_is_refused(tmp_path, monkeypatch):
    with pytest.raises(BenchError, match="not there"):
        latency.import_json(tmp_path / "none.json")
    monkeypatch.setattr(importing, "LARGEST", 10)
    (tmp_path / "benchmark.json").write_text("{" + 100 * " " + "}")
    with pytest.raises(BenchError, match="larger than 10 bytes"):
        latency.import_json(tmp_path / "benchmark.json")


@pytest.mark.parametrize("unlike", ["host", "threads", "engine"])
def test_the_newest_never_replaces_an_unlike_one(made, tmp_path, unlike):
    [old] = latency.import_json(written(tmp_path, benchmarks(made, finished_at="2026-01-01T00:00:00+00:00")))
    entries = benchmarks(made, slower=3.0, finished_at="2026-02-01T00:00:00+00:00")
    [alike] = latency.import_json(written(tmp_path, entries))
    assert alike.key == old.key, "alike: the newer takes its place"
    assert latency.newest([alike, old]) == [alike]
    for entry in entries:
        about = entry["extra_info"]["about"]
        if unlike == "host":
            about["host"] = "another"
        elif unlike == "engine":
            entry["extra_info"]["engine"] = "reference"
    if unlike == "threads":
        found = replace(made("delrec-axonal").resolved.request, threads=2)
        run = latency.resolved(found, METHODS, TASKS, workspace_at(tmp_path))
        for entry in entries:
            entry["extra_info"]["about"] |= {"threads": 2, "run": run.key, "configuration": run.configuration}
    [other] = latency.import_json(written(tmp_path, entries))
    assert other.key != old.key
    assert latency.newest([other, old]) == [old, other] and latency.newest([other, alike, old]) == [alike, other]


def test_batch_1_is_a_whole_sample_by_events_and_gives_the_deployed_scores(made):
    found = made("delrec-axonal")
    assert found.by_events is not None
    scores = found.single()
    assert found.engine("batch1") == "events"
    with torch.no_grad():
        whole = found.deployed.classify(found.inputs[:, :1])
    torch.testing.assert_close(scores, whole, rtol=1e-3, atol=1e-4)
    assert scores.shape == (1, 20) and found.inputs.shape == (140, 8, 140)


@pytest.mark.parametrize(("method", "engine"), [("gru", "torch"), ("asrc", "cpu"), ("delrec-dcls", "cpu")])
def test_batch_1_of_what_does_not_run_by_events_is_by_its_own_engine_which_the_row_names(made, method, engine):
    found = made(method)
    assert found.by_events is None
    assert found.single().shape == (1, 20) and found.engine("batch1") == engine


def test_layers_fire_as_trained_ones_do(made):
    for method in ("lif", "delrec-axonal", "adlif"):
        rates = made(method).rates
        assert len(rates) == 2 and all(0.01 <= rate <= 0.15 for rate in rates), (method, rates)


def test_a_training_step_changes_nothing_so_that_rounds_are_equal(made):
    found = made("delrec-axonal")
    before = [p.detach().clone() for p in found.model.parameters()]
    found.train_step()
    assert all(torch.equal(a, b) for a, b in zip(before, found.model.parameters(), strict=True))


def test_a_batch_that_does_not_fit_is_halved_and_the_record_says_so(made, monkeypatch):
    found = made("lif", overrides=(("network.hidden", (4, 4)), ("training.batch", 64)))
    peaks = iter([2**30, 2**30 + 4 * 2**20])  # a MiB a sample
    monkeypatch.setattr(networks, "peak_bytes", lambda: next(peaks))
    monkeypatch.setattr(networks, "free_bytes", lambda: 0)
    own = networks.psutil.Process().memory_info()._replace(rss=2**30 - 40 * 2**20)
    monkeypatch.setattr(networks.psutil.Process, "memory_info", lambda self: own)
    found.fit()
    assert found.fitted == found.batch == found.inputs.shape[1] == 32
    suite = pytest.importorskip("benchmarks.latency.bench_methods")
    plan = measuring.Plan(root=".", runs=".", requests=[], measure=[], seconds=1.0, command="c")
    about = suite.about(found, plan, 1)
    assert (about.batch, about.published_batch) == (32, 64)


@pytest.mark.parametrize(
    ("task", "options", "shape", "busy"),
    [
        ("shd", {}, (140, 140), (0.25, 0.35)),
        ("shd", {"step_ms": 4.0, "steps": 250}, (250, 140), (0.12, 0.25)),
        ("ssc", {}, (250, 140), (0.1, 0.25)),
        ("ssc", {"step_ms": 14.0, "channels": 700}, (100, 700), (0.05, 0.15)),
        ("ps-mnist", {}, (784, 1), (0.17, 0.21)),
    ],
)
def test_drawn_inputs_have_the_shape_and_rate_of_the_official_files(task, options, shape, busy):
    data = drawn(task, TaskOptions(**options), samples=16)
    batch = data.train.batch(torch.arange(16))
    assert batch.shape == (shape[0], 16, shape[1]) and data.kind == "DRAWN"
    assert busy[0] < float((batch > 0).float().mean()) < busy[1]
    if task != "ps-mnist" and not options.get("steps"):
        assert 5000 < float(batch.sum()) / 16 < 8000, "spikes a sample"
    assert drawn(task, TaskOptions(**options), samples=16).digest == data.digest


def test_the_page_of_the_three_tasks_has_exact_parameters_without_any_data(workspace):
    study = expand("three-tasks", None, METHODS, TASKS)
    wanted = latency.cells(study.requests, METHODS, TASKS)
    assert len(wanted) == len({(r.task, r.method) for r in wanted}) == 3 * 15 - 2, "adLIF overflows on ps-mnist"
    assert next(r.method for r in wanted if r.task == "ssc") == "lif"
    golden = {("ssc", "delrec-axonal"): 374_819, ("ssc", "delrec-dcls"): 550_691, ("shd", "delrec-axonal"): 173_844}
    golden |= {("ps-mnist", "delrec-axonal"): 156_154, ("ps-mnist", "delrec-synaptic"): 249_650}
    for request in wanted:
        if (request.task, request.method) in golden:
            found = latency.resolved(request, METHODS, TASKS, workspace)
            assert found.data.kind == "DRAWN" and found.training.batch == 256
            with torch.device("meta"):
                count = found.method.build(found.network, found.data.channels, found.data.classes).count()
            assert count.total == golden[request.task, request.method]


@pytest.fixture
def order(tmp_path):
    requests = [Request(m, "shd", profile="paper", overrides=SMALL) for m in ("delrec-axonal", "gru")]
    return latency.Order(requests, METHODS, TASKS, workspace_at(tmp_path), each=40.0)


def test_what_was_measured_is_not_measured_again_so_that_an_interrupted_call_goes_on(order, made, monkeypatch):
    asked, fails = [], {"gru"}

    def suite(words, threads, say):
        values = dict(zip(words[::2], words[1::2], strict=False))
        plan = measuring.Plan.read(Path(values["--plan"]))
        methods = [plan.as_requests()[i].method for i in plan.measure]
        asked.append(methods)
        assert plan.as_requests()[0].method == "lif", "what all are compared with"
        good = [benchmarks(made, m) for m in methods if m not in fails]
        if good:
            written(Path(values["--benchmark-json"]).parent, *good)
        return (1 if fails & set(methods) else 0), "E   MemoryError: too large\n"

    monkeypatch.setattr(measuring, "run_suite", suite)
    first = latency.measure(order)
    assert asked == [["lif"], ["delrec-axonal"], ["gru"]], "a process each: 40 seconds a method"
    assert [r.method for r in first.records] == ["lif", "delrec-axonal"] and first.measured == 2
    assert first.failed == ["gru on shd: E   MemoryError: too large"]
    assert {r.method for r in load_records(order.workspace.runs)} == {"lif", "delrec-axonal"}
    fails.clear()
    second = latency.measure(order)
    assert asked[3:] == [["gru"]] and second.measured == 1 and not second.failed
    assert [r.method for r in second.records] == ["lif", "delrec-axonal", "gru"]
    latency.measure(replace(order, again=True, each=1.0))
    assert asked[4:] == [["lif", "delrec-axonal", "gru"]], "one process: a second a method"


@pytest.mark.slow
def test_bench_measures_through_pytest_itself_and_keeps_what_benchmark_compare_reads(tmp_path, capsys):
    words = ["bench", "--quick", "--only-tasks", "digits", "--only-methods", "rlif", "--each", "0.1", "--json"]
    words += ["--root", str(Path(__file__).parents[2]), "--runs", str(tmp_path / "runs")]
    storage = ["--benchmark-autosave", f"--benchmark-storage=file://{tmp_path / 'kept'}"]
    assert app.main([*words, "--", *storage]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["measured"] == 2 and [row["method"] for row in content["latency"]] == ["lif", "rlif"]
    assert all(
        row[f"{mode}_ms"] > 0 and row[f"{mode}_rounds"] == 3 for row in content["latency"] for mode in latency.MODES
    )
    assert app.main([*words, "--again", "--", *storage, "--benchmark-compare"]) == 0
    said = capsys.readouterr().err
    assert "(NOW)" in said and "(0001_" in said, "the comparison is shown"
    assert len(list((tmp_path / "kept").rglob("*.json"))) == 2
    assert len(load_records(tmp_path / "runs")) == 2, "alike: replaced"


def test_networks_on_a_card_are_measured_there(tmp_path, monkeypatch):
    """Without a card: the requests ask for one, and are refused by name, not measured on the CPU."""
    requests = latency.as_requests(["lif"], ["digits"], METHODS, TASKS, "quick", 1, "cuda")
    assert {r.device for r in requests} == {"cuda"}
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    outcome = latency.measure(latency.Order(requests, METHODS, TASKS, workspace_at(tmp_path)))
    assert not outcome.records and "torch finds no CUDA device" in outcome.failed[0]
    assert environment.machine("cuda") == f"no card; {environment.machine()}"
