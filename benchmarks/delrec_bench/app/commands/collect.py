"""`collect`: the finished runs of other folders, and submissions, put beside those of this workspace."""

from pathlib import Path
from typing import Annotated

import typer

from delrec_bench.app.options import Answer, Places

PANEL = "Files"
EXAMPLES = (
    ("collect ../node1 ../node2", "what two machines made, in one folder of runs"),
    ("collect theirs.zip", "somebody's method, as `submit` packed it; none of it is executed"),
)


def command(
    places: Places,
    sources: Annotated[
        list[Path], typer.Argument(metavar="DIR|ARCHIVE...", help="A workspace, its folder of runs, or a submission.")
    ],
) -> Answer:
    """Put the finished runs of other folders beside this workspace's; two that differ are refused by name.

    Of a submission the records are taken, and its method's file is laid aside in submissions/: it is executed only
    where that folder is named by --methods.
    """
    from delrec_bench.studies.collecting import Collected, merge, take_submission
    from delrec_bench.workspace import here

    workspace = places.workspace
    folders = [path for path in sources if not path.is_file()]
    found = merge(workspace, folders) if folders else Collected()
    laid = []
    for path in (path for path in sources if path.is_file()):
        taken, folder = take_submission(workspace, path)
        found.added += taken.added
        found.same += taken.same
        laid.append(here(folder, workspace))
    if not places.as_json:
        unfinished = f"; {found.unfinished} without a record left out" if found.unfinished else ""
        print(f"{len(found.added)} runs added, {len(found.same)} were here already{unfinished}")
        for folder_ in laid:
            print(f"its method was not executed: read {folder_}/method.py, then name it: --methods {folder_}")
    return 0, {"added": found.added, "same": found.same, "unfinished": found.unfinished, "methods": laid}
