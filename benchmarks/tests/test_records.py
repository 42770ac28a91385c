"""What a record promises: it is whole, does not contradict itself, comes back unchanged; and is published once."""

import json
import lzma

import made_up
import numpy as np
import pandas as pd
import pytest
from delrec_bench import records, results
from delrec_bench.errors import BenchError
from delrec_bench.records import run_key, store
from delrec_bench.records.record import PerSample
from delrec_bench.studies.collecting import merge
from delrec_bench.workspace import workspace_at
from fuzzing import damaged, fuzz
from hypothesis import given
from hypothesis import strategies as st

RUN = made_up.record("lif", "digits", 0)
CONFIGURATION, DATA = RUN.configuration, RUN.data | {"sizes": {"train": 9, "valid": 3, "test": 4}}
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
FAILURE = made_up.failure_of(RUN)


def make(**changes):
    return made_up.remade(RUN, **(VALUES | changes))


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
        ({"measured": {"finished_at": "yesterday"}}, "measured.finished_at is 'yesterday'; it must be a time"),
        ({"measured": {"wall_seconds": "x"}}, "measured.wall_seconds is 'x', no number"),
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
    made = [make(), wide, made_up.forecast("rlif", 0, 0.4), made_up.latency("lif", "digits")]
    for record in made:
        path = records.write_record(tmp_path / "runs" / record.key / "record.json", record)
        assert records.read_record(path) == record
        assert records.finished_record(tmp_path / "runs", record.key) == record
    records.write_record(tmp_path / ("0" * 64) / "record.json", make())
    with pytest.raises(BenchError, match="unlike its folder"):
        records.finished_record(tmp_path, "0" * 64)


@pytest.mark.parametrize(
    "alter",
    [
        lambda values: values["configuration"]["seeds"].update(split=1),
        lambda values: values["history"][0].update(loss=2.0),
        lambda values: values.pop("groups"),
        lambda values: values.pop("content"),
    ],
)
def test_a_record_that_was_altered_with_its_key_kept_is_refused(tmp_path, alter):
    values = json.loads(records.record_text(make()))
    alter(values)
    path = tmp_path / "record.json"
    path.write_text(json.dumps(values))
    with pytest.raises(BenchError, match=r"record\.json: record"):
        records.read_record(path)


def test_a_repetition_may_draw_a_test_set_of_its_own(tmp_path):
    other = make(repetition=1, configuration=CONFIGURATION | {"repetition": 1}, targets=[0, 1, 5, 3])
    records.publish(tmp_path, [make(), other])
    assert [list(r.targets.array) for r in records.read_store(tmp_path)[0]] == [[0, 1, 2, 4], [0, 1, 5, 3]]


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
    path = tmp_path / RUN.key / "failure.json"
    path.parent.mkdir()
    path.write_text(FAILURE.model_dump_json())
    assert records.read_failure(path) == FAILURE
    assert records.read_folder(tmp_path) == ([], [FAILURE]) and records.finished_record(tmp_path, RUN.key) is None
    path.write_text(path.read_text().replace("failed", "finished"))
    with pytest.raises(BenchError, match=r"failure\.json: failure "):
        records.read_failure(path)


def again(record, **changes):
    """The same run with another outcome."""
    history = [*record.history[:-1], record.history[-1] | {"loss": 0.125}]
    return record.changed(history=history, **changes)


def test_equal_runs_give_equal_files_and_targets_stand_there_once(tmp_path):
    made = made_up.everything()
    one = records.publish(tmp_path / "a", made)
    other = records.publish(tmp_path / "b", reversed(made))
    for path, same in zip(one, other, strict=True):
        assert path.read_bytes() == same.read_bytes()
    names = [path.name for path in one]
    assert names == [f"{task}.jsonl.xz" for task in sorted({r.task for r in made})] + ["results.parquet"]
    lines = [json.loads(line) for line in lzma.decompress(one[0].read_bytes()).splitlines()]
    assert [line["kind"] == "targets" for line in lines] == [True] + [False] * (len(lines) - 1)
    assert [line["key"] for line in lines[1:]] == sorted(line["key"] for line in lines[1:])
    assert records.publish(tmp_path / "a", made) == [], "what is there already is not written again"


def test_what_is_published_is_what_pages_show_and_holds_the_digest_of_the_whole(tmp_path):
    whole = RUN.changed(
        delays=[made_up.layer_delays([1.0, 2.0], [1.5, 2.5])],
        history=[entry | {"rates": [0.1], "sigma": 3.0} for entry in RUN.history],
        measured=RUN.measured | {"epoch_seconds": [0.1]},
    )
    records.publish(tmp_path, [whole])
    (short,), _ = records.read_store(tmp_path)
    assert short.published and short.digest == whole.digest and short.key == whole.key
    assert set(short.history[0]) == {"epoch", "loss", "valid_accuracy"}
    assert "units" not in short.delays[0] and "epoch_seconds" not in short.measured
    assert short.predictions == whole.predictions
    assert records.publish(tmp_path, [whole]) == []


