"""`bench`: latency and parameters of a study's methods, by pytest-benchmark."""

from typing import TYPE_CHECKING, Annotated, cast

import typer

from delrec_bench.app.options import Answer, DataOfTasks, Places, by_task, names
from delrec_bench.app.progress import say
from delrec_bench.errors import BenchError

if TYPE_CHECKING:
    from delrec_bench.config import Device

PANEL = "Run"
EXAMPLES = (
    ("bench", "the quick methods on the embedded tasks, two minutes"),
    ("bench --study three-tasks", "SHD, SSC and PS-MNIST at published widths; needs no data"),
    ("bench --study leaderboard --profile speech --data shd=DIR --data ssc=DIR", "the board's rows on files of yours"),
    ("bench --again -- --benchmark-autosave --benchmark-compare", "against what pytest-benchmark saved last"),
)
_USUAL, _EACH = 2.0, 15.0


def command(
    places: Places,
    options: Annotated[list[str] | None, typer.Argument(help="For pytest, after --: --benchmark-compare, ...")] = None,
    study: Annotated[str | None, typer.Option(metavar="S", help="Its methods, tasks and settings.")] = None,
    profile: Annotated[str | None, typer.Option(help="Of the study; else of presets (quick).")] = None,
    data: DataOfTasks = None,
    only_methods: Annotated[str | None, typer.Option(metavar="A,B", help="Only these.")] = None,
    only_tasks: Annotated[str | None, typer.Option(metavar="A,B", help="Only these.")] = None,
    each: Annotated[
        float | None, typer.Option(metavar="S", help="Seconds for a method on a task (2; a study's 15).")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Three rounds of everything: a try.")] = False,
    threads: Annotated[int, typer.Option(metavar="N", help="Threads of torch and numba.")] = 1,
    device: Annotated[str, typer.Option(metavar="cpu|cuda|auto", help="Where the networks are.")] = "cpu",
    every: Annotated[
        bool, typer.Option("--all", help="Without a study: every method, not the quick ones alone.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="What is measured already, too.")] = False,
) -> Answer:
    """Measure parameters and latency: a training step, inference of a batch, and of one sample as deployed.

    Run it on an idle machine. What is measured already on this machine is not measured again, so a call that was
    interrupted goes on. SHD, SSC and PS-MNIST need no data: their inputs are drawn at the task's shape and rate.
    """
    from dataclasses import replace

    from delrec_bench.latency import Order, as_requests, measure
    from delrec_bench.studies.expansion import Wanted, expand
    from delrec_bench.studies.work import networks

    methods, tasks = places.tables()
    placed = cast("Device", device)  # checked by each request
    chosen, where = names("--only-methods", only_methods), names("--only-tasks", only_tasks)
    if study is not None:
        wanted = Wanted(methods=chosen, tasks=where, repetitions=1, data=by_task("--data", data), device=placed)
        expanded = expand(study, profile, methods, tasks, wanted)
        requests = [replace(r, threads=threads) for r in networks(expanded.requests)]
        words = f"delrec-bench bench --study {study} --profile {expanded.profile}"
        words += "".join(f" --data {task}=DIR" for task in expanded.data)
    elif data:
        raise BenchError("--data goes with a study here; add --study NAME")
    else:
        usual = [n for n, m in methods.items() if m.build is not None and (every or m.board)]
        embedded = [n for n, t in tasks.items() if t.embedded]
        profile = profile or "quick"
        requests = as_requests(chosen or usual, where or embedded, methods, tasks, profile, threads, placed)
        words = f"delrec-bench bench --profile {profile}"
    words += f" --threads {threads}" * (threads > 1) + f" --device {device}" * (device != "cpu")
    each = each if each is not None else _USUAL if study is None or quick else _EACH
    order = Order(
        requests, methods, tasks, places.workspace, places.folders(), each, quick, again, options or (), words
    )
    outcome = measure(order, say)
    rows = [
        {"method": r.method, "task": r.task, "parameters": r.parameters, "host": r.measured["host"], **r.result}
        for r in outcome.records
    ]
    if not places.as_json:
        for row in rows:
            cells = "  ".join(f"{name} {_cell(row, name)}" for name in ("train", "infer", "batch1"))
            print(f"{row['task']:<12} {row['method']:<24} {row['parameters']['total']:>9,}  {cells}")
    return (1 if outcome.failed else 0), {"latency": rows, "measured": outcome.measured, "failed": outcome.failed}


def _cell(row: dict[str, object], name: str) -> str:
    ms, ratio = row[f"{name}_ms"], row[f"{name}_ratio"]
    return "-" if ms is None else f"{ms:.4g} ms ({ratio:.2f})"
