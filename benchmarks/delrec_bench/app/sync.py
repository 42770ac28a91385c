"""`sync`: MLflow brought up to date with the records."""

from argparse import Namespace

from delrec_bench.app.common import Answer, own_records
from delrec_bench.records.tracking import sync
from delrec_bench.workspace import find_workspace


def synchronise(arguments: Namespace) -> Answer:
    """Bring MLflow's database up to date."""
    workspace = find_workspace(arguments.root, arguments.runs)
    summary = sync(workspace, own_records(workspace))
    if not arguments.json:
        print(summary)
    content = {"added": summary.added, "replaced": summary.replaced, "unchanged": summary.unchanged}
    return 0, content | {"database": str(summary.database)}
