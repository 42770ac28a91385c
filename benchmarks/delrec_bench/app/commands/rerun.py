"""`rerun`: the run of a record made again, and compared."""

from typing import Annotated

import typer

from delrec_bench.app.options import Answer, Places

PANEL = "Run"
EXAMPLES = (("rerun 3f2a", "make the run whose key begins so again, and say whether it is the same"),)


def command(
    places: Places,
    record: Annotated[str, typer.Argument(help="A record.json, or the beginning of a key.")],
    data: Annotated[
        str | None, typer.Option(metavar="DIR", help="The files that it was made on, where they are somebody's own.")
    ] = None,
) -> Answer:
    """Make the run of a record again, and say: equal, equivalent, different (exit 1) or open."""
    from delrec_bench.app.common import early_agreement
    from delrec_bench.records import find_record
    from delrec_bench.runs.again import rerun

    workspace = places.workspace
    methods, tasks = places.tables()
    found = find_record(record, workspace)
    made, outcome = rerun(found, methods, tasks, workspace, data, early=early_agreement, folders=places.folders())
    if not places.as_json:
        print(f"{found}: {outcome.word}: {outcome.reason}")
    content = {
        "key": found.key,
        "again": made.key,
        "word": outcome.word,
        "reason": outcome.reason,
        "differences": {name: list(pair) for name, pair in outcome.differences.items()},
    }
    return (1 if outcome.word == "different" else 0), content
