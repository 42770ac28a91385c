"""Benchmark and reproducibility suite for delay learning in spiking neural networks."""

from collections.abc import Iterable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from delrec_bench.records import Record

__all__ = ["run"]


def run(
    method: str,
    task: str,
    *,
    methods: Iterable[str] = (),
    tasks: Iterable[str] = (),
    root: str | None = None,
    runs: str | None = None,
    **settings: Any,
) -> "Record":
    """Return the record of a run, which is made unless it is there already.

    It is made in a process of its own, so that its arithmetic does not depend on what this one has loaded.

        delrec_bench.run("delrec-axonal", "digits", repetition=1, hidden=[32, 32], lr_weights=0.01)

    Args:
        method, task: Names, as `delrec-bench list` has them.
        methods, tasks: Folders of more of them.
        root, runs: Folders: the workspace, and that of finished runs.
        settings: What `delrec-bench run` takes as options (repetition, profile, epochs, limit, data, device, engine,
            threads, arithmetic, trial), or as `--set` (hidden, training={"lr_weights": 0.01}, ...).

    Raises:
        BenchError: The request or its data is wrong.
        RunError: The run failed.
    """
    from delrec_bench.config import Request
    from delrec_bench.config.toml import dotted
    from delrec_bench.runs.executors import Place, do
    from delrec_bench.workspace import find_workspace

    own = {field.name for field in fields(Request)}
    options = {name: value for name, value in settings.items() if name in own}
    overrides = dotted({name: value for name, value in settings.items() if name not in own})
    workspace = find_workspace(root, runs)
    request = Request(method, task, overrides=tuple(overrides.items()), **options)
    return do(request, Place(workspace, tuple(methods), tuple(tasks))).record(workspace)
