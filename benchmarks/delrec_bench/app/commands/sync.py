"""`sync`: MLflow brought up to date with the records."""

from functools import partial

from delrec_bench.app.options import Answer, Places

EXAMPLES = (("sync", "after training without a connection to MLflow"),)


def command(places: Places) -> Answer:
    """Copy all runs to MLflow (to its local database, or to the server in MLFLOW_TRACKING_URI)."""
    from delrec_bench.app.progress import Display
    from delrec_bench.records import read_folder
    from delrec_bench.runs.trained import with_example
    from delrec_bench.tracking import sync

    workspace = places.workspace
    methods, _ = places.tables()
    with Display() as display:
        shown = partial(display.each, "MLflow")
        records, _ = read_folder(workspace.runs, display.say)
        summary = sync(workspace, records, partial(with_example, methods=methods), shown)
    content = {name: getattr(summary, name) for name in ("added", "replaced", "unchanged")}
    return Answer(content | {"database": summary.place}, str(summary))
