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
    ("reproduce", "rerun one run per row of the leaderboard and compare it with ours"),
    ("reproduce --all --dry-run", "how long all runs of the leaderboard take"),
    ("reproduce --study sigma --jobs 8", "run a study in eight processes"),
    ("reproduce --profile speech --only-tasks shd --data shd=DIR --all", "the leaderboard on your own files"),
    ("reproduce --only-methods lif,rlif,delrec-axonal --only-tasks digits", "part of the leaderboard"),
    ("reproduce --study path/to/mine.toml", "your own study"),
)


def command(
    places: Places,
    study: Annotated[
        str,
        typer.Option(metavar="NAME|FILE.toml", help="A study (see delrec-bench list studies), or your own study file."),
    ] = "leaderboard",
    profile: Annotated[
        str | None, typer.Option(metavar="P", help="A profile of the study (default: the study's default).")
    ] = None,
    data: DataOfTasks = None,
    only_methods: Annotated[
        str | None, typer.Option(metavar="A,B", help="Run only these methods of the study.")
    ] = None,
    only_tasks: Annotated[str | None, typer.Option(metavar="A,B", help="Run only these tasks of the study.")] = None,
    repetitions: Annotated[
        int | None, typer.Option(metavar="N", help="Runs per method and task (default: the study's).")
    ] = None,
    device: Annotated[str, typer.Option(metavar="cpu|cuda|auto", help="Device to run on.")] = "cpu",
    arithmetic: ArithmeticOption = "portable",
    jobs: Annotated[
        int | None, typer.Option(metavar="N", help="Number of worker processes (default: one per core).")
    ] = None,
    executor: Annotated[
        str, typer.Option(metavar="local|slurm|dask", help="Where to run: this machine, SLURM or Dask.")
    ] = "local",
    per_device: Annotated[
        int | None, typer.Option(metavar="N", help="Worker processes per CUDA device (instead of --jobs).")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Address of a Dask scheduler (default: start one here).")
    ] = None,
    executor_option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Option for SLURM: timeout_min, mem_gb, slurm_partition, ...",
        ),
    ] = None,
    retries: Annotated[
        int, typer.Option(min=0, max=100, metavar="N", help="Number of times to retry a failed run.")
    ] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the runs and the time needed.")] = False,
    everything: Annotated[
        bool,
        typer.Option(
            "--all", help="All runs of the leaderboard, not only repetition 0 of tasks that need no download."
        ),
    ] = False,
    no_latency: Annotated[bool, typer.Option("--no-latency", help="Do not measure latency.")] = False,
) -> Answer:
    """Run a study, write a report, and check whether the runs equal ours.

    Finished runs are reused. Options can leave out parts of a study, but not add to it. The exit code is 1 if a run
    failed or a result is different.
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
