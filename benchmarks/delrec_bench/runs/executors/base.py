"""What an executor is, and the work that each of them hands out."""

import errno
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from delrec_bench.config import Request
from delrec_bench.environment import pin_threads
from delrec_bench.errors import BenchError, RunError
from delrec_bench.workspace import Workspace

NO_ROOM = (errno.EACCES, errno.ENOSPC, errno.EROFS, errno.EDQUOT)
"""What ends a study: no run could be kept."""


def _variables() -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith("DELREC_")))


@dataclass(frozen=True)
class Place:
    """What a worker needs to find everything again in its own process, and how it goes about it.

    Attributes:
        workspace: On a file system that every worker sees.
        method_dirs, task_dirs: Folders of plug-ins.
        retries: How often a run that failed is tried again.
        wait: Wait for a run that another process is doing, or give it back as busy.
        variables: The suite's environment variables, as they were where the study was started.
    """

    workspace: Workspace
    method_dirs: tuple[str, ...] = ()
    task_dirs: tuple[str, ...] = ()
    retries: int = 0
    wait: bool = True
    variables: tuple[tuple[str, str], ...] = field(default_factory=_variables)


@dataclass(frozen=True)
class Done:
    """How one request ended: with a record's key and score (a trial's by validation), with a message, or as busy."""

    request: Request
    key: str | None = None
    score: float | None = None
    reused: bool = False
    seconds: float = 0.0
    error: str | None = None
    busy: bool = False


class Executor(Protocol):
    """Does runs, one `work` each, somewhere."""

    jobs: int
    """How many at a time, as far as it is known here."""
    cards: int
    """Among how many CUDA devices of this machine they are shared out; 0 where they are not."""

    def map(self, requests: Sequence[Request], place: Place) -> Iterator[Done]:
        """Do every request once, and yield each as it ends; what was not finished is cancelled on closing."""


_one_at_a_time = threading.Lock()  # the generators of torch and numpy are the process's


def work(request: Request, place: Place) -> Done:
    """Do one run, in whatever process this is; a failure is its result, and what ends a study is raised.

    Raises:
        OSError: There is no room for a record, or no permission.
    """
    from delrec_bench.runs.folder import BusyError
    from delrec_bench.runs.single import run

    with _one_at_a_time:
        start = time.perf_counter()
        os.environ.update(place.variables)
        pin_threads(request.threads)
        error = ""
        for _ in range(place.retries + 1):
            try:
                outcome = run(request, *_tables(place.method_dirs, place.task_dirs), place.workspace, wait=place.wait)
            except BusyError:
                return Done(request, busy=True)
            except BenchError as refused:  # asked again it would be refused again
                return Done(request, seconds=time.perf_counter() - start, error=str(refused))
            except RunError as failed:
                error = str(failed)
            except Exception as bug:
                if isinstance(bug, OSError) and bug.errno in NO_ROOM:
                    raise
                error = f"{request.method} on {request.task}: this is a bug ({type(bug).__name__}: {bug})"
            else:
                record = outcome.record
                score = record.result["valid_score"] if record.kind == "trial" else record.score
                return Done(request, record.key, score, outcome.reused, time.perf_counter() - start)
        return Done(request, seconds=time.perf_counter() - start, error=error)


@cache
def _tables(method_dirs: tuple[str, ...], task_dirs: tuple[str, ...]) -> tuple[Any, Any]:
    from delrec_bench.methods.base import find_methods
    from delrec_bench.tasks.base import find_tasks

    return find_methods(map(Path, method_dirs)), find_tasks(map(Path, task_dirs))
