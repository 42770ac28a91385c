"""`run`: one run, from its configuration to a record."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from delrec_bench.app.options import Answer, ArithmeticOption, Places
from delrec_bench.app.progress import Display
from delrec_bench.errors import BenchError

if TYPE_CHECKING:
    from delrec_bench.arithmetic import Arithmetic
    from delrec_bench.config import Device
    from delrec_bench.records import Record
    from delrec_bench.workspace import Workspace

PANEL = "Run"
EXAMPLES = (
    ("run lif digits", "about a minute"),
    ("run delrec-axonal shd --data ~/corpora/shd --profile equi-parameter --repetition 2", "on your own files"),
    ("run dcls ps-mnist --data ~/mnist --limit 2000 --epochs 2 --set hidden=32,64,64", "with other settings"),
    ("run mine digits --methods ./my-methods --json", "your own method, with JSON output"),
)


def command(
    places: Places,
    method: Annotated[str, typer.Argument(help="A method (see delrec-bench list methods).")],
    task: Annotated[str, typer.Argument(help="A task (see delrec-bench list tasks).")],
    repetition: Annotated[int, typer.Option(metavar="R", help="Which repetition: 0, 1, ... Determines all seeds.")] = 0,
    profile: Annotated[
        str,
        typer.Option(
            metavar="P",
            help="Preset: quick (minutes), embedded (hours), paper, paper-2025 or equi-parameter (published settings).",
        ),
    ] = "quick",
    epochs: Annotated[int | None, typer.Option(metavar="N", help="Number of training epochs.")] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", help="Maximum number of training samples.")] = None,
    data: Annotated[str | None, typer.Option(metavar="DIR", help="Your own files in the task's file format.")] = None,
    device: Annotated[str, typer.Option(metavar="cpu|cuda|auto", help="Device to run on.")] = "cpu",
    engine: Annotated[str, typer.Option(metavar="NAME", help="Engine: auto, reference, cpu or triton.")] = "auto",
    threads: Annotated[
        int, typer.Option(metavar="N", help="Threads for delrec's kernels (with native arithmetic also for torch).")
    ] = 1,
    arithmetic: ArithmeticOption = "portable",
    trial: Annotated[
        bool, typer.Option("--trial", help="Hyperparameter trial: separate seeds, validation score only.")
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a setting: training.*, network.*, task.*, seeds.*, dtype, budget, products.",
        ),
    ] = None,
) -> Answer:
    """Train one network and store the result.

    If the run already exists, its result is shown instead.
    """
    from delrec_bench.config import Request, parse_setting
    from delrec_bench.runs.executors import Place, do
    from delrec_bench.runs.trained import with_example
    from delrec_bench.tracking import follow, sync

    request = Request(
        method=method,
        task=task,
        repetition=repetition,
        profile=profile,
        epochs=epochs,
        limit=limit,
        data=data,
        device=cast("Device", device),  # checked by the model
        engine=engine,
        threads=threads,
        arithmetic=cast("Arithmetic", arithmetic),
        overrides=tuple(parse_setting(text) for text in settings or ()),
        trial=trial,
    )
    workspace = places.workspace
    begun = []
    with Display() as display:
        with follow(workspace, display.say) as live:

            def progress(entry: dict[str, Any]) -> None:
                if "begun" in entry:
                    begun.append(entry["begun"])
                    live.begin(begun[-1])
                else:
                    display.epoch(entry)

            done = do(request, Place(workspace, *places.folders()), progress)
            if done.key is None and begun:
                live.end(begun[-1].key, "FAILED")
        record = done.record(workspace)
        try:
            sync(workspace, [record], partial(with_example, methods=places.tables()[0]))
        except BenchError as error:  # a view of the record, which holds without it
            display.say(f"warning: {error}")
    content = run_content(record, workspace)
    if not places.as_json:
        _print_run(record, content["record"], done.reused)
    return 0, content


def run_content(record: "Record", workspace: "Workspace") -> dict[str, Any]:
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


def _print_run(record: "Record", path: str, reused: bool) -> None:
    from delrec_bench.metrics import metric_named

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
