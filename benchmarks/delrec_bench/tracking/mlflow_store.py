"""MLflow's store: opening it, and what is written to it and read back, in its own words."""

import json
import logging
import os
import posixpath
import re
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from delrec_bench.environment import say
from delrec_bench.errors import BenchError
from delrec_bench.records import (
    FAILURE,
    RECORD,
    Asked,
    Failure,
    Record,
    digest,
    in_order,
    read_failure,
    read_record,
    record_text,
)
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
from mlflow.entities import Metric, Param, RunTag
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
KEY, STUDY, KIND = "delrec.key", "delrec.study", "delrec.kind"
# Digest of the file of a record or failure, `measured` included: another making of the same one replaces its run.
CONTENT = "delrec.content"
VALUE_LENGTH, NAME_LENGTH = 6000, 250  # characters at most
_FAILURE_TAGS = {CONTENT, KIND, "delrec.error", "delrec.diverged"}  # which a run that is tried again loses
_SOURCE = {"mlflow.source.name": "delrec-bench", "mlflow.source.type": "LOCAL"}
_MOST_RUNS, _BATCH_METRICS, _BATCH_PARAMS = 50_000, 1000, 100  # what MLflow takes and gives at once

Entries = dict[int, tuple[Mapping[str, Any], int]]
"""Epoch -> its entry of history, and when it ended in ms since 1970."""


class SyncSummary(NamedTuple):
    """What a sync did: runs added or completed, replaced (made again), left alone."""

    added: int
    replaced: int
    unchanged: int
    database: str

    def __str__(self) -> str:
        return f"{self.added} added, {self.replaced} replaced, {self.unchanged} unchanged in {self.database}"


def sync(
    workspace: Workspace, runs: Sequence[Record | Failure], study_of: Mapping[str, str] | None = None
) -> SyncSummary:
    """Bring MLflow up to date with finished and failed runs; what is there is left alone, what was seen live completed.

    A record made again replaces its run, and one of a run that had failed completes it; a failure never replaces a
    record. `study_of` says by key below which study a run stands that is new there.
    """
    counts: Counter[str] = Counter()
    with opened(workspace) as store:
        known = store.by_key(runs[0].key if len(runs) == 1 else None)
        complete = {key: run.data.tags for key, run in known.items() if CONTENT in run.data.tags}
        ended_well = {key for key, tags in complete.items() if tags[KIND] != "failure"}  # perhaps on another machine
        for one in runs:
            there = complete.get(one.key, {})
            if there.get(CONTENT) == digest(record_text(one)) or (isinstance(one, Failure) and one.key in ended_well):
                counts["unchanged"] += 1
                continue
            if one.key in ended_well and there:  # the run of a failure goes on instead
                store.client.delete_run(known[one.key].info.run_id)
            counts["replaced" if there else "added"] += 1
            store.complete(one, workspace, (study_of or {}).get(one.key))
            if isinstance(one, Record):
                ended_well.add(one.key)
    return SyncSummary(counts["added"], counts["replaced"], counts["unchanged"], store.uri)


def log_page(workspace: Workspace, study: str, scores: Mapping[str, float], files: Iterable[Path]) -> None:
    """Give the run of a study its page and figures, and the mean score of each row by `<task>/<method>`."""
    with opened(workspace) as store:
        run_id, now = store.study(study), int(1000 * time.time())
        store.metrics(run_id, ((name, value, now, 0) for name, value in scores.items()))
        for path in files:
            store.client.log_artifact(run_id, str(path))


def runs_from_mlflow(workspace: Workspace) -> tuple[list[Record], list[Failure]]:
    """What `sync` was given, without what is unreadable; a `BenchError` where the file of a run is gone."""
    records: list[Record] = []
    failures: list[Failure] = []
    with opened(workspace) as store, tempfile.TemporaryDirectory(prefix="delrec-bench-mlflow-") as space:
        for run in store.by_key().values():
            if CONTENT not in run.data.tags:
                continue
            name = FAILURE if run.data.tags[KIND] == "failure" else RECORD
            try:
                path = Path(store.client.download_artifacts(run.info.run_id, name, space))
            except (mlflow.MlflowException, OSError) as error:
                raise BenchError(
                    f"MLflow's run {run.info.run_name} has lost its {name}; delete the run, and sync again"
                ) from error
            try:
                if name == FAILURE:
                    failures.append(read_failure(path))
                else:
                    records.append(read_record(path))
            except BenchError as error:
                say(f"warning: MLflow's run {run.info.run_name} cannot be read: {error}")
    return in_order(records), sorted(failures, key=lambda failure: failure.key)


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
    return BenchError(
        f"MLflow's store {uri} cannot be used ({why}); fix that, or move the store away and sync again (the records "
        "contain everything)"
    )


