"""Records <-> MLflow. The only module that writes to MLflow, from one process.

The records are the truth and the database a view of them: it may be deleted at any time and synced again. A parent
run per study holds a child run per record; a run is found again by the record's key, so that syncing twice changes
nothing. Workers never import this module: concurrent writers lose runs in SQLite's migrations.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from delrec_bench.errors import BenchError
from delrec_bench.records.canonical import canonical_json
from delrec_bench.records.record import Record
from delrec_bench.records.store import read_record, to_dict
from delrec_bench.workspace import Workspace

# Set before MLflow is imported: it reads them once. The suite sends nothing anywhere.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, Metric, Param, RunTag
from mlflow.exceptions import MlflowException

# Migrations announce themselves on every new database, table by table.
logging.getLogger("mlflow").setLevel(logging.WARNING)
logging.getLogger("alembic").setLevel(logging.WARNING)

EXPERIMENT = "delrec-bench"
NO_STUDY = "single runs"
_KEY, _CONTENT, _STUDY, _PARENT = "delrec.key", "delrec.content", "delrec.study", "mlflow.parentRunId"
_BATCH_METRICS, _BATCH_PARAMS, _VALUE_LENGTH, _DIGEST_LENGTH = 1000, 100, 6000, 36


@dataclass(frozen=True)
class SyncSummary:
    """What a sync did: runs added, replaced (a record made again) and left as they were."""

    added: int
    replaced: int
    unchanged: int
    database: Path

    def __str__(self) -> str:
        return f"{self.added} added, {self.replaced} replaced, {self.unchanged} unchanged in {self.database.name}"


def tracking_uri(workspace: Workspace) -> str:
    """The address of the workspace's database, for ``mlflow ui --backend-store-uri``."""
    return f"sqlite:///{Path(workspace.database).absolute()}"


_opened: dict[Path, tuple[int, int]] = {}


def _fresh_uri(workspace: Workspace) -> str:
    """The address, different from any used before for a file that has been deleted or replaced since.

    MLflow keeps an open engine per address for the life of the process and would go on writing to a deleted file.
    A timeout of another second is the same database under another address.
    """
    path = Path(workspace.database).absolute()
    inode = path.stat().st_ino if path.exists() else -1
    generation, before = _opened.get(path, (0, inode))
    generation += inode != before
    _opened[path] = (generation, inode)
    return tracking_uri(workspace) + (f"?timeout={30 + generation}" if generation else "")


def sync(workspace: Workspace, records: Iterable[Record]) -> SyncSummary:
    """Brings the database up to date with `records`; runs already there are left alone.

    Args:
        workspace: its `database` and `artifacts` are written, its `runs` are read for checkpoints.
        records: any kind; a record whose content changed under the same key replaces its run.

    Raises:
        BenchError: the database cannot be opened.
    """
    client, experiment = _open(workspace)
    known = {r.data.tags[_KEY]: r for r in _runs(client, experiment) if _KEY in r.data.tags}
    parents = {r.data.tags[_STUDY]: r.info.run_id for r in _runs(client, experiment) if _is_parent(r)}
    added = replaced = unchanged = 0
    for record in sorted(records, key=lambda r: (r.study or "", r.task, r.method, r.repetition, r.key)):
        content = hashlib.sha256(canonical_json(to_dict(record)).encode()).hexdigest()
        there = known.get(record.key)
        if there is not None and there.data.tags.get(_CONTENT) == content and there.info.status == "FINISHED":
            unchanged += 1
            continue
        if there is not None:  # changed, or half written by a sync that was interrupted
            client.delete_run(there.info.run_id)
        study = record.study or NO_STUDY
        if study not in parents:
            parents[study] = _parent(client, experiment, study)
        _log(client, experiment, parents[study], record, content, workspace)
        added, replaced = added + (there is None), replaced + (there is not None)
    return SyncSummary(added, replaced, unchanged, Path(workspace.database))


def tracked_records(workspace: Workspace) -> list[Record]:
    """The records that the database holds, read back from its artifacts, in the order of `load_records`."""
    client, experiment = _open(workspace)
    found = []
    for run in _runs(client, experiment):
        if _KEY in run.data.tags and run.info.status == "FINISHED":
            with TemporaryDirectory() as folder:
                found.append(read_record(Path(client.download_artifacts(run.info.run_id, "record.json", folder))))
    return sorted(found, key=lambda r: (r.task, r.method, r.repetition, r.kind, r.key))


def _open(workspace: Workspace) -> tuple[MlflowClient, str]:
    database = Path(workspace.database)
    database.parent.mkdir(parents=True, exist_ok=True)
    try:
        client = MlflowClient(_fresh_uri(workspace))
        experiment = client.get_experiment_by_name(EXPERIMENT)
        generation, _ = _opened[database.absolute()]
        _opened[database.absolute()] = (generation, database.stat().st_ino)
        if experiment is not None:
            return client, str(experiment.experiment_id)
        place = Path(workspace.artifacts).absolute().as_uri()
        return client, str(client.create_experiment(EXPERIMENT, artifact_location=place))
    except Exception as error:  # SQLAlchemy's and MLflow's many types: all mean that the file is of no use
        raise BenchError(
            f"MLflow database {database} cannot be opened ({type(error).__name__}): "
            "move it away and sync again, the records hold everything"
        ) from error


