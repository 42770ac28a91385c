"""What each command does. A command returns its exit code and, for `--json`, its content."""

import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from delrec_bench.configuration import Request, parse_setting
from delrec_bench.errors import BenchError, nearest
from delrec_bench.grid import pages
from delrec_bench.membership import assigned, of_page
from delrec_bench.methods.base import MethodTable, find_methods
from delrec_bench.records import Record, load_records
from delrec_bench.tasks.base import TaskTable, find_tasks
from delrec_bench.workspace import Workspace, find_workspace

Answer = tuple[int, dict[str, Any]]
METHODS_VARIABLE = "DELREC_BENCH_METHODS"
TASKS_VARIABLE = "DELREC_BENCH_TASKS"


def say(text: str) -> None:
    """Progress, for people: stderr."""
    print(text, file=sys.stderr, flush=True)


def folders(arguments: Namespace) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Folders of more methods and tasks: options and variables."""
    methods = [*(arguments.methods or []), *filter(None, os.environ.get(METHODS_VARIABLE, "").split(os.pathsep))]
    tasks = [*(arguments.tasks or []), *filter(None, os.environ.get(TASKS_VARIABLE, "").split(os.pathsep))]
    return tuple(methods), tuple(tasks)


def tables(arguments: Namespace) -> tuple[MethodTable, TaskTable]:
    """Every method and task, those of more folders included."""
    method_dirs, task_dirs = folders(arguments)
    return find_methods(method_dirs), find_tasks(task_dirs)


def own_records(workspace: Workspace) -> list[Record]:
    """The records of this workspace; each with the study that asked for it. A broken file is named on stderr."""
    broken: list[str] = []
    records = load_records(workspace.runs, broken)
    for message in broken:
        say(f"warning: {message}")
    return assigned(records, workspace, pages())


def page_records(workspace: Workspace, records: list[Record], page: str | None) -> list[Record]:
    """Those of `own_records` that are for the leaderboard, or for the page of one study."""
    return of_page(records, workspace, page, pages())


def committed_records(workspace: Workspace, page: str | None = None) -> list[Record]:
    """The records behind the committed leaderboard, or behind a study's own page."""
    return load_records(workspace.reports / (page or "") / "records")


def listing(arguments: Namespace) -> Answer:
    """Show every method or task."""
    methods, tasks = tables(arguments)
    table: Any = methods if arguments.what == "methods" else tasks
    names = {
        "methods": ("name", "summary", "source", "learned", "control", "quick", "kind"),
        "tasks": ("name", "summary", "source", "licence", "family", "metric", "embedded", "accepts_data"),
    }[arguments.what]
    rows = [{name: getattr(entry, name) for name in names} for entry in table.values()]
    if not arguments.json:
        for row in rows:
            print(f"{row['name']}\n    {row['summary']}\n    source: {row['source']}")
            if arguments.what == "methods":
                control = f"; compared with {row['control']}" if row["control"] else ""
                print(f"    learned: {row['learned']}{control}{'; in the quick profile' if row['quick'] else ''}")
            else:
                embedded = "; needs no download" if row["embedded"] else ""
                own = "; takes --data DIR" if row["accepts_data"] else ""
                print(f"    licence: {row['licence']}; metric: {row['metric']}{embedded}{own}")
    return 0, {arguments.what: rows}


def data(arguments: Namespace) -> Answer:
    """Look after dataset files: status, make, fetch, verify."""
    from delrec_bench import data as files

    workspace = find_workspace(arguments.root, arguments.runs)
    _, tasks = tables(arguments)
    for name in arguments.names:
        tasks[name]  # an unknown name is an error that names the nearest
    if arguments.action in ("make", "fetch"):
        if arguments.action == "make":
            groups = [files.make(workspace, name, arguments.again) for name in arguments.names or [None]]
        elif not arguments.names:
            raise BenchError(
                "data fetch needs a task: shd, ssc or ps-mnist; `delrec-bench data status` shows what is absent"
            )
        else:
            groups = [files.fetch(workspace, name, arguments.url) for name in arguments.names]
        paths = [str(path) for group in groups for path in group]
        if not arguments.json:
            print("\n".join(paths) or "nothing to do: every file is there")
        return 0, {"files": paths}
    failed = 0
    if arguments.action == "status":
        text = files.status(workspace)
    else:
        verification = files.verify(workspace)
        text, failed = verification.text, verification.failed
    if not arguments.json:
        print(text)
    rows = [row for row in files.rows_of(workspace) if not arguments.names or row.task in arguments.names]
    content = [{"task": row.task, "path": str(row.path), "found": row.found, "wrong": row.wrong} for row in rows]
    return (1 if failed else 0), {"files": content, "failed": failed}


def single(arguments: Namespace) -> Answer:
    """Do one run."""
    from delrec_bench.runs import run

    workspace = find_workspace(arguments.root, arguments.runs)
    request = Request(
        method=arguments.method,
        task=arguments.task,
        repetition=arguments.repetition,
        profile=arguments.profile,
        epochs=arguments.epochs,
        limit=arguments.limit,
        data=arguments.data,
        device=arguments.device,
        engine=arguments.engine,
        threads=arguments.threads,
        overrides=tuple(parse_setting(text) for text in arguments.settings),
        trial=arguments.trial,
    )
    methods, tasks = tables(arguments)
    outcome = run(request, methods, tasks, workspace, _epoch_printer())
    content = run_content(outcome.record, workspace)
    if not arguments.json:
        _print_run(outcome.record, content["record"], outcome.reused)
    return 0, content


