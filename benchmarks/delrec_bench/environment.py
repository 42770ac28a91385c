"""What a run happens in: threads (set here, in one place, before torch starts), code revision, versions, memory."""

import importlib.metadata
import os
import platform
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

POOLS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
DISTRIBUTIONS = ("torch", "numpy", "numba", "delrec", "delrec-baselines", "delrec-bench")


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside: SIGTERM is an interrupt, so that it ends workers, keeps what is finished, and comes to the same exit."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def say(text: str) -> None:
    """Progress, for people: stderr."""
    print(text, file=sys.stderr, flush=True)


def pin_threads(threads: int) -> None:
    """Give torch, numba and BLAS `threads` threads each; children started later inherit it.

    Call it before torch is imported: a pool that is running already keeps what it has, but for torch's own. With torch
    loaded it also lets the process keep freed memory, which every run and every side of a comparison then does.
    """
    for name in POOLS:
        os.environ[name] = str(threads)
    if "torch" in sys.modules:
        import torch
        from delrec.engines.threads import keep_memory

        torch.set_num_threads(threads)
        keep_memory()


@cache
def provenance() -> dict[str, Any]:
    """Revision of the code, whether it was changed since (reports/ apart), and versions of what it stands on."""
    versions = {"python": platform.python_version()}
    for name in DISTRIBUTIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    top = _git("rev-parse", "--show-toplevel")
    changes = (
        _git("status", "--porcelain", "--", ":/", ":(top,exclude)reports", ":(top,exclude)README.md") if top else ""
    )
    return {
        "revision": _git("rev-parse", "HEAD") or "unknown",
        "dirty": bool(changes),
        "versions": versions,
    }


def _git(*words: str) -> str:
    folder = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


@cache
def machine() -> str:
    """One line about the machine: processor and cores, no name or address."""
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    return f"{model}, {os.cpu_count()} cores, {platform.system()}"


def reset_peak() -> None:
    """Start a new measurement of peak memory, where the system can (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def peak_bytes() -> int:
    """Most memory held by this process since `reset_peak` (where that works; else since its start), in bytes."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
