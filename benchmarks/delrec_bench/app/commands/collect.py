"""`collect`: the finished runs of other folders put beside those of this workspace."""

from pathlib import Path
from typing import Annotated

import typer

from delrec_bench.app.options import Answer, Places

EXAMPLES = (("collect ../node1 ../node2", "combine the runs of two machines"),)


def command(
    places: Places,
    sources: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Another repository root, or its folder of runs.")
    ],
) -> Answer:
    """Copy finished runs from other folders into this one. Runs with the same key must be identical."""
    from delrec_bench.studies.collecting import merge

    found = merge(places.workspace, sources)
    unfinished = f"; {found.unfinished} without a record skipped" if found.unfinished else ""
    text = f"{len(found.added)} runs added, {len(found.same)} already here{unfinished}"
    return Answer({"added": found.added, "same": found.same, "unfinished": found.unfinished}, text)