def _epoch_printer() -> Callable[[dict[str, Any]], None]:
    start = time.perf_counter()

    def show(entry: dict[str, Any]) -> None:
        epoch, epochs = entry["epoch"], entry["epochs"]
        left = (time.perf_counter() - start) / epoch * (epochs - epoch)
        scores = [
            f"{name} {entry[name]:.4g}"
            for name in ("loss", "train_accuracy", "valid_accuracy", "valid_nmse")
            if name in entry
        ]
        say(f"epoch {epoch}/{epochs}  {'  '.join(scores)}  about {left:.0f} s left")

    return show


def run_content(record: Record, workspace: Workspace) -> dict[str, Any]:
    """What `run --json` says of a record."""
    result, accuracy = record.result, record.metric == "accuracy"
    return {
        "key": record.key,
        "method": record.method,
        "task": record.task,
        "repetition": record.repetition,
        "data_digest": record.data["digest"],
        "engine": record.engine,
        "device": record.device,
        "epochs": result.get("epochs"),
        "best_epoch": result.get("best_epoch"),
        "metric": record.metric,
        "valid_score": result.get("valid_score"),
        "test_score": result.get("test_score"),
        "valid_accuracy": result.get("valid_score") if accuracy else None,
        "test_accuracy": result.get("test_score") if accuracy else None,
        "correct": result.get("correct"),
        "total": result.get("total"),
        "parameters": record.parameters,
        "spikes_per_neuron_step": record.activity.get("spikes_per_neuron_step"),
        "synaptic_operations": record.activity.get("synaptic_operations"),
        "wall_seconds": record.measured.get("wall_seconds"),
        "peak_bytes": record.measured.get("peak_bytes"),
        "record": str(workspace.runs / record.key / "record.json"),
    }


def _print_run(record: Record, path: str, reused: bool) -> None:
    result = record.result
    if record.kind == "trial":
        failed = f"failed: {result['failed']}"
        score = failed if result["failed"] else f"{record.metric} {result['valid_score']:.4f}"
    elif record.metric == "accuracy":
        score = f"{100 * record.score:.2f} % ({result['correct']} of {result['total']})"
    else:
        score = f"{record.metric} {record.score:.4f}"
    epoch = (
        f", epoch {result['best_epoch']} of {result['epochs']} by {result['selection']}"
        if result.get("best_epoch")
        else ""
    )
    part = "trial, validation" if record.kind == "trial" else "test"
    print(f"{record.method} on {record.task}, repetition {record.repetition}: {part} {score}{epoch}")
    if record.parameters:
        counts = record.parameters
        parts = ", ".join(f"{counts[name]} {name}" for name in ("weights", "delays", "neuron"))
        print(f"parameters {counts['total']} ({parts})")
    print(f"{'found' if reused else 'written'}: {path}")


def synchronise(arguments: Namespace) -> Answer:
    """Bring MLflow's database up to date."""
    from delrec_bench.tracking import sync

    workspace = find_workspace(arguments.root, arguments.runs)
    summary = sync(workspace, own_records(workspace))
    if not arguments.json:
        print(summary)
    content = {"added": summary.added, "replaced": summary.replaced, "unchanged": summary.unchanged}
    return 0, content | {"database": str(summary.database)}


def report(arguments: Namespace) -> Answer:
    """Write the report from the records."""
    from delrec_bench.report import commit_report, write_report

    workspace = find_workspace(arguments.root, arguments.runs)
    page = arguments.study
    if page is not None and page not in pages():
        raise BenchError(f"--study '{page}' has no page of its own; {nearest(page, pages())}")
    own, committed = page_records(workspace, own_records(workspace), page), committed_records(workspace, page)
    write = commit_report if arguments.commit_records else write_report
    paths = write(workspace, own, committed, profile=arguments.profile, page=page)
    if not arguments.json:
        print("\n".join(str(path) for path in paths))
    return 0, {"files": [str(path) for path in paths], "records": len(own), "committed": len(committed)}


def bench(arguments: Namespace) -> Answer:
    """Measure latency."""
    from delrec_bench.latency import measure

    workspace = find_workspace(arguments.root, arguments.runs)
    methods, tasks = tables(arguments)
    chosen = [m for m in methods.values() if m.build is not None and (arguments.all or m.quick)]
    embedded = [t for t in tasks.values() if t.embedded]
    records = measure(
        chosen,
        embedded,
        workspace,
        arguments.seconds,
        profile=arguments.profile,
        threads=arguments.threads,
        progress=say,
    )
    rows = [{"method": r.method, "task": r.task, **r.result} for r in records]
    if not arguments.json:
        for row in rows:
            ratios = "  ".join(f"{name} {row[name]}" for name in ("train_ratio", "infer_ratio", "batch1_ratio"))
            print(f"{row['task']:<16} {row['method']:<24} {ratios}")
    return 0, {"latency": rows}


def here(path: Path, workspace: Workspace) -> str:
    """A path as seen from the root, where it lies below it."""
    return str(path.relative_to(workspace.root)) if path.is_relative_to(workspace.root) else str(path)
