"""`report`: the page of a study, from the records."""

from typing import Annotated, Literal

import typer

from delrec_bench.app.options import Answer, DataOfTasks, Places, by_task

PANEL = "See"
EXAMPLES = (
    ("report", "write out/leaderboard/ from the records"),
    ("report --study tuned --source mlflow", "the page of a study, from what MLflow holds"),
    ("report --study adaptive --profile speech --data shd=DIR --data ssc=DIR", "the page of runs on files of yours"),
    ("report --publish", "write reports/leaderboard/, to be committed"),
)


def command(
    places: Places,
    study: Annotated[
        str, typer.Option(metavar="NAME|FILE.toml", help="Whose page: a study, or a file of your own.")
    ] = "leaderboard",
    profile: Annotated[str | None, typer.Option(help="One of the study's (else its default).")] = None,
    data: DataOfTasks = None,
    source: Annotated[Literal["mlflow", "records"], typer.Option(help="What to read.")] = "records",
    publish: Annotated[bool, typer.Option("--publish", help="Write reports/PAGE/, from a clean tree.")] = False,
    allow_mixed: Annotated[
        bool, typer.Option("--allow-mixed", help="Publish records of several revisions; the page says so.")
    ] = False,
) -> Answer:
    """Write out/PAGE/ from the records; trains nothing. Only --publish touches reports/."""
    from delrec_bench.app.common import own_failures, own_records, tracked
    from delrec_bench.app.pages import declaration
    from delrec_bench.config import resolve
    from delrec_bench.errors import MissingDataError
    from delrec_bench.report.content import build
    from delrec_bench.report.writing import out_folder, write_page
    from delrec_bench.report.writing import publish as published
    from delrec_bench.studies.expansion import Wanted, expand
    from delrec_bench.studies.work import chosen_before

    workspace = places.workspace
    methods, tasks = places.tables()
    expanded = expand(study, profile, methods, tasks, Wanted(data=by_task("--data", data)))
    read = tracked if source == "mlflow" else own_records
    records = read(workspace, expanded.name)
    if expanded.search is not None:
        expanded = chosen_before(expanded, methods, tasks, workspace)
    keys = []
    for request in expanded.requests:
        try:
            keys.append(resolve(request, methods, tasks, workspace).key)
        except MissingDataError:  # no data, no run: a page of sizes and latencies does without
            if expanded.scored:
                raise
            keys.append(request.command())
    declared = declaration(expanded, keys, methods, tasks, records, own_failures(workspace, keys))
    if publish:
        paths = published(workspace, declared, records, source=source, allow_mixed=allow_mixed)
    else:
        paths = write_page(out_folder(workspace, declared), build(declared, records, source))
    if not places.as_json:
        print("\n".join(map(str, paths)))
    return 0, {"page": declared.page, "files": [str(path) for path in paths]}
