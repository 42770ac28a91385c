"""`bench`: latency and parameters of a study's methods, by pytest-benchmark."""

from typing import Annotated, Any

import typer

from delrec_bench.app.options import (
    Answer,
    DataOfTasks,
    DeviceOption,
    MethodsOption,
    Places,
    TasksOption,
    by_task,
    names,
    option,
)
from delrec_bench.app.progress import say
from delrec_bench.errors import BenchError

EXAMPLES = (
    ("bench", "the leaderboard's methods on the tasks that need no download, about two minutes"),
    ("bench --study three-tasks", "SHD, SSC and PS-MNIST at published widths; needs no data"),
    (
        "bench --study leaderboard --profile speech --data shd=DIR --data ssc=DIR",
        "the leaderboard's methods on your own files",
    ),
    ("bench --again -- --benchmark-autosave --benchmark-compare", "save, and compare with the last saved measurement"),
)


def command(
    places: Places,
    options: Annotated[
        list[str] | None, typer.Argument(help="Passed to pytest, after --, for example --benchmark-compare.")
    ] = None,
    study: Annotated[
        str | None, option("Measure the methods of this study, with its tasks and settings.", metavar="S")
    ] = None,
    profile: Annotated[str | None, option("A profile of the study, or of the presets (default: quick).")] = None,
    data: DataOfTasks = None,
    only_methods: MethodsOption = None,
    only_tasks: TasksOption = None,
    each: Annotated[
        float | None, option("Seconds per method and task (default: 2; with --study: 15).", metavar="S")
    ] = None,
    quick: Annotated[bool, option("Three rounds only, as a quick check.", "--quick")] = False,
    threads: Annotated[int, option("Number of threads for torch and numba.", metavar="N")] = 1,
    device: DeviceOption = "cpu",
    every: Annotated[bool, option("Every method, not only the leaderboard's (without --study).", "--all")] = False,
    again: Annotated[bool, option("Repeat existing measurements.", "--again")] = False,
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
    placed: Any = device  # checked by each request
    chosen, where = names("--only-methods", only_methods), names("--only-tasks", only_tasks)
    if study is not None:
        wanted = Wanted(methods=chosen, tasks=where, repetitions=1, data=by_task(data), device=placed)
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
    seconds = each if each is not None else 2.0 if study is None or quick else 15.0
    outcome = measure(
        requests, methods, tasks, places.workspace, folders=places.folders(), each=seconds, quick=quick, again=again,
        pytest=options or (), command=words, say=say,
    )  # fmt: skip
    rows = [
        {"method": r.method, "task": r.task, "parameters": r.parameters, "host": r.measured["host"], **r.result}
        for r in outcome.records
    ]
    lines = []
    for row in rows:
        times = [(name, row[f"{name}_ms"], row[f"{name}_ratio"]) for name in ("train", "infer", "batch1")]
        told = [f"{name} -" if ms is None else f"{name} {ms:.4g} ms ({ratio:.2f})" for name, ms, ratio in times]
        lines.append(f"{row['task']:<12} {row['method']:<24} {row['parameters']['total']:>9,}  {'  '.join(told)}")
    content = {"latency": rows, "measured": outcome.measured, "failed": outcome.failed}
    return Answer(content, "\n".join(lines), 1 if outcome.failed else 0)
