"""`rerun`: the run of a record made again, and compared."""

from argparse import Namespace
from pathlib import Path

from delrec_bench.app.common import Answer, own_records, tables
from delrec_bench.errors import BenchError
from delrec_bench.records import PAGE_FILE, Record, read_page, read_record
from delrec_bench.runs.again import rerun
from delrec_bench.workspace import Workspace, find_workspace


def again(arguments: Namespace) -> Answer:
    """Make a run again: exit 1 where the result is different."""
    workspace = find_workspace(arguments.root, arguments.runs)
    methods, tasks = tables(arguments)
    record = named(arguments.record, workspace)
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


def named(what: str, workspace: Workspace) -> Record:
    """A record by its file, or by the beginning of its key among the finished runs and behind the pages.

    Raises:
        BenchError: None is meant, or more than one.
    """
    if Path(what).is_file():
        return read_record(Path(what))
    found = {record.key: record for record in own_records(workspace) if record.key.startswith(what)}
    for path in sorted(workspace.reports.rglob(PAGE_FILE)) if not found else ():
        found |= {record.key: record for record in read_page(path) if record.key.startswith(what)}
    if len(found) != 1:
        raise BenchError(f"'{what}' is no file, and {len(found)} records have a key that begins so; give one record")
    return next(iter(found.values()))
