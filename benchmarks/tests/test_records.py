"""What a record promises: it is whole, does not contradict itself, and comes back from disk unchanged."""

import json
import subprocess
import sys

import made_up
import numpy as np
import pytest
from delrec_bench import records
from delrec_bench.errors import BenchError
from delrec_bench.metrics import metric_named
from delrec_bench.records import run_key
from delrec_bench.records.record import PerSample
from fuzzing import damaged, fuzz
from hypothesis import given
from hypothesis import strategies as st

BASE = made_up.record("lif", "digits", 0)
CONFIGURATION, DATA = BASE.configuration, BASE.data | {"sizes": {"train": 9, "valid": 3, "test": 4}}
VALUES = {
    "data": DATA,
    "result": {"test_score": 0.75, "correct": 3, "total": 4, "selection": "validation"},
    "predictions": [0, 1, 2, 3],
    "targets": [0, 1, 2, 4],
    "groups": [7, 7, 300, 300],
    "fingerprint": {"logits": [[0.1, -0.2, 0.3, 1e-7]], "gradient": {"weight": [2.0, 1.0, -1.0, 1e-7]}},
    "history": [{"epoch": 0, "loss": 2.3, "rates": {"0": 0.05}}],
    "measured": {"wall_seconds": 1.5},
}
RATIOS = ("train_ratio", "infer_ratio", "batch1_ratio")


def make(**changes):
    return made_up.remade(BASE, **(VALUES | changes))


def forecast(**changes):
    predictions, targets = [0.1 + 0.2, 1e-17, -3.0, 0.5], [0.3, 0.0, -2.0, 1 / 3]
    score = metric_named("nmse").score(predictions, targets)
    values = {"metric": "nmse", "result": {"test_score": score}, "predictions": predictions, "targets": targets}
    return make(**(values | changes))


def latency(**changes):
    none = dict.fromkeys(("predictions", "targets", "groups", "fingerprint"))
    return make(kind="latency", result=dict.fromkeys(RATIOS) | changes, **none)


