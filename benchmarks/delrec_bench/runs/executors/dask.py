"""Runs as tasks of Dask: on a scheduler that is there (SSH, Kubernetes, dask-jobqueue), or on workers started here.

A worker does each run in a child of its own, started with the run's arithmetic. The task of a worker that dies goes to
another one, which goes on from the run's checkpoint. Workers must see the workspace's folder under the same path.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from distributed import Client, LocalCluster, as_completed

from delrec_bench.errors import BenchError, RunError
from delrec_bench.runs.executors.local import Done, Place, Planned, do


class Dask:
    """Tasks on the scheduler at `address`, or on `jobs` worker processes of this machine (None)."""

    def __init__(self, address: str | None, jobs: int) -> None:
        self._address, self.jobs = address, jobs
        self._timeout = 30.0

    def map(self, plans: Sequence[Planned], place: Place) -> Iterator[Done]:
        """Submit every run, and yield each as it ends."""
        if not plans:
            return
        with ExitStack() as opened:
            at = self._address
            if at is None:
                quiet = {"dashboard_address": None, "silence_logs": logging.CRITICAL}
                at = opened.enter_context(LocalCluster(n_workers=self.jobs, threads_per_worker=1, **quiet))
            try:
                client = opened.enter_context(Client(at, timeout=self._timeout))
            except (OSError, ValueError) as error:
                raise BenchError(f"--scheduler '{self._address}' does not respond ({error})") from error
            self.jobs = max(1, sum(client.nthreads().values()))
            futures = {client.submit(do, p, place, pure=False, priority=-n): p for n, p in enumerate(plans)}
            try:
                for future in as_completed(futures):
                    plan, failed = futures[future], future.exception()
                    if isinstance(failed, OSError):
                        raise failed
                    if failed is not None:
                        why = RunError(f"{plan}: {type(failed).__name__}: {failed}")
                        yield Done(plan.asked.key, error=why)
                    else:
                        yield future.result()
            finally:
                client.cancel(list(futures), force=True)
