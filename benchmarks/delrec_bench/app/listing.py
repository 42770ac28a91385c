"""`list`: every method or task."""

from argparse import Namespace
from typing import Any

from delrec_bench.app.common import Answer, tables


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
