"""`report`: the page of a study, or the leaderboard, from the records."""

from typing import Annotated

import typer

from delrec_bench.app.options import Answer, Places
from delrec_bench.errors import BenchError, nearest

PANEL = "See"
EXAMPLES = (
    ("report", "write reports/leaderboard.* and README's block from the records"),
    ("report --study tuned", "write the page of a study, reports/tuned/"),
    ("report --publish", "write the records behind the page as well, to be committed"),
)


def command(
    places: Places,
    profile: Annotated[
        str | None, typer.Option(help="Show this profile (else the one with most methods, task by task).")
    ] = None,
    study: Annotated[
        str | None, typer.Option(help="A study with a page of its own; else the leaderboard.", show_default=False)
    ] = None,
    publish: Annotated[bool, typer.Option("--publish", help="Write the page's records too, to be committed.")] = False,
) -> Answer:
    """Write a page from the records; trains nothing."""
    from delrec_bench.app.common import committed_records, own_records, page_records, title_of
    from delrec_bench.report import commit_report, write_report
    from delrec_bench.studies.expansion import pages

    workspace = places.workspace
    if study is not None and study not in pages():
        raise BenchError(f"--study '{study}' has no page of its own; {nearest(study, pages())}")
    own, committed = page_records(workspace, own_records(workspace), study), committed_records(workspace, study)
    write = commit_report if publish else write_report
    paths = write(workspace, own, committed, profile=profile, page=study, title=title_of(study))
    if not places.as_json:
        print("\n".join(str(path) for path in paths))
    return 0, {"files": [str(path) for path in paths], "records": len(own), "committed": len(committed)}
