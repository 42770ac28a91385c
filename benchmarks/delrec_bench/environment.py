"""What a run happens in: code revision, versions, machine, memory."""

import importlib.metadata
import os
import platform
import resource
import subprocess
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from delrec_bench.arithmetic import system_line
from delrec_bench.errors import BenchError

# What commands of the suite, and DVC's of its pipeline, write into a checkout: no change of the code.
GENERATED = ("reports", "README.md", "dvc.lock")
DISTRIBUTIONS = (
    "torch", "numpy", "numba", "llvmlite", "scipy", "scikit-learn", "delrec", "delrec-baselines", "delrec-bench",
)  # fmt: skip


def say(text: str) -> None:
    """Progress, for people: stderr."""
    print(text, file=sys.stderr, flush=True)


say_once = cache(say)  # in a process, the same text


@cache
def provenance() -> dict[str, Any]:
    """Revision of the code, whether it was changed since (reports/ apart), and versions of what it stands on."""
    c_library = " ".join(platform.libc_ver()).strip() or "unknown"  # whose exp and log others may compute otherwise
    versions = {"python": platform.python_version(), "c-library": c_library}
    for name in DISTRIBUTIONS:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    here = Path(__file__).parent
    ours = bool(_git(here, "ls-files", Path(__file__).name))  # not where a repository of the user's own holds a wheel
    revision = (ours and _git(here, "rev-parse", "HEAD")) or "unknown"
    return {"revision": revision, "dirty": ours and bool(changes(here)), "versions": versions}


def changes(folder: Path) -> list[str]:
    """Files of the checkout around `folder` that differ from its last commit, apart from what is generated."""
    excluded = (f":(top,exclude){name}" for name in GENERATED)
    return [line[3:] for line in _git(folder, "status", "--porcelain", "--", ":/", *excluded).splitlines()]


def _git(folder: Path, *words: str) -> str:
    with suppress(OSError, subprocess.SubprocessError):
        command = ["git", "-C", str(folder), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.rstrip()
    return ""


@cache
def machine(device: str = "cpu") -> str:
    """One line about the machine: processor and cores, its card before them on "cuda"; no name or address."""
    if device == "cuda":
        import torch

        card = torch.cuda.get_device_name() if torch.cuda.is_available() else "no card"
        return f"{card}; {machine()}"
    model = system_line("/proc/cpuinfo", "model name") or platform.processor() or platform.machine()
    return f"{model}, {os.cpu_count()} cores, {platform.system()}"


def need_device(device: str) -> None:
    """Raise a `BenchError` for "cuda" where there is none."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise BenchError("--device is 'cuda', but torch finds no CUDA device; use cpu or auto")


def need_memory(size: int, what: str) -> None:
    """Raise a `BenchError` where a request needs more bytes than are free, before any of them is allocated."""
    free = int(psutil.virtual_memory().available)
    if size > free:
        raise BenchError(f"{what} needs {size:,} bytes of memory, but only {free:,} are free")


def reset_peak(device: str = "cpu") -> None:
    """Start a new measurement of peak memory, where the system can (Linux), and on "cuda" of the card's."""
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_bytes(device: str = "cpu") -> int:
    """Most memory held by this process since `reset_peak` (where that works; else since its start), in bytes.

    On "cuda" the card's, which torch took.
    """
    if device == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated())
    if most := system_line("/proc/self/status", "VmHWM"):
        return int(most.split()[0]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
