"""What commands share: the workspace's records, the tables of methods and tasks, and a word on progress.

A command returns its exit code and, for `--json`, its content.
"""

import os
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from delrec_bench.methods.base import MethodTable, find_methods
from delrec_bench.metrics.base import VARIABLE as METRICS_VARIABLE
from delrec_bench.records import Record, load_records
from delrec_bench.records.tracking import tracked_records
from delrec_bench.studies.expansion import pages
from delrec_bench.studies.membership import assigned
from delrec_bench.tasks.base import TaskTable, find_tasks
from delrec_bench.workspace import Workspace

Answer = tuple[int, dict[str, Any]]
METHODS_VARIABLE = "DELREC_BENCH_METHODS"
TASKS_VARIABLE = "DELREC_BENCH_TASKS"


def say(text: str) -> None:
    """Progress, for people: stderr."""
    print(text, file=sys.stderr, flush=True)


def folders(arguments: Namespace) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Folders of more methods and tasks: options and variables."""
    methods = [*(arguments.methods or []), *filter(None, os.environ.get(METHODS_VARIABLE, "").split(os.pathsep))]
    tasks = [*(arguments.tasks or []), *filter(None, os.environ.get(TASKS_VARIABLE, "").split(os.pathsep))]
    return tuple(methods), tuple(tasks)


def tables(arguments: Namespace) -> tuple[MethodTable, TaskTable]:
    """Every method and task, those of more folders included.

    Folders of more metrics are noted in the environment, where every reader of a record finds them, workers too.
    """
    if arguments.metrics:
        known = filter(None, os.environ.get(METRICS_VARIABLE, "").split(os.pathsep))
        os.environ[METRICS_VARIABLE] = os.pathsep.join(dict.fromkeys([*known, *arguments.metrics]))
    method_dirs, task_dirs = folders(arguments)
    return find_methods(method_dirs), find_tasks(task_dirs)


def own_records(workspace: Workspace) -> list[Record]:
    """The records of this workspace; each with the study that asked for it. A broken file is named on stderr."""
    broken: list[str] = []
    records = load_records(workspace.runs, broken)
    for message in broken:
        say(f"warning: {message}")
    return assigned(records, workspace, pages())


def tracked(workspace: Workspace) -> list[Record]:
    """The same records as MLflow has them."""
    return assigned(tracked_records(workspace), workspace, pages())


def here(path: Path, workspace: Workspace) -> str:
    """A path as seen from the root, where it lies below it."""
    return str(path.relative_to(workspace.root)) if path.is_relative_to(workspace.root) else str(path)
