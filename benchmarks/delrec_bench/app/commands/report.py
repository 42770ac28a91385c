"""`report`: the page of a study, from the records."""

from typing import Annotated

from delrec_bench.app.options import Answer, DataOfTasks, Places, ProfileOption, StudyOption, by_task, option

EXAMPLES = (
    ("report", "write out/leaderboard/ from existing runs"),
    ("report --study sigma --source mlflow", "a study, from the runs in MLflow"),
    ("report --study adaptive --profile speech --data shd=DIR --data ssc=DIR", "runs on your own files"),
    ("report --publish", "add your runs to our stored ones and write reports/leaderboard/"),
    ("report --source published --publish", "redraw a report from stored runs"),
)


def command(
    places: Places,
    study: StudyOption = "leaderboard",
    profile: ProfileOption = None,
    data: DataOfTasks = None,
    source: Annotated[
        str | None, option("Runs to read (default: yours, plus our stored ones).", metavar="published|mlflow|DIR")
    ] = None,
    publish: Annotated[bool, option("Write to reports/. Needs a clean git tree.", "--publish")] = False,
    allow_mixed: Annotated[bool, option("Allow runs from several code revisions.", "--allow-mixed")] = False,
) -> Answer:
    """Write a report on existing runs to out/, or with --publish to reports/. Trains nothing."""
    from delrec_bench.app.common import read_runs
    from delrec_bench.report.content import build
    from delrec_bench.report.declared import page_of
    from delrec_bench.report.writing import publish as published
    from delrec_bench.report.writing import write_page
    from delrec_bench.studies.expansion import Wanted, expand

    workspace, (methods, tasks) = places.workspace, places.tables()
    expanded = expand(study, profile, methods, tasks, Wanted(data=by_task(data)))
    records, failures = read_runs(workspace, source)
    declared = page_of(expanded, methods, tasks, records, failures)
    shown = source or "records"
    if publish:
        paths = published(workspace, declared, records, source=shown, allow_mixed=allow_mixed)
    else:
        paths = write_page(workspace.root / "out", build(declared, records, shown))
    files = [str(path) for path in paths]
    return Answer({"page": declared.page, "files": files}, "\n".join(files))
