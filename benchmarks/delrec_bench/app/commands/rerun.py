"""`rerun`: the run of a record made again, and compared."""

from typing import Annotated

import typer

from delrec_bench.app.options import Answer, Places

PANEL = "Run"
EXAMPLES = (("rerun 3f2a", "repeat the run whose key starts with 3f2a and compare"),)


def command(
    places: Places,
    record: Annotated[str, typer.Argument(help="A record.json, or the first characters of a run's key.")],
    data: Annotated[
        str | None, typer.Option(metavar="DIR", help="The files it was trained on, if they are your own.")
    ] = None,
) -> Answer:
    """Repeat a run and check whether it is equal, consistent or different (exit code 1)."""
    from delrec_bench.records import find_record, read_store
    from delrec_bench.runs.again import rerun
    from delrec_bench.statistics.reproduced import MadeTwice, judge, row_of

    workspace = places.workspace
    methods, tasks = places.tables()
    found = find_record(record, workspace)
    made = rerun(found, methods, tasks, workspace, data, folders=places.folders())
    row = row_of(found)
    alike = [
        r.score for r in read_store(workspace.reports, [found.task])[0] if r.kind == found.kind and row_of(r) == row
    ]
    [judged] = judge([MadeTwice(str(found), [(found, made)], alike)]).rows
    if not places.as_json:
        print(f"{judged.name}: {judged.word}: {judged.reason}")
    content = {"key": found.key, "again": made.key, "word": judged.word, "reason": judged.reason}
    return (1 if judged.word == "different" else 0), content
