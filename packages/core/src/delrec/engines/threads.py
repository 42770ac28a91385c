"""The one place where the cpu engine uses threads.

Kernels release Python's lock and run on a pool of as many threads as torch has (`torch.set_num_threads`, set before
the first call). No kernel starts threads of its own. Work is cut by shape alone, never by the number of threads, so
that results do not depend on it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

__all__ = ["parallel"]

_pool: tuple[int, int, ThreadPoolExecutor] | None = None  # (process, threads, pool)


def parallel(task: Callable[[int], None], count: int) -> None:
    """Call task(0) .. task(count - 1), on torch's number of threads; the first exception is raised."""
    global _pool
    threads = min(torch.get_num_threads(), count)
    if threads <= 1:
        for j in range(count):
            task(j)
        return
    if _pool is None or _pool[:2] != (os.getpid(), torch.get_num_threads()):
        if _pool is not None and _pool[0] == os.getpid():
            _pool[2].shutdown(wait=False)
        _pool = (os.getpid(), torch.get_num_threads(), ThreadPoolExecutor(torch.get_num_threads(), "delrec-cpu"))
    for _ in _pool[2].map(task, range(count)):
        pass
