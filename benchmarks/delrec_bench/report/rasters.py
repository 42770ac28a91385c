"""Rasters of a page that is published: drawn from checkpoints, where they are at hand, and stored as figures."""

import re
from collections.abc import Iterator, Mapping

from delrec_bench.environment import say
from delrec_bench.errors import BenchError
from delrec_bench.methods.base import MethodTable
from delrec_bench.records import Record
from delrec_bench.report.content import Page
from delrec_bench.report.figures.raster import RASTER, raster
from delrec_bench.report.figures.style import Drawn
from delrec_bench.report.run_page import title_of
from delrec_bench.runs.replay import replay
from delrec_bench.tasks.base import TaskTable
from delrec_bench.workspace import Workspace

_MOST = 2  # tasks: a raster is an example, not a result


def rasters(
    page: Page, methods: MethodTable, tasks: TaskTable, workspace: Workspace, data: Mapping[str, str]
) -> list[Drawn]:
    """One run of the hypothesis's method (else of the best with learned delays) on the first tasks that have one.

    What cannot be drawn is said and left out: a page never waits for its examples. `data`: folders of a user's own
    files by task.
    """
    out: list[Drawn] = []
    for record in _examples(page):
        if len(out) == _MOST:
            break
        if not (workspace.runs / record.key / "checkpoint.pt").is_file():
            say(f"no raster of {record.task}: the network of run {record.key[:12]} is not in {workspace.runs}")
            continue
        try:
            seen = replay(record, methods, tasks, workspace, data.get(record.task.partition(":")[0]))
        except BenchError as error:
            say(f"no raster: {error}")
            continue
        name = "-".join([RASTER, *re.findall(r"[\w-]+", record.task)])  # two settings of a task are two files
        drawn = raster(title_of(record), seen.sample, seen.inputs, seen.layers, seen.spikes, seen.without, name)
        if drawn is not None and seen.without is not None:
            out.append(drawn)
    return out


def _examples(page: Page) -> Iterator[Record]:
    """The first repetition of one row a task."""
    primary = page.declared.primary
    for task in page.tasks:
        rows = [row for row in page.of(task) if row.kind == "run" and row.records and row.delays == "learned"]
        rows.sort(key=lambda row: primary is None or row["method"] != primary.method)  # stable: then best first
        if rows:
            yield rows[0].records[0]
