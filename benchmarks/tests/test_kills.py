"""A run that is killed goes on where it was, and ends as if nothing had been: to the bit, with nothing left over."""

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from delrec_bench.errors import BenchError
from delrec_bench.records import read_folder, read_record
from delrec_bench.runs.folder import Checkpoints, RunFolder, sealed, unsealed
from delrec_bench.runs.trained import network_of
from delrec_bench.training import CheckpointError, Fit, Optimisation
from delrec_bench.training.resuming import restore
from fuzzing import damaged, fuzz
from hypothesis import given
from hypothesis import strategies as st
from short_runs import study

from benchmarks.tests import killed_run as driver
from benchmarks.tests.killed_run import compare, read_training, run_folder

DRIVER = Path(driver.__file__)
pytestmark = pytest.mark.slow


def drive(root: Path, *words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, DRIVER, root, *words], capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    done = drive(root)
    assert done.returncode == 0, done.stderr
    return run_folder(root)


MOMENTS = [("resume.pt", 1, 0), ("resume.pt", 3, 2), ("record.json", 1, 6), ("finished", 1, None)]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("moment", "count", "epoch"), MOMENTS)
def test_a_killed_run_goes_on_after_its_last_epoch_and_ends_the_same_to_the_bit(tmp_path, whole, moment, count, epoch):
    killed = drive(tmp_path, moment, str(count))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    record = run_folder(tmp_path) / "record.json"
    made = record.stat().st_mtime_ns if epoch is None else None
    assert record.exists() == (epoch is None)
    resumed = drive(tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert compare(whole, record.parent) == []
    measured = json.loads(record.read_text())["measured"]
    assert len(measured["epoch_seconds"]) == 6
    if epoch is None:  # it was finished, and is only tidied
        assert record.stat().st_mtime_ns == made
    else:
        assert (f"goes on after epoch {epoch}, where it was cut short" in resumed.stderr) == bool(epoch)
        assert measured["resumed_after"] == [epoch] * bool(epoch)


def saved(content: dict) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return sealed(stream.getvalue())


def with_another_bit(content: dict) -> bytes:
    whole = bytearray(saved(content))
    at = whole.index(next(iter(content["training"]["model"].values())).numpy().tobytes())
    whole[at] ^= 1
    return bytes(whole)


def of_another_network(content: dict) -> bytes:
    content["training"]["model"].popitem()
    return saved(content)


class Pickled:
    def __reduce__(self):
        return os.mkdir, ("executed",)


ANEW = {
    "cannot be used (its content does not match its checksum)": with_another_bit,
    "cannot be used (RuntimeError: Error(s) in loading state_dict": of_another_network,
    "cannot be used (it is incomplete)": lambda c: saved({**c, "history": c["history"][:1]}),
    "cannot be used (UnpicklingError); the run": lambda c: saved({**c, "extra": Pickled()}),
    "'libraries': 'another'}, not": lambda c: saved({**c, "belongs": {**c["belongs"], "libraries": "another"}}),
}


@pytest.mark.parametrize("said", ANEW)
def test_a_checkpoint_that_does_not_fit_is_told_and_the_run_starts_anew(tmp_path, whole, monkeypatch, capsys, said):
    monkeypatch.setattr(driver.folder, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(RunFolder, "finish", RunFolder.finish)  # put back afterwards
    with monkeypatch.context() as patch:
        patch.setattr(driver, "die", interrupted)
        patch.setattr(os, "fsync", os.fsync)
        driver.dies_at("resume.pt", 2)
        with pytest.raises(KeyboardInterrupt):
            driver.once(tmp_path)
    folder = run_folder(tmp_path)
    (folder / "resume.pt").write_bytes(ANEW[said](read_training(folder / "resume.pt")))
    monkeypatch.chdir(tmp_path)
    driver.once(tmp_path)
    assert said in capsys.readouterr().err
    assert not (tmp_path / "executed").exists()
    assert compare(whole, folder) == []
    assert read_record(folder / "record.json").measured["resumed_after"] == []


def interrupted() -> None:
    raise KeyboardInterrupt


@fuzz(200)
@given(data=st.data())
def test_whatever_a_checkpoint_holds_the_run_goes_on_or_starts_anew(tmp_path, whole, data):
    folder, kept = RunFolder(tmp_path, whole.name), (whole / "last.pt").read_bytes()
    folder.path.mkdir(exist_ok=True)
    resealed = data.draw(st.booleans())  # with checksums that fit the damage
    content = sealed(damaged(data, unsealed(kept))) if resealed else damaged(data, kept)
    (folder.path / "resume.pt").write_bytes(content)
    training = Checkpoints(folder).checkpoint()
    if training is None:
        assert resealed or not (folder.path / "resume.pt").exists()
        return
    assert resealed or content == kept
    resolved = driver.resolved(whole.parents[1])
    model = driver.build({"engine": "cpu"}, 1, 10)
    try:
        restore(training, model, Optimisation(model, resolved.training, "accuracy", 1), Fit())
    except CheckpointError as error:
        assert str(error)


@fuzz(200)
@given(data=st.data())
def test_whatever_a_trained_networks_file_holds_only_our_own_error_comes(tmp_path, whole, data):
    record, path = read_record(whole / "record.json"), tmp_path / "checkpoint.pt"
    network_of(record, whole / "checkpoint.pt", driver.METHODS)
    path.write_bytes(damaged(data, (whole / "checkpoint.pt").read_bytes()))
    try:
        network_of(record, path, driver.METHODS)
    except BenchError as error:
        assert "checkpoint.pt" in str(error)


@pytest.mark.timeout(1800)
def test_a_study_that_is_killed_ten_times_at_random_moments_ends_as_one_left_alone(tmp_path):
    """Half of the kills fall into the work itself, half anywhere from the first import on."""
    draw = random.Random(0)
    roots, said = {name: tmp_path / f"{name} ü" for name in ("whole", "killed")}, tmp_path / "said"
    asked = study(["lif", "delrec-axonal", "counts-only"], settings={"training.epochs": 3, "task.limit": 200})
    for root in roots.values():
        root.mkdir()
        (root / "data.dvc").write_text("outs: []\n")
        (root / "killed.toml").write_text(asked)

    def start(root):
        words = ["reproduce", "--study", str(root / "killed.toml"), "--root", str(root), "--jobs", "1", "--no-latency"]
        with said.open("w") as stderr:
            return subprocess.Popen([sys.executable, "-m", "delrec_bench.app", *words], stderr=stderr)

    begin = time.monotonic()
    assert start(roots["whole"]).wait() == 0, said.read_text()
    lasts = time.monotonic() - begin
    kills = 0
    while kills < 10:
        process = start(roots["killed"])
        try:
            assert process.wait(draw.uniform(0.0 if kills % 2 else 0.3, 0.9) * lasts) == 0, said.read_text()
            shutil.rmtree(roots["killed"] / "runs")  # it came through: once more from the start
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
    assert start(roots["killed"]).wait() == 0, said.read_text()
    whole, killed = ({r.key: r for r in read_folder(root / "runs")[0]} for root in roots.values())
    assert whole.keys() == killed.keys() and len(whole) == 6
    assert all(whole[key].content == killed[key].content for key in whole)
    pages = [{p.name: p.read_bytes() for p in (root / "out" / "killed").iterdir()} for root in roots.values()]
    assert pages[0] == pages[1]
    assert not list((roots["killed"] / "runs").glob("[0-9a-f]*/.*")), "no draft is left in a run's folder"
