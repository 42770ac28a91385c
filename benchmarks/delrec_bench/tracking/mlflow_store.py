"""MLflow's store: where it is, opening it, and the few things that are written to it, in its own words."""

import json
import logging
import os
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from delrec_bench.errors import BenchError
from delrec_bench.records import Asked
from delrec_bench.schema import dotted
from delrec_bench.workspace import Workspace, locked

# Set before MLflow is imported: it reads them once. The suite sends nothing anywhere.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # its seven keep an absent server's user five minutes
os.environ.setdefault("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")  # a deleted database is not written to
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from sqlalchemy.exc import SQLAlchemyError

# Migrations announce themselves table by table; errors are reported here, in one line.
logging.getLogger("mlflow").setLevel(logging.ERROR)
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
logging.getLogger("alembic").setLevel(logging.WARNING)

EXPERIMENT = "delrec-bench"
SQLITE = "sqlite:///"
EXPERIMENT_TAGS = {
    # What MLflow's page asks to show training runs; without it the page opens on traces of language models.
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.note.content": "Runs of delrec-bench: a study carries its page and mean scores; its runs stand below it.",
}
KEY, STUDY = "delrec.key", "delrec.study"
VALUE_LENGTH, NAME_LENGTH = 6000, 250  # characters at most
_SOURCE = {"mlflow.source.name": "delrec-bench", "mlflow.source.type": "LOCAL"}
_MOST_RUNS, _BATCH_METRICS, _BATCH_PARAMS = 50_000, 1000, 100  # what MLflow takes and gives at once

Entries = dict[int, tuple[Mapping[str, Any], int]]
"""Epoch -> its entry of history, and when it ended in ms since 1970."""


def make_database(path: Path) -> None:
    """Make a database beside its place and move it there: MLflow cannot go on with tables that it made half of."""
    draft = path.with_name(f".{path.name}.draft")
    for left in path.parent.glob(f"{draft.name}*"):
        left.unlink()
    MlflowClient(f"{SQLITE}{draft}").search_experiments()
    draft.replace(path)


