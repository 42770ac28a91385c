"""`report`: the page of a study, or the leaderboard, from the records."""

from argparse import Namespace

from delrec_bench.app.common import Answer, committed_records, own_records, page_records, title_of
from delrec_bench.errors import BenchError, nearest
from delrec_bench.report import commit_report, write_report
from delrec_bench.studies.expansion import pages
from delrec_bench.workspace import find_workspace


def report(arguments: Namespace) -> Answer:
    """Write the report from the records."""
    workspace = find_workspace(arguments.root, arguments.runs)
    page = arguments.study
    if page is not None and page not in pages():
        raise BenchError(f"--study '{page}' has no page of its own; {nearest(page, pages())}")
    own, committed = page_records(workspace, own_records(workspace), page), committed_records(workspace, page)
    write = commit_report if arguments.commit_records else write_report
    paths = write(workspace, own, committed, profile=arguments.profile, page=page, title=title_of(page))
    if not arguments.json:
        print("\n".join(str(path) for path in paths))
    return 0, {"files": [str(path) for path in paths], "records": len(own), "committed": len(committed)}
