"""`search`: the settings of a method on a task at a size, chosen on validation data, kept as a preset."""

from typing import Annotated

import typer

from delrec_bench.app.options import Answer, DataOption, DeviceOption, DryRunOption, JobsOption, Places, option

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
        int | None, option("Number of parameters (default: the profile's widths).", min=1, metavar="N")
    ] = None,
    profile: Annotated[str, option("Preset for all other settings, including epochs.", metavar="P")] = "embedded",
    data: DataOption = None,
    draws: Annotated[
        int, option("Random draws, each trained for a quarter of the epochs on one split.", min=1, metavar="N")
    ] = 24,
    finals: Annotated[int, option("Number of best draws to train in full.", min=1, metavar="N")] = 6,
    splits: Annotated[int, option("Number of validation splits for those.", min=1, metavar="N")] = 3,
    independent: Annotated[
        int, option("Number of independent searches; the first one sets the preset.", min=1, metavar="N")
    ] = 1,
    device: DeviceOption = "cpu",
    jobs: JobsOption = None,
    dry_run: DryRunOption = False,
) -> Answer:
    """Search the hyperparameters of a method on a task.

    Draws learning rates, tau, sigma and dropout at random and selects on validation data; the test set is not used.
    Finished trials are reused. The result is written to config/searched/TASK.json.
    """
    from delrec_bench.app.common import read_runs
    from delrec_bench.app.progress import Display
    from delrec_bench.config.searched import keep, tuning_variance
    from delrec_bench.runs.executors import Place, default_jobs, make_executor
    from delrec_bench.studies.searching import Searching, SearchPlan, entry_of
    from delrec_bench.studies.work import Work

    workspace, (methods, tasks) = places.workspace, places.tables()
    members = entry_of(method, methods)
    executor = make_executor("local", workspace, jobs=default_jobs() if jobs is None else jobs)
    with Display() as display:
        place = Place(workspace, *places.folders())
        work = Work(place, methods, tasks, executor, read_runs(workspace)[0], display.say, display.bar)
        plans = [
            SearchPlan(task, profile, members, size, data, device, draws, finals, splits, seed)
            for seed in range(independent)
        ]
        searching = [Searching(plan, work) for plan in plans]
        costs = [one.cost() for one in searching]
        trials, hours = sum(cost.runs for cost in costs), sum(cost.seconds for cost in costs) / 3600
        display.say(
            f"{', '.join(members)} on {task}, size {searching[0].size}: {trials} trials in {independent} searches, "
            f"about {hours:.1f} core hours ({costs[0].known} of {costs[0].runs} estimated from past runs)"
        )
        content = {"methods": list(members), "size": searching[0].size, "trials": trials, "core_hours": hours}
        if dry_run:
            return Answer(content)
        for one in searching:
            found = one.run()
            path = keep(task, found)
            display.say(f"seed {found.seed}: draw {found.chosen}, mean validation score {found.score:.4f}: {path}")
    name = found.name(task)
    return Answer(content | {"name": name, "file": str(path), "tuning_variance": tuning_variance(name)})
