"""`run`: one run, from its configuration to a record."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from delrec_bench.app.options import Answer, ArithmeticOption, DataOption, DeviceOption, Places, option
from delrec_bench.app.progress import Display
from delrec_bench.errors import BenchError

if TYPE_CHECKING:
    from delrec_bench.records import Record

EXAMPLES = (
    ("run lif digits", "about a minute"),
    ("run delrec-axonal shd --data ~/corpora/shd --profile equi-parameter --repetition 2", "on your own files"),
    ("run dcls ps-mnist --data ~/mnist --limit 2000 --epochs 2 --set hidden=32,64,64", "with other settings"),
    ("run mine digits --methods ./my-methods --json", "your own method, with JSON output"),
)
_PROFILES = "Preset: quick (minutes), embedded (hours), paper, paper-2025 or equi-parameter (published settings)."
_SETTINGS = "Change a setting: training.*, network.*, task.*, seeds.*, dtype, budget, products."


def command(
    places: Places,
    method: Annotated[str, typer.Argument(help="A method (see delrec-bench list methods).")],
    task: Annotated[str, typer.Argument(help="A task (see delrec-bench list tasks).")],
    repetition: Annotated[int, option("Which repetition: 0, 1, ... Determines all seeds.", metavar="R")] = 0,
    profile: Annotated[str, option(_PROFILES, metavar="P")] = "quick",
    epochs: Annotated[int | None, option("Number of training epochs.", metavar="N")] = None,
    limit: Annotated[int | None, option("Maximum number of training samples.", metavar="N")] = None,
    data: DataOption = None,
    device: DeviceOption = "cpu",
    engine: Annotated[str, option("Engine: auto, reference, cpu or triton.", metavar="NAME")] = "auto",
    threads: Annotated[
        int, option("Threads for delrec's kernels (with native arithmetic also for torch).", metavar="N")
    ] = 1,
    arithmetic: ArithmeticOption = "portable",
    trial: Annotated[bool, option("Hyperparameter trial: separate seeds, validation score only.", "--trial")] = False,
    settings: Annotated[list[str] | None, option(_SETTINGS, "--set", metavar="KEY=VALUE")] = None,
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
        device=device,  # type: ignore[arg-type]  # checked by the model, like arithmetic
        engine=engine,
        threads=threads,
        arithmetic=arithmetic,  # type: ignore[arg-type]
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
    path = str(workspace.runs / record.key / "record.json")
    text = f"{_shown(record)}\n{'already done' if done.reused else 'written'}: {path}"
    return Answer(_content(record) | {"record": path}, text)


def _content(record: "Record") -> dict[str, Any]:
    names = ("key", "method", "task", "repetition", "engine", "device", "metric", "parameters")
    content = {name: getattr(record, name) for name in names} | {"data_digest": record.data["digest"]}
    results = ("epochs", "best_epoch", "valid_score", "test_score", "correct", "total")
    content |= {name: record.result.get(name) for name in results}
    for part in ("valid", "test"):
        content[f"{part}_accuracy"] = content[f"{part}_score"] if record.metric == "accuracy" else None
    content |= {name: record.activity.get(name) for name in ("spikes_per_neuron_step", "synaptic_operations")}
    return content | {name: record.measured.get(name) for name in ("wall_seconds", "peak_bytes")}


def _shown(record: "Record") -> str:
    from delrec_bench.metrics import metric_named

    result, metric = record.result, metric_named(record.metric)
    if record.kind == "trial":
        failed, score = result["failed"], result["valid_score"]
        said = "trial, validation " + (f"failed: {failed}" if failed else f"{record.metric} {score:.4f}")
    else:
        of = f" ({result['correct']} of {result['total']})" if metric.classifies else ""
        said = f"test {metric.format(record.score)} {metric.unit}{of}"
    if result.get("best_epoch"):
        said += f", epoch {result['best_epoch']} of {result['epochs']} (chosen by: {result['selection']})"
    text = f"{record.method} on {record.task}, repetition {record.repetition}: {said}"
    if record.parameters:
        parts = ", ".join(f"{record.parameters[name]} {name}" for name in ("weights", "delays", "neuron"))
        text += f"\nparameters {record.parameters['total']} ({parts})"
    return text
