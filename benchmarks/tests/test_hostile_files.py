"""Study files, settings and checkpoints, whatever they hold: our own error in one line, or what they say."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import torch
from delrec_bench.config import Resolved, resolve
from delrec_bench.errors import BenchError
from delrec_bench.methods.method import MethodTable, find_methods
from delrec_bench.records import finished_record
from delrec_bench.runs.folder import Checkpoints, RunFolder, sealed, unsealed
from delrec_bench.runs.trained import network_of
from delrec_bench.studies.expansion import Wanted, expand
from delrec_bench.tasks.task import find_tasks
from delrec_bench.training import CheckpointError, Fit
from delrec_bench.training.optimisation import Optimisation
from delrec_bench.workspace import workspace_at
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.tests import killed_run as driver
from benchmarks.tests.fuzzing import damaged, fuzz
from benchmarks.tests.killed_run import read_training, run_folder

METHODS, TASKS = find_methods(), find_tasks()
STUDY = """
summary = "a study"
methods = ["lif", "delrec-axonal", "delrec-axonal-fixed"]
tasks = ["digits", "yin-yang"]
repetitions = 2
margin = { digits = 0.02 }
minutes = 3.5
primary = { method = "delrec-axonal", control = "delrec-axonal-fixed", over = ["digits"] }

[quick]
sweep = { "training.lr_weights" = [1e-3, 1e-2], "network.hidden" = [[8], [16, 16]] }

[quick.set]
budget = 1000
task.limit = 40
lif = { training.epochs = 2 }

[tried]
profile = "quick"
tasks = ["digits"]
"""
VALUES = [
    b"[", b"{", b"= -1\n", b"= 1e400\n", b"nan", b"= 99999999999999999999\n", b"[[[[", b'"""', b"= true\n", b"= []\n",
    b"= {}\n", b"[quick]\n", b"a.b.c = 1\n", b"1979-05-27", b"\xff", b"seeds.split", b"repetitions = 100000000\n",
]  # fmt: skip


@fuzz(300)
@given(data=st.data())
def test_whatever_a_study_file_holds_only_our_own_error_comes(tmp_path, data):
    path = tmp_path / "mine.toml"
    content = STUDY.encode()
    if data.draw(st.booleans()):  # by lines, which more often gives TOML
        lines = STUDY.splitlines()
        at = data.draw(st.integers(0, len(lines) - 1))
        other = data.draw(st.sampled_from([*lines, "x = 1", "trials = 1000000", "hidden = 1e9", "[quick.set.seeds]"]))
        lines[at : at + data.draw(st.integers(0, 2))] = [other]
        content = "\n".join(lines).encode()
    else:
        content = damaged(data, content, *VALUES)
    path.write_bytes(content)
    profile = data.draw(st.sampled_from([None, "quick", "tried"]))
    try:
        found = expand(str(path), profile, METHODS, TASKS, Wanted(repetitions=data.draw(st.sampled_from([None, 1]))))
        assert len(found.requests) < 100_000
    except BenchError as error:
        assert "mine" in str(error) or "profile" in str(error), error
        assert "\n" not in str(error)


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    """The folder of a run that was killed while its record was written: all else of it is there."""
    root = tmp_path_factory.mktemp("killed")
    words = [sys.executable, driver.__file__, str(root), "record.json", "1"]
    assert subprocess.run(words, timeout=240).returncode < 0
    return run_folder(root)


@fuzz(200)
@given(data=st.data())
def test_whatever_a_checkpoint_holds_the_run_goes_on_or_starts_anew(tmp_path, killed, data):
    folder = RunFolder(tmp_path, killed.name)
    folder.path.mkdir(exist_ok=True)
    whole = (killed / "resume.pt").read_bytes()
    resealed = data.draw(st.booleans())  # by somebody who knows how
    content = sealed(damaged(data, unsealed(whole))) if resealed else damaged(data, whole)
    (folder.path / "resume.pt").write_bytes(content)
    training = Checkpoints(folder).checkpoint()
    if training is None:
        assert not (folder.path / "resume.pt").exists() or content == whole or resealed
        return
    assert resealed or content == whole
    model = driver.build({"engine": "cpu"}, 1, 10)
    try:
        Fit.going_on(training, model, Optimisation(model, resolved(killed).training, "accuracy", 1))
    except CheckpointError as error:
        assert str(error)


@cache
def resolved(folder: Path) -> Resolved:
    return resolve(driver.REQUEST, MethodTable(noisy=driver.NOISY), TASKS, workspace_at(folder.parents[1]))


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("trained")
    assert subprocess.run([sys.executable, driver.__file__, str(root)], timeout=240).returncode == 0
    return run_folder(root)


@fuzz(200)
@given(data=st.data())
def test_whatever_a_trained_networks_file_holds_only_our_own_error_comes(tmp_path, trained, data):
    record = finished_record(trained.parent, trained.name)
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(damaged(data, (trained / "checkpoint.pt").read_bytes()))
    try:
        model = network_of(record, path, MethodTable(noisy=driver.NOISY))
        assert all(torch.is_tensor(value) for value in model.state_dict().values())
    except BenchError as error:
        assert "checkpoint.pt" in str(error)


@pytest.mark.slow
def test_the_whole_of_both_files_is_read(killed, trained):
    assert read_training(killed / "resume.pt")["belongs"]["key"] == killed.name
    record = finished_record(trained.parent, trained.name)
    assert network_of(record, trained / "checkpoint.pt", MethodTable(noisy=driver.NOISY)) is not None
