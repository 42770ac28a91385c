"""`reproduce`: a study from beginning to end."""

from typing import TYPE_CHECKING, Annotated, cast

import typer

from delrec_bench.app.options import Answer, Places, by_task, names
from delrec_bench.app.progress import Display

if TYPE_CHECKING:
    from delrec_bench.config import Device

PANEL = "Run"
EXAMPLES = (
    ("reproduce", "the quick leaderboard"),
    ("reproduce --dry-run --profile paper", "runs, hours, memory and disk of the published settings"),
    ("reproduce --profile embedded --jobs 8", "eight workers"),
    ("reproduce --profile paper --only-tasks shd --data shd=DIR --repetitions 3", "on files of yours"),
    ("reproduce --only-methods lif,rlif,delrec-axonal --only-tasks digits,yin-yang", "a part of a study"),
    ("reproduce --study path/to/mine.toml", "a study of yours"),
)


def command(
    places: Places,
    study: Annotated[
        str, typer.Option(metavar="NAME|FILE.toml", help="A study (delrec-bench list studies), or a file of your own.")
    ] = "leaderboard",
    profile: Annotated[
        str | None, typer.Option(metavar="P", help="One of the study's profiles (else its default: mostly quick).")
    ] = None,
    data: Annotated[
        list[str] | None, typer.Option(metavar="TASK=DIR", help="Your own files for a task, in its layout.")
    ] = None,
    only_methods: Annotated[str | None, typer.Option(metavar="A,B", help="Only these methods of the study.")] = None,
    only_tasks: Annotated[str | None, typer.Option(metavar="A,B", help="Only these tasks of the study.")] = None,
    repetitions: Annotated[
        int | None, typer.Option(metavar="N", help="Runs of each method on each task (the study's).")
    ] = None,
    device: Annotated[str, typer.Option(metavar="cpu|cuda|auto", help="Where the networks are.")] = "cpu",
    jobs: Annotated[
        int | None, typer.Option(metavar="N", help="Worker processes of one thread each (all cores).")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would take.")] = False,
    no_latency: Annotated[bool, typer.Option("--no-latency", help="Leave latency out.")] = False,
) -> Answer:
    """Make a study's page: its search, every run, latency, MLflow and the report.

    What is done already is not done again. A study chooses methods, tasks, repetitions and settings; the options narrow
    it, they add nothing.
    """
    from delrec_bench.app.reproducing import Ordered, reproduce
    from delrec_bench.studies.expansion import Wanted

    wanted = Wanted(
        methods=names("--only-methods", only_methods),
        tasks=names("--only-tasks", only_tasks),
        repetitions=repetitions,
        data=by_task("--data", data),
        device=cast("Device", device),  # checked by each request
    )
    with Display() as display:
        return reproduce(places, Ordered(study, profile, wanted, jobs, dry_run, not no_latency), display)
