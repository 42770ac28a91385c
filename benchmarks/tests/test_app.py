"""The command line as a thing that grows and is met by odd terminals: found by folder, light, and never in the way."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from delrec_bench import app
from delrec_bench.app import progress, tree
from delrec_bench.app.progress import Display
from delrec_bench.plugins import import_file
from delrec_bench.runs import single
from rich.console import Console

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-m", "delrec_bench.app"]
TINY = "--epochs 1 --limit 30 --set hidden=6 --set task.test_limit=20".split()


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """A workspace of its own: an empty folder with data.dvc."""
    shutil.copy(ROOT / "data.dvc", tmp_path)
    for name in ("DELREC_BENCH_ROOT", "DELREC_BENCH_METHODS", "DELREC_BENCH_TASKS", "DELREC_ENGINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_help_and_complaints_come_without_torch(root):
    code = (
        "import sys; from delrec_bench.app import main\n"
        "codes = [main(words.split()) for words in ('--help', 'run --help', 'reproduce --help', 'data --help', 'rnu', "
        "'run lif', 'run lif digits --epoch 3', 'list methods --study x')]\n"
        "assert codes == [0, 0, 0, 0, 2, 2, 2, 2], codes\n"
        "heavy = {'torch', 'numba', 'mlflow', 'pandas', 'matplotlib', 'tonic'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_file_in_the_folder_is_a_command_with_the_options_of_all(root, capsys, tmp_path, monkeypatch):
    folder = tmp_path / "commands"
    folder.mkdir()
    (folder / "say_so_.py").write_text(
        "PANEL = 'See'\n"
        "EXAMPLES = (('say-so', 'says so'),)\n"
        "def command(places, word: str = 'so'):\n"
        "    '''Say so.'''\n"
        "    print(word)\n"
        "    return 0, {'word': word, 'runs': places.runs}\n"
    )
    monkeypatch.setattr(tree, "FOLDER", folder)
    monkeypatch.setattr(tree, "import_command", lambda stem: import_file(folder / f"{stem}.py", "command"))
    assert app.main(["say-so", "--word", "yes", "--runs", "here", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"schema": 1, "word": "yes", "runs": "here"} and err == "yes\n"
    assert app.main(["--help"]) == 0 and "say-so" in capsys.readouterr().out
    assert app.main(["say-os"]) == 2 and "did you mean 'say-so'" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["list", "methods"], ["data", "status"]])
def test_a_terminal_of_ascii_shows_all_of_it(root, words):
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    done = subprocess.run([*PROGRAM, *words], capture_output=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii() and len(done.stdout) > 300


def test_a_path_that_is_no_unicode_is_answered_not_choked_on(root, capsys):
    odd = os.fsdecode(b"corpus-\xff")
    (root / odd).mkdir()
    assert app.main(["run", "lif", "shd", "--data", odd]) == 2
    assert "\\udcff" in capsys.readouterr().err
    assert app.main(["run", "lif", "digits", *TINY, "--runs", odd]) == 0
    out = capsys.readouterr().out
    assert "written: " in out and len(list((root / odd).glob("*/record.json"))) == 1
    assert app.main(["run", "lif", "digits", *TINY, "--runs", odd, "--json"]) == 0
    assert Path(json.loads(capsys.readouterr().out)["record"]).is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["reproduce", "--only-methods", ""], "--only-methods is '' and names nothing"),
        (["reproduce", "--only-tasks", " , "], "--only-tasks is ' , ' and names nothing"),
        (["list", "methods", "--methods", ""], "--methods is ''; name a folder"),
        (["list", "methods", "--tasks", ""], "--tasks is ''"),
        (["list", "methods", "--runs", ""], "--runs is ''"),
        (["list", "methods", "--root", ""], "--root is ''"),
    ],
)
def test_an_empty_option_is_no_option(root, capsys, words, message):
    assert app.main(words) == 2
    assert message in capsys.readouterr().err
    assert not (root / "runs").exists()


def planted(monkeypatch, error: BaseException) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(single, "fit", fail)


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), OSError(28, "No space"), TypeError("f()")])
def test_an_exception_of_a_method_is_neither_a_closed_pipe_nor_a_full_disk(root, capsys, monkeypatch, error):
    planted(monkeypatch, error)
    assert app.main(["run", "lif", "digits", *TINY]) == 1
    said = capsys.readouterr().err
    assert f"this is a bug ({type(error).__name__}" in said
    Path(said.rpartition("is in ")[2].strip()).unlink()


def test_a_reader_who_goes_away_is_no_complaint(root):
    command = f"{' '.join(PROGRAM)} list methods; echo $? >&2"
    done = subprocess.run(["bash", "-c", f"({command}) | head -c 1"], capture_output=True, text=True, check=False)
    assert done.stderr == "0\n"


def test_bars_on_a_terminal_and_plain_lines_elsewhere(monkeypatch, capsys):
    entry = {"epoch": 1, "epochs": 4, "loss": 0.5, "valid_loss": 0.4, "valid_accuracy": 0.25}
    with Display() as display:
        display.bar("runs", 1, 4, 30)
        display.epoch(entry)
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("epoch 1/4  loss 0.5  valid_accuracy 0.25  about ") and err.count("\n") == 1
    screen = io.StringIO()
    monkeypatch.setattr(progress, "Console", lambda **_: Console(file=screen, force_terminal=True, width=100))
    with Display() as display:
        display.bar("runs", 1, 4, 7000)
        display.epoch(entry)
        assert set(display.tasks) == {"runs", "epochs"}
        display.bar("runs", 4, 4, 0)
        assert set(display.tasks) == {"epochs"}
    shown = screen.getvalue()
    assert "epoch 1/4" in shown and "about 1.9 hours left" in shown and "1/4" in shown


def test_many_small_steps_have_a_bar_or_a_line_now_and_then(monkeypatch, capsys):
    clock = iter(range(0, 1000, 20))  # a step takes 20 seconds
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(clock))
    with Display() as display:
        assert list(display.each("MLflow", "abcde")) == list("abcde")
    assert capsys.readouterr().err.splitlines() == [
        "MLflow: 2 of 5, about 60 s left",
        "MLflow: 4 of 5, about 20 s left",
    ]
    screen = io.StringIO()
    monkeypatch.setattr(progress, "Console", lambda **_: Console(file=screen, force_terminal=True, width=100))
    with Display() as display:
        steps = display.each("MLflow", "abc")
        assert [next(steps), next(steps)] == ["a", "b"] and set(display.tasks) == {"MLflow"}
        assert list(steps) == ["c"] and not display.tasks


def test_list_knows_everything_that_may_be_named_and_every_schema(root, capsys):
    found = {}
    for what in ("methods", "tasks", "metrics", "profiles", "studies", "schemas"):
        assert app.main(["list", what, "--json"]) == 0
        found[what] = json.loads(capsys.readouterr().out)[what]
        assert found[what] and app.main(["list", what]) == 0
        assert found[what][0]["name"] in capsys.readouterr().out or what == "schemas"
    schemas = {row["name"]: row["schema"] for row in found["schemas"]}
    assert {"summary", "methods", "sweep", "primary", "margin"} <= set(schemas["study"]["properties"])
    assert "repetition" in schemas["request"]["properties"]
