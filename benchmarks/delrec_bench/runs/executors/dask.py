"""Runs as tasks of Dask: on a scheduler that is there (SSH, Kubernetes, dask-jobqueue), or on workers started here.

A worker does each run in a child of its own, started with the run's arithmetic. The task of a worker that dies goes to
another one, which goes on from the run's checkpoint. Workers must see the workspace's folder under the same path.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from distributed import Client, LocalCluster, as_completed

from delrec_bench.config import Request
from delrec_bench.errors import BenchError
from delrec_bench.runs.executors.executor import Done, Place
from delrec_bench.runs.executors.local import do


class Dask:
    """Tasks on the scheduler at `address`, or on `jobs` worker processes of this machine (None)."""

    def __init__(self, address: str | None, jobs: int) -> None:
        self._address, self.jobs = address, jobs
        self._timeout = 30.0

    def map(self, requests: Sequence[Request], place: Place) -> Iterator[Done]:
        """Submit every request, and yield each as it ends."""
        if not requests:
            return
        with self._client() as client:
            futures = {client.submit(do, r, place, pure=False, priority=-n): r for n, r in enumerate(requests)}
            try:
                for future in as_completed(futures):
                    request, error = futures[future], future.exception()
                    if isinstance(error, OSError):
                        raise error
                    if error is not None:
                        what = f"{request.method} on {request.task}: {type(error).__name__}: {error}"
                        yield Done(request, error=what)
                    else:
                        yield future.result()
            finally:
                client.cancel(list(futures), force=True)

    @contextmanager
    def _client(self) -> Iterator[Client]:
        if self._address is None:
            quiet = {"dashboard_address": None, "silence_logs": logging.CRITICAL}
            with LocalCluster(n_workers=self.jobs, threads_per_worker=1, **quiet) as cluster, Client(cluster) as client:
                yield client
            return
        try:
            client = Client(self._address, timeout=self._timeout)
        except (OSError, ValueError) as error:
            raise BenchError(f"--scheduler '{self._address}' does not respond ({error})") from error
        with client:
            self.jobs = max(1, sum(client.nthreads().values()))
            yield client
