"""Benchmark and reproducibility suite for delay learning in spiking neural networks."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from delrec_bench.records import Record

__all__ = ["evaluate", "results", "run"]
_OPTIONS = "repetition", "profile", "epochs", "limit", "data", "device", "engine", "threads", "arithmetic", "trial"


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
    """Train a network, or reuse the run if it exists, and return its record.

    The run uses a separate process, so its arithmetic does not depend on what this process has loaded, and is logged to
    MLflow.

        delrec_bench.run("delrec-axonal", "digits", repetition=1, hidden=[32, 32], lr_weights=0.01)

    Args:
        method, task: Names, see `delrec-bench list`.
        methods, tasks: Folders with further method and task files (of metrics: the variable DELREC_BENCH_METRICS).
        root, runs: The repository root, and the folder of runs.
        settings: The options of `delrec-bench run` (repetition, profile, epochs, limit, data, device, engine,
            threads, arithmetic, trial), and settings as for `--set` (hidden, training={"lr_weights": 0.01}, ...).

    Raises:
        BenchError: If the request or its data is wrong.
        RunError: If the run fails.
    """
    from delrec_bench.app.options import METHODS_VARIABLE, TASKS_VARIABLE, all_folders
    from delrec_bench.config import Request
    from delrec_bench.runs.executors import Place
    from delrec_bench.runs.tracked import do_tracked
    from delrec_bench.schema import dotted
    from delrec_bench.workspace import find_workspace

    options = {name: settings.pop(name) for name in _OPTIONS if name in settings}
    if options.get("data") is not None:
        options["data"] = str(options["data"])
    request = Request(method, task, overrides=tuple(dotted(settings).items()), **options)
    folders = all_folders(methods, METHODS_VARIABLE), all_folders(tasks, TASKS_VARIABLE)
    place = Place(find_workspace(root, runs), *folders)
    return do_tracked(place.plan(request), place).record(place.workspace)


def results(source: str = "published", *, root: str | None = None, runs: str | None = None) -> "pd.DataFrame":
    """Return runs as one tidy table, one row per run; `delrec_bench.records.COLUMNS` describes the columns.

        scores = delrec_bench.results()
        scores.groupby(["task", "method", "point"]).score.agg(["mean", "std", "count"])

    Args:
        source: "published" for our stored runs, "mlflow", or a folder (a repository root or its folder of runs).
        root, runs: The repository root, and the folder of runs.

    Raises:
        BenchError: If the source does not exist or cannot be read.
    """
    from delrec_bench.app.options import read_runs
    from delrec_bench.records import published_table, table
    from delrec_bench.workspace import find_workspace

    workspace = find_workspace(root, runs)
    if source == "published":
        return published_table(workspace.reports)
    return table(*read_runs(workspace, source))


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
    """Evaluate a method or a trained network on tasks; return rows as in `results`.

        delrec_bench.evaluate("delrec-axonal", ["digits", "yin-yang"], repetitions=3)
        delrec_bench.evaluate(network, "shd", step_ms=10.0)

    Args:
        method: The name of a method, which is trained; or a trained `torch.nn.Module` that maps sequences (T, B, C) to
            outputs (T', B, classes), which is evaluated as deployed, in this process.
        tasks: Names of tasks.
        repetitions: Runs per task; for a network, the number of splits and permutations it is evaluated on.
        root, runs: The repository root, and the folder of runs.
        methods, task_folders: Folders with further method and task files (of metrics: see `run`).
        settings: For a method, as for `run`; for a network, data, and task options (step_ms, channels, ...).

    Raises:
        BenchError: If a name or setting is wrong, or data is missing.
        RunError: If a run fails.
    """
    from delrec_bench.app.options import TASKS_VARIABLE, all_folders
    from delrec_bench.errors import BenchError
    from delrec_bench.records import rows_table, table
    from delrec_bench.workspace import find_workspace

    if not isinstance(repetitions, int) or repetitions < 1:
        raise BenchError(f"repetitions is {repetitions!r}; give a whole number of at least 1")
    names = [tasks] if isinstance(tasks, str) else list(tasks)
    asked = [(task, repetition) for task in names for repetition in range(repetitions)]
    if isinstance(method, str):
        folders: dict[str, Any] = {"methods": methods, "tasks": task_folders, "root": root, "runs": runs}
        return table([run(method, task, repetition=number, **folders, **settings) for task, number in asked])
    from delrec_bench.runs.trained import evaluate_network
    from delrec_bench.tasks.task import find_tasks

    workspace, known = find_workspace(root, runs), find_tasks(all_folders(task_folders, TASKS_VARIABLE))
    return rows_table([evaluate_network(method, known[task], workspace, number, settings) for task, number in asked])
