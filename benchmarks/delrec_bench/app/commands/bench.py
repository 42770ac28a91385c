"""`bench`: latency of methods on the embedded tasks' shapes."""

from typing import Annotated

import typer

from delrec_bench.app.options import Answer, Places
from delrec_bench.app.progress import say

PANEL = "Run"


def command(
    places: Places,
    seconds: Annotated[float, typer.Option(help="Time for everything.")] = 90.0,
    profile: Annotated[str, typer.Option(help="Whose networks and shapes.")] = "quick",
    threads: Annotated[int, typer.Option(metavar="N", help="Threads of torch and numba.")] = 1,
    every: Annotated[bool, typer.Option("--all", help="Every method, not only the quick ones.")] = False,
) -> Answer:
    """Measure latency of methods on the embedded tasks' shapes."""
    from delrec_bench.latency import measure

    workspace = places.workspace
    methods, tasks = places.tables()
    chosen = [m for m in methods.values() if m.build is not None and (every or m.quick)]
    embedded = [t for t in tasks.values() if t.embedded]
    records = measure(chosen, embedded, workspace, seconds, profile=profile, threads=threads, progress=say)
    rows = [{"method": r.method, "task": r.task, **r.result} for r in records]
    if not places.as_json:
        for row in rows:
            ratios = "  ".join(f"{name} {row[name]}" for name in ("train_ratio", "infer_ratio", "batch1_ratio"))
            print(f"{row['task']:<16} {row['method']:<24} {ratios}")
    return 0, {"latency": rows}
