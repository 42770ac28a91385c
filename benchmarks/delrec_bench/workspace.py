"""Where the suite's files live, and how they are written."""

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from delrec_bench.errors import BenchError

ROOT_VARIABLE = "DELREC_BENCH_ROOT"
MARKER = "data.dvc"
DRAFT_SECONDS = 86400.0  # a draft that old has no writer any more


@dataclass(frozen=True)
class Workspace:
    """The folders and files of one checkout."""

    root: Path  # holds data.dvc, or is any other folder: an installed package carries the lists of files
    runs: Path  # a folder for each run, `<key>/record.json` and `<key>/checkpoint.pt`; ignored by git
    cache: Path  # binned data; may be deleted at any time
    data: Path  # dataset files, as listed in data.dvc
    reports: Path  # what the suite generates and the repository shows
    database: Path  # MLflow's SQLite file
    artifacts: Path  # and its artifacts


def workspace_at(root: Path, runs: Path | None = None) -> Workspace:
    """The workspace whose root is `root`; `runs` puts the runs elsewhere."""
    root = root.resolve()
    names = ("cache", "data", "reports", "mlflow.db", "mlartifacts")
    return Workspace(root, (runs or root / "runs").resolve(), *(root / name for name in names))


def find_workspace(root: str | None = None, runs: str | None = None) -> Workspace:
    """Find the workspace: `root`, else DELREC_BENCH_ROOT, else the nearest folder upward with data.dvc, else here.

    What processes that were killed left in it a day ago is swept; a run's folder is swept by the process that holds it.
    """
    named = root or os.environ.get(ROOT_VARIABLE)
    if named and not Path(named).is_dir():
        source = "--root" if root else ROOT_VARIABLE
        raise BenchError(f"{source} '{named}' is not a folder; give one that contains {MARKER}")
    if runs and Path(runs).is_file():
        raise BenchError(f"--runs '{runs}' is a file; give a folder")
    here = Path.cwd().resolve()
    marked = (folder for folder in (here, *here.parents) if (folder / MARKER).is_file())
    workspace = workspace_at(Path(named) if named else next(marked, here), Path(runs) if runs else None)
    above = (workspace.data, workspace.root / "out", workspace.reports)
    for folder in (workspace.cache, *(folder for path in above for folder in path.glob("*/"))):
        remove_drafts(folder, older=DRAFT_SECONDS)
    return workspace


@contextmanager
def locked(path: Path, seconds: float = 60.0) -> Iterator[None]:
    """Hold the lock of a file, `.<name>.lock` beside it, so that one process at a time reads it, changes it, writes it.

    The system gives it up when its process ends, however it ends. Folders above are made. A `BenchError` says that
    another process has held it for `seconds`.
    """
    lock = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock, timeout=seconds):
            yield
    except Timeout as error:
        raise BenchError(
            f"{path} is in use: another process has held {lock.name} for {seconds:.0f} s; wait for it or stop it"
        ) from error


@contextmanager
def drafted(path: Path) -> Iterator[BinaryIO]:
    """A file beside `path` that takes its place when the block ends well, and vanishes otherwise; folders are made.

    A `BenchError` refuses to replace a folder or a device.
    """
    if path.exists() and not path.is_file():
        raise BenchError(f"{path} is not a regular file; give the path of a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with draft.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    except BaseException as error:
        draft.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk does not say what was being written
        raise


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write a file so that a reader finds the old content or the new one, never a part of it; text is UTF-8."""
    with drafted(path) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


def read_limited(path: Path, largest: int) -> bytes:
    """Return the content of a regular file; a `BenchError` where it has more than `largest` bytes or is unreadable."""
    try:
        if path.exists() and not path.is_file():
            raise BenchError(f"{path} is not a file")
        with path.open("rb") as file:
            data = file.read(largest + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise BenchError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > largest:
        raise BenchError(f"{path} has more than {largest:,} bytes, the largest size accepted")
    return data


def remove_drafts(folder: Path, older: float = 0.0) -> None:
    """Remove what killed writes left behind: drafts that are `older` seconds old."""
    for draft in folder.glob(f".*.{'[0-9a-f]' * 8}"):
        with suppress(OSError):  # another process swept it, or the folder is read-only
            if time.time() - draft.stat().st_mtime >= older:
                draft.unlink()


def base_and_folder(task: str) -> tuple[str, str]:
    """The task of a row's task, and the folder of a user's own files: ("shd", "mine") of `shd:mine@298f8453`."""
    base, _, own = task.partition(":")
    return base, own.rpartition("@")[0]
