"""Commands that do the runs of a study: reproduce, leaderboard."""

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from delrec_bench.app.command_line import command
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
    planned,
    read_runs,
    together,
    work_of,
)
from delrec_bench.environment import say
from delrec_bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from delrec_bench.records import Record
    from delrec_bench.statistics.reproduced import Reproduction
    from delrec_bench.studies.expansion import Study

LATENCY_SECONDS = 90.0  # for all methods and tasks together


@command(
    "Run",
    ("reproduce", "rerun one run per row of the leaderboard and compare it with ours"),
    ("reproduce --all --dry-run", "how long all runs of the leaderboard take"),
    ("reproduce --study sigma --jobs 8", "run a study in eight processes"),
    ("reproduce --profile speech --only-tasks shd --data shd=DIR --all", "the leaderboard on your own files"),
    ("reproduce --only-methods lif,rlif,delrec-axonal --only-tasks digits", "part of the leaderboard"),
    ("reproduce --study path/to/mine.toml", "your own study"),
)
def reproduce(
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
    executor: Annotated[str, option("Run here, on SLURM or on Dask.", metavar="local|slurm|dask")] = "local",
    per_device: Annotated[int | None, option("Workers per CUDA device (instead of --jobs).", metavar="N")] = None,
    scheduler: Annotated[str | None, option("A running Dask scheduler.", metavar="ADDRESS")] = None,
    executor_option: Annotated[list[str] | None, option("For SLURM: timeout_min, ...", metavar="KEY=VALUE")] = None,
    dry_run: DryRunOption = False,
    everything: Annotated[
        bool, option("All of the leaderboard, not one run per row without download.", "--all")
    ] = False,
    no_latency: Annotated[bool, option("Do not measure latency.", "--no-latency")] = False,
) -> Answer:
    """Run a study, write a report, and check whether the runs equal ours.

    Finished runs are reused. Options can leave out parts of a study, but not add to it. The exit code is 1 if a run
    failed or a result is different.
    """
    import torch

    from delrec_bench.config import parse_setting
    from delrec_bench.environment import need_device
    from delrec_bench.runs.executors import default_jobs, make_executor
    from delrec_bench.studies.expansion import Wanted, expand

    start, workspace, (methods, tasks) = time.perf_counter(), places.workspace, places.tables()
    checked: dict[str, Any] = {"device": device, "arithmetic": arithmetic}  # by each request
    only = names("--only-methods", only_methods), names("--only-tasks", only_tasks)
    expanded = expand(study, profile, methods, tasks, Wanted(*only, repetitions, by_task(data), **checked))
    if per_device is not None and device == "cpu":
        raise BenchError(f"--per-device {per_device} needs --device cuda")
    if executor == "local":
        need_device(device)
        if device != "cpu" and torch.cuda.is_available() and jobs is None and per_device is None:
            per_device = 1  # as many as there are cores would meet on one card
    jobs, options = default_jobs() if jobs is None else jobs, dict(map(parse_setting, executor_option or ()))
    does = make_executor(executor, workspace, jobs=jobs, per_device=per_device, scheduler=scheduler, options=options)
    if dry_run:
        return _dry_run(expanded, places, does.jobs)
    work = work_of(places, does)
    again = list(expanded.requests)
    if expanded.name == "leaderboard" and not everything:
        # repetition 0 of every row on a task that every clone has, or that was named with its data
        again = [r for r in again if r.repetition == 0 and (tasks[r.task].embedded or r.data is not None)]
    missing, keys = work.missing(again)
    say(f"study {expanded.name}, profile {expanded.profile}: {planned(work, again, missing)}")
    failed = work.do(missing)
    if not no_latency and len(again) == len(expanded.requests):
        _measure_latency(expanded, places)
    outcome, content = _finish(expanded, keys, places)
    for failure in failed:
        say(f"failed: {failure['error']}\n  to retry: {failure['command']}")
    say(f"done in {time.perf_counter() - start:.0f} s, {len(failed)} failed")
    say(str(outcome))
    reused = sum(request not in missing for request in again)
    content |= {"runs": len(again), "trained": len(missing) - len(failed), "reused": reused, "failed": failed}
    return Answer(content, code=1 if failed or outcome.word == "different" else 0)


