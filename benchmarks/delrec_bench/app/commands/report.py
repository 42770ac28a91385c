"""`report`: the page of a study, from the records."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from delrec_bench.app.options import Answer, DataOfTasks, Places, by_task

if TYPE_CHECKING:
    from delrec_bench.app.pages import Sheet

PANEL = "See"
EXAMPLES = (
    ("report", "write out/leaderboard/ from the records"),
    ("report --study tuned --source mlflow", "the page of a study, from what MLflow holds"),
    ("report --study adaptive --profile speech --data shd=DIR --data ssc=DIR", "the page of runs on files of yours"),
    ("report --publish", "write reports/leaderboard/ and README's block, to be committed"),
    ("report --source page", "every published page as this code draws it, in out/, from the records behind it"),
    ("report --source page --publish", "the same in reports/: after a change of what pages say or show"),
)


def command(
    places: Places,
    study: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE.toml", help="Whose page: a study, or a file of your own (else leaderboard)."),
    ] = None,
    profile: Annotated[str | None, typer.Option(help="One of the study's (else its default).")] = None,
    data: DataOfTasks = None,
    source: Annotated[
        Literal["mlflow", "records", "page"],
        typer.Option(help="What to read; page: what is behind the published page (without --study, behind each)."),
    ] = "records",
    publish: Annotated[
        bool,
        typer.Option("--publish", help="Write reports/PAGE/, its best networks and README's block, from a clean tree."),
    ] = False,
    allow_mixed: Annotated[
        bool, typer.Option("--allow-mixed", help="Publish records of several revisions; the page says so.")
    ] = False,
) -> Answer:
    """Write out/PAGE/ from the records; trains nothing. Only --publish touches reports/ and README."""
    from delrec_bench.app.behind import behind
    from delrec_bench.errors import BenchError
    from delrec_bench.report.content import build
    from delrec_bench.report.writing import out_folder, refuse, write_page
    from delrec_bench.report.writing import publish as published

    workspace = places.workspace
    of_tasks = by_task("--data", data)
    if source != "page":
        sheets = iter([_own(places, study or "leaderboard", profile, of_tasks, source)])
    elif of_tasks:
        raise BenchError("--source page reads no data, and the page knows which rows are of somebody's own; no --data")
    else:
        methods, tasks = places.tables()
        pages = behind(workspace, study, profile)
        for page in pages if publish and len(pages) > 1 else ():  # all of them may be written, or none is
            sheet = page.sheet(workspace, methods, tasks)
            refuse(workspace, build(sheet.declared, sheet.records, sheet.source), allow_mixed=True)
        sheets = (page.sheet(workspace, methods, tasks) for page in pages)
    files = {}
    for sheet in sheets:
        if publish:
            paths = published(
                workspace,
                sheet.declared,
                sheet.records,
                source=sheet.source,
                allow_mixed=allow_mixed or source == "page",  # it is published as it is, and says so
                methods=sheet.methods,
                examples=sheet.examples,
            )
        else:
            content = build(sheet.declared, sheet.records, sheet.source)
            drawn = sheet.examples(content) if source == "page" else ()
            paths = write_page(out_folder(workspace, sheet.declared), content, drawn)
        files[sheet.declared.page] = [str(path) for path in paths]
        if not places.as_json:
            print("\n".join(files[sheet.declared.page]))
    return 0, {"pages": list(files), "files": [path for of_page in files.values() for path in of_page]}


def _own(places: Places, name: str, profile: str | None, data: Mapping[str, str], source: str) -> "Sheet":
    """The page of a study from the records of this workspace, or those that MLflow has."""
    from delrec_bench.app.common import own_failures, own_records, tracked
    from delrec_bench.app.pages import Sheet, declaration
    from delrec_bench.config import resolve
    from delrec_bench.errors import MissingDataError
    from delrec_bench.report.rasters import rasters
    from delrec_bench.studies.expansion import Wanted, expand
    from delrec_bench.studies.work import chosen_before

    workspace = places.workspace
    methods, tasks = places.tables()
    study = expand(name, profile, methods, tasks, Wanted(data=data))
    read = tracked if source == "mlflow" else own_records
    records = read(workspace, study.name)
    if study.search is not None:
        study = chosen_before(study, methods, tasks, workspace)
    keys = []
    for request in study.requests:
        try:
            keys.append(resolve(request, methods, tasks, workspace).key)
        except MissingDataError:  # no data, no run: a page of sizes and latencies does without
            if study.scored:
                raise
            keys.append(request.command())
    declared = declaration(study, keys, methods, tasks, records, own_failures(workspace, keys))
    if not study.examples:
        return Sheet(declared, records, source)
    return Sheet(declared, records, source, methods, lambda page: rasters(page, methods, tasks, workspace, study.data))
