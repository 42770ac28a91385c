"""The runs that commands read: this workspace's, the store's, a folder's, or MLflow's."""

from pathlib import Path

from delrec_bench.environment import say
from delrec_bench.records import Failure, Record, read_folder, read_store, runs_below
from delrec_bench.workspace import Workspace


def read_runs(workspace: Workspace, source: str | None = None) -> tuple[list[Record], list[Failure]]:
    """The finished runs of a source, and those that failed.

    Args:
        workspace: Where the store, `runs/` and MLflow are.
        source: "published", "mlflow", or a folder (a workspace, or its folder of runs); None for this workspace's runs
            and, of what is not among them, the published ones.

    Raises:
        BenchError: There is no such source, or it cannot be read.
    """
    if source == "published":
        return read_store(workspace.reports)
    if source == "mlflow":
        from delrec_bench.tracking import records_from_mlflow

        return records_from_mlflow(workspace), []
    if source is not None:
        return read_folder(runs_below(Path(source)), say)
    records, failures = read_folder(workspace.runs, say)
    published, diverged = read_store(workspace.reports)
    made = {record.key for record in records}
    there = made | {failure.key for failure in failures}
    records += [record for record in published if record.key not in made]
    return records, failures + [failure for failure in diverged if failure.key not in there]
