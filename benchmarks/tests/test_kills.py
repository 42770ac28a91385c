"""A run that is killed goes on where it was, and ends as if nothing had been: to the bit, with nothing left over."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from delrec_bench.runs.folder import RunFolder
from delrec_bench.training import loop
from faults import driver
from faults.comparing import compare, run_folder

ROOT = Path(__file__).parents[2]
DRIVER = ROOT / "benchmarks" / "faults" / "driver.py"


def drive(root: Path, *words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, DRIVER, root, *words], capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    done = drive(root)
    assert done.returncode == 0, done.stderr
    return run_folder(root)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("moment", "count", "epoch"), [("epoch", 18, 3), ("checkpoint", 3, 2), ("record", 1, 6)])
def test_a_killed_run_goes_on_after_its_last_epoch_and_ends_the_same_to_the_bit(tmp_path, whole, moment, count, epoch):
    killed = drive(tmp_path, "--moment", moment, "--count", str(count))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    folder = run_folder(tmp_path)
    assert not (folder / "record.json").exists()
    resumed = drive(tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert f"goes on after epoch {epoch}, where it was cut short" in resumed.stderr
    assert compare(whole, folder) == []
    measured = json.loads((folder / "record.json").read_text())["measured"]
    assert measured["resumed_after"] == [epoch]
    assert len(measured["epoch_seconds"]) == 6


@pytest.mark.timeout(300)
def test_a_run_killed_after_its_record_is_finished_and_tidied_at_the_next_call(tmp_path, whole):
    assert drive(tmp_path, "--moment", "finished").returncode == -signal.SIGKILL
    folder = run_folder(tmp_path)
    made = (folder / "record.json").stat().st_mtime_ns
    assert (folder / "resume.pt").exists()
    assert drive(tmp_path).returncode == 0
    assert (folder / "record.json").stat().st_mtime_ns == made
    assert compare(whole, folder) == []


def damaged(content: dict) -> bytes:
    return b"PK\x03\x04 this was a checkpoint"


def of_another_network(content: dict) -> dict:
    content["training"]["model"].popitem()
    return content


def without_history(content: dict) -> dict:
    return {**content, "history": content["history"][:1]}


def of_another_engine(content: dict) -> dict:
    return {**content, "belongs": {**content["belongs"], "engine": "another"}}


class Pickled:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def hostile(content: dict) -> dict:
    return {**content, "extra": Pickled()}


@pytest.mark.parametrize(
    ("change", "said", "aside"),
    [
        (damaged, "cannot be used", True),
        (of_another_network, "cannot be used (RuntimeError: Error(s) in loading state_dict", True),
        (without_history, "cannot be used (ValueError: it is incomplete)", True),
        (hostile, "cannot be used (UnpicklingError", True),
        (of_another_engine, "is of engine another, not cpu; the run starts anew", False),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_told_and_the_run_starts_anew(
    tmp_path, whole, monkeypatch, capsys, change, said, aside
):
    monkeypatch.setattr(driver.folder, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(RunFolder, "finish", RunFolder.finish)  # put back afterwards
    with monkeypatch.context() as patch:
        patch.setattr(driver, "die", interrupted)
        patch.setattr(loop.Optimisation, "step", loop.Optimisation.step)
        driver.dies_at("epoch", 12)
        with pytest.raises(KeyboardInterrupt):
            driver.once(tmp_path)
    folder = run_folder(tmp_path)
    changed = change(torch.load(folder / "resume.pt", weights_only=True))
    if isinstance(changed, bytes):
        (folder / "resume.pt").write_bytes(changed)
    else:
        torch.save(changed, folder / "resume.pt")
    monkeypatch.chdir(tmp_path)
    driver.once(tmp_path)
    assert said in capsys.readouterr().err
    assert not (tmp_path / "executed").exists()
    assert compare(whole, folder) == (["file resume.broken.pt"] if aside else [])


def interrupted() -> None:
    raise KeyboardInterrupt
