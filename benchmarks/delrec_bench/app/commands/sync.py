"""`sync`: MLflow brought up to date with the records."""

from delrec_bench.app.options import Answer, Places

PANEL = "Files"


def command(places: Places) -> Answer:
    """Bring MLflow's database up to date with the records."""
    from delrec_bench.app.common import own_records
    from delrec_bench.records.tracking import sync

    workspace = places.workspace
    summary = sync(workspace, own_records(workspace))
    if not places.as_json:
        print(summary)
    content = {"added": summary.added, "replaced": summary.replaced, "unchanged": summary.unchanged}
    return 0, content | {"database": str(summary.database)}
