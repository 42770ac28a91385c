"""`bench`: latency of methods on the embedded tasks' shapes."""

from argparse import Namespace

from delrec_bench.app.common import Answer, say, tables
from delrec_bench.latency import measure
from delrec_bench.workspace import find_workspace


def bench(arguments: Namespace) -> Answer:
    """Measure latency."""
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
