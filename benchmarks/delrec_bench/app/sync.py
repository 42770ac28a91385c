"""`sync`: MLflow brought up to date with the records."""

from argparse import Namespace
from functools import partial

from delrec_bench.app.common import Answer, own_records, tables
from delrec_bench.records.tracking import sync
from delrec_bench.runs.models import with_example
from delrec_bench.workspace import find_workspace


def synchronise(arguments: Namespace) -> Answer:
    """Bring MLflow up to date: its database, or the server that MLFLOW_TRACKING_URI names."""
    workspace = find_workspace(arguments.root, arguments.runs)
    methods, _ = tables(arguments)
    summary = sync(workspace, own_records(workspace), partial(with_example, methods=methods))
    if not arguments.json:
        print(summary)
    content = {name: getattr(summary, name) for name in ("added", "replaced", "restored", "unchanged")}
    return 0, content | {"database": summary.place}
