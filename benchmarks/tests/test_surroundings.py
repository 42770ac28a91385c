"""What is around a run fails: a full disk, a read-only folder, no HOME, another study in the same folder."""

import json
import os
import shlex
import subprocess
import sys
from unittest.mock import Mock

import pytest
from delrec_bench import app
from delrec_bench.config import Request
from delrec_bench.errors import BenchError
from delrec_bench.records import read_folder, read_record
from delrec_bench.runs import folder
from delrec_bench.tracking import runs_from_mlflow
from delrec_bench.workspace import find_workspace, workspace_at, write_atomic
from killed_run import when_written
from short_runs import TINY, done, study

RUN = shlex.split(Request("lif", "digits", overrides=TINY).command())[1:]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc, mounts")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return done(Request("lif", "digits", overrides=TINY), workspace_at(tmp_path_factory.mktemp("alone")))


@pytest.mark.mlflow
@pytest.mark.parametrize("name", "record.json checkpoint.pt resume.pt history.jsonl failure.json mine.csv".split())
def test_no_room_for_a_file_is_told_and_the_next_call_makes_it(tmp_path, monkeypatch, capsys, alone, name):
    (tmp_path / "mine.toml").write_text(study(["lif", "counts-only"]))
    monkeypatch.setattr(folder, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "ftp://nowhere")  # refused at once: the page comes from the records
    root = tmp_path / "root"
    root.mkdir()
    words = ["reproduce", "--study", str(tmp_path / "mine.toml"), "--root", str(root), "--no-latency", "--jobs", "1"]
    with monkeypatch.context() as patch:
        if name == "failure.json":  # why it failed cannot be kept; that comes first, what failed is its cause
            patch.setattr("delrec_bench.runs.single.fit", lambda *_, **__: 1 / 0)
        patch.setattr(os, "fsync", os.fsync)
        when_written(name, Mock(side_effect=OSError(28, "No space left on device")))
        assert app.main(words) == 2
    assert f"{name}: No space left on device; make room" in capsys.readouterr().err
    assert app.main(words) == 0
    said = capsys.readouterr().err
    assert ("goes on after epoch 2" in said) == (name in ("record.json", "checkpoint.pt")) and "warning: MLflow" in said
    records = read_folder(root / "runs")[0]
    assert len(records) == 4 and alone.digest in [record.digest for record in records]
    assert "counts-only" in (root / "out" / "mine" / "mine.csv").read_text()
    assert not [path for path in root.rglob(".*.????????") if not path.name.endswith(".lock")]


# In a namespace of its own a process may mount: a disk of 4 MB, filled but for 12 KiB, then emptied, then read-only.
MOUNTED = """
mount -t tmpfs -o size=4m none "$PWD" && cd "$PWD"
head -c 4194304 /dev/zero > ballast 2> /dev/null; truncate -s -12K ballast
"$@" > /dev/null; echo $?
rm ballast
"$@" > /dev/null; echo $?
mount -o remount,ro none "$PWD"
"$@" > /dev/null; echo $?
"$@" --repetition 1 > /dev/null; echo $?
cat runs/*/record.json
"""


def may_mount() -> bool:
    try:
        return subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], timeout=30).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not may_mount(), reason="this user may not mount, not even in a namespace")
def test_a_disk_that_is_really_full_or_read_only_is_told_and_costs_nothing(tmp_path, alone):
    root = tmp_path / "root"
    root.mkdir()
    words = ["unshare", "-rm", "sh", "-c", MOUNTED, "sh", sys.executable, "-m", "delrec_bench.app", *RUN]
    ended = subprocess.run([*words, "--root", "."], capture_output=True, text=True, timeout=280, cwd=root)
    assert "bug" not in ended.stderr and "Traceback" not in ended.stderr, ended.stderr
    assert "No space left on device" in ended.stderr and "Read-only file system" in ended.stderr
    full, emptied, shown, other, text = ended.stdout.splitlines()
    assert (full, emptied, shown, other) == ("2", "0", "0", "2"), ended.stderr
    (root / "record.json").write_text(text)
    assert read_record(root / "record.json").content == alone.content


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("home", [None, "/dev/null/home"])
def test_no_home_is_no_error(tmp_path, alone, home):
    gone = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "DELREC_CACHE", "MPLCONFIGDIR")
    environment = {name: value for name, value in os.environ.items() if name not in gone}
    environment |= {} if home is None else {"HOME": home}
    words = [sys.executable, "-m", "delrec_bench.app", *RUN, "--root", str(tmp_path)]
    ended = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=280)
    assert ended.returncode == 0, ended.stderr
    assert read_folder(tmp_path / "runs")[0][0].content == alone.content


def test_what_is_no_file_is_not_replaced_by_one(tmp_path):
    os.mkfifo(pipe := tmp_path / "pipe")
    for path in (pipe, tmp_path):
        with pytest.raises(BenchError, match=f"{path} is not a regular file"):
            write_atomic(path, "")
    assert pipe.is_fifo()


def test_what_killed_writes_left_is_swept_a_day_later(tmp_path):
    left = [tmp_path / name for name in ("out/mine/.mine.csv.abcdef01", "cache/.b.abcdef01", "data/shd/.x.h5.abcdef01")]
    kept = [tmp_path / name for name in ("cache/.fresh.npy.abcdef01", "data/shd/.notes.original", "out/mine/mine.csv")]
    for path in (*left, *kept):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for path in (*left, kept[1], kept[2]):
        os.utime(path, (0, 0))
    find_workspace(str(tmp_path))
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(kept)


@pytest.mark.mlflow
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_studies_at_once_in_one_folder_with_a_space_and_foreign_letters_lose_nothing(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    root = tmp_path / "one folder ü 中"
    root.mkdir()
    studies = {"first": ["lif", "counts-only"], "second": ["lif", "time-slices"]}
    running = []
    for name, methods in studies.items():
        (tmp_path / f"{name}.toml").write_text(study(methods))
        words = ["reproduce", "--study", str(tmp_path / f"{name}.toml"), "--root", str(root), "--no-latency"]
        command = [sys.executable, "-m", "delrec_bench.app", *words, "--jobs", "1", "--json"]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    said = [process.communicate(timeout=500) for process in running]
    assert [process.returncode for process in running] == [0, 0], said
    first, second = (json.loads(out) for out, _ in said)
    assert first["complete"] and second["complete"]
    assert len(read_folder(root / "runs")[0]) == 6  # two of lif in common
    assert [content["runs"] for content in (first, second)] == [4, 4]
    assert app.main(["sync", "--root", str(root)]) == 0
    assert len(runs_from_mlflow(workspace_at(root))[0]) == 6
