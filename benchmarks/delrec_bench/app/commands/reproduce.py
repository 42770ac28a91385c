"""`reproduce`: a study from beginning to end: its runs, latency, MLflow, page, and comparison with the store."""

import time
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from delrec_bench.app.options import (
    Answer,
    ArithmeticOption,
    DataOfTasks,
    DeviceOption,
    DryRunOption,
    JobsOption,
    MethodsOption,
    Places,
    ProfileOption,
    StudyOption,
    TasksOption,
    by_task,
    names,
    option,
)
from delrec_bench.app.progress import Display
from delrec_bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from delrec_bench.latency import Outcome
    from delrec_bench.records import Record
    from delrec_bench.statistics.reproduced import Reproduction
    from delrec_bench.studies.expansion import Study

EXAMPLES = (
    ("reproduce", "rerun one run per row of the leaderboard and compare it with ours"),
    ("reproduce --all --dry-run", "how long all runs of the leaderboard take"),
    ("reproduce --study sigma --jobs 8", "run a study in eight processes"),
    ("reproduce --profile speech --only-tasks shd --data shd=DIR --all", "the leaderboard on your own files"),
    ("reproduce --only-methods lif,rlif,delrec-axonal --only-tasks digits", "part of the leaderboard"),
    ("reproduce --study path/to/mine.toml", "your own study"),
)
LATENCY_SECONDS = 90.0  # for all methods and tasks together


def command(
    places: Places,
    study: StudyOption = "leaderboard",
    profile: ProfileOption = None,
    data: DataOfTasks = None,
    only_methods: MethodsOption = None,
    only_tasks: TasksOption = None,
    repetitions: Annotated[int | None, option("Runs per method and task (default: the study's).", metavar="N")] = None,
    device: DeviceOption = "cpu",
    arithmetic: ArithmeticOption = "portable",
    jobs: JobsOption = None,
    executor: Annotated[
        str, option("Where to run: this machine, SLURM or Dask.", metavar="local|slurm|dask")
    ] = "local",
    per_device: Annotated[
        int | None, option("Worker processes per CUDA device (instead of --jobs).", metavar="N")
    ] = None,
    scheduler: Annotated[
        str | None, option("Address of a Dask scheduler (default: start one here).", metavar="ADDRESS")
    ] = None,
    executor_option: Annotated[
        list[str] | None, option("Option for SLURM: timeout_min, mem_gb, slurm_partition, ...", metavar="KEY=VALUE")
    ] = None,
    retries: Annotated[int, option("Number of times to retry a failed run.", min=0, max=100, metavar="N")] = 0,
    dry_run: DryRunOption = False,
    everything: Annotated[
        bool, option("All runs of the leaderboard, not only repetition 0 of tasks that need no download.", "--all")
    ] = False,
    no_latency: Annotated[bool, option("Do not measure latency.", "--no-latency")] = False,
) -> Answer:
    """Run a study, write a report, and check whether the runs equal ours.

    Finished runs are reused. Options can leave out parts of a study, but not add to it. The exit code is 1 if a run
    failed or a result is different.
    """
    import torch

    from delrec_bench.app.common import read_runs
    from delrec_bench.config import parse_setting
    from delrec_bench.environment import need_device
    from delrec_bench.runs.executors import Place, default_jobs, make_executor
    from delrec_bench.studies.expansion import Wanted, expand
    from delrec_bench.studies.work import Work

    start, workspace, (methods, tasks) = time.perf_counter(), places.workspace, places.tables()
    wanted = Wanted(
        methods=names("--only-methods", only_methods),
        tasks=names("--only-tasks", only_tasks),
        repetitions=repetitions,
        data=by_task(data),
        device=device,  # type: ignore[arg-type]  # checked by each request, like arithmetic
        arithmetic=arithmetic,  # type: ignore[arg-type]
    )
    expanded = expand(study, profile, methods, tasks, wanted)
    if per_device is not None and device == "cpu":
        raise BenchError(f"--per-device {per_device} needs --device cuda")
    if executor == "local":
        need_device(device)
        if device != "cpu" and torch.cuda.is_available() and jobs is None and per_device is None:
            per_device = 1  # as many as there are cores would meet on one card
    does = make_executor(
        executor,
        workspace,
        jobs=default_jobs() if jobs is None else jobs,
        per_device=per_device,
        scheduler=scheduler,
        options=dict(parse_setting(text) for text in executor_option or ()),
    )
    known, _ = read_runs(workspace)
    if dry_run:
        return _dry_run(expanded, places, known, does.jobs)
    with Display() as display:
        say = display.say
        place = Place(workspace, *places.folders(), retries=retries)
        work = Work(place, methods, tasks, does, known, say, display.bar)
        again = list(expanded.requests)
        if expanded.name == "leaderboard" and not everything:
            # repetition 0 of every row on a task that every clone has, or that was named with its data
            again = [r for r in again if r.repetition == 0 and (tasks[r.task].embedded or r.data is not None)]
        missing, keys = work.missing(again)
        reused = sum(request not in missing for request in again)
        measured = not no_latency and len(again) == len(expanded.requests)
        say(
            f"study {expanded.name}, profile {expanded.profile}: {len(again)} runs, {reused} finished, "
            f"{len(missing)} to do with {does.jobs} workers: "
            f"about {work.cost(missing).seconds / does.jobs / 60:.1f} minutes"
            + (f", then latency (about {LATENCY_SECONDS:.0f} s)" if measured else "")
            + " and the report"
            + (f"; budget {expanded.minutes:g} minutes, installation included" if expanded.minutes else "")
        )
        failed = work.do(missing)
        latency = _latency(expanded, places, display) if measured else None
        trained = time.perf_counter() - start
        outcome, content = _finish(expanded, keys, places, display)
        content |= {
            "study": expanded.name,
            "profile": expanded.profile,
            "runs": len(again),
            "trained": len(missing) - len(failed),
            "reused": reused,
            "failed": failed,
            "latency": len(latency.records) if latency else 0,
            "latency_failed": latency.failed if latency else [],
            "seconds": round(time.perf_counter() - start, 1),
        }
        for failure in failed:
            say(f"failed: {failure['error']}\n  to retry: {failure['command']}")
        say(f"done in {content['seconds']:.0f} s (runs and latency: {trained:.0f} s), {len(failed)} failed")
        say(str(outcome))
    return Answer(content, code=1 if failed or outcome.word == "different" else 0)


