"""What `reproduce` ends with: the page in out/, and its comparison with the store."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from delrec_bench.records import Record, read_store
from delrec_bench.report.content import build
from delrec_bench.report.declared import Declaration
from delrec_bench.report.writing import write_page
from delrec_bench.statistics.reproduced import Reproduction, judge, match
from delrec_bench.workspace import Workspace


def finish(
    workspace: Workspace,
    declared: Declaration,
    records: Sequence[Record],
    ours: Sequence[Record],
    say: Callable[[str], None],
    source: str = "records",
) -> tuple[list[Path], Reproduction, Mapping[str, Any]]:
    """Write out/<page>/, and compare the rows that were made here with the store.

    Args:
        workspace: Its store is read.
        declared: What the page is.
        records: What it shows.
        ours: Those of its runs that were made here.
        say: Called with each line.
        source: Where they were read.

    Returns:
        The paths, the comparison (a page that is `different` means exit 1), and both for `--json`.
    """
    page = build(declared, records, source)
    paths = write_page(workspace.root / "out", page)
    published, _ = read_store(workspace.reports, [record.task for record in ours])

    def name(record: Record) -> str:
        return f"{declared.runs[record.key].method if record.key in declared.runs else record.method} on {record.task}"

    reproduction = judge(*match(ours, published, name))
    for line in filter(None, (page.finding, page.answer, *reproduction.lines)):
        say(line)
    content = {
        "page": declared.page,
        "files": [str(path) for path in paths],
        "answer": page.judged.answer,
        "comparison": str(reproduction),
        "word": reproduction.word,
        "p": reproduction.p,
        "rows": [dict(vars(row)) for row in reproduction.rows],
        "new": list(reproduction.new),
        "complete": page.complete,
        "scores": {
            f"{row['task']}/{row['method']}": row["score_mean"] for row in page.rows if row["score_mean"] is not None
        },
    }
    return paths, reproduction, content