def test_a_run_that_came_out_differently_does_not_replace_the_published_one(tmp_path):
    records.publish(tmp_path, [RUN])
    for runs in ([again(RUN), made_up.record("lif", "digits", 1)], [RUN, again(RUN)]):
        with pytest.raises(BenchError, match="run of lif on digits, .* has two different results"):
            records.publish(tmp_path, runs)
    assert [r.digest for r in records.read_store(tmp_path)[0]] == [RUN.digest]


def test_a_run_of_an_older_results_version_leaves_the_store_when_it_has_been_made_again(tmp_path):
    other = made_up.record("lif", "digits", 1)
    old_failure = made_up.failure_of(made_up.record("rlif", "digits", 0))
    records.publish(tmp_path, [RUN, other], [old_failure])
    now = {"provenance": RUN.provenance | {"results_version": records.RESULTS_VERSION + 1}}
    again = [made_up.remade(r, **now) for r in (RUN, made_up.record("rlif", "digits", 0))]
    records.publish(tmp_path, again)
    runs, lost = records.read_store(tmp_path)
    assert {r.key for r in runs} == {other.key, *(r.key for r in again)} and lost == []
    ordinary = made_up.failure_of(made_up.remade(other, **now)).model_copy(update={"diverged": False})
    records.publish(tmp_path, [], [ordinary])
    assert other.key in {r.key for r in records.read_store(tmp_path)[0]}, "it may end well when it is tried again"
    diverged = made_up.failure_of(made_up.remade(other, **now))  # a run of today that diverged is its outcome, too
    records.publish(tmp_path, [RUN], [diverged, old_failure])
    runs, lost = records.read_store(tmp_path)
    assert {r.key for r in runs} == {r.key for r in again} and [f.key for f in lost] == [diverged.key]


def test_of_one_latency_the_newest_measurement_is_kept(tmp_path):
    first = made_up.latency("lif", "digits")
    newer = made_up.latency("lif", "digits", 9.9)
    newer = newer.changed(measured=newer.measured | {"finished_at": "2026-01-09T00:00:00+00:00"})
    for measured in (first, newer, first):
        records.publish(tmp_path, [measured])
    assert [r.result["train_ratio"] for r in records.read_store(tmp_path)[0]] == [9.9]


def test_runs_that_diverged_are_kept_until_they_are_done(tmp_path):
    records.publish(tmp_path, [made_up.record("rlif", "digits", 0)], [FAILURE])
    _, lost = records.read_store(tmp_path)
    assert [f.key for f in lost] == [RUN.key] and lost[0].traceback == ""
    table = records.read_table(tmp_path / "results.parquet")
    row = table[table.key == RUN.key].iloc[0]
    assert pd.isna(row.score) and row.failed == "NaN" and row.method == "lif"
    records.publish(tmp_path, [RUN])
    assert records.read_store(tmp_path)[1] == []


def test_the_table_has_a_row_a_run_and_nothing_is_zero_that_is_not_known(tmp_path):
    made = made_up.everything()
    records.publish(tmp_path / "reports", made)
    table = results(root=str(tmp_path))
    assert list(table.columns) == list(records.COLUMNS) and len(table) == sum(r.kind != "latency" for r in made)
    assert table.key.is_unique and table.experiment.is_unique
    by_key = table.set_index("key")
    one = next(r for r in made if r.kind == "run" and r.method == "delrec-axonal")
    row = by_key.loc[one.key]
    assert row.score == one.score and row.parameters_delays == 42 and row.hidden == "42,42"
    assert row.latency_train_ratio == pytest.approx(1.25) and row.arithmetic == "portable"
    floor = by_key.loc[next(r.key for r in made if r.kind == "floor")]
    assert pd.isna(floor.parameters_total) and pd.isna(floor.epochs) and pd.isna(floor.latency_train_ms)
    times = next(r for r in made if r.kind == "latency" and (r.method, r.task) == (one.method, one.task))
    more = times.changed(configuration=times.configuration | {"threads": 4}, result=times.result | {"train_ratio": 9.9})
    beside = records.table([*made, more]).set_index("key").loc[one.key]
    assert beside.latency_train_ratio == pytest.approx(1.25), "a run on one thread is not as slow as one on four"


