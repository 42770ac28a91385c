"""`compare`: two methods of a page, or two sets of records."""

from argparse import Namespace
from pathlib import Path

from delrec_bench.app.common import Answer, own_records
from delrec_bench.app.pages import published_records
from delrec_bench.errors import BenchError
from delrec_bench.records import Record, load_records, read_record
from delrec_bench.report.comparison import compare_methods, compare_records
from delrec_bench.workspace import Workspace, find_workspace


def compare(arguments: Namespace) -> Answer:
    """Compare methods, pages or records.

    Raises:
        BenchError: A side is none of these, or holds nothing to compare.
    """
    workspace = find_workspace(arguments.root, arguments.runs)
    sides = [_records(workspace, text) for text in (arguments.a, arguments.b)]
    if sides[0] is not None and sides[1] is not None:
        outcome = compare_records(sides[0], sides[1])
        lines, content = outcome.lines, {"rows": outcome.to_dict()}
    elif sides[0] is None and sides[1] is None:
        of = own_records(workspace) if arguments.of is None else published_records(workspace, arguments.of)
        compared = compare_methods(of, arguments.a, arguments.b)
        lines, content = compared.lines, {"verdicts": [v.to_dict() for v in compared.verdicts]}
    else:
        raise BenchError(f"'{arguments.a}', '{arguments.b}': give two methods, or two pages, folders or record files")
    if not arguments.json:
        print("\n".join(lines))
    return 0, content


def _records(workspace: Workspace, text: str) -> list[Record] | None:
    """The records of a published page, a folder or a file; None for what is none of them, such as a method."""
    path = Path(text)
    if path.is_dir():
        return load_records(path)
    if path.is_file():
        return [read_record(path)]
    return published_records(workspace, text) or None
