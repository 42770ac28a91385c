"""`compare`: two methods of a page, or two sets of records."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from delrec_bench.app.options import Answer, Places
from delrec_bench.errors import BenchError

if TYPE_CHECKING:
    from delrec_bench.records import Record
    from delrec_bench.workspace import Workspace

PANEL = "See"
EXAMPLES = (
    ("compare delrec-axonal delrec-axonal-fixed --of leaderboard", "two methods, by a published page's records"),
    ("compare leaderboard ../other/runs", "a published page and the runs of another machine, row by row"),
)


def command(
    places: Places,
    a: Annotated[str, typer.Argument(metavar="A", help="A method; or a page, a folder or a file of records.")],
    b: Annotated[str, typer.Argument(metavar="B", help="What A is compared with.")],
    of: Annotated[
        str | None, typer.Option(metavar="PAGE", help="Whose records methods are compared by (this workspace's).")
    ] = None,
) -> Answer:
    """Compare two methods of one page, or two pages, folders or files of records, row by row."""
    from delrec_bench.app.common import own_records
    from delrec_bench.app.pages import published_records
    from delrec_bench.report.comparison import compare_methods, compare_records

    workspace = places.workspace
    left, right = (_records(workspace, text) for text in (a, b))
    if left is not None and right is not None:
        outcome = compare_records(left, right)
        lines, content = outcome.lines, {"rows": outcome.to_dict()}
    elif left is None and right is None:
        found = own_records(workspace) if of is None else published_records(workspace, of)
        overlaps = {name: task.overlap for name, task in places.tables()[1].items()}
        compared = compare_methods(found, a, b, overlaps=overlaps)
        lines, content = compared.lines, {"verdicts": [v.to_dict() for v in compared.verdicts]}
    else:
        raise BenchError(f"'{a}', '{b}': give two methods, or two pages, folders or record files")
    if not places.as_json:
        print("\n".join(lines))
    return 0, content


def _records(workspace: "Workspace", text: str) -> "list[Record] | None":
    """The records of a published page, a folder or a file; None for what is none of them, such as a method."""
    from delrec_bench.app.pages import published_records
    from delrec_bench.records import PAGE_FILE, load_records, read_page, read_record

    path = Path(text)
    if path.is_dir():
        return read_page(path / PAGE_FILE) if (path / PAGE_FILE).exists() else load_records(path)
    if path.is_file():
        return read_page(path) if path.suffix == ".xz" else [read_record(path)]
    return published_records(workspace, text) or None