def result(**changes):
    return make().result | changes


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"metric": "f1"}, "no metric 'f1'"),
        ({"repetition": -1}, "repetition is -1; it must be"),
        ({"colour": 1}, "unknown key 'colour'"),
        ({"result": result(test_score=0.8)}, "its predictions score 0.75"),
        ({"result": result(test_score=float("nan"))}, "finite"),
        ({"targets": [0]}, "it has 4 predictions, 1 targets, 4 groups"),
        ({"groups": [1]}, "it has 4 predictions, 4 targets, 1 groups"),
        ({"predictions": None}, "predictions or targets are missing"),
        ({"predictions": ["a", "b"]}, "predictions is ['a', 'b']; it must be a list of finite numbers"),
        ({"predictions": [float("nan")] * 4}, "predictions is [nan, nan, nan, nan]; it must be a list of finite"),
        ({"configuration": {"f": object()}}, "a object is not a number"),
        ({"kind": "trial", "result": {"valid_score": 0.5}}, "a trial never sees the test set"),
        ({"metric": "nmse", "result": {"test_score": 0.05}}, "result.test_score is 0.05, but its predictions score"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(changes, words):
    with pytest.raises(BenchError) as error:
        make(**changes)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_numpy_values_tuples_and_diverged_losses_become_plain_json():
    record = make(
        history=[{"loss": float("inf"), "rates": {0: np.float32(0.5)}}],
        parameters={"weights": np.int64(3)},
        fingerprint={"logits": [[float("nan"), 0.0]], "gradient": {"w": np.zeros(2)}},
        predictions=np.array([0, 1, 2, 3]),
        targets=(0, 1, 2, 4),
    )
    assert record.history == [{"loss": None, "rates": {"0": 0.5}}]
    assert record.fingerprint == {"logits": [[None, 0.0]], "gradient": {"w": [0.0, 0.0]}}
    assert json.loads(records.record_text(record))["parameters"] == {"weights": 3}
    assert record.predictions.array.tolist() == [0, 1, 2, 3]


WHOLE = st.integers(-(2**63), 2**63 - 1)
HALF, FULL = (st.floats(width=width, allow_nan=False, allow_infinity=False) for width in (32, 64))


@given(st.one_of(*(st.lists(numbers, min_size=1) for numbers in (WHOLE, HALF, FULL))))
def test_a_column_gives_back_every_number_in_the_smallest_type_that_holds_it(values):
    column = PerSample.model_validate(values)
    assert column.array.tolist() == values and len(column) == len(values)
    assert PerSample.model_validate(column.model_dump()) == column
    if all(isinstance(v, int) and 0 <= v < 256 for v in values):
        assert column.dtype == "|u1"


def test_the_key_follows_configuration_data_and_results_version():
    one, other = {"a": 1, "b": (1, 2)}, {"b": [1, 2], "a": 1}
    keys = [run_key(one, {"digest": "x"}), run_key({**one, "a": 2}, {"digest": "x"}), run_key(one, {"digest": "y"})]
    keys.append(run_key(one, {"digest": "x"}, records.RESULTS_VERSION + 1))
    assert len(set(keys)) == 4 and run_key(other, {"digest": "x"}) == keys[0]


def test_a_record_comes_back_from_its_file_unchanged(tmp_path):
    wide = make(repetition=0, predictions=[0, 1, 2, 300], data=DATA | {"digest": "cd" * 32})
    made = [make(), forecast(task="digits:other", data=DATA | {"digest": "ef" * 32}), wide, latency()]
    for record in made:
        path = records.write_record(tmp_path / "runs" / record.key / "record.json", record)
        assert records.read_record(path) == record
        assert records.finished_record(tmp_path / "runs", record.key) == record
    records.write_record(tmp_path / ("0" * 64) / "record.json", make())
    with pytest.raises(BenchError, match="unlike its folder"):
        records.finished_record(tmp_path, "0" * 64)


# Each with the key kept.
ALTERED = {
    "setting": lambda d: d["configuration"]["seeds"].update(split=1),
    "parameters": lambda d: d["parameters"].update(weights=9, trainable=9, total=9),
    "data": lambda d: d["data"].update(digest="0" * 64),
    "method": lambda d: d.update(method="rlif"),
    "task": lambda d: d.update(task="shd"),
    "history": lambda d: d["history"][0].update(loss=2.0),
    "fingerprint": lambda d: d["fingerprint"]["logits"].append([1.0]),
    "groups": lambda d: d.pop("groups"),
    "no digest of its content": lambda d: d.pop("content"),
}


@pytest.mark.parametrize("name", ALTERED)
def test_a_record_that_was_altered_with_its_key_kept_is_refused(tmp_path, name):
    values = json.loads(records.record_text(make()))
    ALTERED[name](values)
    path = tmp_path / "a" / "record.json"
    path.parent.mkdir()
    path.write_text(json.dumps(values))
    with pytest.raises(BenchError, match=r"a/record\.json: record"):
        records.read_record(path)


def test_targets_are_compared_across_records_of_one_digest(tmp_path):
    other = make(
        repetition=1,
        configuration=CONFIGURATION | {"repetition": 1},
        predictions=[0, 1, 2, 3],
        targets=[0, 1, 5, 3],
    )
    with pytest.raises(BenchError, match="its targets are not those of record "):
        records.publish(tmp_path, [make(), other])


@fuzz(150)
@given(st.data())
def test_a_damaged_record_is_an_error_of_ours_or_the_record(tmp_path, data):
    path = tmp_path / "damaged.json"
    path.write_bytes(damaged(data, records.record_text(make()).encode(), b"1e999", b"NaN", b"[[", b'"'))
    try:
        assert records.read_record(path).content == make().content
    except BenchError as error:
        assert "damaged.json" in str(error) and "\n" not in str(error)


def test_a_broken_file_is_reported_with_its_path(tmp_path):
    records.write_record(tmp_path / "good" / "record.json", make())
    for number, text in enumerate((b"{", b"[]", b'{"kind": "run"}', b'{"colour": 1}', b"\xff", b'{"version": 2}')):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}" / "record.json").write_bytes(text)
    said: list[str] = []
    assert records.read_folder(tmp_path, said.append) == ([make()], [])
    assert len(said) == 6 and all(f"/{number}/record.json" in line for number, line in enumerate(said))


def test_the_same_record_may_differ_only_in_what_was_measured():
    record = make()
    assert record.content == record.changed(measured={"wall_seconds": 9.0}).content
    other = record.changed(history=[{"epoch": 0, "loss": 2.30000001, "rates": {"0": 0.05}}], engine="events")
    assert record.content != other.content and records.differences(record, other) == ["engine", "history[0].loss"]


def test_a_failure_is_kept_apart_and_is_no_record(tmp_path):
    fields = ("key", "method", "task", "repetition", "configuration")
    about = {name: getattr(make(), name) for name in fields}
    failure = records.Failure(**about, error="diverged", traceback="...", attempts=2, failed_at="2026-01-02T03:04:05")
    path = tmp_path / failure.key / "failure.json"
    path.parent.mkdir()
    path.write_text(failure.model_dump_json())
    assert records.read_failure(path) == failure
    assert records.read_folder(tmp_path) == ([], [failure]) and records.finished_record(tmp_path, failure.key) is None
    path.write_text(path.read_text().replace("failed", "finished"))
    with pytest.raises(BenchError, match=r"failure\.json: failure "):
        records.read_failure(path)


def test_reading_records_needs_neither_torch_nor_mlflow():
    code = "import sys, delrec_bench.records; print([m for m in ('torch', 'mlflow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
