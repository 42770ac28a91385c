"""A study from beginning to end: its runs, latency, MLflow, report, and comparison with the committed rows."""

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from delrec_bench.app.common import read_runs
from delrec_bench.app.options import Answer, Places
from delrec_bench.app.pages import finish
from delrec_bench.app.progress import Display
from delrec_bench.config import Request, parse_setting
from delrec_bench.environment import need_device
from delrec_bench.errors import BenchError
from delrec_bench.latency import Outcome, measure
from delrec_bench.methods.base import MethodTable
from delrec_bench.records import Record, read_folder
from delrec_bench.report.declared import page_of
from delrec_bench.runs.executors import Place, default_jobs, make_executor
from delrec_bench.runs.trained import with_example
from delrec_bench.studies.cost import Cost, Past, estimate, misfit
from delrec_bench.studies.expansion import Study, Wanted, expand
from delrec_bench.studies.work import Work, networks, with_trained
from delrec_bench.tasks.base import TaskTable
from delrec_bench.tracking import log_page, sync
from delrec_bench.workspace import Workspace, here

LATENCY_SECONDS = 90.0  # for all methods and tasks together


def reproduce(
    places: Places,
    display: Display,
    wanted: Wanted,
    *,
    study: str,
    profile: str | None,
    jobs: int | None,
    executor: str,
    per_device: int | None,
    scheduler: str | None,
    executor_options: Sequence[str],
    retries: int,
    dry_run: bool,
    everything: bool,
    with_latency: bool,
) -> Answer:
    """Make a study's page; what is done already is not done again. The options are the command's.

    Raises:
        BenchError: The study, its profile or its data is wrong.
    """
    start, say = time.perf_counter(), display.say
    workspace = places.workspace
    methods, tasks = places.tables()
    expanded = expand(study, profile, methods, tasks, wanted)
    if per_device is not None and wanted.device == "cpu":
        raise BenchError(f"--per-device {per_device} needs --device cuda")
    if executor == "local":
        need_device(wanted.device)
    on_cards = wanted.device != "cpu" and torch.cuda.is_available()
    if on_cards and executor == "local" and jobs is None and per_device is None:
        per_device = 1  # as many as there are cores would meet on one card
    does = make_executor(
        executor,
        workspace,
        jobs=default_jobs() if jobs is None else jobs,
        per_device=per_device,
        scheduler=scheduler,
        options=dict(parse_setting(text) for text in executor_options),
    )
    known, _ = read_runs(workspace)
    if dry_run:
        return _dry_run(expanded, methods, tasks, known, does.jobs)
    place = Place(workspace, *places.folders(), retries=retries)
    work = Work(place, methods, tasks, does, known, say, display.bar)
    again: Sequence[Request] = expanded.requests
    if expanded.name == "leaderboard" and not everything:
        # repetition 0 of every row on a task that every clone has, or that was named with its data
        again = [r for r in again if r.repetition == 0 and (tasks[r.task].embedded or r.data is not None)]
    missing, keys = work.missing(again)
    reused = sum(request not in missing for request in again)
    measured = with_latency and len(again) == len(expanded.requests)
    say(
        f"study {expanded.name}, profile {expanded.profile}: {len(again)} runs, {reused} finished, "
        f"{len(missing)} to do with {does.jobs} workers: "
        f"about {work.cost(missing).seconds / does.jobs / 60:.1f} minutes"
        + (f", then latency (about {LATENCY_SECONDS:.0f} s)" if measured else "")
        + " and the report"
        + (f"; budget {expanded.minutes:g} minutes, installation included" if expanded.minutes else "")
    )
    failed = work.do(missing)
    latency = _latency(expanded, places, methods, tasks, workspace, display) if measured else Outcome([], 0, [])
    trained = time.perf_counter() - start
    different, content = _finish(expanded, keys, methods, tasks, workspace, display)
    content |= {
        "study": expanded.name,
        "profile": expanded.profile,
        "runs": len(again),
        "trained": len(missing) - len(failed),
        "reused": reused,
        "failed": failed,
        "latency": len(latency.records),
        "latency_failed": latency.failed,
        "seconds": round(time.perf_counter() - start, 1),
    }
    for failure in failed:
        say(f"failed: {failure['error']}\n  to retry: {failure['command']}")
    say(f"done in {content['seconds']:.0f} s (runs and latency: {trained:.0f} s), {len(failed)} failed")
    say(content["comparison"])
    return (1 if failed or different else 0), content


def _latency(
    study: Study, places: Places, methods: MethodTable, tasks: TaskTable, workspace: Workspace, display: Display
) -> Outcome:
    requests = networks([r for r in study.requests if r.repetition == 0 and methods[r.method].build is not None])
    each = LATENCY_SECONDS / max(1, len(requests))
    command = f"delrec-bench bench --study {study.argument} --profile {study.profile}"
    try:
        return measure(
            requests, methods, tasks, workspace, folders=places.folders(), each=each, command=command, say=display.say
        )
    except BenchError as error:
        display.say(f"warning: no latency: {error}")
        return Outcome([], 0, [])


def _finish(
    study: Study, keys: Sequence[str], methods: MethodTable, tasks: TaskTable, workspace: Workspace, display: Display
) -> tuple[bool, dict[str, Any]]:
    """MLflow, the page in out/, and its comparison with the published one; whether any row came out different."""
    say = display.say
    records, _ = read_folder(workspace.runs, say)
    try:
        shown = partial(display.each, "MLflow")
        model_of = partial(with_example, methods=methods)
        say(f"MLflow: {sync(workspace, records, model_of, shown, dict.fromkeys(keys, study.name))}")
    except BenchError as error:  # a view of the records, which never stops their page
        say(f"warning: {error}")
    ours = [record for record in records if record.key in set(keys)]
    records, failures = read_runs(workspace)
    declared = page_of(study, methods, tasks, records, failures)
    paths, outcome, content = finish(workspace, declared, records, ours, say)
    say("written: " + ", ".join(here(path, workspace) for path in paths))
    try:
        log_page(workspace, study.name, content["scores"], paths)
    except BenchError as error:
        say(f"warning: {error}")
    return outcome.word == "different", dict(content)


def _dry_run(study: Study, methods: MethodTable, tasks: TaskTable, records: Sequence[Record], jobs: int) -> Answer:
    past, whole = Past(records), Cost()
    rows = []
    print(f"study {study.name}, profile {study.profile}")
    for task in dict.fromkeys(request.task for request in study.requests):
        print(f"  {task}")
        for method in dict.fromkeys(request.method for request in study.requests if request.task == task):
            of_row = [request for request in study.requests if (request.method, request.task) == (method, task)]
            cost = estimate(with_trained(of_row), methods, tasks, past)
            whole += cost
            points = len({request.point for request in of_row})
            print(f"    {method}{f' x up to {points} points' if points > 1 else ''}: {cost}")
            rows.append({"task": task, "method": method, **vars(cost)})
    for method, task, reason in study.skipped:
        print(f"  not applicable: {method} on {task}: {reason}")
    hours = max(whole.seconds / jobs, whole.longest) / 3600
    print(f"total: {whole}; about {hours:.1f} hours with {jobs} workers (--jobs)")
    unfit = misfit(whole, jobs)
    if unfit:
        print(f"does not fit: {unfit}")
    return 0, {
        "study": study.name,
        "profile": study.profile,
        "rows": rows,
        "misfits": [unfit] if unfit else [],
        "runs": len(study.requests),
        "core_hours": whole.seconds / 3600,
        "hours": hours,
        "jobs": jobs,
        "memory_bytes": whole.memory * jobs,
    }
