"""`ablate`: the quick profile of every ablation study."""

from typing import Annotated

import typer

from delrec_bench.app.options import Answer, Places
from delrec_bench.app.progress import Display

PANEL = "Run"
EXAMPLES = (
    ("ablate --dry-run", "the studies, their runs and minutes"),
    ("ablate", "make their pages in out/, about 40 minutes on two cores"),
)


def command(
    places: Places,
    jobs: Annotated[
        int | None, typer.Option(metavar="N", help="Worker processes of one thread each (all cores).")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would take.")] = False,
) -> Answer:
    """Make the page of every ablation study in its quick profile, one after the other.

    One task, three repetitions: curves, and no verdicts. What it takes is said before; what is done already is not done
    again; a summary ends it. A study's profile with power: reproduce --study NAME --profile embedded.
    """
    from delrec_bench.app.ablating import ablate

    with Display() as display:
        return ablate(places, jobs, dry_run, display)
