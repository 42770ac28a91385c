"""Runs in processes of this machine, which live from first to last and end with their parent."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

from delrec_bench import arithmetic
from delrec_bench.config import Request
from delrec_bench.environment import say
from delrec_bench.errors import BenchError
from delrec_bench.runs.executors.base import Done, Place, Progress, work
from delrec_bench.runs.executors.child import Child


@dataclass
class _Task:
    """A request, how many more children may die over it, and what does it now."""

    request: Request
    deaths: int
    child: Child


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
        self._idle: dict[int, Child] = {}  # by seat

    def map(self, requests: Sequence[Request], place: Place, progress: Progress | None = None) -> Iterator[Done]:
        """Do every request, and yield each as it ends; `progress` is told of every epoch."""
        if self.jobs == 1 and not self._devices and all(_arithmetic(r) == arithmetic.current() for r in requests):
            for request in requests:
                yield work(request, place, progress)
            return
        waiting = deque((request, place.retries + 1) for request in requests)
        seats = deque(range(self.jobs))
        busy: dict[Connection, tuple[int, _Task]] = {}
        try:
            while waiting or busy:
                while waiting and seats:
                    seat, (request, deaths) = seats.popleft(), waiting.popleft()
                    child = self._child(seat, _arithmetic(request))
                    child.send(request, place)
                    busy[child.connection] = seat, _Task(request, deaths, child)
                for connection in wait(list(busy)):
                    assert isinstance(connection, Connection)
                    seat, task = busy[connection]
                    try:
                        kind, content = connection.recv()
                    except (EOFError, ConnectionResetError):
                        kind, content = "died", None
                    if kind == "epoch":
                        if progress is not None:
                            progress(content)
                        continue
                    del busy[connection]
                    seats.append(seat)
                    if kind == "raised":
                        task.child.end()
                        raise content
                    if kind == "done":
                        self._idle[seat] = task.child
                        yield content
                        continue
                    task.child.end()
                    name = f"{task.request.method} on {task.request.task}"
                    if task.deaths:
                        say(f"a worker was killed over {name}; another one goes on with it")
                        waiting.appendleft((task.request, task.deaths - 1))
                    else:
                        yield Done(task.request, error=f"{name}: its worker was killed (out of memory?)")
        finally:
            for _, task in busy.values():  # at an interrupt
                task.child.end()

    def _child(self, seat: int, kind: arithmetic.Arithmetic) -> Child:
        """The idle child of this seat, or a new one where it died or is of another arithmetic."""
        idle = self._idle.pop(seat, None)
        if idle is not None and idle.arithmetic == kind and idle.alive:
            return idle
        device = {"CUDA_VISIBLE_DEVICES": self._devices[seat % len(self._devices)]} if self._devices else {}
        return Child(kind, device)


_alone = Local(1)


def do(request: Request, place: Place, progress: Progress | None = None) -> Done:
    """Do one run: here where this process has its arithmetic, else in a child, which is kept for the next run."""
    (done,) = _alone.map([request], place, progress)
    return done


def _arithmetic(request: Request) -> arithmetic.Arithmetic:
    return "native" if arithmetic.why_not_portable() else request.arithmetic


def default_jobs() -> int:
    """As many workers as this process may use cores."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cuda_devices() -> tuple[str, ...]:
    """The CUDA devices of this machine by number, or those that CUDA_VISIBLE_DEVICES names."""
    import torch

    count = torch.cuda.device_count()
    if not count:
        raise BenchError("--per-device: torch finds no CUDA device; leave it out, and use --jobs")
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return tuple(named.split(",")[:count]) if named else tuple(map(str, range(count)))
