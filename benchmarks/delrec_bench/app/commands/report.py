"""`report`: the page of a study, from the records."""

from typing import Annotated

import typer

from delrec_bench.app.options import Answer, DataOfTasks, Places, by_task

PANEL = "Results"
EXAMPLES = (
    ("report", "write out/leaderboard/ from existing runs"),
    ("report --study sigma --source mlflow", "a study, from the runs in MLflow"),
    ("report --study adaptive --profile speech --data shd=DIR --data ssc=DIR", "runs on your own files"),
    ("report --publish", "add your runs to our stored ones and write reports/leaderboard/"),
    ("report --source published --publish", "redraw a report from stored runs"),
)


def command(
    places: Places,
    study: Annotated[
        str, typer.Option(metavar="NAME|FILE.toml", help="A study, or your own study file.")
    ] = "leaderboard",
    profile: Annotated[str | None, typer.Option(help="A profile of the study (default: the study's default).")] = None,
    data: DataOfTasks = None,
    source: Annotated[
        str | None,
        typer.Option(metavar="published|mlflow|DIR", help="Runs to read (default: yours, plus our stored ones)."),
    ] = None,
    publish: Annotated[bool, typer.Option("--publish", help="Write to reports/. Needs a clean git tree.")] = False,
    allow_mixed: Annotated[bool, typer.Option("--allow-mixed", help="Allow runs from several code revisions.")] = False,
) -> Answer:
    """Write a report on existing runs to out/, or with --publish to reports/. Trains nothing."""
    from delrec_bench.app.common import read_runs
    from delrec_bench.report.content import build
    from delrec_bench.report.declared import page_of
    from delrec_bench.report.writing import publish as published
    from delrec_bench.report.writing import write_page
    from delrec_bench.studies.expansion import Wanted, expand

    workspace = places.workspace
    methods, tasks = places.tables()
    expanded = expand(study, profile, methods, tasks, Wanted(data=by_task("--data", data)))
    records, failures = read_runs(workspace, source)
    declared = page_of(expanded, methods, tasks, records, failures)
    shown = source or "records"
    if publish:
        paths = published(workspace, declared, records, source=shown, allow_mixed=allow_mixed)
    else:
        paths = write_page(workspace.root / "out", build(declared, records, shown))
    if not places.as_json:
        print("\n".join(map(str, paths)))
    return 0, {"page": declared.page, "files": [str(path) for path in paths]}
