"""`compare`: two methods, or two sets of runs."""

from typing import Annotated

import typer

from delrec_bench.app.options import Answer, DataOfTasks, Places, by_task
from delrec_bench.errors import BenchError

PANEL = "See"
EXAMPLES = (
    ("compare delrec-axonal delrec-axonal-fixed --of leaderboard", "two methods, by the runs of a study"),
    ("compare 'delrec-axonal (sigma 10.0)' 'delrec-axonal (sigma 0.0)' --of sigma", "two points of a sweep"),
    ("compare runs published", "the runs of this workspace and the published ones"),
    ("compare ../other/runs runs", "the runs of another machine and yours"),
)


def command(
    places: Places,
    a: Annotated[str, typer.Argument(metavar="A", help="A method; or 'published', a folder of runs, a record file.")],
    b: Annotated[str, typer.Argument(metavar="B", help="What A is compared with.")],
    of: Annotated[
        str | None, typer.Option(metavar="STUDY", help="Compare two methods, or points of a sweep, by a study's runs.")
    ] = None,
    profile: Annotated[str | None, typer.Option(help="One of the study's (else its default).")] = None,
    data: DataOfTasks = None,
) -> Answer:
    """Compare two methods task by task; or two sets of runs, row by row: equal, consistent or different (exit 1)."""
    from delrec_bench.app.common import read_runs
    from delrec_bench.app.pages import told
    from delrec_bench.app.sides import rows_of, side_of
    from delrec_bench.report.comparison import compare_rows
    from delrec_bench.statistics.reproduced import judge, match

    workspace = places.workspace
    left, right = (None if of is not None else side_of(text, workspace) for text in (a, b))
    if (left is None) != (right is None):
        method, runs = (a, b) if left is None else (b, a)
        raise BenchError(
            f"'{runs}' is a set of runs and '{method}' is none: give two methods, or two of 'published', folders of "
            "runs and record files"
        )
    if left is not None and right is not None:
        matched = match(left, right, lambda record: f"{record.method} on {record.task}")
        reproduction = judge(matched.rows)
        lines = [*told(matched, reproduction), str(reproduction)]
        content = {"word": reproduction.word, "rows": [dict(vars(row)) for row in reproduction.rows]}
        code = 1 if reproduction.word == "different" else 0
    else:
        records, failures = read_runs(workspace)
        rows = {} if of is None else rows_of(of, profile, by_task("--data", data), places, records, failures)
        chosen = records if of is None else [record for record in records if record.key in rows]
        compared = compare_rows(chosen, rows, a, b)
        lines = [f"{a} - {b}", *map(str, compared)]
        content, code = {"differences": [task.to_dict() for task in compared]}, 0
    if not places.as_json:
        print("\n".join(lines))
    return code, content
