"""Ways to do many runs: in processes of this machine, as jobs of SLURM, or as tasks of Dask.

Each does the same `work`, so that the records are the same wherever it was done, but for `measured`. `do` does one run.
"""

from collections.abc import Mapping
from typing import Any

from delrec_bench.errors import BenchError, nearest
from delrec_bench.runs.executors.cluster import Dask, Slurm
from delrec_bench.runs.executors.local import Done, Local, Place, Planned, default_jobs, do, work
from delrec_bench.workspace import Workspace

NAMES = ("local", "slurm", "dask")
Executor = Local | Slurm | Dask
"""`map(plans, place)` does every run once and yields each as it ends; `jobs` is how many at a time, as far as known."""


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

    `jobs` or `per_device` runs are done at a time, on this machine or on each of its CUDA devices. Without a
    `scheduler`, an address, Dask starts workers on this machine; `options` are submitit's.
    """
    if name not in NAMES:
        raise BenchError(f"--executor is '{name}'; {nearest(name, NAMES)}")
    owners = (
        ("per-device", per_device, "local"),
        ("scheduler", scheduler, "dask"),
        ("executor-option", options, "slurm"),
    )
    for option, value, owner in owners:
        if value and name != owner:
            raise BenchError(f"--{option} is for --executor {owner}, not {name}; omit it")
    for option, count in (("jobs", jobs), ("per-device", per_device)):
        if count is not None and count < 1:
            raise BenchError(f"--{option} is {count}; it must be at least 1")
    try:
        if name == "slurm":
            return Slurm(workspace.runs / ".slurm", options or {}, jobs)
        if name == "dask":
            return Dask(scheduler, jobs)
    except ImportError as error:
        raise BenchError(f"--executor {name} needs {error.name}; pip install 'delrec-bench[{name}]'") from error
    return Local(jobs, per_device)
