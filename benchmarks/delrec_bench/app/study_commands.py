"""Commands on a whole study: reproduce, leaderboard, bench."""

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from delrec_bench.app import options
from delrec_bench.app.command_line import command
from delrec_bench.app.options import Answer, Places, argument, option
from delrec_bench.environment import say
from delrec_bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from delrec_bench.latency import Outcome
    from delrec_bench.records import Record
    from delrec_bench.statistics.reproduced import Reproduction
    from delrec_bench.studies.expansion import Study
    from delrec_bench.studies.work import Work

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
    study: options.Study = "leaderboard",
    profile: options.Profile = None,
    data: options.DataOfTasks = None,
    only_methods: options.OnlyMethods = None,
    only_tasks: options.OnlyTasks = None,
    repetitions: Annotated[int | None, option("Runs per method and task (default: the study's).", metavar="N")] = None,
    device: options.Device = "cpu",
    arithmetic: options.Arithmetic = "portable",
    jobs: options.Jobs = None,
    executor: Annotated[str, option("Run here, on SLURM or on Dask.", metavar="local|slurm|dask")] = "local",
    per_device: Annotated[int | None, option("Workers per CUDA device (instead of --jobs).", metavar="N")] = None,
    scheduler: Annotated[str | None, option("A running Dask scheduler.", metavar="ADDRESS")] = None,
    executor_option: Annotated[list[str] | None, option("For SLURM: timeout_min, ...", metavar="KEY=VALUE")] = None,
    dry_run: options.DryRun = False,
    everything: Annotated[
        bool, option("All of the leaderboard, not one run per row without download.", "--all")
    ] = False,
    no_latency: Annotated[bool, option("Do not measure latency.", "--no-latency")] = False,
) -> Answer:
    """Run a study, write a report, and check whether the runs equal ours.

    Finished runs are reused. Options can leave out parts of a study or change its number of repetitions; the report
    says so. The exit code is 1 if a run failed or a result is different.
    """
    import torch

    from delrec_bench.config import parse_setting
    from delrec_bench.environment import need_device
    from delrec_bench.studies.expansion import Wanted, expand

    start, (methods, tasks) = time.perf_counter(), places.tables()
    checked: dict[str, Any] = {"device": device, "arithmetic": arithmetic}  # by each request
    only = options.names("--only-methods", only_methods), options.names("--only-tasks", only_tasks)
    expanded = expand(study, profile, methods, tasks, Wanted(*only, repetitions, options.by_task(data), **checked))
    if per_device is not None and jobs is not None:
        raise BenchError("--jobs and --per-device exclude each other; omit one")
    if per_device is not None and device == "cpu":
        raise BenchError(f"--per-device {per_device} needs --device cuda")
    if executor == "local":
        need_device(device)
        if device != "cpu" and torch.cuda.is_available() and jobs is None and per_device is None:
            per_device = 1  # as many as there are cores would meet on one card
    more = dict(parse_setting(text, "--executor-option", "timeout_min=60") for text in executor_option or ())
    work = options.work_of(places, jobs, executor, per_device=per_device, scheduler=scheduler, options=more)
    again = list(expanded.requests)
    if expanded.name == "leaderboard" and not everything:
        # one run per row, unless more are asked for, on a task that every clone has, or that was named with its data
        again = [r for r in again if r.repetition == 0 or repetitions is not None]
        again = [r for r in again if tasks[r.task].embedded or r.data is not None]
    if not again:
        raise BenchError("nothing to run: give the files (--data TASK=DIR), or take official ones too (--all)")
    if dry_run:
        return _dry_run(replace(expanded, requests=tuple(again)), work)
    say(f"study {expanded.name}, profile {expanded.profile}")
    missing, keys, failed = options.carried_out(work, again)
    if not no_latency and len(again) == len(expanded.requests):
        try:
            _measure(places, expanded)
        except BenchError as error:
            say(f"warning: no latency: {error}")
    outcome, content = _finish(expanded, keys, places)
    say(f"done in {time.perf_counter() - start:.0f} s, {len(failed)} failed")
    say(str(outcome))
    made = [job.request for job in missing]
    reused = sum(request not in made for request in again)
    content |= {"runs": len(again), "trained": len(missing) - len(failed), "reused": reused, "failed": failed}
    return Answer(content, code=1 if failed or outcome.word == "different" else 0)


