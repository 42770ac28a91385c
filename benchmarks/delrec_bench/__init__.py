"""Benchmark and reproducibility suite for delay learning in spiking neural networks."""

from collections.abc import Iterable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from delrec_bench.config import Request
    from delrec_bench.records import Record

__all__ = ["evaluate", "results", "run"]


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
    from delrec_bench.runs.executors import Place, do
    from delrec_bench.workspace import find_workspace

    workspace = find_workspace(root, runs)
    return do(_request(method, task, settings), Place(workspace, tuple(methods), tuple(tasks))).record(workspace)


def results(source: str = "published", *, root: str | None = None, runs: str | None = None) -> "pd.DataFrame":
    """Return runs as one tidy table, a row a run; `delrec_bench.records.COLUMNS` says what its columns hold.

        scores = delrec_bench.results()
        scores.groupby(["task", "method", "point"]).score.agg(["mean", "std", "count"])

    Args:
        source: "published" for the store of this checkout (of an installed package: the table that it carries),
            "mlflow", or a folder: a workspace, or its folder of runs.
        root, runs: Folders: the workspace, and that of finished runs.

    Raises:
        BenchError: There is no such source, or it cannot be read.
    """
    from delrec_bench.app.common import read_runs
    from delrec_bench.records import published_table, table
    from delrec_bench.workspace import find_workspace

    workspace = find_workspace(root, runs)
    return published_table(workspace.reports) if source == "published" else table(*read_runs(workspace, source))


def evaluate(
    method: Any,
    tasks: str | Iterable[str],
    *,
    repetitions: int = 1,
    root: str | None = None,
    runs: str | None = None,
    methods: Iterable[str] = (),
    task_folders: Iterable[str] = (),
    **settings: Any,
) -> "pd.DataFrame":
    """Return the scores of a method, or of a trained network, on tasks: rows as of `results`.

        delrec_bench.evaluate("delrec-axonal", ["digits", "yin-yang"], repetitions=3)
        delrec_bench.evaluate(network, "shd", step_ms=10.0)

    Args:
        method: The name of a method, which is trained; or a network (a `torch.nn.Module`) that is trained already,
            from sequences (T, B, C) to outputs (T', B, classes), which is scored as deployed, in this process.
        tasks: Names of tasks.
        repetitions: Runs on each task; of a network, the splits and permutations that it is scored on.
        root, runs: Folders: the workspace, and that of finished runs.
        methods, task_folders: Folders of more methods and tasks.
        settings: Of a method as for `run`; of a network, options of the task's data (step_ms, channels, ...).

    Raises:
        BenchError: A name or setting is wrong, or the data is not there.
        RunError: A run failed.
    """
    from delrec_bench.records import rows_table, table
    from delrec_bench.workspace import find_workspace

    names = [tasks] if isinstance(tasks, str) else list(tasks)
    asked = [(task, repetition) for task in names for repetition in range(repetitions)]
    if isinstance(method, str):
        folders: dict[str, Any] = {"methods": tuple(methods), "tasks": tuple(task_folders), "root": root, "runs": runs}
        return table([run(method, task, repetition=number, **folders, **settings) for task, number in asked])
    from delrec_bench.runs.evaluating import evaluate_network
    from delrec_bench.tasks.task import find_tasks

    workspace, known = find_workspace(root, runs), find_tasks(tuple(task_folders))
    return rows_table([evaluate_network(method, known[task], workspace, number, settings) for task, number in asked])


def _request(method: str, task: str, settings: dict[str, Any]) -> "Request":
    from delrec_bench.config import Request
    from delrec_bench.config.toml import dotted

    own = {field.name for field in fields(Request)}
    options = {name: value for name, value in settings.items() if name in own}
    overrides = dotted({name: value for name, value in settings.items() if name not in own})
    return Request(method, task, overrides=tuple(overrides.items()), **options)
