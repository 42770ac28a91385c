"""Runs seen live: what workers append to ``runs/<key>/history.jsonl`` goes to MLflow, each epoch at its own time."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from delrec_bench.errors import BenchError
from delrec_bench.tracking.store import Begun, opened
from delrec_bench.tracking.values import milliseconds
from delrec_bench.workspace import Workspace

SECONDS = 5.0

Entries = dict[int, tuple[dict[str, Any], int]]


class Follower:
    """Writes runs to MLflow while they are made, from the process of the command.

    Args:
        workspace: Its `runs` is read, its store written.
        runs: Those that are about to be made.
    """

    def __init__(self, workspace: Workspace, runs: Iterable[Begun] = ()) -> None:
        self._workspace = workspace
        self._runs = {run.key: run for run in runs}
        self._sizes: dict[str, int] = {}  # of histories that are in the store
        self._ids: dict[str, str] = {}  # of runs in the store
        self._ended: dict[str, str] = {}  # key -> status, which the store does not have yet

    def begin(self, run: Begun) -> None:
        """A run is about to be made."""
        self._runs[run.key] = run

    def end(self, key: str, status: str) -> None:
        """A run has ended: FINISHED, FAILED or KILLED; the next `poll` says so to MLflow."""
        self._ended[key] = status

    def kill_the_rest(self) -> None:
        """Every run that was seen and has not ended is KILLED."""
        for key in self._ids.keys() - self._ended.keys():
            self.end(key, "KILLED")

    def poll(self) -> None:
        """Log what is new since the last call.

        Raises:
            BenchError: The store failed; the next call tries again.
        """
        ended, fresh = dict(self._ended), {}
        for key in dict(self._runs):
            path = self._workspace.runs / key / "history.jsonl"
            size = path.stat().st_size if path.is_file() else 0
            if size != self._sizes.get(key, 0) or key in ended:
                fresh[key] = (_entries(path) if size else {}, size)
        if not fresh:
            return
        with opened(self._workspace) as store:
            for key, (entries, size) in fresh.items():
                if entries or key in ended:
                    first = min((when for _, when in entries.values()), default=int(1000 * time.time()))
                    run_id = self._ids[key] = self._ids.get(key) or store.start(self._runs[key], first)
                    store.epochs(run_id, entries)
                    if key in ended:
                        store.client.set_terminated(run_id, ended[key])
                        del self._runs[key], self._ids[key], self._ended[key]
                self._sizes[key] = size


def _entries(path: Path) -> Entries:
    """Epoch -> entry and time in ms of every whole line; one that is still being written is left for later."""
    text = path.read_text(encoding="utf-8", errors="replace")
    out: Entries = {}
    for line in text[: text.rfind("\n") + 1].splitlines():
        try:
            entry = json.loads(line)
            out[int(entry["epoch"])] = (entry, milliseconds(entry.pop("time")))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            break  # what comes after a damaged line is left to the record
    return out


@contextmanager
def follow(
    workspace: Workspace, say: Callable[[str], None], runs: Iterable[Begun] = (), seconds: float = SECONDS
) -> Iterator[Follower]:
    """Follow runs in a thread of this process as long as the block lasts; those that have not ended then are KILLED.

    Trouble with the store is said once and stops nothing: the records are synced later.
    """
    follower = Follower(workspace, runs)
    over = threading.Event()
    said: list[str] = []

    def once() -> None:
        try:
            follower.poll()
        except BenchError as error:
            if not said:
                say(f"warning: runs are not seen live: {error}")
            said.append(str(error))

    def repeat() -> None:
        while not over.wait(seconds):
            once()

    thread = threading.Thread(target=repeat, name="mlflow", daemon=True)
    thread.start()
    try:
        yield follower
    finally:
        over.set()
        thread.join()
        once()
        follower.kill_the_rest()
        once()
