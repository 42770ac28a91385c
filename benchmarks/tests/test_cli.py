"""The command line as other programs rely on it: one JSON object, exit codes, messages, nothing half written."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from delrec_bench import app
from delrec_bench.errors import RunError
from delrec_bench.records import read_record, same_record
from delrec_bench.runs import single

ROOT = Path(__file__).parents[2]
TINY = "--epochs 2 --limit 30 --set hidden=6 --set task.test_limit=20 --engine reference".split()
RUN_FIELDS = (
    "schema key method task repetition data_digest engine device epochs best_epoch valid_accuracy test_accuracy "
    "correct total parameters spikes_per_neuron_step synaptic_operations wall_seconds peak_bytes record"
).split()


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """A workspace of its own: an empty folder with data.dvc."""
    folder = tmp_path / "root"
    folder.mkdir()
    shutil.copy(ROOT / "data.dvc", folder)
    for name in ("DELREC_BENCH_ROOT", "DELREC_BENCH_METHODS", "DELREC_BENCH_TASKS", "DELREC_ENGINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(folder)
    return folder


def call(capsys, *words: str) -> tuple[int, str, str]:
    code = app.main(list(words))
    out, err = capsys.readouterr()
    return code, out, err


def lif(*more: str) -> list[str]:
    return ["run", "lif", "digits", *TINY, *more]


def test_run_prints_one_json_object_with_the_contracts_fields(root, capsys):
    code, out, err = call(capsys, *lif("--json"))
    assert code == 0
    content = json.loads(out)
    assert set(RUN_FIELDS) <= set(content)
    assert content["test_accuracy"] == content["correct"] / content["total"]
    assert content["total"] == 20
    assert {"weights", "delays", "neuron", "trainable", "frozen", "total"} <= set(content["parameters"])
    assert "epoch 2/2" in err
    record = read_record(Path(content["record"]))
    assert record.key == content["key"]
    assert Path(content["record"]).parent.name == content["key"]


def test_a_forecast_is_told_in_its_own_metric(root, capsys):
    code, out, _ = call(capsys, "run", "lif", "mackey-glass", *TINY)
    assert code == 0 and " NMSE, epoch " in out and "%" not in out


def test_a_finished_run_is_shown_and_not_done_again(root, capsys):
    first = json.loads(call(capsys, *lif("--json"))[1])
    code, out, err = call(capsys, *lif("--json"))
    assert code == 0
    assert json.loads(out) == first
    assert "epoch" not in err


def test_a_record_made_again_is_the_same_outside_measured(root, capsys):
    words = ["run", "delrec-axonal", "digits", *TINY, "--set", "recurrent_layers=[0]", "--json"]
    records = []
    for place in ("a", "b"):
        out = call(capsys, *words, "--runs", str(root / place))[1]
        records.append(read_record(Path(json.loads(out)["record"])))
    assert same_record(*records)
    assert records[0].measured["wall_seconds"] != records[1].measured["wall_seconds"]


def test_a_checkpoint_holds_the_chosen_epoch_and_loads_without_pickle(root, capsys):
    content = json.loads(call(capsys, *lif("--json"))[1])
    checkpoint = torch.load(Path(content["record"]).with_name("checkpoint.pt"), weights_only=True)
    assert checkpoint["key"] == content["key"]
    assert checkpoint["best_epoch"] == content["best_epoch"]
    assert sum(v.numel() for v in checkpoint["state_dict"].values()) >= content["parameters"]["weights"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("run lfi digits", "no method 'lfi'; did you mean 'lif'"),
        ("run lif digit", "no task 'digit'; did you mean 'digits'"),
        ("run lif digits --set hiden=3", "unknown key 'hiden'; did you mean 'hidden'"),
        ("run lif digits --set hidden=0", "hidden"),
        ("run lif digits --set hidden=a,b", "hidden"),
        ("run lif digits --set training.epochs=1.5", "training.epochs is 1.5"),
        ("run lif digits --set tau=[1", "does not parse"),
        ("run lif digits --set tau", "is not key=value"),
        ("run lif digits --epochs 0", "--epochs is 0; it must be at least 1"),
        ("run lif digits --epochs x", "run: invalid value for '--epochs'"),
        ("run lif digits --limit 0", "limit"),
        ("run lif digits --repetition -1", "--repetition is -1"),
        ("run lif digits --profile quik", "did you mean 'quick'"),
        ("run lif digits --engine fast", "fast"),
        ("run lif digits --device tpu", "--device is 'tpu'"),
        ("run lif digits --threads 0", "--threads is 0"),
        ("run lif digits --data nowhere", "--data nowhere"),
        ("run lif shd --data nowhere", "'nowhere' is not a folder"),
        ("run lif digits --methods nowhere", "nowhere' does not exist; give a folder of method files"),
        ("run lif digits --epoch 3", "did you mean '--epochs'"),
        ("run lif", "run: missing argument 'task'"),
        ("rnu lif digits", "there is no command 'rnu'; did you mean 'run'"),
        ("list methods --study x", "list: option '--study' is not known; it is an option of bench, reproduce, report"),
        ("list methods --jsno", "list: option '--jsno' is not known; did you mean '--json'"),
        ("data stat", "there is no command 'stat'; did you mean 'status'"),
        ("run lif digits --set network.hidden=99999999999999999999", "network.hidden is 99999999999999999999"),
        ("run lif digits --set training.batch=1e9", "training.batch is 1000000000.0; it must be a whole number"),
        ("reproduce --repetitions 100000000 --dry-run", "--repetitions is 100000000; it must be from 1 to 1000"),
        ("run lif digits --threads 99999999999", "--threads is 99999999999; it must be at most 1024"),
        ("run lif mackey-glass --set task.tau=100000", "task.tau is 100000; it must be at most 1000"),
        ("run lif digits --set", "requires an argument"),
        ("reproduce --study mine.toml", "no study file 'mine.toml'"),
        ("reproduce --device tpu", "--device is 'tpu'; it must be one of 'cpu', 'cuda' or 'auto'"),
        ("reproduce --data shd", "--data 'shd' is not TASK=DIR"),
        ("list method", "did you mean 'methods'"),
        ("reproduce --study nothing", "no study 'nothing'"),
        ("reproduce --profile quik", "did you mean 'quick'"),
        ("reproduce --jobs 0", "--jobs is 0"),
        ("run lif digits --root nowhere", "--root 'nowhere' is not a folder"),
    ],
)
def test_a_bad_request_exits_2_with_one_line_and_writes_nothing(root, capsys, words, message):
    before = sorted(root.rglob("*"))
    code, out, err = call(capsys, *words.split())
    assert code == 2
    assert out == ""
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert sorted(root.rglob("*")) == before


def test_an_error_is_json_too_if_asked(root, capsys):
    code, out, _ = call(capsys, "run", "lfi", "digits", "--json")
    assert code == json.loads(out)["exit_code"] == 2
    assert "did you mean" in json.loads(out)["error"]


def test_outside_a_checkout_a_run_is_kept_where_it_was_asked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DELREC_BENCH_ROOT", raising=False)
    code, out, _ = call(capsys, *lif("--json"))
    assert code == 0
    assert Path(json.loads(out)["record"]).resolve().is_relative_to(tmp_path)


def test_a_run_that_fails_exits_1_and_leaves_no_record(root, capsys, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise RunError("the loss is nan in epoch 1")

    monkeypatch.setattr(single, "fit", fail)
    code, _, err = call(capsys, *lif())
    assert code == 1
    assert "lif on digits" in err
    assert not list(root.glob("runs/*/record.json"))


def test_a_bug_says_so_and_where_its_traceback_is(root, capsys, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(single, "fit", fail)
    code, _, err = call(capsys, *lif())
    assert code == 1
    assert "this is a bug (ZeroDivisionError: oops)" in err
    saved = Path(err.rpartition("is in ")[2].strip())
    assert "ZeroDivisionError" in saved.read_text()
    saved.unlink()


def test_an_interrupt_exits_130(root, capsys, monkeypatch):
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(single, "fit", stop)
    assert call(capsys, *lif())[0] == 130
    assert not list(root.glob("runs/*/record.json"))


def test_a_full_disk_is_the_users_affair(root, capsys, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "cache/x")

    monkeypatch.setattr(single, "fit", full)
    code, _, err = call(capsys, *lif())
    assert code == 2
    assert "cache/x: No space left on device" in err


@pytest.mark.parametrize("what", ["methods", "tasks"])
def test_list_says_what_each_is_and_where_it_comes_from(root, capsys, what):
    code, out, _ = call(capsys, "list", what, "--json")
    assert code == 0
    entries = json.loads(out)[what]
    assert all(entry["name"] and entry["summary"] and entry["source"] for entry in entries)
    plain = call(capsys, "list", what)[1]
    assert all(entry["name"] in plain for entry in entries)


def test_help_teaches_with_examples(root, capsys):
    for words in (["--help"], ["run", "--help"], ["reproduce", "--help"]):
        code, out, _ = call(capsys, *words)
        assert code == 0
        assert "Examples:" in out and "delrec-bench" in out


def test_a_dry_run_says_runs_hours_and_memory(root, capsys):
    code, out, _ = call(capsys, "reproduce", "--dry-run")
    assert code == 0
    assert "runs" in out
    assert "memory" in out
    content = json.loads(call(capsys, "reproduce", "--dry-run", "--profile", "paper", "--json")[1])
    assert {"runs", "hours", "memory_bytes"} <= set(content)
    assert content["runs"] > 0
    assert not (root / "runs").exists()


def test_the_installed_command_runs_and_keeps_stdout_for_the_object(root):
    words = [sys.executable, "-m", "delrec_bench.app", "run", "lfi", "digits", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=root)
    assert done.returncode == 2
    assert json.loads(done.stdout)["exit_code"] == 2