def _measure(places: Places, study: "Study", each: float | None = None, threads: int = 1, **more: Any) -> "Outcome":
    """Measure the latency of a study's networks, for `each` seconds."""
    from delrec_bench.latency import measure, to_measure

    methods, tasks = places.tables()
    requests = to_measure([replace(r, threads=threads) for r in study.requests], methods, tasks)
    words = f"delrec-bench bench --study {study.argument} --profile {study.profile}"
    words += "".join(f" --data {task}=DIR" for task in study.data) + (f" --threads {threads}" if threads > 1 else "")
    words += "".join(f" --device {device}" for device in {r.device for r in requests} - {"cpu"})
    each = LATENCY_SECONDS / max(1, len(requests)) if each is None else each
    return measure(requests, places.place, each=each, command=words, say=say, **more)


def _finish(study: "Study", keys: "Sequence[str]", places: Places) -> "tuple[Reproduction, dict[str, Any]]":
    """MLflow, the page in out/, and the comparison of the runs that were made here with the store."""
    from delrec_bench.records import read_folder, read_store
    from delrec_bench.report.content import build
    from delrec_bench.report.declared import page_of
    from delrec_bench.report.writing import write_page
    from delrec_bench.statistics.reproduced import judge, match
    from delrec_bench.tracking import log_page, sync

    workspace, (methods, tasks) = places.workspace, places.tables()
    own, published = read_folder(workspace.runs, say), read_store(workspace.reports)
    records, failures = options.together(own, published)
    declared = page_of(study, methods, tasks, records, failures, keys=keys)
    page = build(declared, records)
    paths = write_page(workspace.root / "out", page)

    def name(record: "Record") -> str:
        return f"{declared.runs[record.key].method if record.key in declared.runs else record.method} on {record.task}"

    outcome = judge(*match([r for r in own[0] if r.key in set(keys)], published[0], name))
    for line in (*page.answer, *outcome.lines):
        say(line)
    say("written: " + ", ".join(map(str, paths)))
    scores = {f"{row['task']}/{row['method']}": row["score_mean"] for row in page.rows if row["n"]}
    try:
        say(f"MLflow: {sync(workspace, [*own[0], *own[1]], dict.fromkeys(keys, study.name))}")
        log_page(workspace, study.name, scores, paths)
    except BenchError as error:  # a view of the records, which never stops their page
        say(f"warning: {error}")
    return outcome, {
        "study": study.name,
        "profile": study.profile,
        "page": declared.study.page,
        "files": [str(path) for path in paths],
        "complete": page.complete,
        "answer": page.outcome,
        "comparison": str(outcome),
        "word": outcome.word,
        "rows": [dict(vars(row)) for row in outcome.rows],
    }


def _dry_run(study: "Study", work: "Work") -> Answer:
    from delrec_bench.studies.work import Cost

    jobs, whole = work.executor.jobs, Cost()
    lines = [f"study {study.name}, profile {study.profile}"]
    for task in dict.fromkeys(request.task for request in study.requests):
        cost = work.estimate([r for r in study.requests if r.task == task])
        whole += cost
        lines.append(f"  {task}: {cost}")
    lines += [f"  not applicable: {method} on {task}: {reason}" for method, task, reason in study.skipped]
    hours = max(whole.seconds / jobs, whole.longest) / 3600
    duration = f"{hours:.1f} hours" if hours >= 1 else f"{hours * 60:.1f} minutes"
    lines.append(f"total: {whole}; about {duration} with {jobs} workers (--jobs)")
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
    data: options.DataOfTasks = None,
    repetitions: Annotated[int, option("Runs of each new method on each task.", min=1, metavar="N")] = 1,
    jobs: options.Jobs = None,
    dry_run: options.DryRun = False,
) -> Answer:
    """Print the leaderboard and write it to out/leaderboard/. Trains only the methods that --methods adds."""
    from delrec_bench.report.board import board_of
    from delrec_bench.report.content import build
    from delrec_bench.report.declared import BOARD, page_of
    from delrec_bench.report.tables import as_text, verdict_table
    from delrec_bench.report.writing import write_page
    from delrec_bench.studies.expansion import expand
    from delrec_bench.studies.file import study_file, study_path

    workspace, (methods, tasks) = places.workspace, places.tables()
    new = options.on_the_board(methods)
    if not new and (only_tasks or data or dry_run):
        raise BenchError("there is nothing to train; give the folder of your method with --methods DIR")
    failed: list[dict[str, str]] = []
    if new:
        profiles = study_file(study_path(BOARD)).profiles
        asked = [r for profile in profiles for r in expand(BOARD, profile, methods, tasks).requests]
        asked = [r for r in asked if r.method in new and r.repetition == 0]
        own, offered = options.by_task(data), list(dict.fromkeys(r.task for r in asked))
        chosen = options.names("--only-tasks", only_tasks) or [t for t in offered if tasks[t].embedded or t in own]
        for task in (*chosen, *own):
            if tasks[task].name not in offered or task not in chosen:
                raise BenchError(
                    f"{', '.join(new)} is not trained on '{task}': --only-tasks excludes it, or the leaderboard does "
                    f"not train it on that task (it has {', '.join(offered)})"
                )
        firsts = [replace(r, data=own.get(r.task)) for r in asked if r.task in chosen]
        requests = [replace(first, repetition=number) for first in firsts for number in range(repetitions)]
        work = replace(options.work_of(places, jobs), methods=methods)  # where the new ones are of the board
        missing, _, failed = options.carried_out(work, requests, dry_run)
        if dry_run:
            return Answer({"new": [*new], "runs": len(requests), "to_do": len(missing)})
    records, failures = options.read_runs(workspace)
    page = build(page_of(expand(BOARD, None, methods, tasks), methods, tasks, records, failures, new), records)
    paths = write_page(workspace.root / "out", page)
    told = [d for d in page.differences if d.method["method"] in new and d.verdict.n]
    tables = [board_of(page).short(), *([verdict_table(page, told)] if told else [])]
    text = "\n\n".join(["Test accuracy in percent; NMSE: lower is better.", *map(as_text, tables)])
    shown = ("task", "method", "metric", "n", "score_mean", "command")
    rows = [{name: row[name] for name in shown} for row in page.rows]
    content = {"new": [*new], "failed": failed, "rows": rows, "files": [str(path) for path in paths]}
    return Answer(content, f"{text}\n\nAll columns: {paths[0]}", 1 if failed else 0)


