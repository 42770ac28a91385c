"""Records <-> MLflow. Only this room speaks to MLflow, from one process: a study's parent, or `sync`.

The records are the truth and the store a view of them: it may be deleted at any time and synced again. A run is found
again by its record's key, so that syncing twice changes nothing. Workers never import this: they append to their
run's history.jsonl, which the parent follows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from delrec_bench.records.record import Record
from delrec_bench.tracking.database import opened, tracking_uri
from delrec_bench.tracking.following import Follower, follow
from delrec_bench.tracking.reading import load_model, records_from_mlflow
from delrec_bench.tracking.writing import Begun, ModelOf, Runs, begun
from delrec_bench.workspace import DRAFT_SECONDS, Workspace, remove_drafts

__all__ = [
    "Begun",
    "Follower",
    "ModelOf",
    "SyncSummary",
    "begun",
    "follow",
    "load_model",
    "opened",
    "records_from_mlflow",
    "sync",
    "tracking_uri",
]

UPLOADING = "artifact.uploading"  # MLflow's drafts of artifacts


@dataclass(frozen=True)
class SyncSummary:
    """What a sync did: runs added or completed, replaced (a record made again), with files restored, left alone."""

    added: int
    replaced: int
    restored: int
    unchanged: int
    place: str

    def __str__(self) -> str:
        restored = f"{self.restored} restored, " if self.restored else ""
        return f"{self.added} added, {self.replaced} replaced, {restored}{self.unchanged} unchanged in {self.place}"


def sync(
    workspace: Workspace,
    records: Iterable[Record],
    model_of: ModelOf | None = None,
    shown: Callable[[Sequence[Record]], Iterable[Record]] = iter,
    study_of: Mapping[str, str] = MappingProxyType({}),
) -> SyncSummary:
    """Brings MLflow up to date with `records`; runs already there are left alone, those seen live are completed.

    Args:
        workspace: Its store is written, its `runs` read for checkpoints and histories.
        records: Any kind; a record whose content changed under the same key replaces its run.
        model_of: Makes the network of a record from its checkpoint, to be logged; None logs none.
        shown: Goes through the records, and may say how far it is: each takes a fifth of a second.
        study_of: Key of a run -> the study below which it stands, when it is new there.

    Raises:
        BenchError: The store cannot be opened or written; what is in it already stays.
    """
    added = replaced = restored = unchanged = 0
    with opened(workspace) as store:
        for folder in {path.parent for path in workspace.artifacts.rglob(f".{UPLOADING}.*")}:
            remove_drafts(folder, UPLOADING, DRAFT_SECONDS)
        runs = Runs(store)
        for record in shown(sorted(records, key=lambda r: (r.task, r.method, r.repetition, r.key))):
            if runs.complete(record):
                if runs.has_files(record):
                    unchanged += 1
                else:
                    runs.files(runs.by_key[record.key].info.run_id, record, workspace, model_of)
                    restored += 1
                continue
            again = runs.other(record)
            if again:
                runs.drop(record.key)
            runs.finish(record, workspace, model_of, study_of.get(record.key))
            added, replaced = added + (not again), replaced + again
        return SyncSummary(added, replaced, restored, unchanged, store.place)
