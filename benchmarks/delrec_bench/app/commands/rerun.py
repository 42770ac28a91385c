"""`rerun`: the run of a record made again, and compared."""

from typing import Annotated

import typer

from delrec_bench.app.options import Answer, Places, option

EXAMPLES = (("rerun 3f2a", "repeat the run whose key starts with 3f2a and compare"),)


def command(
    places: Places,
    record: Annotated[str, typer.Argument(help="A record.json, or the first characters of a run's key.")],
    data: Annotated[str | None, option("The files it was trained on, if they are your own.", metavar="DIR")] = None,
) -> Answer:
    """Repeat a run and check whether it is equal, consistent or different (exit code 1)."""
    from delrec_bench.records import find_record, read_store
    from delrec_bench.runs.again import rerun
    from delrec_bench.statistics.reproduced import MadeTwice, judge, row_of

    workspace = places.workspace
    found = find_record(record, workspace)
    made = rerun(found, *places.tables(), workspace, data, folders=places.folders())
    stored = [r for r in read_store(workspace.reports, [found.task])[0] if r.kind == found.kind]
    alike = [r.score for r in stored if row_of(r) == row_of(found)]
    [row] = judge([MadeTwice(str(found), [(found, made)], alike)]).rows
    content = {"key": found.key, "again": made.key, "word": row.word, "reason": row.reason}
    return Answer(content, str(row), 1 if row.word == "different" else 0)
