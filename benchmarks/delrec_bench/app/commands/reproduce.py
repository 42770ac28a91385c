"""`reproduce`: a study from beginning to end."""

from typing import TYPE_CHECKING, Annotated, cast

import typer

from delrec_bench.app.options import Answer, ArithmeticOption, DataOfTasks, Places, by_task, names
from delrec_bench.app.progress import Display

if TYPE_CHECKING:
    from delrec_bench.arithmetic import Arithmetic
    from delrec_bench.config import Device

PANEL = "Run"
EXAMPLES = (
    ("reproduce", "one run of each row of the leaderboard, compared with the published one"),
    ("reproduce --all --dry-run", "how long every run of the leaderboard takes"),
    ("reproduce --study sigma --jobs 8", "a study, by eight workers"),
    ("reproduce --profile speech --only-tasks shd --data shd=DIR --all", "the leaderboard on files of yours"),
    ("reproduce --only-methods lif,rlif,delrec-axonal --only-tasks digits", "a part of it"),
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
    data: DataOfTasks = None,
    only_methods: Annotated[str | None, typer.Option(metavar="A,B", help="Only these methods of the study.")] = None,
    only_tasks: Annotated[str | None, typer.Option(metavar="A,B", help="Only these tasks of the study.")] = None,
    repetitions: Annotated[
        int | None, typer.Option(metavar="N", help="Runs of each method on each task (the study's).")
    ] = None,
    device: Annotated[str, typer.Option(metavar="cpu|cuda|auto", help="Where the networks are.")] = "cpu",
    arithmetic: ArithmeticOption = "portable",
    jobs: Annotated[
        int | None, typer.Option(metavar="N", help="Worker processes of one thread each (all cores).")
    ] = None,
    executor: Annotated[str, typer.Option(metavar="local|slurm|dask", help="What does the runs.")] = "local",
    per_device: Annotated[
        int | None, typer.Option(metavar="N", help="Workers for each CUDA device, in place of --jobs.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Of Dask (else workers are started here).")
    ] = None,
    executor_option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="What SLURM is asked for: timeout_min, mem_gb, slurm_partition, ...",
        ),
    ] = None,
    retries: Annotated[int, typer.Option(min=0, max=100, metavar="N", help="Tries more for a run that failed.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would take.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Every run of the leaderboard (else repetition 0 of the embedded tasks).")
    ] = False,
    no_latency: Annotated[bool, typer.Option("--no-latency", help="Leave latency out.")] = False,
) -> Answer:
    """Make a study's page, and compare its runs with the published ones: equal, consistent or different (exit 1).

    What is done already is not done again. Of the leaderboard repetition 0 is made, and the rest is the store's. A
    study chooses methods, tasks, repetitions and settings; the options narrow it, they add nothing.
    """
    from delrec_bench.app.reproducing import reproduce
    from delrec_bench.studies.expansion import Wanted

    wanted = Wanted(
        methods=names("--only-methods", only_methods),
        tasks=names("--only-tasks", only_tasks),
        repetitions=repetitions,
        data=by_task("--data", data),
        device=cast("Device", device),  # checked by each request
        arithmetic=cast("Arithmetic", arithmetic),
    )
    with Display() as display:
        return reproduce(
            places, display, wanted, study=study, profile=profile, jobs=jobs, executor=executor, per_device=per_device,
            scheduler=scheduler, executor_options=executor_option or (), retries=retries, dry_run=dry_run,
            everything=everything, with_latency=not no_latency,
        )  # fmt: skip
