"""Threads of the cpu engine, denormals, and memory.

Kernels release Python's lock and run on a pool with torch's number of threads, or that of `use_threads`. Work is
divided by shape alone, so results do not depend on the number of threads.
"""

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch

from delrec.checks import whole

_pool: tuple[int, int, ThreadPoolExecutor] | None = None  # (process, threads, pool)
_chosen: int | None = None


def use_threads(count: int | None) -> None:
    """Let kernels use `count` threads; None follows `torch.set_num_threads` again."""
    global _chosen
    _chosen = None if count is None else whole("count", count)


def parallel(task: Callable[[int], Any], count: int) -> None:
    """Call task(j) for j = 0 .. count - 1 on threads, which flush denormals if the calling one does."""
    global _pool
    threads = _chosen or torch.get_num_threads()
    if min(threads, count) <= 1:
        for j in range(count):
            task(j)
        return
    if _pool is None or _pool[:2] != (os.getpid(), threads):
        _pool = (os.getpid(), threads, ThreadPoolExecutor(threads, "delrec-cpu"))
    flush = flushes_denormals()

    def run(j: int) -> None:
        torch.set_flush_denormal(flush)  # of the thread that this runs on
        task(j)

    list(_pool[2].map(run, range(count)))  # raises what a task raised


@contextmanager
def flush_denormals() -> Iterator[None]:
    """Return a context in which denormal numbers (below 1.2e-38 in float32), slow on some processors, are 0.

    It applies to the calling thread and the kernels it starts, but not to torch's own threads if there are several.
    """
    before = flushes_denormals()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def flushes_denormals() -> bool:
    """Return whether this thread treats denormal numbers as 0."""
    return sys.float_info.min * 0.5 == 0.0


def keep_memory() -> bool:
    """Let the process keep freed memory instead of returning it to the system; return True if that works (glibc).

    Otherwise each training step pays for every page again. Only a main program should call it.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
        ctypes.CDLL(None).gnu_get_libc_version  # noqa: B018  musl has a mallopt that does nothing
    except (AttributeError, OSError, TypeError):
        return False
    no_mmap, no_trim = (-4, 0), (-1, 2**31 - 1)  # M_MMAP_MAX, M_TRIM_THRESHOLD
    return bool(mallopt(*no_mmap)) and bool(mallopt(*no_trim))
