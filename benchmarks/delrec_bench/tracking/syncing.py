"""Finished runs in MLflow: synced from their records, with files and models; pages with their studies; read back."""

import hashlib
import importlib.metadata
import re
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import mlflow
from mlflow.entities import RunTag

from delrec_bench.environment import say
from delrec_bench.errors import BenchError
from delrec_bench.records import Record, in_order, read_record, record_text
from delrec_bench.tracking.mlflow_store import Entries, Store, milliseconds, numbers, opened
from delrec_bench.workspace import Workspace

CONTENT = "delrec.content"
RECORD = "record.json"

ModelOf = Callable[[Record, Path], tuple[Any, Any, Any] | None]
"""(record, checkpoint) -> a module, an example of its input and its output for it; None where it has none."""


class SyncSummary(NamedTuple):
    """What a sync did: runs added or completed, replaced (a record made again), left alone."""

    added: int
    replaced: int
    unchanged: int
    place: str

    def __str__(self) -> str:
        return f"{self.added} added, {self.replaced} replaced, {self.unchanged} unchanged in {self.place}"


def sync(
    workspace: Workspace,
    records: Iterable[Record],
    model_of: ModelOf | None = None,
    study_of: Mapping[str, str] = MappingProxyType({}),
) -> SyncSummary:
    """Bring MLflow up to date with records; runs already there are left alone, those seen live are completed.

    A record whose content changed under the same key replaces its run. `study_of` says by key below which study a run
    stands that is new there; without `model_of` no models are logged.
    """
    added = replaced = unchanged = 0
    with opened(workspace) as store:
        known = store.by_key()
        for record in records:
            run, content = known.get(record.key), _content(record)
            there = None if run is None else run.data.tags.get(CONTENT)
            if there == content and _whole(store, run):
                unchanged += 1
                continue
            if run is not None and there not in (None, content):
                store.client.delete_run(run.info.run_id)
                replaced += 1
            else:
                added += 1
            _write(store, record, workspace, model_of, study_of.get(record.key))
    return SyncSummary(added, replaced, unchanged, store.uri)


def log_page(workspace: Workspace, study: str, scores: Mapping[str, float], files: Iterable[Path]) -> None:
    """Give the run of a study its page and figures, and the mean score of each row by `<task>/<method>`."""
    with opened(workspace) as store:
        run_id, now = store.study(study), int(1000 * time.time())
        store.metrics(run_id, ((name, value, now, 0) for name, value in scores.items()))
        for path in files:
            store.client.log_artifact(run_id, str(path))


def records_from_mlflow(workspace: Workspace) -> list[Record]:
    """The records that MLflow holds, as `sync` was given them; a `BenchError` where one was altered or is gone."""
    found = []
    with opened(workspace) as store:
        for run in store.by_key().values():
            if CONTENT not in run.data.tags:
                continue
            try:
                path = store.client.download_artifacts(run.info.run_id, RECORD)
            except (mlflow.MlflowException, OSError) as error:
                raise BenchError(
                    f"MLflow's run {run.info.run_name} has lost its {RECORD}; sync again to restore it"
                ) from error
            found.append(read_record(Path(path)))
    return in_order(found)


def _write(store: Store, record: Record, workspace: Workspace, model_of: ModelOf | None, study: str | None) -> None:
    """Complete the run of a record: history, results, data, files and model; its content last, which makes it whole."""
    start, end = _times(record)
    run_id = store.start(record, start, study)
    store.epochs(run_id, _history(record))
    groups = {name: getattr(record, name) for name in ("result", "parameters", "activity", "measured")}
    groups["measured"] = {name: value for name, value in record.measured.items() if not isinstance(value, list)}
    store.metrics(run_id, ((name, value, end, 0) for name, value in numbers(groups)))
    checkpoint = workspace.runs / record.key / "checkpoint.pt"
    if checkpoint.is_file() and not checkpoint.is_symlink():
        try:
            made = model_of(record, checkpoint) if model_of is not None else None
        except BenchError as error:
            say(f"warning: {error}; synced without its network")
        else:
            store.client.log_artifact(run_id, str(checkpoint))
            if made is not None:
                _log_model(store, run_id, record, *made)
    store.client.log_text(run_id, record_text(record), RECORD)
    tags = {
        "delrec.kind": record.kind,
        "delrec.data": record.data["kind"],
        "delrec.data_digest": record.data["digest"],
        "delrec.learned": record.learned,
        "delrec.engine": record.engine,
        "mlflow.source.git.commit": str(record.provenance.get("revision", "")),
        CONTENT: _content(record),
    }
    store.client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])
    store.client.set_terminated(run_id, end_time=end)


def _log_model(store: Store, run_id: str, record: Record, module: Any, example: Any, output: Any) -> None:
    """The module as MLflow's pytorch flavour stores it: a pickle, which loading executes, for one's own store."""
    versions = [f"{name}=={importlib.metadata.version(name)}" for name in ("torch", "delrec", "delrec-bench")]
    name = re.sub(r"[^\w-]+", "-", f"{record.method}-{record.task}")
    params = {"method": record.method, "task": record.task}
    model = store.client.create_logged_model(store.experiment, name, source_run_id=run_id, params=params)
    inputs, outputs = (
        mlflow.types.Schema([mlflow.types.TensorSpec(array.dtype, (-1, *shape))])
        for array, shape in ((example, (-1, example.shape[-1])), (output, output.shape[1:]))
    )
    mlflow.set_tracking_uri(store.uri)  # its flavours know no client
    mlflow.set_registry_uri(store.uri)
    mlflow.pytorch.log_model(
        module,
        name=name,
        run_id=run_id,
        model_id=model.model_id,
        signature=mlflow.models.ModelSignature(inputs, outputs),
        pip_requirements=versions,
        serialization_format="pickle",
    )


def _whole(store: Store, run: Any) -> bool:
    files = store.client.list_artifacts(run.info.run_id)
    return run.info.status == "FINISHED" and any(file.path == RECORD and file.file_size for file in files)


def _content(record: Record) -> str:
    """Digest of the record's file, `measured` included: another making of the same record replaces its run."""
    return hashlib.sha256(record_text(record).encode()).hexdigest()


def _times(record: Record) -> tuple[int, int]:
    """Start and end in ms since 1970, from when the run was made."""
    end = milliseconds(record.measured["finished_at"])
    return end - int(1000 * (record.measured.get("wall_seconds") or 0.0)), end


def _history(record: Record) -> Entries:
    """The history, each epoch after the one before by its duration."""
    at, out = float(_times(record)[0]), Entries()
    seconds = [*(record.measured.get("epoch_seconds") or []), *(0.0 for _ in record.history)]
    for number, (entry, lasted) in enumerate(zip(record.history, seconds, strict=False), 1):
        at += 1000 * (lasted or 0.0)
        out[number] = (entry, int(at))
    return out
