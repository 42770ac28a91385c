"""`compare`: two methods of a page, or two sets of records."""

from typing import Annotated

import typer

from delrec_bench.app.options import Answer, Places
from delrec_bench.errors import BenchError

PANEL = "See"
EXAMPLES = (
    ("compare delrec-axonal delrec-axonal-fixed --of leaderboard", "two methods, by a page's records"),
    ("compare 'delrec-axonal (sigma 10)' 'delrec-axonal (sigma 0)' --of sigma", "two points of a sweep"),
    ("compare tuned equal-budget", "two studies, row by row"),
    ("compare ../other/runs leaderboard", "the runs of another machine, or yours, and a published page"),
)


def command(
    places: Places,
    a: Annotated[str, typer.Argument(metavar="A", help="A method; or a page, a folder, a record file.")],
    b: Annotated[str, typer.Argument(metavar="B", help="What A is compared with.")],
    of: Annotated[
        str | None, typer.Option(metavar="PAGE", help="Whose records methods are compared by (this workspace's).")
    ] = None,
) -> Answer:
    """Compare two methods of one page, or two pages, folders or files of records, row by row."""
    from delrec_bench.app.common import own_records
    from delrec_bench.app.sides import side_of
    from delrec_bench.report.comparison import Side, compare_methods, compare_records

    workspace = places.workspace
    left, right = (None if of is not None else side_of(text, workspace) for text in (a, b))
    if left is not None and right is not None:
        outcome = compare_records(left, right)
        lines, content = outcome.lines, {"rows": outcome.to_dict()}
    elif left is None and right is None:
        side = Side("this workspace", own_records(workspace)) if of is None else side_of(of, workspace)
        if side is None:
            raise BenchError(f"--of '{of}' is no page of reports/ or out/, nor a folder or file of records")
        overlaps = {name: task.overlap for name, task in places.tables()[1].items()}
        compared = compare_methods(side, a, b, overlaps)
        lines, content = compared.lines, {"verdicts": [v.to_dict() for v in compared.verdicts]}
    else:
        method, other = (a, b) if left is None else (b, a)
        raise BenchError(
            f"'{other}' is a set of records and '{method}' is none: give two methods, or two pages, "
            "folders or record files"
        )
    if not places.as_json:
        print("\n".join(lines))
    return 0, content