def _measure_latency(study: "Study", places: Places) -> None:
    from delrec_bench.latency import measure
    from delrec_bench.studies.work import networks

    methods, tasks = places.tables()
    requests = networks([r for r in study.requests if r.repetition == 0 and methods[r.method].build is not None])
    each = LATENCY_SECONDS / max(1, len(requests))
    command = f"delrec-bench bench --study {study.argument} --profile {study.profile}"
    try:
        measure(
            requests, methods, tasks, places.workspace, folders=places.folders(), each=each, command=command,
            say=say,
        )  # fmt: skip
    except BenchError as error:
        say(f"warning: no latency: {error}")


def _finish(study: "Study", keys: "Sequence[str]", places: Places) -> "tuple[Reproduction, dict[str, Any]]":
    """MLflow, the page in out/, and the comparison of the runs that were made here with the store."""
    from delrec_bench.records import read_folder, read_store
    from delrec_bench.report.content import build
    from delrec_bench.report.declared import page_of
    from delrec_bench.report.writing import write_page
    from delrec_bench.runs.trained import with_example
    from delrec_bench.statistics.reproduced import judge, match
    from delrec_bench.tracking import log_page, sync
    from delrec_bench.workspace import here

    workspace, (methods, tasks) = places.workspace, places.tables()
    own, published = read_folder(workspace.runs, say), read_store(workspace.reports)
    try:
        model_of, labels = partial(with_example, methods=methods), dict.fromkeys(keys, study.name)
        say(f"MLflow: {sync(workspace, own[0], model_of, labels)}")
    except BenchError as error:  # a view of the records, which never stops their page
        say(f"warning: {error}")
    records, failures = together(own, published)
    declared = page_of(study, methods, tasks, records, failures)
    page = build(declared, records)
    paths = write_page(workspace.root / "out", page)

    def name(record: "Record") -> str:
        return f"{declared.runs[record.key].method if record.key in declared.runs else record.method} on {record.task}"

    outcome = judge(*match([r for r in own[0] if r.key in set(keys)], published[0], name))
    for line in filter(None, (page.finding, page.answer, *outcome.lines)):
        say(line)
    say("written: " + ", ".join(here(path, workspace) for path in paths))
    scores = {f"{row['task']}/{row['method']}": row["score_mean"] for row in page.rows if row["n"]}
    try:
        log_page(workspace, study.name, scores, paths)
    except BenchError as error:
        say(f"warning: {error}")
    return outcome, {
        "study": study.name,
        "profile": study.profile,
        "page": declared.page,
        "files": [str(path) for path in paths],
        "complete": page.complete,
        "answer": page.judged.answer,
        "comparison": str(outcome),
        "word": outcome.word,
        "rows": [dict(vars(row)) for row in outcome.rows],
    }


def _dry_run(study: "Study", places: Places, jobs: int) -> Answer:
    from delrec_bench.studies.work import Cost, Past, estimate, with_trained

    (methods, tasks), past, whole = places.tables(), Past(read_runs(places.workspace)[0]), Cost()
    lines = [f"study {study.name}, profile {study.profile}"]
    for task in dict.fromkeys(request.task for request in study.requests):
        cost = estimate(with_trained([r for r in study.requests if r.task == task]), methods, tasks, past)
        whole += cost
        lines.append(f"  {task}: {cost}")
    lines += [f"  not applicable: {method} on {task}: {reason}" for method, task, reason in study.skipped]
    hours = max(whole.seconds / jobs, whole.longest) / 3600
    lines.append(f"total: {whole}; about {hours:.1f} hours with {jobs} workers (--jobs)")
    content = {"study": study.name, "profile": study.profile, "runs": len(study.requests), "hours": hours}
    return Answer(content, "\n".join(lines))


