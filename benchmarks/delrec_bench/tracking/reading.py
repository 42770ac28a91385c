"""What MLflow holds, read back: the records of a page, and a run's network."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import mlflow

from delrec_bench.errors import BenchError
from delrec_bench.records.checks import check_targets
from delrec_bench.records.finished import in_order, read_record
from delrec_bench.records.record import Record
from delrec_bench.tracking.database import opened
from delrec_bench.tracking.writing import CONTENT, MODEL, Runs
from delrec_bench.workspace import Workspace


def records_from_mlflow(workspace: Workspace, keys: Collection[str] | None = None) -> list[Record]:
    """The records that MLflow holds, in the order of `load_records`, as `sync` was given them.

    Args:
        workspace: Where the store is.
        keys: Only these; None for all.

    Raises:
        BenchError: The store cannot be read, a record in it was altered or is not there any more.
    """
    found = []
    with opened(workspace) as store:
        for key, run in Runs(store).by_key.items():
            if CONTENT not in run.data.tags or (keys is not None and key not in keys):
                continue
            try:
                path = store.client.download_artifacts(run.info.run_id, "record.json")
            except (mlflow.MlflowException, OSError) as error:
                raise BenchError(
                    f"MLflow's run {run.info.run_name} has lost its record.json: sync again, which restores it"
                ) from error
            found.append(read_record(Path(path)))
    check_targets(found)
    return in_order(found)


def load_model(workspace: Workspace, key: str) -> Any:
    """The network of a run by `mlflow.pytorch.load_model`, which unpickles it: of a store that one trusts.

    Raises:
        BenchError: The store has no run whose key begins so, more than one, or no network of it.
    """
    with opened(workspace) as store:
        runs = [run for name, run in Runs(store).by_key.items() if name.startswith(key)]
        if len(runs) != 1:
            raise BenchError(f"MLflow holds {len(runs)} runs whose key begins with '{key}'; give more of it, or sync")
        try:
            with store.fluent():
                return mlflow.pytorch.load_model(f"runs:/{runs[0].info.run_id}/{MODEL}")
        except (mlflow.MlflowException, OSError) as error:
            raise BenchError(f"MLflow holds no network of run {key[:12]}: floors have none; else sync again") from error
