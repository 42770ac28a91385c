"""`report`: the page of a study, from the records."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from delrec_bench.app.options import Answer, Places

if TYPE_CHECKING:
    from collections.abc import Sequence

    from delrec_bench.records import Record
    from delrec_bench.studies.expansion import Study
    from delrec_bench.workspace import Workspace

PANEL = "See"
EXAMPLES = (
    ("report", "write out/leaderboard/ from the records"),
    ("report --study tuned --source mlflow", "the page of a study, from what MLflow holds"),
    ("report --publish", "write reports/leaderboard/ and README's block, to be committed"),
)


def command(
    places: Places,
    study: Annotated[
        str, typer.Option(metavar="NAME|FILE.toml", help="Whose page: a study, or a file of your own.")
    ] = "leaderboard",
    profile: Annotated[str | None, typer.Option(help="One of the study's (else its default).")] = None,
    source: Annotated[Literal["mlflow", "records"], typer.Option(help="What to read.")] = "records",
    publish: Annotated[
        bool, typer.Option("--publish", help="Write reports/PAGE/ and README's block, from a clean tree.")
    ] = False,
    allow_mixed: Annotated[
        bool, typer.Option("--allow-mixed", help="Publish records of several revisions; the page says so.")
    ] = False,
) -> Answer:
    """Write out/PAGE/ from the records; trains nothing. Only --publish touches reports/ and README."""
    from delrec_bench.app.common import own_records, tracked
    from delrec_bench.app.pages import declaration
    from delrec_bench.config import resolve
    from delrec_bench.report.content import build
    from delrec_bench.report.writing import out_folder, write_page
    from delrec_bench.report.writing import publish as published
    from delrec_bench.studies.expansion import expand

    workspace = places.workspace
    methods, tasks = places.tables()
    expanded = expand(study, profile, methods, tasks)
    records = tracked(workspace) if source == "mlflow" else own_records(workspace)
    keys = [resolve(request, methods, tasks, workspace).key for request in expanded.requests]
    if expanded.search is not None:  # its runs are those that its search chose
        keys = _chosen(expanded, keys, records, workspace)
    declared = declaration(expanded, keys, methods, tasks, records)
    if publish:
        paths = published(workspace, declared, records, source=source, allow_mixed=allow_mixed)
    else:
        paths = write_page(out_folder(workspace, declared), build(declared, records, source))
    if not places.as_json:
        print("\n".join(str(path) for path in paths))
    return 0, {"page": declared.page, "files": [str(path) for path in paths]}


def _chosen(study: "Study", keys: list[str], records: "Sequence[Record]", workspace: "Workspace") -> list[str]:
    """The keys of a study's runs with the values that its search chose, where it has made them."""
    from delrec_bench.studies.membership import memberships

    known = memberships(workspace)
    by_key = {record.key: record for record in records}
    pairs = {(r.method, r.task, r.repetition): i for i, r in enumerate(study.requests)}
    for key in known[study.name].search if study.name in known else ():
        record = by_key.get(key)
        place = None if record is None else pairs.get((record.method, record.task, record.repetition))
        if place is not None:
            keys[place] = key
    return keys
