"""Runs done elsewhere: in processes, as jobs, as tasks. They end with their parent, survive it, and fail by name."""

import fcntl
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import delrec_bench
import psutil
import pytest
import torch
from delrec_bench import app
from delrec_bench.config import Request, resolve
from delrec_bench.data.generated import write
from delrec_bench.errors import BenchError
from delrec_bench.records import read_failure, read_folder, read_record
from delrec_bench.runs import perform
from delrec_bench.runs.executors import Local, Place, Planned, make_executor, work
from delrec_bench.workspace import workspace_at
from short_runs import METHODS, TASKS, done, study

from benchmarks.tests.test_evaluation import corpus
from benchmarks.tests.test_tasks_spikes import NAMES, events

SETTINGS = (("training.batch", 16), ("task.test_limit", 30))
METHOD = """
import os, signal, time
from pathlib import Path
from delrec_bench.networks import Network, NetworkConfig
from delrec_bench.methods.method import Method
from delrec_bench.runs import folder

folder.CHECKPOINT_SECONDS = {seconds}
HERE = Path(__file__).parent

class Mine(Network):
    def penalty(self):
        {penalty}
        return 0.0

def build(settings, channels, classes):
    {build}
    return Mine(NetworkConfig(inputs=channels, classes=classes, hidden=(6,), engine=settings["engine"]))

METHODS = [Method("{name}", "one that {name}", "these tests", "weights", build=build)]
"""
DIES_ONCE = """(HERE / "steps").open("a").write("x")
        if (HERE / "steps").stat().st_size == 5:
            os.kill(os.getpid(), signal.SIGKILL)"""
CUT_OFF = """if not hasattr(self, "seen"):
            self.seen = 0
        self.seen += 1
        if self.seen == 5 and not (HERE / "cut-off").exists():
            (HERE / "cut-off").write_text(str(os.getpid()))
            time.sleep(120)"""
WAITS = """(HERE / f"worker-{os.getpid()}").touch()
        time.sleep(60)"""


def method(folder: Path, name: str, penalty: str = "pass", build: str = "pass", seconds: float = 0.0) -> str:
    folder.mkdir(exist_ok=True)
    text = METHOD.format(name=name, penalty=penalty, build=build, seconds=seconds)
    (folder / f"{name.replace('-', '_')}.py").write_text(text)
    return str(folder)


def place(root: Path, *methods: str) -> Place:
    return Place(workspace_at(root), methods)


def plan(name: str, there: Place) -> Planned:
    return there.plan(Request(name, "digits", epochs=3, limit=32, overrides=SETTINGS))


def test_a_planned_run_is_plain_data_that_another_process_does_without_settling_anything(tmp_path, monkeypatch):
    monkeypatch.setenv("DELREC_ENGINE", "reference")
    there = place(tmp_path, method(tmp_path / "methods", "plain"))
    handed = pickle.loads(pickle.dumps(plan("plain", there)))
    monkeypatch.delenv("DELREC_ENGINE")
    monkeypatch.setattr("delrec_bench.config.resolving.settle", lambda *_: pytest.fail("settled again"))
    record = work(handed, there).record(there.workspace)
    assert (record.key, record.configuration) == (handed.asked.key, handed.asked.configuration)
    assert record.engine == os.environ["DELREC_ENGINE"] == "reference", "the study's environment goes with it"
    other = Planned(handed.asked.model_copy(update={"key": "0" * 64}))
    assert "used other data for digits than is here" in str(work(other, there).error)
    mine = handed.asked.configuration | {"code": {"method": "0" * 16}}
    other = Planned(handed.asked.model_copy(update={"configuration": mine}))
    assert "used other code of its method than is here" in str(work(other, there).error), "it was in a folder then"