@command(
    "Results",
    ("leaderboard", "our results and yours"),
    ("leaderboard --methods my-methods", "train the methods in a folder and add them"),
    ("leaderboard --methods my-methods --only-tasks digits --repetitions 5", "five runs of each, on one task"),
    ("leaderboard --methods my-methods --data shd=corpora/shd", "also on your own files in SHD's format"),
)
def leaderboard(
    places: Places,
    only_tasks: Annotated[str | None, option("Tasks (default: those without download).", metavar="A,B")] = None,
    data: DataOfTasks = None,
    repetitions: Annotated[int, option("Runs of each new method on each task.", min=1, metavar="N")] = 1,
    jobs: JobsOption = None,
    dry_run: DryRunOption = False,
) -> Answer:
    """Print the leaderboard and write it to out/leaderboard/. Trains only the methods that --methods adds."""
    from dataclasses import replace

    from delrec_bench.methods.method import FOLDER
    from delrec_bench.report import words
    from delrec_bench.report.board import board_of
    from delrec_bench.report.content import build
    from delrec_bench.report.declared import BOARD, page_of
    from delrec_bench.report.writing import write_page
    from delrec_bench.runs.executors import default_jobs, make_executor
    from delrec_bench.studies.expansion import expand
    from delrec_bench.studies.file import study_file, study_path

    workspace, (methods, tasks) = places.workspace, places.tables()
    typed = {Path(folder).absolute(): folder for folder in places.methods or ()}
    new = {n: typed.get(path.parent, str(path.parent)) for n, path in methods.files.items() if path.parent != FOLDER}
    if not new and (only_tasks or data or dry_run):
        raise BenchError("there is nothing to train; give the folder of your method with --methods DIR")
    for name in new:
        methods[name] = replace(methods[name], board=True)
    failed: list[dict[str, str]] = []
    if new:
        profiles = study_file(study_path(BOARD)).profiles
        asked = [r for profile in profiles for r in expand(BOARD, profile, methods, tasks).requests]
        asked = [r for r in asked if r.method in new and r.repetition == 0]
        own, offered = by_task(data), list(dict.fromkeys(r.task for r in asked))
        chosen = names("--only-tasks", only_tasks) or [t for t in offered if tasks[t].embedded or t in own]
        for task in (*chosen, *own):
            if task not in offered or task not in chosen:
                raise BenchError(
                    f"{', '.join(new)} is not trained on '{task}': --only-tasks excludes it, or the leaderboard does "
                    f"not train it on that task (it has {', '.join(offered)})"
                )
        requests = [
            replace(r, repetition=repetition, data=own.get(r.task))
            for r in asked
            for repetition in range(repetitions)
            if r.task in chosen
        ]
        executor = make_executor("local", workspace, jobs=default_jobs() if jobs is None else jobs)
        work = replace(work_of(places, executor), methods=methods)  # where the new ones are of the board
        missing = work.missing(requests)[0]
        say(planned(work, requests, missing))
        if dry_run:
            return Answer({"new": [*new], "runs": len(requests), "to_do": len(missing)})
        failed = work.do(missing)
        for failure in failed:
            say(f"failed: {failure['error']}\n  to retry: {failure['command']}")
    records, failures = read_runs(workspace)
    page = build(page_of(expand(BOARD, None, methods, tasks), methods, tasks, records, failures, new), records)
    paths = write_page(workspace.root / "out", page)
    lines = ["Test accuracy in percent; NMSE: lower is better.\n", board_of(page).short().text() + "\n"]
    for d in page.judged.differences:
        if d.method["method"] in new and d.verdict.difference is not None:
            size = words.difference(d.method["metric"], d.verdict.difference)
            where = f"{page.declared.task_title(d.method['task'])}: {size} ({words.plural(d.verdict.n, 'run')})"
            lines.append(f"{d.method.title} − {d.control.title} on {where}")
    shown = ("task", "method", "metric", "n", "score_mean", "command")
    rows = [{name: row[name] for name in shown} for row in page.rows]
    content = {"new": [*new], "failed": failed, "rows": rows, "files": [str(path) for path in paths]}
    return Answer(content, "\n".join([*lines, f"All columns: {paths[0]}"]), 1 if failed else 0)