@command(
    "Run",
    ("bench", "the leaderboard's methods on the tasks that need no download, about five minutes"),
    ("bench --study three-tasks", "SHD, SSC and PS-MNIST at published widths; needs no data"),
    ("bench --profile speech --data shd=DIR --data ssc=DIR", "on your own files"),
    ("bench --again -- --benchmark-autosave --benchmark-compare", "save, and compare with the last saved measurement"),
)
def bench(
    places: Places,
    pytest: Annotated[list[str] | None, argument("For pytest, after --, such as --benchmark-compare.")] = None,
    study: options.Study = "leaderboard",
    profile: options.Profile = None,
    data: options.DataOfTasks = None,
    only_methods: options.OnlyMethods = None,
    only_tasks: options.OnlyTasks = None,
    each: Annotated[float, option("Seconds per method and task.", min=0.1, metavar="S")] = 4.0,
    quick: Annotated[bool, option("Three rounds only, as a quick check.", "--quick")] = False,
    threads: Annotated[int, option("Number of threads for torch and numba.", metavar="N")] = 1,
    device: options.Device = "cpu",
    again: Annotated[bool, option("Repeat existing measurements.", "--again")] = False,
) -> Answer:
    """Measure parameter counts and latency: a training step, inference of a batch, inference of one sample.

    Use an idle machine. Existing measurements from this machine are kept, so you can resume an interrupted command.
    SHD, SSC and PS-MNIST need no data: inputs are random, with the task's shape and spike rate.
    """
    import pandas as pd

    from delrec_bench.latency.subjects import MODES
    from delrec_bench.studies.expansion import Wanted, expand

    placed: Any = device  # checked by each request
    only = options.names("--only-methods", only_methods), options.names("--only-tasks", only_tasks)
    methods, tasks = places.tables()
    options.on_the_board(methods)
    expanded = expand(study, profile, methods, tasks, Wanted(*only, 1, options.by_task(data), placed))
    outcome = _measure(places, expanded, each, threads, quick=quick, again=again, pytest=pytest or ())
    rows = [
        {"method": r.method, "task": r.task, "parameters": r.parameters, "host": r.measured["host"], **r.result}
        for r in outcome.records
    ]
    shown = ["task", "method", "parameters", *(f"{mode}_{of}" for mode in MODES for of in ("ms", "ratio"))]
    frame = pd.DataFrame([row | {"parameters": row["parameters"]["total"]} for row in rows], columns=shown)
    text = frame.to_string(index=False, na_rep="-", float_format="{:.4g}".format)
    content = {"latency": rows, "measured": outcome.measured, "failed": outcome.failed}
    return Answer(content, text, 1 if outcome.failed else 0)