def test_replaced_files_are_read_anew_and_changed_code_is_another_run(tmp_path, monkeypatch, capsys):
    folder, methods = corpus(tmp_path / "made"), method(tmp_path / "methods", "plain")
    monkeypatch.chdir(folder)
    Path("gone").symlink_to("nowhere")
    there, asked = place(tmp_path, methods), Request("plain", "shd", epochs=1, data=".", overrides=(("batch", 16),))
    first = there.plan(asked)
    assert first.folder == str(folder), "for a worker in another folder"
    write(folder / "shd_train.h5", events(40, longest=0.6, seed=7), NAMES)
    second = there.plan(asked)
    assert second.asked.task != first.asked.task
    assert work(second, there).record(there.workspace).task == second.asked.task and not capsys.readouterr().err
    keys = {second.asked.key}
    for change in (
        lambda: method(tmp_path / "methods", "plain", penalty="return 1.0"),
        lambda: (tmp_path / "methods" / "_network.py").write_text("LAYERS = 2"),
    ):
        change()
        keys.add(there.plan(asked).asked.key)
    assert len(keys) == 3
    assert "used other code of its method than is here; restore the file" in str(work(second, there).error)


def test_the_api_makes_a_portable_run_that_mlflow_knows_from_a_process_that_is_not(tmp_path):
    code = "import delrec_bench; print(delrec_bench.run('lif', 'digits', epochs=1, limit=32, hidden=[6]).key)"
    words = [sys.executable, "-c", code]
    native = {name: value for name, value in os.environ.items() if name != "DELREC_BENCH_ARITHMETIC"}
    env = native | {"OMP_NUM_THREADS": "2", "ATEN_CPU_CAPABILITY": "default", "DELREC_BENCH_ROOT": str(tmp_path)}
    key = subprocess.run(words, env=env, capture_output=True, text=True, check=True).stdout.strip()
    record = read_record(tmp_path / "runs" / key / "record.json")
    request = Request("lif", "digits", epochs=1, limit=32, overrides=(("hidden", [6]),))
    assert done(request, workspace_at(tmp_path / "here")).content == record.content
    assert delrec_bench.results("mlflow", root=str(tmp_path)).score.tolist() == [record.score]


def test_the_api_takes_the_options_that_it_documents_and_no_other(tmp_path):
    for option in ("study", "point", "overrides"):
        with pytest.raises(BenchError, match=f"unknown key '{option}'"):
            delrec_bench.run("lif", "digits", epochs=1, limit=32, root=str(tmp_path), **{option: "selection"})


STEPS = {"training.epochs": 3, "training.batch": 16, "task.limit": 32}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_folders_processes_and_dask_with_killed_workers_give_the_same_page(tmp_path, capfd):
    (tmp_path / "ways.toml").write_text(study(["dies-once", "lif", "counts-only"], settings=STEPS))
    one, two, joined, local, dask = (tmp_path / name for name in ("one", "two", "joined ü", "local", "dask"))
    methods = method(tmp_path / "methods", "dies-once", penalty=DIES_ONCE)
    steps = tmp_path / "methods" / "steps"
    steps.write_text("more than five")  # and so it does not die

    def trained(root, *words):
        root.mkdir(exist_ok=True)
        common = ["--study", str(tmp_path / "ways.toml"), "--methods", methods, "--no-latency", "--json"]
        code = app.main(["reproduce", *common, "--root", str(root), *words])
        out, err = capfd.readouterr()
        assert code == 0, err
        return json.loads(out)["trained"], err

    trained(one, "--jobs", "1", "--only-methods", "lif,counts-only")
    trained(two, "--jobs", "1", "--only-methods", "dies-once")
    joined.mkdir()
    assert app.main(["collect", str(one), str(two), "--root", str(joined)]) == 0
    capfd.readouterr()
    assert trained(joined)[0] == 0
    whole, _ = read_folder(joined / "runs")
    page = {path.name: path.read_bytes() for path in (joined / "out" / "ways").iterdir()}
    assert len(whole) == 6 and len(page) >= 5 and b"dies-once" in page["ways.csv"]
    for root, *words in ((local,), (dask, "--executor", "dask")):
        steps.unlink()
        count, said = trained(root, "--jobs", "2", *words)
        assert count == 6 and (root == dask or "another one goes on with it" in said)
        found, _ = read_folder(root / "runs")
        assert [r.content for r in found] == [r.content for r in whole]
        assert any(r.measured.get("resumed_after") for r in found)
        assert {path.name: path.read_bytes() for path in (root / "out" / "ways").iterdir()} == page


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card here")
def test_a_login_node_without_a_card_queues_runs_for_one_and_a_run_here_is_refused(tmp_path):
    asked = Request("delrec-axonal", "digits", device="cuda", limit=32, epochs=1)
    resolved = resolve(asked, METHODS, TASKS, workspace_at(tmp_path))
    assert (resolved.device, resolved.configuration["engine"]) == ("cuda", "triton")
    with pytest.raises(BenchError, match="torch finds no CUDA device"):
        perform(resolved, workspace_at(tmp_path))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGKILL])
