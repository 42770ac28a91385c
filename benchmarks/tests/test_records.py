"""What a record promises: it is whole, does not contradict itself, and comes back from disk unchanged."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from delrec_bench import records
from delrec_bench.errors import BenchError
from delrec_bench.records import Record, canonical, run_key

CONFIGURATION = {
    "method": "lif",
    "task": "digits",
    "training": {"epochs": 2, "lr": 1e-3},
    "seeds": {"split": 0},
}


def make(**changes):
    values = {
        "kind": "run",
        "key": run_key(CONFIGURATION, {"digest": "ab" * 32}),
        "method": "lif",
        "task": "digits",
        "repetition": 0,
        "configuration": CONFIGURATION,
        "data": {"kind": "EMBEDDED", "digest": "ab" * 32, "steps": 64},
        "metric": "accuracy",
        "result": {
            "test_score": 0.75,
            "correct": 3,
            "total": 4,
            "selection": "validation",
            "predictions": [0, 1, 2, 3],
            "targets": [0, 1, 2, 4],
            "speakers": None,
        },
        "history": [{"epoch": 0, "loss": 2.3, "rates": {"0": 0.05}}],
        "parameters": {"weights": 10, "delays": 0, "neuron": 0, "trainable": 10, "frozen": 0, "total": 10},
        "measured": {"wall_seconds": 1.5},
    }
    return Record(**(values | changes))


def latency(**result):
    ratios = {"train_ratio": 1.2, "train_ratio_iqr": 0.1, "infer_ratio": 1.1, "infer_ratio_iqr": [1.0, 1.2]}
    return make(kind="latency", result=ratios | {"batch1_ratio": None, "batch1_ratio_iqr": None} | result)


def result(**changes):
    return make().result | changes


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "walk"}, "kind is 'walk'"),
        ({"key": "abc"}, "key is 'abc'"),
        ({"metric": "f1"}, "metric is 'f1'"),
        ({"repetition": -1}, "repetition is -1"),
        ({"method": ""}, "must have a name"),
        ({"schema": 99}, "schema is 99"),
        ({"data": {"kind": "REAL"}}, "data.kind is 'REAL'"),
        ({"parameters": {"weight": 3}}, "parameters has weight"),
        ({"parameters": {"weights": -3}}, "parameters.weights is -3"),
        ({"result": result(test_score=0.8)}, "its predictions score 0.75"),
        ({"result": result(test_score=float("nan"))}, "finite"),
        ({"result": result(correct=2)}, "3 predictions equal their target"),
        ({"result": result(total=5)}, "there are 4 predictions"),
        ({"result": result(targets=[0])}, "4 predictions for 1 targets"),
        ({"result": result(speakers=[1])}, "speakers must be None or 4"),
        ({"result": {"test_score": 0.5}}, "must be lists"),
        ({"configuration": {"f": object()}}, "configuration.f is a object"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(changes, words):
    with pytest.raises(BenchError) as error:
        make(**changes)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_latency_ratios_are_positive_or_missing():
    assert latency().result["batch1_ratio"] is None
    with pytest.raises(BenchError, match="train_ratio is 0"):
        latency(train_ratio=0)
    with pytest.raises(BenchError, match="train_ratio_iqr"):
        latency(train_ratio_iqr=[2, 1])
    with pytest.raises(BenchError, match="infer_ratio is not there"):
        make(kind="latency", result={"train_ratio": 1.0})


def test_a_task_may_have_an_error_as_its_metric():
    record = make(metric="nmse", result={"test_score": 0.05, "predictions": [0.1, 0.2], "targets": [0, 1]})
    assert record.score == 0.05 and not record.more_is_better and make().more_is_better
    with pytest.raises(BenchError, match="nmse is at least 0"):
        make(metric="nmse", result={"test_score": -1.0, "predictions": [0.1], "targets": [0.0]})


def test_numpy_values_tuples_and_diverged_losses_become_plain_json():
    record = make(
        history=[{"loss": float("inf"), "rates": {0: np.float32(0.5)}}],
        parameters={"weights": np.int64(3)},
        result=result(predictions=np.array([0, 1, 2, 3]), targets=(0, 1, 2, 4)),
    )
    assert record.history == [{"loss": None, "rates": {"0": 0.5}}]
    assert json.loads(json.dumps(records.to_dict(record)))["result"]["predictions"] == [0, 1, 2, 3]


def test_the_key_follows_configuration_data_and_results_version(monkeypatch):
    key = run_key({"a": 1, "b": (1, 2)}, {"digest": "x"})
    assert key == run_key({"b": [1, 2], "a": 1}, {"digest": "x"})
    assert key != run_key({"a": 2, "b": [1, 2]}, {"digest": "x"})
    assert key != run_key({"a": 1, "b": [1, 2]}, {"digest": "y"})
    monkeypatch.setattr(canonical, "RESULTS_VERSION", canonical.RESULTS_VERSION + 1)
    assert key != run_key({"a": 1, "b": [1, 2]}, {"digest": "x"})


def test_a_record_comes_back_from_both_forms_unchanged(tmp_path):
    targets = [0.1 + 0.2, 1e-17, -3.0]
    error = make(metric="nmse", result={"test_score": 0.2, "predictions": targets, "targets": targets})
    wide = make(result=result(predictions=[0, 1, 2, 300], speakers=["a", "b", "c", "d"]))
    for record in (make(), error, wide, latency()):
        path = records.write_record(tmp_path / "runs" / record.key / "record.json", record)
        assert records.read_record(path) == record
        (small,) = records.write_committed(tmp_path / "reports", [record])
        assert records.read_record(small) == record
        assert [p.name for p in tmp_path.rglob("*") if p.is_file() and p.name.startswith(".")] == []


def test_committed_records_are_small_and_replace_what_was_there(tmp_path):
    many = result(predictions=[3] * 5000, targets=[3] * 5000, correct=5000, total=5000, test_score=1.0)
    (path,) = records.write_committed(tmp_path, [make(result=many, task="shd:mine@0123abcd")])
    assert path.stat().st_size < 16_000
    assert ":" not in path.name
    before = path.stat().st_mtime_ns
    records.write_committed(tmp_path, [make(result=many, task="shd:mine@0123abcd")])
    assert path.stat().st_mtime_ns == before
    records.write_committed(tmp_path, [make()])
    assert len(list(tmp_path.glob("*.json"))) == 1


def test_a_committed_record_is_no_finished_run(tmp_path):
    record = make()
    assert records.finished_record(tmp_path, record.key) is None
    (small,) = records.write_committed(tmp_path / "small", [record])
    target = tmp_path / record.key / "record.json"
    target.parent.mkdir()
    target.write_bytes(small.read_bytes())
    with pytest.raises(BenchError, match="not a finished run"):
        records.finished_record(tmp_path, record.key)
    records.write_record(target, record)
    assert records.finished_record(tmp_path, record.key) == record


def test_a_record_in_the_folder_of_another_key_is_refused(tmp_path):
    records.write_record(tmp_path / ("0" * 64) / "record.json", make())
    with pytest.raises(BenchError, match="not that of its folder"):
        records.finished_record(tmp_path, "0" * 64)


@pytest.mark.parametrize("text", ["{", "[]", '{"kind": "run"}', '{"colour": 1}'])
def test_a_broken_file_is_reported_with_its_path(tmp_path, text):
    records.write_record(tmp_path / "good" / "record.json", make())
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "record.json").write_text(text)
    with pytest.raises(BenchError, match=r"bad/record\.json"):
        records.load_records(tmp_path)
    broken: list[str] = []
    assert records.load_records(tmp_path, broken) == [make()]
    assert len(broken) == 1 and "bad/record.json" in broken[0]


def test_a_folder_that_is_not_there_holds_no_record(tmp_path):
    assert records.load_records(tmp_path / "none") == []


def test_the_same_record_may_differ_only_in_what_was_measured():
    record = make()
    assert records.same_record(record, dataclasses.replace(record, measured={"wall_seconds": 9.0}))
    other = dataclasses.replace(record, history=[{"epoch": 0, "loss": 2.30000001, "rates": {"0": 0.05}}])
    assert not records.same_record(record, other)
    assert records.differences(record, other) == ["history[0].loss"]
    assert records.differences(record, dataclasses.replace(record, engine="cpu")) == ["engine"]


def test_reading_records_needs_neither_torch_nor_mlflow():
    code = "import sys, delrec_bench.records; print([m for m in ('torch', 'mlflow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
