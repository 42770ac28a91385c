"""`export-table`: a page's table for a paper or a README."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from delrec_bench.app.options import Answer, Places, names

PANEL = "See"
EXAMPLES = (
    ("export-table leaderboard", "LaTeX, with booktabs"),
    ("export-table leaderboard --format markdown --task digits,formants-20", "two of its tasks"),
    ("export-table out/mine --format csv --columns method,score,interval", "a page of yours, these columns"),
)


def command(
    places: Places,
    page: Annotated[str, typer.Argument(metavar="PAGE", help="A page of reports/ or out/, or its folder.")],
    how: Annotated[Literal["latex", "markdown", "csv"], typer.Option("--format", help="Of what is written.")] = "latex",
    task: Annotated[str | None, typer.Option(metavar="A,B", help="Only these tasks.")] = None,
    columns: Annotated[str | None, typer.Option(metavar="A,B", help="Only these columns, in this order.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Else it is printed.")] = None,
) -> Answer:
    """Write a page's table as LaTeX, Markdown or CSV, as people read it; PAGE.csv has every column in full."""
    from delrec_bench.errors import BenchError, nearest
    from delrec_bench.report.export import USUAL, export, page_file, read_rows
    from delrec_bench.workspace import write_atomic

    path = page_file(page, places.workspace, "json")
    rows = read_rows(path)
    known = list(dict.fromkeys(row["task"] for row in rows))
    for name in wanted if (wanted := names("--task", task)) else ():
        if name not in known:
            raise BenchError(f"page '{page}' has no task '{name}'; {nearest(name, known)}")
    rows = [row for row in rows if wanted is None or row["task"] in wanted]
    text = export(rows, how, names("--columns", columns) or USUAL, caption=f"{path.stem} (delrec-bench)")
    if out is not None:
        write_atomic(out, text)
    if not places.as_json:
        print(text if out is None else str(out), end="" if out is None else "\n")
    return 0, {"page": path.stem, "format": how, "rows": len(rows), "text": text}
