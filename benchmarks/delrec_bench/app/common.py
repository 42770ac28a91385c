"""What commands that read records share: those of the workspace, of a page, and those that are committed."""

from collections.abc import Iterable, Mapping
from typing import Any

from delrec_bench.environment import say
from delrec_bench.errors import BenchError
from delrec_bench.records import FAILURE, Failure, Record, load_records, read_failure
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


def own_failures(workspace: Workspace, keys: Iterable[str]) -> list[Failure]:
    """Why those of the runs failed that did, and were not done since. A broken file is named on stderr."""
    found = []
    for key in dict.fromkeys(keys):
        path = workspace.runs / key / FAILURE
        if path.exists() and not path.with_name("record.json").exists():
            try:
                found.append(read_failure(path))
            except BenchError as error:
                say(f"warning: {error}")
    return found


def tracked(workspace: Workspace, study: str | None = None) -> list[Record]:
    """The same records as MLflow has them."""
    return assigned(records_from_mlflow(workspace), workspace, study)


def early_agreement(record: Mapping[str, Any], ours: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether two beginnings agree within the tolerance between processors, and how far they are apart."""
    found = reproduced.early_agreement(*(reproduced.Early(e["losses"], e["logits"]) for e in (record, ours)))
    return found.agrees, f"median logit off by {found.logit:.2g}, loss of update {found.update} by {found.loss:.2g}"