class Store:
    """An open store: its `uri`, the `client` that speaks to it, and the id of the `experiment`."""

    def __init__(self, workspace: Workspace, uri: str) -> None:
        # MLflow would try for minutes to open a folder of this name
        if uri == f"{SQLITE}{workspace.database}" and not workspace.database.is_file():
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

    def by_key(self, key: str | None = None) -> dict[str, Any]:
        """Every run that has a key, or the one of a key; of two that two machines began at once, the first."""
        found = self.runs("" if key is None else f"tags.`{KEY}` = '{key}'")
        return {run.data.tags[KEY]: run for run in reversed(found) if KEY in run.data.tags}

    def start(self, of: Asked, start: int, study: str | None = None) -> str:
        """The id of the run of this key, which is RUNNING from now on; `start` in ms since 1970, of a new one."""
        run = self.by_key(of.key).get(of.key)
        if run is None:
            tags = {KEY: of.key, "delrec.method": of.method, "delrec.task": of.task, "delrec.command": of.command}
            if study is not None:
                tags |= {STUDY: study, "mlflow.parentRunId": self.study(study)}
            trial = of.configuration.get("kind") == "trial"
            name = f"{of.method} / {of.task} / {'trial' if trial else f'r{of.repetition}'}"
            run = self.client.create_run(self.experiment, start_time=start, run_name=name, tags=_SOURCE | tags)
        elif run.info.status != "RUNNING":
            self.client.update_run(run.info.run_id, status="RUNNING")  # it was stopped, and goes on
        for name in _FAILURE_TAGS & set(run.data.tags) if run.data.tags.get(KIND) == "failure" else ():
            self.client.delete_tag(run.info.run_id, name)
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

    def complete(self, one: Record | Failure, workspace: Workspace, study: str | None) -> None:
        """Complete a run: the results of a record, or the error of a failure; the digest of its file last."""
        run_id = self._finished(one, workspace, study) if isinstance(one, Record) else self._failed(one, study)
        self.client.set_tag(run_id, CONTENT, digest(record_text(one)))

    def _failed(self, failure: Failure, study: str | None) -> str:
        end = milliseconds(failure.failed_at)
        run_id = self.start(failure, end, study)
        self.client.log_text(run_id, record_text(failure), FAILURE)
        tags = {KIND: "failure", "delrec.error": failure.error[:VALUE_LENGTH], "delrec.diverged": str(failure.diverged)}
        self.client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])
        self.client.set_terminated(run_id, "FAILED", end_time=end)
        return run_id

    def _finished(self, record: Record, workspace: Workspace, study: str | None) -> str:
        """Log history, results, data and files."""
        end, history = milliseconds(record.finished) if record.finished else int(1000 * time.time()), record.history
        start = end - int(1000 * (record.measured.get("wall_seconds") or 0.0))
        run_id = self.start(record, start, study)
        each = (end - start) / max(1, len(history))  # of runs that were not seen live
        self.epochs(run_id, {n: (entry, int(start + n * each)) for n, entry in enumerate(history, 1)})
        groups = {name: getattr(record, name) for name in ("result", "parameters", "activity", "measured")}
        groups["measured"] = {name: value for name, value in record.measured.items() if not isinstance(value, list)}
        self.metrics(run_id, ((name, value, end, 0) for name, value in numbers(groups)))
        checkpoint = workspace.runs / record.key / "checkpoint.pt"
        if checkpoint.is_file() and not checkpoint.is_symlink():
            self.client.log_artifact(run_id, str(checkpoint))
        self.client.log_text(run_id, record_text(record), RECORD)
        tags = {
            KIND: record.kind,
            "delrec.data": record.data["kind"],
            "delrec.data_digest": record.data["digest"],
            "delrec.learned": record.learned,
            "delrec.engine": record.engine,
            "mlflow.source.git.commit": str(record.provenance.get("revision", "")),
        }
        self.client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])
        self.client.set_terminated(run_id, end_time=end)
        return run_id


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
