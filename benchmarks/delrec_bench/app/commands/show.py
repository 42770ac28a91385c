"""`show`: one run as a page."""

from pathlib import Path
from typing import Annotated

import typer

from delrec_bench.app.options import Answer, Places

PANEL = "See"
EXAMPLES = (
    ("show 3f2a", "the run whose key begins so"),
    ("show delrec-axonal/digits/0", "method, task and repetition"),
    ("show delrec-axonal/shd/0 --data DIR", "of a run on files of yours"),
)


def command(
    places: Places,
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="The beginning of a key, METHOD/TASK/REPETITION, or a file.")
    ],
    data: Annotated[
        str | None, typer.Option(metavar="DIR", help="The files that it was made on, where they are somebody's own.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Else ROOT/out/runs/KEY.html.")] = None,
) -> Answer:
    """Write the page of one run: curves, delays, spikes of a sample, confusion matrix, cost, and where it is from."""
    from delrec_bench.errors import BenchError
    from delrec_bench.records import find_record, load_records
    from delrec_bench.report.rows import comparable, latency_of
    from delrec_bench.report.run_page import Seen, evaluation_of, run_page, title_of
    from delrec_bench.runs.replay import replay
    from delrec_bench.workspace import here, write_atomic

    workspace = places.workspace
    methods, tasks = places.tables()
    record = find_record(run, workspace)
    if record.kind == "latency":
        raise BenchError(f"{record} is a measurement; show takes a run: give METHOD/TASK/REPETITION")
    found, why_not = None, ""
    if evaluation_of(record):
        why_not = "a run under a condition keeps no network: show the run without it, whose network was scored anew"
    elif record.kind == "run":
        try:
            found = replay(record, methods, tasks, workspace, data)
        except BenchError as error:
            why_not = str(error)
    elif record.kind == "trial":
        why_not = "a trial of a search keeps no network"
    measured = comparable(r for r in load_records(workspace.runs, []) if r.kind == "latency")
    page = run_page(record, Seen(found, why_not, latency_of(record.task, record.method, [record], measured)))
    path = out or workspace.root / "out" / "runs" / f"{record.key[:12]}.html"
    write_atomic(path, page)
    if not places.as_json:
        print(f"{title_of(record)}: {here(path, workspace)}" + (f"\nno raster: {why_not}" if why_not else ""))
    return 0, {"key": record.key, "file": str(path), "raster": found is not None, "why_not": why_not or None}