def _latency(study: "Study", places: Places, display: Display) -> "Outcome | None":
    from delrec_bench.latency import measure
    from delrec_bench.studies.work import networks

    methods, tasks = places.tables()
    requests = networks([r for r in study.requests if r.repetition == 0 and methods[r.method].build is not None])
    each = LATENCY_SECONDS / max(1, len(requests))
    command = f"delrec-bench bench --study {study.argument} --profile {study.profile}"
    try:
        return measure(
            requests, methods, tasks, places.workspace, folders=places.folders(), each=each, command=command,
            say=display.say,
        )  # fmt: skip
    except BenchError as error:
        display.say(f"warning: no latency: {error}")
        return None


def _finish(
    study: "Study", keys: "Sequence[str]", places: Places, display: Display
) -> "tuple[Reproduction, dict[str, Any]]":
    """MLflow, the page in out/, and the comparison of the runs that were made here with the store."""
    from delrec_bench.app.common import read_runs
    from delrec_bench.records import read_folder, read_store
    from delrec_bench.report.content import build
    from delrec_bench.report.declared import BOARD, declaration, page_of
    from delrec_bench.report.writing import write_page
    from delrec_bench.runs.trained import with_example
    from delrec_bench.statistics.reproduced import judge, match
    from delrec_bench.tracking import log_page, sync
    from delrec_bench.workspace import here

    say, workspace, (methods, tasks) = display.say, places.workspace, places.tables()
    own, _ = read_folder(workspace.runs, say)
    try:
        shown, model_of = partial(display.each, "MLflow"), partial(with_example, methods=methods)
        say(f"MLflow: {sync(workspace, own, model_of, shown, dict.fromkeys(keys, study.name))}")
    except BenchError as error:  # a view of the records, which never stops their page
        say(f"warning: {error}")
    records, failures = read_runs(workspace)
    if study.name == BOARD:
        declared = page_of(study, methods, tasks, records, failures)
    else:
        declared = declaration(study, keys, methods, tasks, records, failures)
    page = build(declared, records)
    paths = write_page(workspace.root / "out", page)

    def name(record: "Record") -> str:
        return f"{declared.runs[record.key].method if record.key in declared.runs else record.method} on {record.task}"

    ours = [record for record in own if record.key in set(keys)]
    outcome = judge(*match(ours, read_store(workspace.reports, [record.task for record in ours])[0], name))
    for line in filter(None, (page.finding, page.answer, *outcome.lines)):
        say(line)
    say("written: " + ", ".join(here(path, workspace) for path in paths))
    scores = {f"{row['task']}/{row['method']}": row["score_mean"] for row in page.rows if row["n"]}
    try:
        log_page(workspace, study.name, scores, paths)
    except BenchError as error:
        say(f"warning: {error}")
    return outcome, {
        "page": declared.page,
        "files": [str(path) for path in paths],
        "answer": page.judged.answer,
        "comparison": str(outcome),
        "word": outcome.word,
        "p": outcome.p,
        "rows": [dict(vars(row)) for row in outcome.rows],
        "new": list(outcome.new),
        "complete": page.complete,
        "scores": scores,
    }


def _dry_run(study: "Study", places: Places, records: "Sequence[Record]", jobs: int) -> Answer:
    from delrec_bench.studies.cost import Cost, Past, estimate, misfit
    from delrec_bench.studies.work import with_trained

    (methods, tasks), past, whole = places.tables(), Past(records), Cost()
    rows, lines = [], [f"study {study.name}, profile {study.profile}"]
    for task in dict.fromkeys(request.task for request in study.requests):
        lines.append(f"  {task}")
        for method in dict.fromkeys(request.method for request in study.requests if request.task == task):
            of_row = [request for request in study.requests if (request.method, request.task) == (method, task)]
            cost = estimate(with_trained(of_row), methods, tasks, past)
            whole += cost
            points = len({request.point for request in of_row})
            lines.append(f"    {method}{f' x up to {points} points' if points > 1 else ''}: {cost}")
            rows.append({"task": task, "method": method, **vars(cost)})
    lines += [f"  not applicable: {method} on {task}: {reason}" for method, task, reason in study.skipped]
    hours = max(whole.seconds / jobs, whole.longest) / 3600
    lines.append(f"total: {whole}; about {hours:.1f} hours with {jobs} workers (--jobs)")
    unfit = misfit(whole, jobs)
    lines += [f"does not fit: {unfit}"] if unfit else []
    content: dict[str, Any] = {
        "study": study.name,
        "profile": study.profile,
        "rows": rows,
        "misfits": [unfit] if unfit else [],
    }
    content |= {"runs": len(study.requests), "core_hours": whole.seconds / 3600, "hours": hours}
    return Answer(content | {"jobs": jobs, "memory_bytes": whole.memory * jobs}, "\n".join(lines))
