"""`collect`: the finished runs of other folders put beside those of this workspace."""

from pathlib import Path
from typing import Annotated

import typer

from delrec_bench.app.options import Answer, Places

PANEL = "Files"
EXAMPLES = (("collect ../node1 ../node2", "what two machines made, in one folder of runs"),)


def command(
    places: Places,
    sources: Annotated[list[Path], typer.Argument(metavar="DIR...", help="A workspace, or its folder of runs.")],
) -> Answer:
    """Put the finished runs of other folders beside this workspace's; two that differ are refused by name."""
    from delrec_bench.studies.collecting import merge

    found = merge(places.workspace, sources)
    if not places.as_json:
        unfinished = f"; {found.unfinished} without a record left out" if found.unfinished else ""
        print(f"{len(found.added)} runs added, {len(found.same)} were here already{unfinished}")
    return 0, {"added": found.added, "same": found.same, "unfinished": found.unfinished}