def test_a_job_at_its_time_limit_is_queued_again_and_a_killed_one_is_reported(tmp_path, number):
    """SLURM sends a signal some seconds before a job's time is over; submitit then queues the same job again.

    No checkpoint was due: the signal saves one.
    """
    folder = method(tmp_path / "methods", "cut-off", penalty=CUT_OFF, seconds=3600.0)
    marker = tmp_path / "methods" / "cut-off"
    marker.touch()
    alone = place(tmp_path / "alone", folder)
    whole = work(plan("cut-off", alone), alone).record(alone.workspace)
    marker.unlink()
    there = place(tmp_path / "root", folder)
    options = {"cluster": "local", "timeout_min": 5}  # the last ten minutes of a job count as its limit
    executor = make_executor("slurm", there.workspace, jobs=1, options=options)
    executor._every = 0.2

    def end() -> None:
        while not (marker.exists() and marker.read_text()):
            time.sleep(0.05)
        os.kill(int(marker.read_text()), number)

    threading.Thread(target=end, daemon=True).start()
    (done,) = executor.map([plan("cut-off", there)], there)
    if number == signal.SIGKILL:
        assert "cut-off on digits: " in str(done.error) and "its log: " in str(done.error)
        (done,) = executor.map([plan("cut-off", there)], there)
    record = done.record(there.workspace)
    assert record.content == whole.content
    assert record.measured["resumed_after"] == ([2] if number == signal.SIGUSR2 else [])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("dusk", {}, "--executor is 'dusk'; did you mean 'dask'"),
        ("local", {"scheduler": "tcp://here"}, "--scheduler is for --executor dask"),
        ("local", {"jobs": 0}, "--jobs is 0"),
        ("local", {"per_device": 2}, "torch finds no CUDA device"),
        ("slurm", {"options": {"cluster": "cloud"}}, "cluster=cloud; it must be slurm, local or debug"),
        ("slurm", {"options": {"cluster": "local", "memory": 3}}, "memory"),
        ("dask", {"scheduler": "tcp://127.0.0.1:1"}, "does not respond"),
    ],
)
def test_an_executor_that_cannot_be_is_refused(tmp_path, name, options, message):
    with pytest.raises(BenchError, match=message):
        executor = make_executor(name, workspace_at(tmp_path), **{"jobs": 1, **options})
        executor._timeout = 0.5
        there = place(tmp_path)
        list(executor.map([plan("lif", there)], there))


