"""A study from beginning to end: its search, runs, latency, MLflow, page, and comparison with the published one."""

import time
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from delrec_bench.app.common import Answer, folders, here, own_records, say, tables, tracked
from delrec_bench.app.pages import declaration, finish
from delrec_bench.errors import BenchError
from delrec_bench.latency import measure
from delrec_bench.methods.base import MethodTable
from delrec_bench.records import Record
from delrec_bench.records.tracking import sync
from delrec_bench.runs.executors import Place, default_jobs
from delrec_bench.studies.cost import estimate
from delrec_bench.studies.expansion import Study, Wanted, expand
from delrec_bench.studies.work import Searched, Work, remember, search, trials_by_pair
from delrec_bench.tasks.base import TaskTable
from delrec_bench.workspace import Workspace, find_workspace

LATENCY_SECONDS = 90.0


def reproduce(arguments: Namespace) -> Answer:
    """Make a study's leaderboard; what is done already is not done again.

    Raises:
        BenchError: The study, its profile or its data is wrong.
    """
    start = time.perf_counter()
    workspace = find_workspace(arguments.root, arguments.runs)
    methods, tasks = tables(arguments)
    wanted = _wanted(arguments)
    study = expand(arguments.study, arguments.profile, methods, tasks, wanted)
    jobs = default_jobs() if arguments.jobs is None else arguments.jobs
    if jobs < 1:
        raise BenchError(f"--jobs is {jobs}; it must be at least 1")
    known = own_records(workspace)
    if arguments.dry_run:
        return _dry_run(study, methods, tasks, known, jobs)
    work = Work(Place(workspace, *folders(arguments)), methods, tasks, jobs, known, study.sizes, say)
    searched = search(study, work) if study.search is not None else Searched(study)
    study = searched.study
    missing, keys = work.missing(study.requests)
    remember(searched, keys, workspace)
    seconds = sum(work.costs(missing).values()) / jobs
    say(_budget(study, len(missing), seconds, jobs, not arguments.no_latency))
    failed = work.do(missing)
    latency = [] if arguments.no_latency else _latency(study, methods, tasks, workspace)
    trained = time.perf_counter() - start
    different, content = _finish(study, keys, methods, workspace)
    content |= {
        "study": study.name,
        "profile": study.profile,
        "trials": searched.trials,
        "trials_trained": searched.trained,
        "runs": len(study.requests),
        "trained": len(missing) - len(failed),
        "reused": len(study.requests) - len(missing),
        "failed": [*searched.failed, *failed],
        "latency": len(latency),
        "seconds": round(time.perf_counter() - start, 1),
    }
    failures = len(content["failed"])
    say(f"done in {content['seconds']:.0f} s ({trained:.0f} s of it runs and latency), {failures} failed")
    return (1 if failures or different else 0), content


def _wanted(arguments: Namespace) -> Wanted:
    data = {}
    for text in arguments.data:
        task, equals, folder = text.partition("=")
        if not (equals and task and folder):
            raise BenchError(f"--data {text!r} is not TASK=DIR; write for instance --data shd=corpora/shd")
        data[task] = folder
    return Wanted(arguments.only_methods, arguments.only_tasks, arguments.repetitions, data)


def _budget(study: Study, missing: int, seconds: float, jobs: int, latency: bool) -> str:
    whole = f"; budget {study.minutes} minutes, installation included" if study.minutes else ""
    then = f", then latency (at most {LATENCY_SECONDS:.0f} s)" if latency else ""
    runs = f"{len(study.requests)} runs, {len(study.requests) - missing} finished"
    work = f"{missing} to do in {jobs} workers: about {seconds / 60:.1f} minutes"
    return f"study {study.name}, profile {study.profile}: {runs}, {work}{then} and the report{whole}"


def _latency(study: Study, methods: MethodTable, tasks: TaskTable, workspace: Workspace) -> list[Record]:

    requests = [r for r in study.requests if r.repetition == 0]
    names = dict.fromkeys(request.method for request in requests)
    chosen = [methods[name] for name in names if methods[name].build is not None]
    chosen_tasks = [tasks[name] for name in dict.fromkeys(request.task for request in requests)]
    return measure(
        chosen, chosen_tasks, workspace, LATENCY_SECONDS, profile=study.presets, requests=requests, progress=say
    )


def _finish(
    study: Study, keys: Sequence[str], methods: MethodTable, workspace: Workspace
) -> tuple[bool, dict[str, Any]]:
    """MLflow, the page in out/, and its comparison with the published one; whether any row came out different."""
    say(f"MLflow: {sync(workspace, own_records(workspace))}")
    declared = declaration(study, keys, methods)
    paths, outcome, content = finish(workspace, declared, tracked(workspace), say, "mlflow")
    say("written: " + ", ".join(here(path, workspace) for path in paths))
    return outcome.different, dict(content)


def _dry_run(study: Study, methods: MethodTable, tasks: TaskTable, records: Sequence[Record], jobs: int) -> Answer:
    print(f"study {study.name}, profile {study.profile}")
    for task in dict.fromkeys(request.task for request in study.requests):
        of_task = [request for request in study.requests if request.task == task]
        names = list(dict.fromkeys(request.method for request in of_task))
        cost = estimate(of_task, methods, tasks, records, study.sizes)
        print(f"  {task}: {len(names)} methods x {len(of_task) // len(names)} repetitions: {cost}")
    trials = [trial for trials in trials_by_pair(study, methods).values() for trial in trials]
    if study.search is not None:
        cost = estimate(trials, methods, tasks, records, study.sizes)
        print(f"  search, before: {study.search.trials} trials of every network on every task: {cost}")
    for method, task, reason in study.skipped:
        print(f"  not applicable: {method} on {task}: {reason}")
    whole = estimate([*trials, *study.requests], methods, tasks, records, study.sizes)
    hours = max(whole.seconds / jobs, whole.longest) / 3600
    print(f"in all: {whole}; about {hours:.1f} hours with {jobs} workers (--jobs)")
    return 0, {
        "study": study.name,
        "profile": study.profile,
        "trials": len(trials),
        "runs": len(study.requests),
        "core_hours": whole.seconds / 3600,
        "hours": hours,
        "jobs": jobs,
        "memory_bytes": whole.memory * jobs,
        "disk_bytes": whole.disk,
    }
