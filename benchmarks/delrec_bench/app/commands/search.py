"""`search`: the settings of a method on a task at a size, chosen on validation data, kept as a preset."""

from typing import TYPE_CHECKING, Annotated, cast

import typer

from delrec_bench.app.options import Answer, Places

if TYPE_CHECKING:
    from delrec_bench.config import Device

PANEL = "Run"
EXAMPLES = (
    ("search delrec-axonal digits --size 10000 --dry-run", "number of trials and core hours"),
    ("search delrec-axonal digits --size 10000 --jobs 2", "search, and store the settings for all studies"),
    (
        "search delrec-axonal digits --size 10000 --independent 5",
        "five searches, to measure the variance due to tuning",
    ),
)


def command(
    places: Places,
    method: Annotated[
        str, typer.Argument(help="The method; versions with learned and fixed delays are searched together.")
    ],
    task: Annotated[str, typer.Argument(help="A task (see delrec-bench list tasks).")],
    size: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Number of parameters (default: the profile's widths).")
    ] = None,
    profile: Annotated[
        str, typer.Option(metavar="P", help="Preset for all other settings, including epochs.")
    ] = "embedded",
    data: Annotated[str | None, typer.Option(metavar="DIR", help="Your own files in the task's file format.")] = None,
    draws: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Random draws, each trained for a quarter of the epochs on one split."),
    ] = 24,
    finals: Annotated[int, typer.Option(min=1, metavar="N", help="Number of best draws to train in full.")] = 6,
    splits: Annotated[int, typer.Option(min=1, metavar="N", help="Number of validation splits for those.")] = 3,
    independent: Annotated[
        int, typer.Option(min=1, metavar="N", help="Number of independent searches; the first one sets the preset.")
    ] = 1,
    device: Annotated[str, typer.Option(metavar="cpu|cuda|auto", help="Device to run on.")] = "cpu",
    jobs: Annotated[
        int | None, typer.Option(metavar="N", help="Number of worker processes (default: one per core).")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the runs and the time needed.")] = False,
) -> Answer:
    """Search the hyperparameters of a method on a task.

    Draws learning rates, tau, sigma and dropout at random and selects on validation data; the test set is not used.
    Finished trials are reused. The result is written to config/searched/TASK.json.
    """
    from delrec_bench.app.common import read_runs
    from delrec_bench.app.progress import Display
    from delrec_bench.config.searched import keep, tuning_variance
    from delrec_bench.runs.executors import Local, Place, default_jobs
    from delrec_bench.studies.searching import Searching, SearchPlan, entry_of
    from delrec_bench.studies.work import Work

    workspace = places.workspace
    methods, tasks = places.tables()
    members = entry_of(method, methods)
    workers = default_jobs() if jobs is None else jobs
    with Display() as display:
        place = Place(workspace, *places.folders())
        work = Work(place, methods, tasks, Local(workers, None), read_runs(workspace)[0], display.say, display.bar)
        plans = [
            SearchPlan(task, profile, members, size, data, cast("Device", device), draws, finals, splits, seed)
            for seed in range(independent)
        ]
        searching = [Searching(plan, work) for plan in plans]
        costs = [one.cost() for one in searching]
        trials, hours = sum(cost.runs for cost in costs), sum(cost.seconds for cost in costs) / 3600
        display.say(
            f"{', '.join(members)} on {task}, size {searching[0].size}: {trials} trials in {independent} searches, "
            f"about {hours:.1f} core hours ({costs[0].known} of {costs[0].runs} known by past runs)"
        )
        content = {"methods": list(members), "size": searching[0].size, "trials": trials, "core_hours": hours}
        if dry_run:
            return 0, content
        for one in searching:
            found = one.run()
            path = keep(task, found)
            display.say(f"seed {found.seed}: draw {found.chosen}, mean validation score {found.score:.4f}: {path}")
    name = found.name(task)
    content |= {"name": name, "file": str(path), "tuning_variance": tuning_variance(name)}
    return 0, content
