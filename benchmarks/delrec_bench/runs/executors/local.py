"""Runs in this process, and in processes of this machine, which live from first to last and end with their parent.

The parent sends (planned run, place) over a pipe; a child answers with the dict of each epoch, and at the end with a
`Done` or an error.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path

from delrec_bench import arithmetic
from delrec_bench.arithmetic import Arithmetic
from delrec_bench.config import Request, bound, resolve
from delrec_bench.config.settings import check_presets
from delrec_bench.environment import say
from delrec_bench.errors import BenchError, RunError, bug, no_room
from delrec_bench.methods.method import MethodTable, find_methods
from delrec_bench.records import Asked, Record, finished_record
from delrec_bench.runs.single import perform
from delrec_bench.tasks.task import TaskTable, find_tasks
from delrec_bench.training import Progress
from delrec_bench.workspace import Workspace

SERVE = f"import sys; from {__name__} import serve; serve(*map(int, sys.argv[1:]))"


def _variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("DELREC_") and name != arithmetic.MARK}


@dataclass(frozen=True)
class Planned:
    """A run as a worker is handed it: resolved once, as plain data."""

    asked: Asked
    folder: str | None = None  # of a user's own files

    @property
    def arithmetic(self) -> Arithmetic:
        """That of the process that does it."""
        return self.asked.configuration["arithmetic"]

    def __str__(self) -> str:
        return f"{self.asked.method} on {self.asked.task}"


@dataclass(frozen=True)
class Place:
    """What a worker needs to find everything again in its own process."""

    workspace: Workspace  # on a file system that every worker sees
    method_dirs: tuple[str, ...] = ()  # of plug-ins
    task_dirs: tuple[str, ...] = ()
    variables: dict[str, str] = field(default_factory=_variables)  # the suite's, as where the study was started

    def tables(self) -> tuple[MethodTable, TaskTable]:
        """Return every method and task; a `BenchError` names a preset of a method that is for none."""
        tables = find_methods(self.method_dirs), find_tasks(self.task_dirs)
        check_presets(*tables)
        return tables

    def plan(self, request: Request) -> Planned:
        """Resolve a request for a worker, which may have another current folder."""
        methods, tasks = self.tables()
        asked = resolve(request, methods, tasks, self.workspace).asked
        return Planned(asked, None if request.data is None else str(Path(request.data).absolute()))


@dataclass(frozen=True)
class Done:
    """How one run ended: with a score (a trial's by validation), or with an error.

    The error is a `BenchError` where the request itself was wrong, a `RunError` where it failed.
    """

    key: str
    score: float | None = None
    reused: bool = False
    seconds: float = 0.0
    error: Exception | None = None

    def record(self, workspace: Workspace) -> Record:
        """Return the record of the run, or raise its error."""
        if self.error is not None:
            raise self.error
        found = finished_record(workspace.runs, self.key)
        assert found is not None
        return found


_one_at_a_time = threading.Lock()  # the generators of torch and numpy are the process's


def work(plan: Planned, place: Place, progress: Progress | None = None) -> Done:
    """Do one run in this process; a failure is its result, and a full disk (`no_room`), which ends a study, is raised.

    `progress` gets the entry of each epoch.
    """
    with _one_at_a_time:
        key, start = plan.asked.key, time.perf_counter()
        os.environ.update(place.variables)
        try:
            resolved = bound(plan.asked, plan.folder, *place.tables(), place.workspace)
            record, reused = perform(resolved, place.workspace, progress)
            score = record.result["valid_score"] if record.kind == "trial" else record.score
            return Done(key, score, reused, time.perf_counter() - start)
        except (BenchError, RunError) as expected:
            error: Exception = expected
        except Exception as unforeseen:
            if no_room(unforeseen):
                raise
            error = RunError(f"{plan}: {bug(unforeseen)}")
        return Done(key, seconds=time.perf_counter() - start, error=error)


class _Child:
    """A process that does runs one after the other. Its arithmetic is in the environment it starts with."""

    def __init__(self, kind: Arithmetic, variables: Mapping[str, str]) -> None:
        self.arithmetic = kind
        self.connection, theirs = multiprocessing.Pipe()
        paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        words = [sys.executable, "-P", "-c", SERVE, str(theirs.fileno()), str(os.getpid())]
        self.process = subprocess.Popen(
            words, env={**arithmetic.environment(kind), **paths, **variables}, pass_fds=[theirs.fileno()]
        )
        theirs.close()

    def end(self) -> None:
        """End it at once, whatever it does; one that is idle ends by itself when the pipe is closed."""
        self.connection.close()
        self.process.terminate()
        self.process.wait()


class Local:
    """`jobs` processes, or `per_device` for each CUDA device.

    One job is done in this process where it has the arithmetic of the run already. A child that is killed costs
    nothing but its run's time since the last checkpoint: another one goes on from there, once.
    """

    def __init__(self, jobs: int, per_device: int | None = None) -> None:
        self._devices = () if per_device is None else _cuda_devices()
        self.jobs = jobs if per_device is None else per_device * len(self._devices)
        self._idle: dict[int, _Child] = {}  # by seat

    def map(self, plans: Sequence[Planned], place: Place, progress: Progress | None = None) -> Iterator[Done]:
        """Do every run, and yield each as it ends; `progress` gets every epoch."""
        if self.jobs == 1 and not self._devices and all(plan.arithmetic == arithmetic.current() for plan in plans):
            yield from (work(plan, place, progress) for plan in plans)
            return
        waiting, seats, killed = deque(plans), deque(range(self.jobs)), set[str]()
        busy: dict[Connection, tuple[int, _Child, Planned]] = {}
        try:
            while waiting or busy:
                while waiting and seats:
                    seat, plan = seats.popleft(), waiting.popleft()
                    child = self._child(seat, plan.arithmetic)
                    child.connection.send((plan, place))
                    busy[child.connection] = seat, child, plan
                for connection in wait(list(busy)):
                    assert isinstance(connection, Connection)
                    try:
                        content = connection.recv()
                    except (EOFError, ConnectionResetError):
                        content = None
                    if isinstance(content, dict):
                        if progress is not None:
                            progress(content)
                        continue
                    seat, child, plan = busy.pop(connection)
                    seats.append(seat)
                    if isinstance(content, Done):
                        self._idle[seat] = child
                        yield content
                        continue
                    child.end()
                    if content is not None:
                        raise content
                    if plan.asked.key in killed:
                        why = RunError(f"{plan}: its worker was killed (out of memory?)")
                        yield Done(plan.asked.key, error=why)
                    else:
                        say(f"a worker was killed over {plan}; another one goes on with it")
                        killed.add(plan.asked.key)
                        waiting.appendleft(plan)
        finally:
            for _, child, _ in busy.values():  # at an interrupt
                child.end()

    def _child(self, seat: int, kind: Arithmetic) -> _Child:
        """The idle child of this seat, or a new one where it died or is of another arithmetic."""
        idle = self._idle.pop(seat, None)
        if idle is not None and idle.arithmetic == kind and idle.process.poll() is None:
            return idle
        device = {"CUDA_VISIBLE_DEVICES": self._devices[seat % len(self._devices)]} if self._devices else {}
        return _Child(kind, device)


def serve(descriptor: int, parent: int) -> None:
    """Do what comes through the pipe, in a child of `parent`, until it is closed or the parent has gone."""
    connection = Connection(descriptor)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's affair; it ends its children,
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whose run keeps what it has come to
    os.dup2(2, 1)  # stdout belongs to the parent, which may write one JSON object there

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()

    def send(content: object) -> None:
        try:
            connection.send(content)
        except OSError:  # the parent has gone, which is no failure of the run
            os._exit(1)

    with suppress(EOFError, KeyboardInterrupt):
        while True:
            plan, place = connection.recv()
            try:
                outcome: object = work(plan, place, send)
            except OSError as error:
                outcome = error
            send(outcome)


_alone = Local(1)


def do(plan: Planned, place: Place, progress: Progress | None = None) -> Done:
    """Do one run: here where this process has its arithmetic, else in a child, which is kept for the next run."""
    (done,) = _alone.map([plan], place, progress)
    return done


def default_jobs() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cuda_devices() -> tuple[str, ...]:
    """The CUDA devices of this machine by number, or those that CUDA_VISIBLE_DEVICES names."""
    import torch

    count = torch.cuda.device_count()
    if not count:
        raise BenchError("--per-device: torch finds no CUDA device; use --jobs")
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return tuple(named.split(",")[:count]) if named else tuple(map(str, range(count)))
