"""The command line as other programs rely on it: one JSON object, exit codes, messages, nothing half written."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import typer
from delrec_bench import app
from delrec_bench.app import command_line, run_commands
from delrec_bench.errors import RunError
from delrec_bench.records import read_record
from delrec_bench.report.declared import names_of
from delrec_bench.runs import single
from delrec_bench.studies.expansion import Wanted, expand
from short_runs import METHODS, TASKS

PROGRAM = [sys.executable, "-m", "delrec_bench.app"]
TINY = "--epochs 2 --limit 30 --set hidden=6 --set task.test_limit=20 --engine reference".split()
LIF = ["run", "lif", "digits", *TINY]
RUN_FIELDS = (
    "schema key method task repetition data_digest engine device epochs best_epoch valid_accuracy test_accuracy "
    "correct total parameters spikes_per_neuron_step synaptic_operations wall_seconds peak_bytes record"
).split()


def call(capsys, *words: str) -> tuple[int, str, str]:
    code = app.main(list(words))
    out, err = capsys.readouterr()
    return code, out, err


def test_run_prints_one_json_object_and_is_not_done_again(checkout, capsys):
    code, out, err = call(capsys, *LIF, "--json")
    content = json.loads(out)
    assert code == 0 and set(RUN_FIELDS) <= set(content) and "epoch 1/2  loss " in err and "valid_accuracy" in err
    assert content["test_accuracy"] == content["correct"] / content["total"] and content["total"] == 20
    assert {"weights", "delays", "neuron", "trainable", "frozen", "total"} <= set(content["parameters"])
    path = Path(content["record"])
    assert read_record(path).key == content["key"] == path.parent.name
    checkpoint = torch.load(path.with_name("checkpoint.pt"), weights_only=True)
    assert (checkpoint["key"], checkpoint["best_epoch"]) == (content["key"], content["best_epoch"])
    code, out, err = call(capsys, *LIF, "--json")
    assert code == 0 and json.loads(out) == content and "epoch" not in err


def test_a_forecast_is_told_in_its_own_metric(checkout, capsys):
    code, out, _ = call(capsys, "run", "delrec-axonal", "mackey-glass", *TINY, "--set", "recurrent_layers=[0]")
    assert code == 0 and " NMSE, epoch " in out and "%" not in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("run lfi digits", "no method 'lfi'; did you mean 'lif'"),
        ("run lif digits --set hiden=3", "unknown key 'hiden'; did you mean 'hidden'"),
        ("run lif digits --epochs x", "Invalid value for '--epochs': 'x' should be a valid integer"),
        ("reproduce --executor-option a", "--executor-option 'a' is not key=value"),
        ("run lif digits --set network.hidden=[]", "network.hidden is []; it must have at least 1 item"),
        ("run lif digits --epochs 0", "--epochs is 0; it must be"),
        ("run lif digits --epochs 1 --set epochs=3", "training.epochs is given twice, 1 and 3; omit one"),
        ("run lif digits --set tau=2 --set network.tau=3", "network.tau is set twice, to 2 and 3; remove one"),
        (f"data export-splits digits --out {__file__}", "Not a directory"),
        (f"run lif digits --runs {__file__}", "is a file; give a folder"),
        (f"run counts-only digits --limit 12 --runs {__file__}/x", "Not a directory; make room or choose another"),
        ("run lif digits --epoch 3", "(Possible options: --epochs). See delrec-bench run --help"),
        ("run lif digits --profile quik", "did you mean 'quick'"),
        ("run lif digits --set training.selection=best-test", "reproduce --study selection"),
        ("run lif digits --engine fast", "fast"),
        ("run lif digits --engine triton", "runs on CUDA tensors"),
        ("run lif digits --threads 99999999999", "--threads is 99999999999; it must be"),
        ("run lif shd --data nowhere", "--data 'nowhere': this is not a folder"),
        ("run lif", "Missing argument 'task'. See delrec-bench run --help"),
        ("rnu lif digits", "No such command 'rnu'. Did you mean 'run'?"),
        ("list methods --jsno", "No such option: --jsno (Possible options: --json)"),
        ("list method", "did you mean 'methods'"),
        ("data fetch yin-yang", "'yin-yang' has no file to download"),
        ("data make shd", "'shd' has no file to generate"),
        ("data export-splits nmnist", "/nmnist/NMNIST"),
        ("run counts-only digits --engine fast", "fast"),
        ("export safetensors 3f2a --step-ms 5", "--step-ms is of nir"),
        ("reproduce --per-device 4 --jobs 2", "--jobs and --per-device exclude each other"),
        ("reproduce --per-device 4", "--per-device 4 needs --device cuda"),
        ("reproduce --repetitions 100000000 --dry-run", "--repetitions is 100000000; it must be less"),
        ("compare lif rlif --data nothing=there", "omit --profile and --data"),
        ("compare published published --of leaderboard", "say which runs of two methods are compared; omit them"),
        ("reproduce --study mine.toml", "no study 'mine.toml'"),
        ("reproduce --profile speech", "nothing to run: give the files (--data TASK=DIR)"),
        ("reproduce --device tpu", "--device is 'tpu'; it must be 'cpu', 'cuda' or 'auto'"),
        ("reproduce --data shd", "--data 'shd' is not TASK=DIR"),
        ("reproduce --data shd=a --data shd=b", "--data names shd twice"),
        ("reproduce --only-tasks=,", "--only-tasks is ',' and names nothing"),
        ("reproduce --dry-run --only-tasks digits --data digits=.", "task 'digits' does not accept your own files"),
        ("run lif digits --root nowhere", "--root 'nowhere' is not a folder"),
        ("list methods --methods=", "--methods is ''; give a folder"),
        ("run lif shd --data=~/nowhere", f"{Path.home()}/nowhere"),
    ],
)
def test_a_bad_request_exits_2_with_one_line_and_writes_nothing(checkout, capsys, words, message):
    before = sorted(checkout.rglob("*"))
    code, out, err = call(capsys, *words.split())
    assert (code, out) == (2, "") and message in err and len(err.strip().splitlines()) == 1
    code, out, _ = call(capsys, *words.split(), "--json")
    assert code == json.loads(out)["exit_code"] == 2 and json.loads(out)["error"]
    assert sorted(checkout.rglob("*")) == before


def test_outside_a_checkout_a_run_is_kept_where_it_was_asked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DELREC_BENCH_ROOT", raising=False)
    code, out, _ = call(capsys, *LIF, "--json")
    assert code == 0 and Path(json.loads(out)["record"]).resolve().is_relative_to(tmp_path)


def test_a_dry_run_says_runs_and_hours(checkout, capsys):
    code, out, _ = call(capsys, "reproduce", "--dry-run")
    assert code == 0 and "total: " in out
    once, whole = (json.loads(call(capsys, "reproduce", "--dry-run", "--json", *all_)[1]) for all_ in ((), ("--all",)))
    assert 10 * once["runs"] == whole["runs"] > 0 and once["hours"] > 0
    three = json.loads(call(capsys, "reproduce", "--dry-run", "--json", "--repetitions", "3")[1])
    assert three["runs"] == 3 * once["runs"]
    assert not (checkout / "runs").exists()


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (RunError("the loss is nan in epoch 1"), 1, "lif on digits"),
        (ZeroDivisionError("oops"), 1, "lif on digits, repetition 0: ZeroDivisionError: oops"),
        (OSError(28, "No space left on device", "cache/x"), 2, "cache/x: No space left on device"),
        (KeyboardInterrupt(), 130, ""),
    ],
    ids=repr,
)
def test_a_run_that_fails_has_its_exit_code_and_leaves_no_record(checkout, capsys, monkeypatch, error, code, said):
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(single, "fit", fail)
    found, _, err = call(capsys, *LIF)
    assert found == code and said in err
    assert not list(checkout.glob("runs/*/record.json"))


def test_the_time_left_is_told_by_the_epochs_of_this_call(checkout, capsys, monkeypatch):
    def goes_on(*_, progress, **__):
        progress({"epoch": 9, "epochs": 10, "loss": 1.0})
        raise KeyboardInterrupt

    monkeypatch.setattr(single, "fit", goes_on)
    monkeypatch.setattr(run_commands, "time", SimpleNamespace(perf_counter=iter([0.0, 120.0]).__next__))
    assert "epoch 9/10  loss 1  about 2 minutes left" in call(capsys, *LIF)[2]


def test_a_score_that_json_has_no_number_for_is_refused(checkout, capsys):
    (checkout / "mine.csv").write_text("position,prediction\n" + "".join(f"{i},1e200\n" for i in range(1031)))
    code, out, _ = call(capsys, "score", "mine.csv", "--task", "mackey-glass", "--json")
    assert code == 2 and "prediction 1e+200 must be a finite number below 1e100" in json.loads(out)["error"]


def test_records_help_and_complaints_come_without_torch_and_a_terminal_of_ascii_shows_all(checkout):
    code = (
        "import sys, delrec_bench.records; from delrec_bench.app import main\n"
        "codes = [main(words.split()) for words in ('--help', 'run --help', 'reproduce --help', 'data --help', 'rnu', "
        "'run lif', 'run lif digits --epoch 3', 'list methods --study x')]\n"
        "assert codes == [0, 0, 0, 0, 2, 2, 2, 2], codes\n"
        "heavy = {'torch', 'numba', 'mlflow', 'pandas', 'matplotlib', 'tonic'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii() and len(done.stdout) > 300


def test_a_path_that_is_no_unicode_is_answered_not_choked_on(checkout, capsys):
    odd = os.fsdecode(b"corpus-\xff")
    (checkout / odd).mkdir()
    assert app.main(["run", "lif", "shd", "--data", odd]) == 2
    assert "\\udcff" in capsys.readouterr().err
    code, out, _ = call(capsys, *LIF, "--runs", odd)
    assert code == 0 and "written: " in out and len(list((checkout / odd).glob("*/record.json"))) == 1
    assert Path(json.loads(call(capsys, *LIF, "--runs", odd, "--json")[1])["record"]).is_file()


def test_a_reader_who_goes_away_is_no_complaint(checkout):
    command = f"({' '.join(PROGRAM)} list methods 2>err; echo $? >code) | true"
    subprocess.run(["bash", "-c", command], check=False)
    assert "bug" not in (checkout / "err").read_text() and (checkout / "code").exists()


def test_who_stops_reading_the_progress_ends_the_command_without_a_complaint(checkout, monkeypatch):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as gone:
        monkeypatch.setattr(sys, "stderr", gone)
        monkeypatch.setattr(command_line, "bug", lambda error: pytest.fail(f"taken for a bug: {error!r}"))
        assert app.main(LIF) == 141
    monkeypatch.setattr(sys, "stderr", None)  # as of `2>&-`
    assert app.main(["run", "lfi", "digits"]) == 2


def test_list_knows_everything_that_may_be_named(checkout, capsys):
    kinds = ("methods", "tasks", "metrics", "profiles", "studies")
    for what in kinds:
        found = json.loads(call(capsys, "list", what, "--json")[1])[what]
        code, out, _ = call(capsys, "list", what)
        assert code == 0 and found[0]["name"] in out
    assert [line.split()[0] for line in call(capsys, "list")[1].splitlines()] == list(kinds)


TREE = typer.main.get_command(command_line.build())
EPILOGS = [one.epilog or "" for one in (TREE, *TREE.commands.values())]
EXAMPLES = [words for text in EPILOGS for words in re.findall(r"\[bold]delrec-bench (.*?)\[/]", text)]


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_examples_study_profile_methods_and_tasks_are_there(example):
    words = shlex.split(example)

    def said(option, usual=None):
        return words[words.index(option) + 1] if option in words else usual

    if words[0] in ("run", "search") and "--methods" not in words:
        assert METHODS[words[1]] and TASKS[words[2]]
    usual = "leaderboard" if words[0] in ("reproduce", "report", "leaderboard", "compare") else None
    study = said("--study", said("--of", usual))
    if study is not None and not study.endswith(".toml"):
        only = [said(f"--only-{what}") for what in ("methods", "tasks")]
        wanted = Wanted(*(None if names is None else tuple(names.split(",")) for names in only))
        made = expand(study, said("--profile"), METHODS, TASKS, wanted)
        if words[0] == "compare" and words[1].startswith("delrec"):
            assert {words[1], words[2]} <= set(names_of(made).values())