@pytest.mark.parametrize(
    ("words", "workers"),
    [
        ("--device cuda", {"per_device": 1}),
        ("--device cuda --per-device 4", {"per_device": 4}),
        ("--device cuda --jobs 3", {"jobs": 3, "per_device": None}),
        ("--device auto", {"per_device": 1}),
        ("", {"per_device": None}),
    ],
)
def test_networks_on_cards_have_one_worker_a_card_unless_told_otherwise(words, workers, tmp_path, monkeypatch):
    """As many as there are cores would all be on the first card."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    seen = {}

    def choose(name, workspace, **options):
        seen.update(options)
        raise BenchError("chosen")

    monkeypatch.setattr("delrec_bench.runs.executors.make_executor", choose)
    (tmp_path / "data.dvc").touch()
    app.main(["reproduce", "--study", "leaderboard", "--root", str(tmp_path), *words.split()])
    assert {name: seen[name] for name in workers} == workers


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 130)])
def test_workers_end_with_their_parent(tmp_path, monkeypatch, number, code):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "ftp://nowhere")  # refused at once
    methods = method(tmp_path / "methods", "waits", penalty=WAITS)
    (tmp_path / "waiting.toml").write_text(study(["waits", "lif"], settings=STEPS))
    words = ["reproduce", "--study", tmp_path / "waiting.toml", "--methods", methods, "--root", tmp_path, "--jobs", "2"]
    parent = subprocess.Popen([sys.executable, "-m", "delrec_bench.app", *words], stderr=subprocess.DEVNULL)
    workers: list[int] = []
    while len(workers) < 2 and parent.poll() is None:
        time.sleep(0.1)
        workers = [int(path.name.partition("-")[2]) for path in Path(methods).glob("worker-*")]
    assert len(workers) == 2 and all(map(alive, workers))
    parent.send_signal(number)
    assert parent.wait(30) == code
    end = time.monotonic() + 5
    while any(map(alive, workers)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(alive, workers))


@pytest.mark.parametrize(
    ("fault", "where", "told"),
    [
        ("raise OSError(28, 'No space left on device')", "penalty", "OSError: [Errno 28] No space left on device"),
        ("import sys; sys.exit(0)", "penalty", "SystemExit: 0"),
        ("open('/')", "penalty", "IsADirectoryError: [Errno 21] Is a directory: '/'"),
        ("next(iter(()))", "build", "method 'faulty': its build raised StopIteration"),
    ],
)
def test_an_exception_of_a_method_names_it_and_its_place_and_is_kept(tmp_path, capsys, fault, where, told):
    methods = method(tmp_path / "methods", "faulty", **{where: fault})
    words = ["run", "faulty", "digits", "--epochs", "1", "--limit", "32", "--root", str(tmp_path), "--methods", methods]
    assert app.main(words) == 1
    said = capsys.readouterr().err
    assert f"faulty on digits, repetition 0: {told}" in said
    assert f"(faulty.py, line {13 if where == 'penalty' else 17})" in said
    assert app.main(words) == 1
    (path,) = (tmp_path / "runs").glob("*/failure.json")
    kept = read_failure(path)
    assert (kept.status, kept.attempts, kept.method) == ("failed", 2, "faulty")
    assert "Traceback" in kept.traceback and "faulty.py" in kept.traceback
    assert read_folder(tmp_path / "runs")[0] == []
    method(tmp_path / "methods", "faulty")
    assert app.main(words) == 0, "mended, which is another run"


def test_a_run_that_ends_well_at_last_is_no_failure_any_more(tmp_path, monkeypatch):
    there = place(tmp_path, method(tmp_path / "methods", "faulty", penalty="os.environ['MENDED']"))
    assert "KeyError: 'MENDED'" in str(work(plan("faulty", there), there).error)
    monkeypatch.setenv("MENDED", "yes")
    assert work(plan("faulty", there), there).error is None
    assert [len(found) for found in read_folder(there.workspace.runs)] == [1, 0]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_run_that_ends_its_process_fails_alone(tmp_path):
    methods = method(tmp_path / "methods", "leaves", build="import sys; sys.exit(0)")
    method(tmp_path / "methods", "killer", penalty="os.kill(os.getpid(), signal.SIGKILL)")
    there = place(tmp_path, methods)
    plans = {plan(name, there).asked.key: plan(name, there) for name in ("killer", "leaves", "lif")}
    errors = {plans[done.key].asked.method: done.error for done in Local(2).map(list(plans.values()), there)}
    assert "its build raised SystemExit: 0" in str(errors["leaves"]) and errors["lif"] is None
    assert str(errors["killer"]) == "killer on digits: its worker was killed (out of memory?)"


def test_a_run_that_another_process_does_is_waited_for(tmp_path, capsys):
    there = place(tmp_path, method(tmp_path / "methods", "plain"))
    mine = plan("plain", there)
    lock = there.workspace.runs / mine.asked.key / "lock"
    lock.parent.mkdir(parents=True)
    held = lock.open("w")
    fcntl.flock(held, fcntl.LOCK_EX)  # as another process would
    threading.Timer(0.3, held.close).start()
    assert work(mine, there).error is None
    assert "is being done by another process; waiting for it" in capsys.readouterr().err
