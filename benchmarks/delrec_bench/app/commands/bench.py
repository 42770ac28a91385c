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
    ("bench", "the leaderboard's methods on the tasks that need no download, about two minutes"),
    ("bench --study three-tasks", "SHD, SSC and PS-MNIST at published widths; needs no data"),
    (
        "bench --study leaderboard --profile speech --data shd=DIR --data ssc=DIR",
        "the leaderboard's methods on your own files",
    ),
    ("bench --again -- --benchmark-autosave --benchmark-compare", "save, and compare with the last saved measurement"),
)
_USUAL, _EACH = 2.0, 15.0


def command(
    places: Places,
    options: Annotated[
        list[str] | None, typer.Argument(help="Passed to pytest, after --, for example --benchmark-compare.")
    ] = None,
    study: Annotated[
        str | None, typer.Option(metavar="S", help="Measure the methods of this study, with its tasks and settings.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help="A profile of the study, or of the presets (default: quick).")
    ] = None,
    data: DataOfTasks = None,
    only_methods: Annotated[str | None, typer.Option(metavar="A,B", help="Measure only these methods.")] = None,
    only_tasks: Annotated[str | None, typer.Option(metavar="A,B", help="Measure only on these tasks.")] = None,
    each: Annotated[
        float | None, typer.Option(metavar="S", help="Seconds per method and task (default: 2; with --study: 15).")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Three rounds only, as a quick check.")] = False,
    threads: Annotated[int, typer.Option(metavar="N", help="Number of threads for torch and numba.")] = 1,
    device: Annotated[str, typer.Option(metavar="cpu|cuda|auto", help="Device to run on.")] = "cpu",
    every: Annotated[
        bool, typer.Option("--all", help="Every method, not only those on the leaderboard (without --study).")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Repeat existing measurements.")] = False,
) -> Answer:
    """Measure parameter counts and latency: a training step, inference of a batch, inference of one sample.

    Use an idle machine. Existing measurements from this machine are kept, so you can resume an interrupted command.
    SHD, SSC and PS-MNIST need no data: inputs are random, with the task's shape and spike rate.
    """
    from dataclasses import replace

    from delrec_bench.config import Request
    from delrec_bench.latency import measure
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
        raise BenchError("--data needs a study here; add --study NAME")
    else:
        usual = [n for n, m in methods.items() if m.build is not None and (every or m.board)]
        embedded = [n for n, t in tasks.items() if t.embedded]
        profile = profile or "quick"
        pairs = [(method, task) for task in where or embedded for method in chosen or usual]
        requests = [Request(*pair, profile=profile, threads=threads, device=placed) for pair in pairs]
        words = f"delrec-bench bench --profile {profile}"
    words += f" --threads {threads}" * (threads > 1) + f" --device {device}" * (device != "cpu")
    each = each if each is not None else _USUAL if study is None or quick else _EACH
    outcome = measure(
        requests, methods, tasks, places.workspace, folders=places.folders(), each=each, quick=quick, again=again,
        pytest=options or (), command=words, say=say,
    )  # fmt: skip
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
