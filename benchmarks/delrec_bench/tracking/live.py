"""Runs seen live: what workers append to ``runs/<key>/history.jsonl`` goes to MLflow, each epoch at its own time."""

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from delrec_bench.errors import BenchError
from delrec_bench.records import Asked
from delrec_bench.tracking.mlflow_store import Entries, milliseconds, opened
from delrec_bench.workspace import Workspace


class Follower:
    """Writes the runs that are about to be made, below their study, to MLflow, from the process of the command."""

    def __init__(self, workspace: Workspace, runs: Iterable[Asked], study: str | None = None) -> None:
        self._workspace, self._study = workspace, study
        self._runs = {run.key: run for run in runs}
        self._sizes: dict[str, int] = {}  # of histories that are in the store
        self._ids: dict[str, str] = {}  # of runs in the store
        self._ended: dict[str, str] = {}  # key -> status, which the store does not have yet

    def end(self, key: str, status: str) -> None:
        """A run has ended: FINISHED, FAILED or KILLED; the next `poll` says so to MLflow."""
        self._ended[key] = status

    def kill_the_rest(self) -> None:
        """Every run that was seen and has not ended is KILLED."""
        self._ended = dict.fromkeys(self._ids, "KILLED") | self._ended

    def poll(self) -> None:
        """Log what is new since the last call; a `BenchError` where the store fails: the next call tries again."""
        ended = dict(self._ended)
        paths = {key: self._workspace.runs / key / "history.jsonl" for key in self._runs}
        sizes = {key: path.stat().st_size if path.is_file() else 0 for key, path in paths.items()}
        fresh = [key for key, size in sizes.items() if size != self._sizes.get(key, 0) or key in ended]
        if not fresh:
            return
        with opened(self._workspace) as store:
            for key in fresh:
                entries = _entries(paths[key]) if sizes[key] else {}
                if entries or key in ended:
                    first = min((when for _, when in entries.values()), default=int(1000 * time.time()))
                    run_id = self._ids[key] = self._ids.get(key) or store.start(self._runs[key], first, self._study)
                    store.epochs(run_id, entries)
                    if key in ended:
                        store.client.set_terminated(run_id, ended[key])
                        del self._runs[key], self._ids[key], self._ended[key]
                self._sizes[key] = sizes[key]


def _entries(path: Path) -> Entries:
    """Every whole line; one that is still being written, and what comes after a damaged one, is left to the record."""
    text = path.read_text(encoding="utf-8", errors="replace")
    out: Entries = {}
    for line in text[: text.rfind("\n") + 1].splitlines():
        try:
            entry = json.loads(line)
            out[int(entry["epoch"])] = (entry, milliseconds(entry.pop("time")))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            break
    return out


@contextmanager
def follow(
    workspace: Workspace, say: Callable[[str], None], runs: Iterable[Asked], study: str | None = None,
    seconds: float = 5.0,
) -> Iterator[Follower]:  # fmt: skip
    """Follow runs in a thread of this process as long as the block lasts; those that have not ended then are KILLED.

    Trouble with the store is said once and stops nothing: the records are synced later.
    """
    follower, over, troubles = Follower(workspace, runs, study), threading.Event(), set[str]()

    def poll() -> None:
        try:
            follower.poll()
        except BenchError as error:
            if not troubles:
                say(f"warning: runs are not seen live: {error}")
            troubles.add(str(error))

    def repeat() -> None:
        while not over.wait(seconds):
            poll()

    thread = threading.Thread(target=repeat, name="mlflow", daemon=True)
    thread.start()
    try:
        yield follower
    finally:
        over.set()
        thread.join()
        poll()
        follower.kill_the_rest()
        poll()