def _runs(client: MlflowClient, experiment: str) -> Iterator[Any]:
    token: str | None = None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _is_parent(run: Any) -> bool:
    return _STUDY in run.data.tags and _KEY not in run.data.tags


def _parent(client: MlflowClient, experiment: str, study: str) -> str:
    run = client.create_run(experiment, run_name=study, tags={_STUDY: study})
    client.set_terminated(run.info.run_id)
    return str(run.info.run_id)


def flat(values: Any, prefix: str = "") -> dict[str, str]:
    """A nested configuration as dotted names and text, as MLflow's params want it."""
    if isinstance(values, dict):
        out: dict[str, str] = {}
        for name, value in values.items():
            out |= flat(value, f"{prefix}.{name}" if prefix else str(name))
        return out
    text = values if isinstance(values, str) else json.dumps(values)
    return {prefix: text[:_VALUE_LENGTH]}


def _metrics(record: Record, when: int) -> list[Metric]:
    out = []
    for position, epoch in enumerate(record.history):
        step = epoch.get("epoch", position)
        for name, value in _numbers(epoch):
            if name != "epoch":
                out.append(Metric(name, value, when, step if isinstance(step, int) else position))
    for group in ("result", "parameters", "activity", "measured"):
        out += [Metric(f"{group}.{name}", value, when, 0) for name, value in _numbers(getattr(record, group))]
    return out


def _numbers(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{prefix}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield prefix + name, float(value)


def _times(record: Record) -> tuple[int, int]:
    """Start and end in milliseconds, from when the run was made; 0 when it does not say."""
    try:
        end = datetime.fromisoformat(str(record.measured["finished_at"])).timestamp()
    except (KeyError, ValueError):
        return 0, 0
    return int(1000 * (end - (record.measured.get("wall_seconds") or 0.0))), int(1000 * end)


def _log(
    client: MlflowClient, experiment: str, parent: str, record: Record, content: str, workspace: Workspace
) -> None:
    start, end = _times(record)
    tags = {
        _KEY: record.key,
        _CONTENT: content,
        _STUDY: record.study or NO_STUDY,
        _PARENT: parent,
        "delrec.kind": record.kind,
        "delrec.data": str(record.data["kind"]),
        "delrec.learned": record.learned,
        "delrec.engine": record.engine,
        "delrec.command": record.command,
        "delrec.revision": str(record.provenance.get("revision", "")),
    }
    if record.search is not None:
        tags["delrec.search"] = canonical_json(record.search)[:_VALUE_LENGTH]
    part = "trial" if record.kind == "trial" else f"r{record.repetition}"
    name = f"{record.method} / {record.task} / {part}"
    run = client.create_run(experiment, start_time=start, run_name=name, tags=tags)
    run_id = run.info.run_id
    params = [Param(k, v) for k, v in sorted(flat(record.configuration).items())]
    try:
        for i in range(0, len(params), _BATCH_PARAMS):
            client.log_batch(run_id, params=params[i : i + _BATCH_PARAMS])
        metrics = _metrics(record, end)
        for i in range(0, len(metrics), _BATCH_METRICS):
            client.log_batch(run_id, metrics=metrics[i : i + _BATCH_METRICS])
        client.log_batch(run_id, tags=[RunTag("delrec.data_digest", str(record.data.get("digest", "")))])
        client.log_inputs(run_id, datasets=[_dataset(record)])
        client.log_text(run_id, canonical_json(to_dict(record)) + "\n", "record.json")
        client.log_text(run_id, json.dumps(record.configuration, sort_keys=True, indent=1) + "\n", "configuration.json")
        checkpoint = Path(workspace.runs) / record.key / "checkpoint.pt"
        if checkpoint.exists():
            client.log_artifact(run_id, str(checkpoint))
    except MlflowException as error:
        raise BenchError(f"{name} could not be written to MLflow: {error.message}; sync again") from error
    client.set_terminated(run_id, end_time=end or None)


def _dataset(record: Record) -> DatasetInput:
    facts = {k: v for k, v in record.data.items() if k not in ("files", "notes")}
    files = record.data.get("files") or {}
    dataset = Dataset(
        name=record.task,
        digest=str(record.data.get("digest", "unknown"))[:_DIGEST_LENGTH],
        source_type="local",
        source=json.dumps(files, sort_keys=True)[:_VALUE_LENGTH],
        profile=json.dumps(facts, sort_keys=True),
    )
    return DatasetInput(dataset, [])
