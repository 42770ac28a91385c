"""The one place where the cpu engine uses threads.

Kernels release Python's lock and run on a pool of as many threads as torch has (`torch.set_num_threads`), or as
`use_threads` says. No kernel starts threads of its own. Work is cut by shape alone, never by the number of threads, so
that results do not depend on it.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

__all__ = ["keep_memory", "parallel", "use_threads"]

_pool: tuple[int, int, ThreadPoolExecutor] | None = None  # (process, threads, pool)
_chosen: int | None = None


def use_threads(count: int | None) -> None:
    """Let kernels use `count` threads, whatever torch has; None follows torch again."""
    global _chosen
    if count is not None and count < 1:
        raise ValueError(f"count is {count}; it must be at least 1, or None for as many threads as torch has")
    _chosen = count


def parallel(task: Callable[[int], None], count: int) -> None:
    """Call task(0) .. task(count - 1) on the chosen number of threads; the first exception is raised."""
    global _pool
    threads = _chosen or torch.get_num_threads()
    if min(threads, count) <= 1:
        for j in range(count):
            task(j)
        return
    if _pool is None or _pool[:2] != (os.getpid(), threads):
        if _pool is not None and _pool[0] == os.getpid():
            _pool[2].shutdown(wait=False)
        _pool = (os.getpid(), threads, ThreadPoolExecutor(threads, "delrec-cpu"))
    for _ in _pool[2].map(task, range(count)):
        pass


def keep_memory() -> bool:
    """Let the process keep the memory it frees, instead of returning it to the system; True where that works.

    glibc gives large blocks back at once, and the next training step pays for every page of them again: half the time
    of a layer without recurrence. It concerns the whole process, so only a program's main part should ask for it, and
    a comparison should set it for both sides. Other C libraries need nothing and are left alone.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
        ctypes.CDLL(None).gnu_get_libc_version  # noqa: B018  musl has a mallopt that does nothing
    except (AttributeError, OSError, TypeError):
        return False
    no_mmap, no_trim = (-4, 0), (-1, 2**31 - 1)  # M_MMAP_MAX, M_TRIM_THRESHOLD
    return bool(mallopt(*no_mmap)) and bool(mallopt(*no_trim))
