"""`rerun`: the run of a record made again, and compared."""

from argparse import Namespace

from delrec_bench.app.common import Answer, tables
from delrec_bench.records import find_record
from delrec_bench.runs.again import rerun
from delrec_bench.workspace import find_workspace


def again(arguments: Namespace) -> Answer:
    """Make a run again: exit 1 where the result is different."""
    workspace = find_workspace(arguments.root, arguments.runs)
    methods, tasks = tables(arguments)
    record = find_record(arguments.record, workspace)
    made, outcome = rerun(record, methods, tasks, workspace, arguments.data)
    if not arguments.json:
        print(f"{record}: {outcome.word}: {outcome.reason}")
    content = {
        "key": record.key,
        "again": made.key,
        "word": outcome.word,
        "reason": outcome.reason,
        "differences": {name: list(pair) for name, pair in outcome.differences.items()},
    }
    return (1 if outcome.word == "different" else 0), content
