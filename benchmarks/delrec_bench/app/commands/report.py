"""`report`: the page of a study, from the records."""

from typing import Annotated

import typer

from delrec_bench.app.options import Answer, DataOfTasks, Places, by_task

PANEL = "See"
EXAMPLES = (
    ("report", "write out/leaderboard/ from the runs that are there"),
    ("report --study sigma --source mlflow", "the page of a study, from what MLflow holds"),
    ("report --study adaptive --profile speech --data shd=DIR --data ssc=DIR", "the page of runs on files of yours"),
    ("report --publish", "put its runs into the store and write reports/leaderboard/, to be committed"),
    ("report --source published --publish", "draw a page again from the store"),
)


def command(
    places: Places,
    study: Annotated[
        str, typer.Option(metavar="NAME|FILE.toml", help="Whose page: a study, or a file of your own.")
    ] = "leaderboard",
    profile: Annotated[str | None, typer.Option(help="One of the study's (else its default).")] = None,
    data: DataOfTasks = None,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="published|mlflow|DIR", help="What to read (else this workspace's runs over the published ones)."
        ),
    ] = None,
    publish: Annotated[
        bool, typer.Option("--publish", help="Write the store and reports/PAGE/, from a clean tree.")
    ] = False,
    allow_mixed: Annotated[
        bool, typer.Option("--allow-mixed", help="Publish records of several revisions; the page says so.")
    ] = False,
) -> Answer:
    """Write out/PAGE/ from runs that are there; trains nothing. Only --publish touches reports/."""
    from delrec_bench.app.common import read_runs
    from delrec_bench.app.pages import page_of
    from delrec_bench.report.content import build
    from delrec_bench.report.writing import out_folder, write_page
    from delrec_bench.report.writing import publish as published
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
        paths = write_page(out_folder(workspace, declared), build(declared, records, shown))
    if not places.as_json:
        print("\n".join(map(str, paths)))
    return 0, {"page": declared.page, "files": [str(path) for path in paths]}