def test_results_are_the_same_from_a_folder_and_from_the_store(tmp_path):
    made = [made_up.record(method, "digits", r) for method in ("lif", "rlif") for r in range(3)]
    for record in made:
        records.write_record(tmp_path / "runs" / record.key / "record.json", record)
    records.publish(tmp_path / "reports", made)
    assert results(str(tmp_path)).equals(results(root=str(tmp_path)))
    with pytest.raises(BenchError, match="give a repository root"):
        results(str(tmp_path / "none"))
    (lost := tmp_path / "lost" / RUN.key).mkdir(parents=True)
    (lost / "failure.json").write_text(FAILURE.model_dump_json())
    assert len(results(str(tmp_path / "lost"))) == 1, "all of them diverged"


def test_collect_takes_finished_runs_follows_no_link_and_refuses_two_outcomes_of_one_key(tmp_path):
    here, there = (workspace_at(tmp_path / name) for name in ("here", "there"))
    secret = tmp_path / "secret"
    secret.mkdir()
    folder = records.write_record(there.runs / RUN.key / "record.json", RUN).parent
    (folder / "checkpoint.pt").symlink_to(secret)
    (there.runs / ("0" * 64)).symlink_to(folder)
    found = merge(here, [there.root])
    assert (found.added, found.same, found.unfinished) == ([RUN.key], [], 1)
    assert records.finished_record(here.runs, RUN.key) == RUN
    assert not (here.runs / RUN.key / "checkpoint.pt").exists()
    slow, fast = (
        made_up.latency("lif", "digits", ratio).changed(measured=RUN.measured | {"finished_at": f"2026-01-0{day}"})
        for ratio, day in ((9.9, 3), (1.1, 4))
    )
    for kept, taken, wanted in ((slow, fast, fast), (fast, slow, fast)):
        for workspace, measured in ((here, kept), (there, taken)):
            records.write_record(workspace.runs / slow.key / "record.json", measured)
        found = merge(here, [there.root])
        assert (slow.key in found.added) == (wanted is taken)
        assert records.finished_record(here.runs, slow.key) == wanted, "two machines may have measured one latency"
    lost = made_up.failure_of(made_up.record("rlif", "digits", 3))
    for key in (lost.key, "f" * 64):
        (there.runs / key).mkdir()
        (there.runs / key / "failure.json").write_text(lost.model_dump_json())
    assert merge(here, [there.root]).diverged == [lost.key] and records.read_folder(here.runs)[1] == [lost]
    records.write_record(folder / "record.json", again(RUN))
    with pytest.raises(BenchError, match="differ in history.*; nothing was copied"):
        merge(here, [there.runs])


def lines():
    return store.store_text([RUN]).splitlines()


def packed(*of):
    return lzma.compress("\n".join(of).encode())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"garbage" * 50, "not a readable xz file"),
        (b"", "not one whole xz file"),
        (packed(*lines())[:-40], "not one whole xz file"),
        (packed(*lines()) + b"more", "not one whole xz file"),
        (packed(*lines()[1:]), "line 1: the targets '.*' are not above it"),
        (packed("[" * 100_000), "line 1: it is not valid JSON"),
        (packed('{"kind": NaN}'), "line 1: NaN is not finite"),
        (packed("3"), "line 1: it holds a int"),
        (packed('{"kind":"run","data":3}'), "line 1: record"),
        (packed('{"kind":"targets","id":"x"}'), "was modified"),
        (packed(lines()[0], lines()[1].replace("lif", "rlif")), "line 2: record"),
        (packed('{"kind":"failure"}'), "line 1: failure"),
    ],
)
def test_a_hostile_store_is_an_error_in_one_line(tmp_path, content, words):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "digits.jsonl.xz").write_bytes(content)
    with pytest.raises(BenchError, match=words) as error:
        records.read_store(tmp_path)
    assert "\n" not in str(error.value) and "digits.jsonl.xz" in str(error.value)


def test_a_store_that_unfolds_without_end_is_refused_in_bounded_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "LARGEST", 1 << 20)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "bomb.jsonl.xz").write_bytes(lzma.compress(bytes(8 << 20)))
    with pytest.raises(BenchError, match="not one whole xz file of at most 1048576 bytes"):
        records.read_store(tmp_path)


@fuzz(100)
@given(st.data())
def test_a_damaged_store_is_an_error_of_ours_or_the_records(tmp_path, data):
    path = tmp_path / "runs" / "digits.jsonl.xz"
    path.parent.mkdir(exist_ok=True)
    whole = [RUN, made_up.record("lif", "digits", 1)]
    inside = data.draw(st.booleans())
    text = store.store_text(whole).encode()
    content = damaged(data, text if inside else lzma.compress(text), b"\n", b"{}")
    path.write_bytes(lzma.compress(content) if inside else content)
    try:
        assert all(any(r.content == w.content for w in whole) for r in records.read_store(tmp_path)[0])
    except BenchError as error:
        assert "digits.jsonl.xz" in str(error) and "\n" not in str(error)
