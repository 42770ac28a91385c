"""A study from beginning to end: its search, runs, latency, MLflow, report, and comparison with the committed rows."""

import time
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from delrec_bench.app.common import (
    Answer,
    committed_records,
    folders,
    here,
    own_records,
    page_records,
    say,
    tables,
    title_of,
)
from delrec_bench.config import parse_setting
from delrec_bench.errors import BenchError
from delrec_bench.latency import measure
from delrec_bench.methods.base import MethodTable
from delrec_bench.records import Record
from delrec_bench.records.tracking import sync
from delrec_bench.report import compare, rows_of, write_report
from delrec_bench.report.comparison import ABSENT, summary
from delrec_bench.runs.executors import Place, default_jobs, make_executor
from delrec_bench.studies.cost import Past, estimate, misfits
from delrec_bench.studies.expansion import Study, Wanted, expand
from delrec_bench.studies.sharding import parse_shard
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
    executor = make_executor(
        arguments.executor,
        workspace,
        jobs=default_jobs() if arguments.jobs is None else arguments.jobs,
        per_device=arguments.per_device,
        scheduler=arguments.scheduler,
        options=dict(parse_setting(text) for text in arguments.executor_options),
    )
    jobs = executor.jobs
    committed = committed_records(workspace, study.page)
    known = [*committed, *own_records(workspace)]
    if arguments.dry_run:
        return _dry_run(study, methods, tasks, known, jobs, workspace)
    place = Place(workspace, *folders(arguments), retries=arguments.retries)
    work = Work(place, methods, tasks, executor, known, study.sizes, say)
    searched = search(study, work) if study.search is not None else Searched(study)
    study = searched.study
    missing, keys = work.missing(study.requests)
    remember(searched, keys, workspace)
    seconds = sum(work.costs(missing).values()) / jobs
    say(_budget(study, len(missing), seconds, jobs, not arguments.no_latency))
    failed = work.do(missing)
    latency = [] if arguments.no_latency else _latency(study, methods, tasks, workspace)
    trained = time.perf_counter() - start
    content = _finish(study, workspace, committed, wanted)
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
    for failure in content["failed"]:
        say(f"failed: {failure['error']}\n  once more: {failure['command']}")
    say(f"done in {content['seconds']:.0f} s ({trained:.0f} s of it runs and latency), {failures} failed")
    return (1 if failures else 0), content


def _wanted(arguments: Namespace) -> Wanted:
    data = {}
    for text in arguments.data:
        task, equals, folder = text.partition("=")
        if not (equals and task and folder):
            raise BenchError(f"--data {text!r} is not TASK=DIR; write for instance --data shd=corpora/shd")
        data[task] = folder
    part = None if arguments.shard is None else parse_shard(arguments.shard)
    return Wanted(arguments.only_methods, arguments.only_tasks, arguments.repetitions, data, part, arguments.device)


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


def _finish(study: Study, workspace: Workspace, committed: Sequence[Record], wanted: Wanted) -> dict[str, Any]:
    """MLflow, the report, and the comparison with what is committed."""

    records = own_records(workspace)
    say(f"MLflow: {sync(workspace, records)}")
    records = page_records(workspace, records, study.page)
    paths = write_report(workspace, records, committed, page=study.page, title=title_of(study.page))
    of_study = [record for record in records if record.study == study.name or record.kind == "latency"]
    compared = compare(rows_of(of_study, study.presets), rows_of(committed, study.presets)) if committed else []
    compared = [c for c in compared if not (wanted.part and c.verdict == ABSENT)]
    for comparison in compared:
        say(str(comparison))
    verdict = summary(compared) if committed else "nothing is committed to compare with"
    say(f"against the committed rows: {verdict}")
    say("written: " + ", ".join(here(path, workspace) for path in paths))
    rows = [{"task": c.task, "method": c.method, "verdict": c.verdict, "detail": c.detail} for c in compared]
    return {"files": [str(path) for path in paths], "comparison": verdict, "rows": rows}


def _dry_run(
    study: Study, methods: MethodTable, tasks: TaskTable, records: Sequence[Record], jobs: int, workspace: Workspace
) -> Answer:
    past = Past(records)
    rows = []
    print(f"study {study.name}, profile {study.profile}")
    trials = trials_by_pair(study, methods)
    for task in dict.fromkeys(request.task for request in study.requests):
        print(f"  {task}")
        for method in dict.fromkeys(request.method for request in study.requests if request.task == task):
            of_pair = [request for request in study.requests if (request.method, request.task) == (method, task)]
            cost = estimate([*trials.get((method, task), []), *of_pair], methods, tasks, past, study.sizes)
            print(f"    {method}: {cost}")
            rows.append({"task": task, "method": method, **vars(cost)})
    if study.search is not None:
        print(f"  search, before: {study.search.trials} trials of every network on every task, counted above")
    for method, task, reason in study.skipped:
        print(f"  not applicable: {method} on {task}: {reason}")
    before = [trial for of_pair in trials.values() for trial in of_pair]
    whole = estimate([*before, *study.requests], methods, tasks, past, study.sizes)
    hours = max(whole.seconds / jobs, whole.longest) / 3600
    print(f"in all: {whole}; about {hours:.1f} hours with {jobs} workers (--jobs)")
    unfit = misfits(whole, jobs, workspace.runs)
    for misfit in unfit:
        print(f"does not fit: {misfit}")
    return 0, {
        "study": study.name,
        "profile": study.profile,
        "rows": rows,
        "misfits": unfit,
        "trials": len(before),
        "runs": len(study.requests),
        "core_hours": whole.seconds / 3600,
        "hours": hours,
        "jobs": jobs,
        "memory_bytes": whole.memory * jobs,
        "disk_bytes": whole.disk,
    }
