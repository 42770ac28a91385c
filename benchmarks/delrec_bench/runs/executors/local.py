"""Runs in processes of this machine, which live from first to last and end with their parent.

The parent sends (request, place) over a pipe; a child answers with the dict of each epoch, and at the end with a `Done`
or an error. It ends with its parent, however that ends.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import Connection, wait

from delrec_bench import arithmetic
from delrec_bench.config import Request
from delrec_bench.environment import say
from delrec_bench.errors import BenchError
from delrec_bench.runs.executors.executor import Done, Place, Progress, work

SERVE = f"import sys; from {__name__} import serve; serve(*map(int, sys.argv[1:]))"


class _Child:
    """A process that does runs one after the other. Its arithmetic is in the environment it starts with.

    `end` ends it at once, whatever it does; so does losing the last reference to it.
    """

    def __init__(self, kind: arithmetic.Arithmetic, variables: Mapping[str, str]) -> None:
        self.arithmetic = kind
        self.connection, theirs = multiprocessing.Pipe()
        paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        words = [sys.executable, "-P", "-c", SERVE, str(theirs.fileno()), str(os.getpid())]
        self.process = subprocess.Popen(
            words, env={**arithmetic.environment(kind), **paths, **variables}, pass_fds=[theirs.fileno()]
        )
        theirs.close()
        self.end = weakref.finalize(self, _end, self.process, self.connection)


class Local:
    """`jobs` processes, or `per_device` for each CUDA device.

    One job is done in this process where it has the arithmetic of the run already. A child that is killed costs
    nothing but its run's time since the last checkpoint: another one goes on from there.
    """

    def __init__(self, jobs: int, per_device: int | None = None) -> None:
        self._devices: tuple[str, ...] = ()
        if per_device is not None:
            self._devices = _cuda_devices()
            jobs = per_device * len(self._devices)
        self.jobs = jobs
        self._idle: dict[int, _Child] = {}  # by seat

    def map(self, requests: Sequence[Request], place: Place, progress: Progress | None = None) -> Iterator[Done]:
        """Do every request, and yield each as it ends; `progress` is told of every epoch."""
        if self.jobs == 1 and not self._devices and all(_arithmetic(r) == arithmetic.current() for r in requests):
            for request in requests:
                yield work(request, place, progress)
            return
        waiting = deque((request, place.retries + 1) for request in requests)  # how many more children may die over it
        seats = deque(range(self.jobs))
        busy: dict[Connection, tuple[int, _Child, Request, int]] = {}
        try:
            while waiting or busy:
                while waiting and seats:
                    seat, (request, deaths) = seats.popleft(), waiting.popleft()
                    child = self._child(seat, _arithmetic(request))
                    child.connection.send((request, place))
                    busy[child.connection] = seat, child, request, deaths
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
                    seat, child, request, deaths = busy.pop(connection)
                    seats.append(seat)
                    if isinstance(content, Done):
                        self._idle[seat] = child
                        yield content
                        continue
                    child.end()
                    if content is not None:
                        raise content
                    name = f"{request.method} on {request.task}"
                    if deaths:
                        say(f"a worker was killed over {name}; another one goes on with it")
                        waiting.appendleft((request, deaths - 1))
                    else:
                        yield Done(request, error=f"{name}: its worker was killed (out of memory?)")
        finally:
            for _, child, _, _ in busy.values():  # at an interrupt
                child.end()

    def _child(self, seat: int, kind: arithmetic.Arithmetic) -> _Child:
        """The idle child of this seat, or a new one where it died or is of another arithmetic."""
        idle = self._idle.pop(seat, None)
        if idle is not None and idle.arithmetic == kind and idle.process.poll() is None:
            return idle
        device = {"CUDA_VISIBLE_DEVICES": self._devices[seat % len(self._devices)]} if self._devices else {}
        return _Child(kind, device)


def _end(process: "subprocess.Popen[bytes]", connection: Connection) -> None:
    connection.close()
    process.terminate()
    process.wait()


def serve(descriptor: int, parent: int) -> None:
    """Do what comes through the pipe, in a child of `parent`, until it is closed."""
    connection = Connection(descriptor)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's affair; it ends its children
    _end_with(parent)
    os.dup2(2, 1)  # stdout belongs to the parent, which may write one JSON object there

    def send(content: object) -> None:
        try:
            connection.send(content)
        except OSError:  # the parent has gone, which is no failure of the run
            os._exit(1)

    while True:
        try:
            request, place = connection.recv()
        except EOFError:
            return
        try:
            done: object = work(request, place, send)
        except OSError as error:
            done = error
        send(done)


def _end_with(parent: int) -> None:
    """Let this process end within a second of `parent`."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


_alone = Local(1)


def do(request: Request, place: Place, progress: Progress | None = None) -> Done:
    """Do one run: here where this process has its arithmetic, else in a child, which is kept for the next run."""
    (done,) = _alone.map([request], place, progress)
    return done


def _arithmetic(request: Request) -> arithmetic.Arithmetic:
    return "native" if arithmetic.why_not_portable() else request.arithmetic


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
