"""Spike files of unknown content are read first by a child process, which may hang, crash or ask for all memory.

The HDF5 library trusts what a file says of itself: a few zeroed kilobytes in the wrong place make a read that never
returns, or one that ends the process. So a child with a limit of time and memory reads every event before this process
opens the file. What was read well once is remembered by its md5, as are the files of the .dvc files.
"""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from delrec_bench.data.dvc_files import listed
from delrec_bench.data.events import EventFile, open_hdf5
from delrec_bench.data.files import digest_of, need_space, reading, recalled, remember, saving
from delrec_bench.data.vetting_child import BUG
from delrec_bench.errors import BenchError
from delrec_bench.workspace import Workspace

CHILD = "from delrec_bench.data.vetting_child import main; main()"
PATIENCE = 20.0  # seconds of a processor for its start and a small file
WAIT = 10.0  # times as long by the clock: others may use the machine as well, which makes no file a broken one
PACE = 1e6  # bytes a second, the slowest that a file is read
COPY = 1 << 20


@contextmanager
def open_events(path: Path, workspace: Workspace, scratch: Path) -> Iterator[EventFile]:
    """Open a .h5 file, or a .h5.gz through a copy in `scratch` that lives as long as it is open; both once vetted.

    Raises:
        BenchError: Not readable as HDF5 (missing, truncated, something else), or not of the layout.
    """
    with _unpacked(path, scratch) as plain:
        vet(path, workspace, plain)
        with open_hdf5(plain, path) as file:
            yield file


def vet(path: Path, workspace: Workspace, plain: Path | None = None) -> None:
    """Have a child read the file, unless one did before or the file is one of ours; `plain` is its unpacked copy.

    Raises:
        BenchError: As reading it here would, or: the child hung, crashed, or needed more memory than it may have.
    """
    digest = digest_of(path, workspace, content=True)
    memory = workspace.cache / "vetted.json"
    if digest in recalled(memory) or digest in {entry.md5 for entry in listed(workspace).values()}:
        return
    _read_in_child(plain or path, path)
    remember(memory, {**recalled(memory), digest: path.name})


def _read_in_child(plain: Path, shown: Path) -> None:
    limit = PATIENCE + plain.stat().st_size / PACE if plain.exists() else PATIENCE
    command = [sys.executable, "-c", CHILD, str(plain), str(shown), str(math.ceil(limit))]
    # One thread: every further one takes address space of its own.
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = {**os.environ, **single, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = subprocess.run(command, capture_output=True, env=environment, timeout=WAIT * limit, check=False)
    except subprocess.TimeoutExpired as error:
        raise BenchError(_endless(shown, f"{WAIT * limit:.0f} s")) from error
    if done.returncode == -signal.SIGXCPU:
        raise BenchError(_endless(shown, f"{limit:.0f} s of a processor"))
    if done.returncode == BUG:
        raise RuntimeError(done.stderr.decode(errors="replace"))
    if done.returncode:
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit status {done.returncode}"
        raise BenchError(f"{shown}: the HDF5 library crashed reading it ({how}); it is broken: copy or fetch it again")
    said = json.loads(done.stdout)
    if said is not None:
        raise BenchError(said)


def _endless(shown: Path, after: str) -> str:
    return f"{shown}: the HDF5 library was still reading it after {after}; it is broken: copy or fetch it again"


@contextmanager
def _unpacked(path: Path, scratch: Path) -> Iterator[Path]:
    if path.suffix != ".gz":
        yield path
        return
    with saving(scratch.parent):
        scratch.mkdir(parents=True, exist_ok=True)
        copy = tempfile.NamedTemporaryFile(dir=scratch, prefix="gunzip-", suffix=".h5")  # noqa: SIM115
    with copy:
        with saving(scratch.parent), reading(path) as packed:
            need_space(scratch, path.stat().st_size)
            shutil.copyfileobj(packed, copy, COPY)
            copy.flush()
        yield Path(copy.name)
