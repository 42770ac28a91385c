"""Ways to do many runs: in processes of this machine, as jobs of SLURM, or as tasks of Dask.

    Executor.map(requests, place) -> one Done a request, as they end

Each does the same `work`, so that the records are the same wherever it was done, but for `measured`. `do` does one run.
The last two pickle between the machines of one user, who trusts them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from delrec_bench.config import Request
from delrec_bench.environment import say
from delrec_bench.errors import BenchError, nearest
from delrec_bench.runs.executors.executor import Done, Executor, Place
from delrec_bench.runs.executors.local import Local, default_jobs, do
from delrec_bench.workspace import Workspace

NAMES = ("local", "slurm", "dask")


def make_executor(
    name: str,
    workspace: Workspace,
    *,
    jobs: int,
    per_device: int | None = None,
    scheduler: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Executor:
    """The executor of a name; a `BenchError` says which option is wrong, or which package is not installed.

    Args:
        name: One of `NAMES`.
        workspace: Where job files go.
        jobs: Runs at a time on this machine.
        per_device: Runs at a time on each CUDA device of this machine, in place of `jobs`.
        scheduler: Address of a Dask scheduler; None starts workers on this machine.
        options: What SLURM is asked for, in submitit's words.
    """
    if name not in NAMES:
        raise BenchError(f"--executor is '{name}'; {nearest(name, NAMES)}")
    given = {"--per-device": (per_device, "local"), "--scheduler": (scheduler, "dask"),
             "--executor-option": (options, "slurm")}  # fmt: skip
    for option, (value, owner) in given.items():
        if value and name != owner:
            raise BenchError(f"{option} is for --executor {owner}, not {name}; omit it")
    for option, count in (("--jobs", jobs), ("--per-device", per_device)):
        if count is not None and count < 1:
            raise BenchError(f"{option} is {count}; it must be at least 1")
    try:
        if name == "slurm":
            from delrec_bench.runs.executors.slurm import Slurm

            return Slurm(workspace.runs / ".slurm", options or {}, jobs)
        if name == "dask":
            from delrec_bench.runs.executors.dask import Dask

            return Dask(scheduler, jobs)
    except ImportError as error:
        raise BenchError(f"--executor {name} needs {error.name}; pip install 'delrec-bench[{name}]'") from error
    return Local(jobs, per_device)


def carry_out(executor: Executor, requests: Sequence[Request], place: Place) -> Iterator[Done]:
    """Do requests; those that another process is doing are left for the end, and waited for."""
    busy = []
    for done in executor.map(requests, replace(place, wait=False)):
        if done.busy:
            busy.append(done.request)
        else:
            yield done
    if busy:
        say(f"{len(busy)} runs are being done by another process; waiting for them")
        yield from executor.map(busy, replace(place, wait=True))
