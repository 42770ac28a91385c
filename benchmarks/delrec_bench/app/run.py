"""`run`: one run, from its configuration to a record."""

import time
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from delrec_bench.app.common import Answer, say, tables
from delrec_bench.config import Request, parse_setting
from delrec_bench.metrics import metric_named
from delrec_bench.records import Record
from delrec_bench.runs import run
from delrec_bench.workspace import Workspace, find_workspace


def single(arguments: Namespace) -> Answer:
    """Do one run."""
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
        shown = [name for name in entry if name == "loss" or name.startswith(("train_", "valid_"))]
        scores = [f"{name} {entry[name]:.4g}" for name in shown if name != "valid_loss"]
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
    else:
        metric = metric_named(record.metric)
        of = f" ({result['correct']} of {result['total']})" if metric.classifies else ""
        score = f"{metric.format(record.score)} {metric.unit}{of}"
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
