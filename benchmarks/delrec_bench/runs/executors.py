"""Ways to do many runs: one after the other, or in long-lived worker processes of one thread each."""

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from delrec_bench.config import Request
from delrec_bench.environment import pin_threads
from delrec_bench.errors import BenchError, RunError
from delrec_bench.workspace import Workspace


@dataclass(frozen=True)
class Done:
    """How one request ended: with a record's key and score (a trial's by validation), or with a message."""

    request: Request
    key: str | None
    score: float | None
    reused: bool
    seconds: float
    error: str | None = None


@dataclass(frozen=True)
class Place:
    """What a worker needs to find everything again in its own process."""

    workspace: Workspace
    method_dirs: tuple[str, ...] = ()
    task_dirs: tuple[str, ...] = ()


Report = Callable[[Done, int, int], None]

_place: Place | None = None
_tables: tuple[Any, Any] | None = None


def serial(requests: Sequence[Request], place: Place) -> Iterator[Done]:
    """Do runs one after the other in this process."""
    _start(place)
    for request in requests:
        yield _work(request)


def processes(requests: Sequence[Request], place: Place, jobs: int) -> Iterator[Done]:
    """Do runs in `jobs` workers, which stay alive from first to last; yields them as they end.

    A worker that is killed ends the whole: what is finished stays, and the next call goes on from there.

    Raises:
        RunError: A worker died.
    """
    pin_threads(1)  # in the environment that workers inherit, before their torch starts
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_start_worker, initargs=(place,))
    try:
        pending = {pool.submit(_work, request) for request in requests}
        while pending:
            finished, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in finished:
                yield future.result()
    except BrokenProcessPool as error:
        raise RunError("a worker process was killed (out of memory?); finished runs are kept, run it again") from error
    except BaseException:
        # At an interrupt a running worker would otherwise be waited for, run after run.
        for worker in list((getattr(pool, "_processes", None) or {}).values()):
            with contextlib.suppress(Exception):
                worker.terminate()
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def default_jobs() -> int:
    """As many workers as this process may use cores."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start(place: Place) -> None:
    global _place, _tables
    pin_threads(1)
    from delrec_bench.methods.base import find_methods
    from delrec_bench.tasks.base import find_tasks

    _place = place
    _tables = find_methods(map(Path, place.method_dirs)), find_tasks(map(Path, place.task_dirs))


def _start_worker(place: Place) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's affair; it ends its workers
    _start(place)


def _work(request: Request) -> Done:
    from delrec_bench.runs.single import run

    assert _place is not None
    assert _tables is not None
    start = time.perf_counter()
    try:
        outcome = run(request, *_tables, _place.workspace)
    except (BenchError, RunError) as error:
        return Done(request, None, None, False, time.perf_counter() - start, str(error))
    record = outcome.record
    score = record.result["valid_score"] if record.kind == "trial" else record.score
    return Done(request, record.key, score, outcome.reused, time.perf_counter() - start)
