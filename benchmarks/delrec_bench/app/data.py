"""`data`: look after dataset files."""

from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

from delrec_bench.app.common import Answer, here, say, tables
from delrec_bench.config import Seeds
from delrec_bench.data import shelf
from delrec_bench.data.export import export_splits
from delrec_bench.data.task_data import TaskOptions
from delrec_bench.errors import BenchError
from delrec_bench.tasks.base import TaskTable
from delrec_bench.workspace import Workspace, find_workspace


def data(arguments: Namespace) -> Answer:
    """Look after dataset files: status, make, fetch, verify, export-splits."""
    workspace = find_workspace(arguments.root, arguments.runs)
    _, tasks = tables(arguments)
    for name in arguments.names:
        tasks[name]  # an unknown name is an error that names the nearest
    if arguments.action in ("make", "fetch"):
        if arguments.action == "make":
            groups = [shelf.make(workspace, name, arguments.again) for name in arguments.names or [None]]
            shelf.register(workspace)
        elif not arguments.names:
            raise BenchError(
                "data fetch needs a task: shd, ssc or ps-mnist; `delrec-bench data status` shows what is absent"
            )
        else:
            groups = [shelf.fetch(workspace, name, arguments.url) for name in arguments.names]
        paths = [str(path) for group in groups for path in group]
        if not arguments.json:
            print("\n".join(paths) or "nothing to do: every file is there")
        return 0, {"files": paths}
    if arguments.action == "export-splits":
        return _export(arguments, tasks, workspace)
    failed = 0
    if arguments.action == "status":
        text = shelf.status(workspace)
    else:
        verification = shelf.verify(workspace)
        text, failed = verification.text, verification.failed
    if not arguments.json:
        print(text)
    rows = [row for row in shelf.rows_of(workspace) if not arguments.names or row.task in arguments.names]
    content = [
        {"task": row.task, "path": here(row.path, workspace), "found": row.found, "wrong": row.wrong} for row in rows
    ]
    return (1 if failed else 0), {"files": content, "failed": failed}


def _export(arguments: Namespace, tasks: TaskTable, workspace: Workspace) -> Answer:
    """Splits of the tasks named, or of all whose files are there."""
    if arguments.repetitions < 1:
        raise BenchError(f"--repetitions is {arguments.repetitions}; it must be at least 1")
    folder = Path(arguments.out) if arguments.out else workspace.root / "out" / "splits"
    written = []
    for name in arguments.names or tasks:
        try:
            for repetition in range(arguments.repetitions):
                seeds = Seeds.of(repetition)
                data = tasks[name].load(TaskOptions(), seeds.split, seeds.permutation, None, workspace)
                written += export_splits(data, repetition, asdict(seeds), folder)
        except BenchError as error:
            if arguments.names:
                raise
            say(f"{name}: left out ({error})")
    paths = [here(path, workspace) for path in written]
    if not arguments.json:
        print("\n".join(paths))
    return 0, {"files": paths}
