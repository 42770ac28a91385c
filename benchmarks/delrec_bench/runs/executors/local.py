"""Runs in processes of this machine, which live from first to last and end with their parent."""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import Any

from delrec_bench.config import Request
from delrec_bench.environment import pin_threads, say
from delrec_bench.errors import BenchError
from delrec_bench.runs.executors.base import Done, Place, work

PR_SET_PDEATHSIG = 1


class Local:
    """`jobs` processes, or `per_device` for each CUDA device; one job without a device is done in this process.

    A worker that is killed costs nothing but its run's time since the last checkpoint: the runs that were under way are
    done again one by one, so that the one that brings its worker down is known.
    """

    def __init__(self, jobs: int, per_device: int | None = None) -> None:
        self._devices: tuple[str, ...] = ()
        if per_device is not None:
            self._devices = _cuda_devices()
            jobs = per_device * len(self._devices)
        self.jobs, self.cards = jobs, len(self._devices)

    def map(self, requests: Sequence[Request], place: Place) -> Iterator[Done]:
        """Do every request, and yield each as it ends."""
        if self.jobs == 1 and not self._devices:
            for request in requests:
                yield work(request, place)
            return
        waiting = deque(requests)
        while waiting:
            for suspect in (yield from self._pool(waiting, place, self.jobs)):
                say(f"a worker was killed; {suspect.method} on {suspect.task}, which it may have done, is done alone")
                for _ in range(place.retries + 1):
                    if not (yield from self._pool(deque([suspect]), replace(place, wait=True), 1)):
                        break
                else:
                    error = f"{suspect.method} on {suspect.task}: its worker was killed (out of memory?)"
                    yield Done(suspect, error=error)

    def _pool(self, waiting: deque[Request], place: Place, jobs: int) -> Generator[Done, None, list[Request]]:
        """Do what waits; where a worker is killed, return the requests that were under way then."""
        pin_threads(1)  # in the environment that workers inherit, before their torch starts
        context = multiprocessing.get_context("spawn")
        begin = (os.getpid(), self._devices, context.Value("i", 0))
        pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_start, initargs=begin)
        pending: dict[Future[Done], Request] = {}
        try:
            while waiting or pending:
                while waiting and len(pending) < jobs:
                    request = waiting.popleft()
                    pending[pool.submit(work, request, place)] = request
                finished, _ = wait(pending, return_when=FIRST_COMPLETED)
                for future in finished:
                    done = future.result()
                    del pending[future]
                    yield done
            return []
        except BrokenProcessPool:
            return [request for future, request in pending.items() if not _has_result(future)]
        except BaseException:
            # At an interrupt a running worker would otherwise be waited for, run after run.
            for worker in list((getattr(pool, "_processes", None) or {}).values()):
                with contextlib.suppress(Exception):
                    worker.terminate()
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _has_result(future: Future[Done]) -> bool:
    return future.done() and future.exception() is None


def default_jobs() -> int:
    """As many workers as this process may use cores."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cuda_devices() -> tuple[str, ...]:
    """The CUDA devices of this machine by number, or those that CUDA_VISIBLE_DEVICES names."""
    import torch

    count = torch.cuda.device_count()
    if not count:
        raise BenchError("--per-device: torch finds no CUDA device; leave it out, and use --jobs")
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return tuple(named.split(",")[:count]) if named else tuple(map(str, range(count)))


def _start(parent: int, devices: tuple[str, ...], counter: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's affair; it ends its workers
    end_with_parent(parent)
    if devices:
        with counter.get_lock():
            os.environ["CUDA_VISIBLE_DEVICES"] = devices[counter.value % len(devices)]
            counter.value += 1


def end_with_parent(parent: int, every: float = 1.0) -> None:
    """Let this process end when `parent` does, however that ends: at once on Linux, elsewhere within a second."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(every)
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
