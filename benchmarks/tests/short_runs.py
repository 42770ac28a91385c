"""What many tests begin with: every method and task, runs of a second, and the text of studies of such runs."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from delrec_bench.config import Request, resolve
from delrec_bench.methods.method import find_methods
from delrec_bench.records import Record
from delrec_bench.runs import perform
from delrec_bench.tasks.task import find_tasks
from delrec_bench.workspace import Workspace

METHODS, TASKS = find_methods(), find_tasks()
TINY = (("network.hidden", [6]), ("task.limit", 40), ("task.test_limit", 30), ("training.epochs", 2))


def done(request: Request, workspace: Workspace) -> Record:
    return perform(resolve(request, METHODS, TASKS, workspace), workspace)[0]


def study(
    methods: Sequence[str],
    repetitions: int = 2,
    *,
    task: str = "digits",
    sweep: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> str:
    """The text of a study of short runs; `settings` go over those of `TINY`."""
    tables = {
        "quick": {"methods": methods, "tasks": [task], "repetitions": repetitions},
        "quick.set": {**dict(TINY), **(settings or {})},
        "quick.sweep": sweep or {},
    }
    lines = ['summary = "a study of these tests"']
    for name, table in tables.items():
        lines += [f"[{name}]", *(f'"{key}" = {json.dumps(value)}' for key, value in table.items())]
    return "\n".join(lines)
