"""`compare`: two methods, or two sets of runs."""

from typing import Annotated

import typer

from delrec_bench.app.options import Answer, DataOfTasks, Places, by_task
from delrec_bench.errors import BenchError

PANEL = "Results"
EXAMPLES = (
    ("compare delrec-axonal delrec-axonal-fixed --of leaderboard", "two methods, using the runs of one study"),
    ("compare 'delrec-axonal (sigma 10.0)' 'delrec-axonal (sigma 0.0)' --of sigma", "two settings of a sweep"),
    ("compare runs published", "your runs and our stored ones"),
    ("compare ../other/runs runs", "runs from another machine and yours"),
)


def command(
    places: Places,
    a: Annotated[
        str, typer.Argument(metavar="A", help="A method, a folder of runs, a record file, or 'published' (our runs).")
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="What to compare A with.")],
    of: Annotated[str | None, typer.Option(metavar="STUDY", help="Use only the runs of this study.")] = None,
    profile: Annotated[str | None, typer.Option(help="A profile of the study (default: the study's default).")] = None,
    data: DataOfTasks = None,
) -> Answer:
    """Compare two methods on each task, or check whether two sets of runs are equal, consistent or different.

    Two sets of runs that are different exit with code 1.
    """
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
            f"'{runs}' is a set of runs, but '{method}' is not; give two methods, or two sets of runs ('published', a "
            "folder of runs, a record file)"
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
