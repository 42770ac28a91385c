"""The store: every published run once, the same bytes for the same runs, and its table."""

import json
import lzma

import pandas as pd
import pytest
from delrec_bench import records, results
from delrec_bench.errors import BenchError
from delrec_bench.records import store
from delrec_bench.studies.collecting import merge
from delrec_bench.workspace import workspace_at
from fuzzing import damaged, fuzz
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.tests import made_up

RUN = made_up.record("lif", "digits", 0)


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


def test_runs_of_an_older_results_version_leave_the_store(tmp_path, monkeypatch):
    records.publish(tmp_path, [RUN])
    monkeypatch.setattr(store, "RESULTS_VERSION", records.RESULTS_VERSION + 1)
    provenance = RUN.provenance | {"results_version": records.RESULTS_VERSION + 1}
    records.publish(tmp_path, [made_up.remade(RUN, provenance=provenance)])
    assert len(records.read_store(tmp_path)[0]) == 1


def failure(**changes):
    values = {name: getattr(RUN, name) for name in ("key", "method", "task", "repetition", "configuration", "profile")}
    values |= {"command": RUN.command, "error": "the loss is nan", "traceback": "...", "diverged": True, "attempts": 1}
    values |= {"failed_at": "2026-01-02T03:04:05+00:00", "provenance": RUN.provenance}
    return records.Failure(**(values | changes))


def test_runs_that_diverged_are_kept_until_they_are_done(tmp_path):
    records.publish(tmp_path, [made_up.record("rlif", "digits", 0)], [failure()])
    _, lost = records.read_store(tmp_path)
    assert [f.key for f in lost] == [RUN.key] and lost[0].traceback == ""
    table = records.read_table(tmp_path / "results.parquet")
    row = table[table.key == RUN.key].iloc[0]
    assert pd.isna(row.score) and row.failed == "the loss is nan" and row.method == "lif"
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


def test_results_are_the_same_from_a_folder_and_from_the_store(tmp_path):
    made = [made_up.record(method, "digits", r) for method in ("lif", "rlif") for r in range(3)]
    for record in made:
        records.write_record(tmp_path / "runs" / record.key / "record.json", record)
    records.publish(tmp_path / "reports", made)
    assert results(str(tmp_path)).equals(results(root=str(tmp_path)))
    with pytest.raises(BenchError, match="give a repository root"):
        results(str(tmp_path / "none"))


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
    (tmp_path / "runs" / "bomb.jsonl.xz").write_bytes(lzma.compress(bytes(64 << 20)))
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
