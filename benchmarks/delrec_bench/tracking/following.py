"""Runs seen live: what workers append to ``runs/<key>/history.jsonl`` goes to MLflow, each epoch at its own time."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from delrec_bench.errors import BenchError
from delrec_bench.tracking.database import opened
from delrec_bench.tracking.values import milliseconds
from delrec_bench.tracking.writing import Begun, Runs
from delrec_bench.workspace import Workspace

SECONDS = 5.0
LARGEST = 64 << 20

Entry = tuple[dict[str, Any], int]


class Follower:
    """The one writer of a study's runs while they are made, in its parent process.

    Args:
        workspace: Its `runs` is read, its store written.
        runs: Those that are about to be made.
    """

    def __init__(self, workspace: Workspace, runs: Iterable[Begun]) -> None:
        self._workspace = workspace
        self._runs = {run.key: run for run in runs}
        self._seen: dict[str, int] = {}  # epochs by key that are in the store
        self._ids: dict[str, str] = {}  # of the runs in the store
        self._known: Runs | None = None  # what was in the store when it was last read
        self._stamps: dict[str, tuple[int, int]] = {}  # size and time of a history file when it was last read

    def poll(self) -> int:
        """Log the epochs that are new since the last call; returns how many.

        Raises:
            BenchError: The store failed; the next call tries the same epochs again.
        """
        fresh: dict[str, dict[int, Entry]] = {}
        stamps = {}
        for key in self._runs:
            path = self._workspace.runs / key / "history.jsonl"
            stamp = _stamp(path)
            if stamp is None or stamp == self._stamps.get(key):
                continue
            stamps[key] = stamp
            entries = {n: entry for n, entry in _entries(path).items() if n > self._seen.get(key, 0)}
            if entries:
                fresh[key] = entries
        if fresh:
            try:
                self._write(fresh)
            except BenchError:
                self._ids.clear()  # the store may be another one when it is back
                self._known = None
                raise
        self._stamps |= stamps
        return sum(len(entries) for entries in fresh.values())

    def _write(self, fresh: dict[str, dict[int, Entry]]) -> None:
        with opened(self._workspace) as store:
            runs = self._known = Runs(store, self._known)
            for key, entries in fresh.items():
                if key not in self._ids:
                    self._ids[key] = runs.start(self._runs[key], entries[min(entries)][1])
                    logged = runs.epochs(self._ids[key])  # a parent that was killed may have logged some
                    entries = {n: entry for n, entry in entries.items() if n > logged}
                runs.epoch(self._ids[key], entries)
                self._seen[key] = max(fresh[key])


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_size, found.st_mtime_ns) if 0 < found.st_size <= LARGEST else None


def _entries(path: Path) -> dict[int, Entry]:
    """Epoch -> entry and time in ms of every whole line; one that is still being written is left for later."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    out: dict[int, Entry] = {}
    for line in text[: text.rfind("\n") + 1].splitlines():
        try:
            entry = json.loads(line)
            when = milliseconds(entry.pop("time"))
            number = entry["epoch"]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            break  # what comes after a damaged line is left to the record
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            break
        out[number] = (entry, when)
    return out


@contextmanager
def follow(
    workspace: Workspace, runs: Iterable[Begun], say: Callable[[str], None], seconds: float = SECONDS
) -> Iterator[Follower]:
    """Follow runs in a thread of this process as long as the block lasts, and once more at its end.

    Trouble with the store is said once and stops nothing: the records are synced later.
    """
    follower = Follower(workspace, runs)
    over = threading.Event()
    told: set[str] = set()

    def once() -> None:
        try:
            follower.poll()
        except BenchError as error:
            if not told:
                say(f"warning: runs are not seen live: {error}")
            told.add(str(error))

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