@contextmanager
def opened(workspace: Workspace, seconds: float = 60.0) -> Iterator["Store"]:
    """The store, made if it is not there; one writer of this workspace at a time.

    It is at MLFLOW_TRACKING_URI, else the workspace's database. One that is damaged, locked or not there is a
    `BenchError`: it stops no run or page.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{workspace.database}"
    try:
        with locked(workspace.database, seconds):
            try:
                store = Store(workspace, uri)
            except Exception as error:  # of a damaged store MLflow, alembic and sqlalchemy raise what they like
                raise _unusable(uri, error) from error
            yield store
    except (mlflow.MlflowException, SQLAlchemyError, OSError) as error:
        raise _unusable(uri, error) from error


def _unusable(uri: str, error: Exception) -> BenchError:
    why = f"{type(error).__name__}: {' '.join(str(getattr(error, 'message', error)).split())[:300]}"
    if getattr(error, "error_code", None) == "INVALID_PARAMETER_VALUE":
        return BenchError(f"MLflow refused what should be logged ({why}); the records contain everything")
    return BenchError(
        f"MLflow's store {uri} cannot be used ({why}); fix that, or move the store away and sync again (the records "
        "contain everything)"
    )


class Store:
    """An open store: its `uri`, the `client` that speaks to it, and the id of the `experiment`."""

    def __init__(self, workspace: Workspace, uri: str) -> None:
        if uri == f"{SQLITE}{workspace.database}" and not workspace.database.exists():
            make_database(workspace.database)
        self.uri, self.client = uri, MlflowClient(uri)
        found = self.client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            folder = Path(workspace.artifacts).as_uri() if uri.startswith(SQLITE) else None
            created = self.client.create_experiment(EXPERIMENT, artifact_location=folder, tags=EXPERIMENT_TAGS)
        elif found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        self.experiment = str(created if found is None else found.experiment_id)

    def runs(self, clause: str = "") -> list[Any]:
        """The runs that fit a clause, the oldest first."""
        order = ["attributes.start_time ASC"]
        return list(self.client.search_runs([self.experiment], clause, order_by=order, max_results=_MOST_RUNS))

    def by_key(self) -> dict[str, Any]:
        """Every run that has a key; of two that two machines began at once, the first."""
        return {run.data.tags[KEY]: run for run in reversed(self.runs()) if KEY in run.data.tags}

    def start(self, of: Asked, start: int, study: str | None = None) -> str:
        """The id of the run of this key, which is RUNNING from now on; `start` in ms since 1970, of a new one."""
        run = next(iter(self.runs(f"tags.`{KEY}` = '{of.key}'")), None)
        if run is None:
            tags = {KEY: of.key, "delrec.method": of.method, "delrec.task": of.task, "delrec.command": of.command}
            if study is not None:
                tags |= {STUDY: study, "mlflow.parentRunId": self.study(study)}
            trial = of.configuration.get("kind") == "trial"
            name = f"{of.method} / {of.task} / {'trial' if trial else f'r{of.repetition}'}"
            run = self.client.create_run(self.experiment, start_time=start, run_name=name, tags=_SOURCE | tags)
        elif run.info.status != "RUNNING":
            self.client.update_run(run.info.run_id, status="RUNNING")  # it was stopped, and goes on
        params = [Param(k, v) for k, v in sorted(texts(of.configuration).items()) if k not in run.data.params]
        for i in range(0, len(params), _BATCH_PARAMS):
            self.client.log_batch(run.info.run_id, params=params[i : i + _BATCH_PARAMS])
        return str(run.info.run_id)

    def study(self, name: str) -> str:
        """The id of the run of a study, below which its runs stand."""
        found = self.runs(f"attributes.run_name = '{name}'")
        studies = (run for run in found if run.data.tags.get(STUDY) == name and KEY not in run.data.tags)
        tags = _SOURCE | {STUDY: name}
        run = next(studies, None) or self.client.create_run(self.experiment, run_name=name, tags=tags)
        self.client.set_terminated(run.info.run_id)
        return str(run.info.run_id)

    def epochs(self, run_id: str, entries: Entries) -> None:
        """Log epochs that are not there yet."""
        seen = max((m.step for m in self.client.get_metric_history(run_id, "loss")), default=0)
        fresh = {step: of for step, of in entries.items() if step > seen}
        self.metrics(run_id, ((n, v, when, step) for step, (e, when) in fresh.items() for n, v in numbers(e)))

    def metrics(self, run_id: str, values: Iterable[tuple[str, float, int, int]]) -> None:
        """Log (name, value, time, step); what MLflow does not take in a name becomes "-"."""
        metrics = []
        for name, value, when, step in values:
            plain = re.sub(r"[^\w/.: -]", "-", re.sub("[()]", "", name), flags=re.ASCII)
            known = posixpath.normpath(plain.lstrip("/."))
            metrics.append(Metric(known[:NAME_LENGTH], value, when, step))
        for i in range(0, len(metrics), _BATCH_METRICS):
            self.client.log_batch(run_id, metrics=metrics[i : i + _BATCH_METRICS])


def texts(values: Mapping[str, Any]) -> dict[str, str]:
    """A nested configuration as dotted names and text, as MLflow's params want it."""
    return {k: (v if isinstance(v, str) else json.dumps(v))[:VALUE_LENGTH] for k, v in dotted(values).items()}


def numbers(values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The numbers of nested values by dotted name, those of a list by their place in it."""
    for name, value in dotted(values).items():
        if isinstance(value, list):
            yield from numbers({f"{name}.{i}": v for i, v in enumerate(value)})
        elif isinstance(value, int | float) and not isinstance(value, bool) and name != "epoch":
            yield name, float(value)


def milliseconds(text: str) -> int:
    """ISO 8601 in ms since 1970."""
    return int(1000 * datetime.fromisoformat(text).timestamp())
