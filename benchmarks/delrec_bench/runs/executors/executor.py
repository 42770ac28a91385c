"""What an executor is, and the work that each of them hands out."""

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from delrec_bench.arithmetic import MARK
from delrec_bench.config import Request
from delrec_bench.errors import BenchError, RunError, bug
from delrec_bench.records import Record, finished_record
from delrec_bench.workspace import Workspace

NO_ROOM = (errno.EACCES, errno.ENOSPC, errno.EROFS, errno.EDQUOT)
"""What ends a study: no run could be kept."""

Progress = Callable[[dict[str, Any]], None]


def _variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("DELREC_") and name != MARK}


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
    variables: dict[str, str] = field(default_factory=_variables)


@dataclass(frozen=True)
class Done:
    """How one request ended: with a record's key and score (a trial's by validation), with a message, or as busy.

    `refused` says that the request itself was wrong: asked again it would be refused again.
    """

    request: Request
    key: str | None = None
    score: float | None = None
    reused: bool = False
    seconds: float = 0.0
    error: str | None = None
    refused: bool = False
    busy: bool = False

    def record(self, workspace: Workspace) -> Record:
        """The record of the run; a `BenchError` where the request was refused, a `RunError` where it failed."""
        if self.key is None:
            raise (BenchError if self.refused else RunError)(self.error)
        found = finished_record(workspace.runs, self.key)
        assert found is not None
        return found


class Executor(Protocol):
    """Does runs, one `work` each, somewhere."""

    jobs: int
    """How many at a time, as far as it is known here."""

    def map(self, requests: Sequence[Request], place: Place) -> Iterator[Done]:
        """Do every request once, and yield each as it ends; what was not finished is cancelled on closing."""


_one_at_a_time = threading.Lock()  # the generators of torch and numpy are the process's


def work(request: Request, place: Place, progress: Progress | None = None) -> Done:
    """Do one run in this process; a failure is its result, and what ends a study (`NO_ROOM`) is raised.

    Args:
        request: What to do.
        place: Where.
        progress: Gets {"begun": the record's `Asked`} first, then the entry of each epoch.
    """
    from delrec_bench.config import resolve
    from delrec_bench.records import Asked
    from delrec_bench.runs.folder import BusyError
    from delrec_bench.runs.recording import about
    from delrec_bench.runs.single import perform

    with _one_at_a_time:
        start, error = time.perf_counter(), ""
        os.environ.update(place.variables)
        for _ in range(place.retries + 1):
            try:
                folders = place.method_dirs, place.task_dirs
                resolved = resolve(request, *_tables(*folders, _stamp(*folders)), place.workspace)
                if progress is not None:
                    progress({"begun": Asked(key=resolved.key, **about(resolved))})
                record, reused = perform(resolved, place.workspace, progress, wait=place.wait)
                score = record.result["valid_score"] if record.kind == "trial" else record.score
                return Done(request, record.key, score, reused, time.perf_counter() - start)
            except BusyError:
                return Done(request, busy=True)
            except BenchError as refused:
                return Done(request, seconds=time.perf_counter() - start, error=str(refused), refused=True)
            except RunError as failed:
                error = str(failed)
            except Exception as unforeseen:
                if isinstance(unforeseen, OSError) and unforeseen.errno in NO_ROOM:
                    raise
                error = f"{request.method} on {request.task}: {bug(unforeseen)}"
        return Done(request, seconds=time.perf_counter() - start, error=error)


def _stamp(*folders: tuple[str, ...]) -> tuple[tuple[str, int, int], ...]:
    """What tells whether a file of these folders was edited: a process does runs for hours, in a notebook say."""
    files = [path for folder in sum(folders, ()) for path in sorted(Path(folder).glob("*.py"))]
    return tuple((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in files)


@lru_cache(1)
def _tables(method_dirs: tuple[str, ...], task_dirs: tuple[str, ...], _: object) -> tuple[Any, Any]:
    from delrec_bench.methods.method import find_methods
    from delrec_bench.tasks.task import find_tasks

    return find_methods(map(Path, method_dirs)), find_tasks(map(Path, task_dirs))
