"""Runs on more than this machine: as tasks of Dask, and as jobs of SLURM. The packages are imported where chosen.

Both pickle between the machines of one user, who trusts them. Workers must see the workspace's folder under the same
path. A task or job that is lost goes on elsewhere from its run's checkpoint.
"""

import logging
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from delrec_bench.arithmetic import started
from delrec_bench.errors import BenchError, RunError
from delrec_bench.runs.executors.local import Done, Place, Planned, do

TIMES = 1000  # that a job may come to its time limit: each time it is further on
USUAL = {"name": "delrec-bench", "timeout_min": 240, "mem_gb": 8, "cpus_per_task": 1}


class Dask:
    """Tasks on the scheduler at `address` (SSH, Kubernetes, ...), or on `jobs` workers of this machine (None).

    A worker does each run in a child of its own, started with the run's arithmetic.
    """

    def __init__(self, address: str | None, jobs: int) -> None:
        import distributed

        self._distributed, self._address, self.jobs = distributed, address, jobs
        self._timeout = 30.0

    def map(self, plans: Sequence[Planned], place: Place) -> Iterator[Done]:
        """Submit every run, and yield each as it ends."""
        with ExitStack() as opened:
            at = self._address
            if at is None:
                quiet = {"dashboard_address": None, "silence_logs": logging.CRITICAL}
                cluster = self._distributed.LocalCluster(n_workers=self.jobs, threads_per_worker=1, **quiet)
                at = opened.enter_context(cluster)
            try:
                client = opened.enter_context(self._distributed.Client(at, timeout=self._timeout))
            except (OSError, ValueError) as error:
                raise BenchError(f"--scheduler '{self._address}' does not respond ({error})") from error
            self.jobs = max(1, sum(client.nthreads().values()))
            futures = {client.submit(do, p, place, pure=False, priority=-n): p for n, p in enumerate(plans)}
            try:
                for future in self._distributed.as_completed(futures):
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


class _Signalled(BaseException):
    """A signal came: the job is about to be ended."""


def _leave(number: int, _: object) -> None:
    raise _Signalled(number)


class Job:
    """One run as submitit calls it; at a time limit or a preemption the same is queued again."""

    def __init__(self, plan: Planned, place: Place) -> None:
        self.plan, self.place = plan, place

    def __call__(self) -> Done:
        """Do the run; submitit's answer to a signal waits until the run has been left."""
        answers: dict[int, Any] = {n: signal.signal(n, _leave) for n in (signal.SIGUSR1, signal.SIGUSR2)}
        try:
            return do(self.plan, self.place)
        except _Signalled as signalled:
            answers[signalled.args[0]](signalled.args[0], None)  # queues the job again, and ends this process
            raise
        finally:
            for number, answer in answers.items():
                signal.signal(number, answer)

    def checkpoint(self) -> Any:
        """Return what is queued in place of a job that is about to be ended."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class Slurm:
    """Jobs of one array, `jobs` of them at a time, by submitit; at their time limit they are requeued.

    `options` are submitit's parameters (timeout_min, mem_gb, gpus_per_node, slurm_partition, ...). `cluster` may also
    be "local" (every job at once, as a process of this machine) or "debug" (this process), for trying out a few runs.
    """

    def __init__(self, folder: Path, options: Mapping[str, Any], jobs: int) -> None:
        import submitit

        chosen = {**USUAL, **options}
        cluster = chosen.pop("cluster", "slurm")
        if cluster not in ("slurm", "local", "debug"):
            raise BenchError(f"--executor-option cluster={cluster}; it must be slurm, local or debug")
        self._every, self.jobs = 5.0, jobs  # seconds between two questions for their state
        again = {} if cluster == "debug" else {f"{cluster}_max_num_timeout": TIMES}
        parallel = {"slurm_array_parallelism": jobs} if cluster == "slurm" else {}
        try:
            self._executor = submitit.AutoExecutor(folder=folder / "%j", cluster=cluster, **again)
            self._executor.update_parameters(**{**parallel, **chosen})
        except (RuntimeError, NameError, TypeError, ValueError) as error:
            raise BenchError(f"--executor slurm: {error}; see submitit's parameters") from error

    def map(self, plans: Sequence[Planned], place: Place) -> Iterator[Done]:
        """Queue every run, and yield each as it ends."""
        # jobs inherit the environment, so that the signal at a time limit reaches the process of the run
        with started(plans[0].arithmetic), self._executor.batch():
            jobs = [self._executor.submit(Job(plan, place)) for plan in plans]
        running: dict[Any, Planned] = dict(zip(jobs, plans, strict=True))
        try:
            while running:
                for job in [job for job in running if job.done()]:
                    plan, error = running.pop(job), job.exception()
                    if error is None:
                        yield job.result()
                    else:
                        why = (str(error).strip() or type(error).__name__).splitlines()[-1]
                        lost = RunError(f"{plan}: {why}; its log: {job.paths.stderr}")
                        yield Done(plan.asked.key, error=lost)
                time.sleep(self._every if running else 0.0)
        finally:
            for job in running:
                with suppress(Exception):
                    job.cancel()
