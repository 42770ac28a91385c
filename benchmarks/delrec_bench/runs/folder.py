"""The folder of a run, `runs/<key>/`, and what survives there when its process is killed.

    resume.pt       the training at the end of an epoch, once a minute at most, and when the run is interrupted;
                    gone when the record is there
    history.jsonl   a line an epoch, with the time it ended
    failure.json    why the last attempt failed, with its traceback; gone when the record is there
    checkpoint.pt   the trained network
    record.json     written last: where it is, the run is finished
    lock            held by the one process that does the run; the kernel releases it when that process ends

Whole files are written aside and renamed, so that none is ever half there. A checkpoint begins with the digest of the
rest: torch does not look at the sums in its files, and a bit that the disk lost would train another network.
"""

import hashlib
import io
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from delrec_bench.environment import machine, peak_bytes, provenance, say
from delrec_bench.errors import BenchError
from delrec_bench.records import (
    RESULTS_VERSION,
    Asked,
    Failure,
    Record,
    plain,
    read_failure,
    record_text,
    write_record,
)
from delrec_bench.workspace import remove_drafts, write_atomic

CHECKPOINT_SECONDS = 60.0  # from one checkpoint to the next, at least
LIBRARIES = ("torch", "numpy", "numba")  # another version of these may add in another order


def sealed(content: bytes) -> bytes:
    """The content after its SHA-256."""
    return hashlib.sha256(content).digest() + content


def unsealed(content: bytes) -> bytes:
    """What `sealed` was given; a `ValueError` where it is not the same any more."""
    if hashlib.sha256(content[32:]).digest() != content[:32]:
        raise ValueError("its content does not match its checksum")
    return content[32:]


class RunFolder:
    """One run's folder, by its key."""

    def __init__(self, runs: Path, key: str) -> None:
        self.key = key
        self.path = runs / key

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run; another process that does it is waited for. What killed writes left behind is swept."""
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"run {self.key[:12]} is being done by another process; waiting for it")
            lock.acquire()
        try:
            remove_drafts(self.path)
            yield
        finally:
            lock.release()

    def finish(self, record: Record, checkpoint: bytes | None) -> None:
        """Write a run's results, the record last, and drop what was kept in case it did not come so far."""
        if checkpoint is not None:
            write_atomic(self.path / "checkpoint.pt", checkpoint)
        write_record(self.path / "record.json", record)
        self.tidy()

    def tidy(self) -> None:
        """Drop what only an unfinished run needs; a folder that is read-only keeps it."""
        for name in ("resume.pt", "failure.json"):
            with suppress(OSError):
                (self.path / name).unlink()

    def failed(self, asked: Asked, error: str, traceback: str, diverged: bool) -> None:
        """Keep why an attempt failed; attempts are counted."""
        path, attempts = self.path / "failure.json", 1
        with suppress(BenchError):
            attempts += read_failure(path).attempts
        error, traceback = (text.encode("utf-8", "backslashreplace").decode() for text in (error, traceback))
        why: dict[str, Any] = {"error": error, "traceback": traceback, "diverged": diverged, "attempts": attempts}
        why |= {"failed_at": _now(), "provenance": {"results_version": RESULTS_VERSION, **provenance()}}
        write_atomic(path, record_text(Failure(**dict(asked) | why)))


class Checkpoints:
    """A run's history and its checkpoints (a `keeper` of `training.fit`), and what earlier calls have spent on it."""

    def __init__(self, folder: RunFolder, device: str = "cpu") -> None:
        self._device, self._name = device, f"run {folder.key[:12]}"
        self._path, self._history = folder.path / "resume.pt", folder.path / "history.jsonl"
        libraries = {name: provenance()["versions"].get(name) for name in LIBRARIES}
        self._belongs: dict[str, Any] = {"key": folder.key, "libraries": libraries}
        if device != "cpu":  # another card adds up in another order
            self._belongs["machine"] = machine(device)
        self._start, self._cpu = time.perf_counter(), time.process_time()
        self._saved_at = self._start
        self._before: dict[str, Any] = {"wall_seconds": 0.0, "cpu_seconds": 0.0, "peak_bytes": 0, "resumed_after": []}
        self._lines: list[str] = []
        self._latest: bytes | None = None  # the checkpoint of the last epoch

    def checkpoint(self) -> Mapping[str, Any] | None:
        """The training that an earlier call left, if it is of this run; a line says what comes of it."""
        saved = self._read()
        self._lines = []
        if saved is not None:
            self._before, self._lines = saved["before"], saved["history"]
            self._before["resumed_after"] = [*self._before["resumed_after"], len(self._lines)]
            say(f"{self._name} goes on after epoch {len(self._lines)}, where it was cut short")
        write_atomic(self._history, "".join(f"{line}\n" for line in self._lines))
        return None if saved is None else saved["training"]

    def _read(self) -> dict[str, Any] | None:
        if not self._path.exists():
            return None
        try:
            content = unsealed(self._path.read_bytes())
            saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            belongs, history = saved["belongs"], saved["training"]["fit"]["history"]
            if set(saved["before"]) != set(self._before) or len(saved["history"]) != len(history):
                raise ValueError("it is incomplete")
        except Exception as error:  # whatever a damaged file makes torch and pickle raise
            # only the kind of another's error: torch's own text advises to load the file unsafely
            self.drop(str(error) if isinstance(error, ValueError | OSError) else type(error).__name__)
            return None
        if belongs != self._belongs:
            say(f"{self._path} is of {belongs}, not {self._belongs}; the run starts anew")
            return None
        return dict(saved)

    def drop(self, why: str) -> None:
        """Remove a checkpoint that cannot be used, and say so."""
        say(f"warning: {self._path} cannot be used ({why}); the run starts anew")
        self._before["resumed_after"] = []
        with suppress(OSError):
            self._path.unlink()

    def epoch_ended(self, entry: Mapping[str, Any], capture: Callable[[], dict[str, Any]]) -> None:
        """Write the epoch's line of history, and its checkpoint if the last one is a minute old; else keep it ready."""
        line = json.dumps(plain({**entry, "time": _now()}, missing=True), ensure_ascii=False)
        self._lines.append(line)
        # where this fails, only those who look on miss something: the checkpoint holds the history too
        with suppress(OSError), self._history.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
        content = io.BytesIO()
        about = {"belongs": self._belongs, "before": self.spent(), "history": self._lines}
        torch.save({**about, "training": capture()}, content)
        self._latest = sealed(content.getvalue())
        if time.perf_counter() - self._saved_at >= CHECKPOINT_SECONDS:
            self.save()

    def save(self) -> None:
        """Write the checkpoint of the last epoch, if one has ended."""
        if self._latest is not None:
            write_atomic(self._path, self._latest)
            self._saved_at = time.perf_counter()

    def spent(self) -> dict[str, Any]:
        """Wall and processor seconds and peak memory over all calls, and the epochs after which it was resumed."""
        return {
            "wall_seconds": self._before["wall_seconds"] + time.perf_counter() - self._start,
            "cpu_seconds": self._before["cpu_seconds"] + time.process_time() - self._cpu,
            "peak_bytes": max(self._before["peak_bytes"], peak_bytes(self._device)),
            "resumed_after": self._before["resumed_after"],
        }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
