"""What commands that read records share: those of the workspace, of a page, and those that are committed."""

from collections.abc import Mapping
from typing import Any

from delrec_bench.environment import say
from delrec_bench.records import Record, load_records
from delrec_bench.records.tracking import records_from_mlflow
from delrec_bench.statistics import reproduced
from delrec_bench.studies.membership import assigned
from delrec_bench.workspace import Workspace


def own_records(workspace: Workspace, study: str | None = None) -> list[Record]:
    """The records of this workspace; each with the study that asked for it, `study` before all others.

    A broken file is named on stderr.
    """
    broken: list[str] = []
    records = load_records(workspace.runs, broken)
    for message in broken:
        say(f"warning: {message}")
    return assigned(records, workspace, study)


def tracked(workspace: Workspace, study: str | None = None) -> list[Record]:
    """The same records as MLflow has them."""
    return assigned(records_from_mlflow(workspace), workspace, study)


def early_agreement(record: Mapping[str, Any], ours: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether two beginnings agree within the tolerance between processors, and how far they are apart."""
    found = reproduced.early_agreement(*(reproduced.Early(e["losses"], e["logits"]) for e in (record, ours)))
    return found.agrees, f"median logit off by {found.logit:.2g}, loss of update {found.update} by {found.loss:.2g}"
