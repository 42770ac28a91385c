"""Published values: they stand beside ours with source and selection, and are never ranked with them.

A line of `published.csv` holds a fraction (accuracy) or an NMSE; texts are empty where not stated. `ours` is the method
of the suite. `rerun_by` names the authors of another paper where the value is from its table, to which `source` then
leads.
"""

from functools import cache
from importlib.resources import files
from typing import Any

import pandas as pd


@cache
def _values() -> dict[tuple[str, str], Any]:
    with (files(__package__) / "published.csv").open(encoding="utf-8") as file:
        lines: Any = pd.read_csv(file, keep_default_na=False)
    return {(one.task, one.ours): one for one in lines.itertuples(index=False)}


def published_for(task: str, stamp: str | None, method: str) -> Any:
    """The line of a method's published value on the very data of a row, or None: a part of it, or a stand-in, has none.

    A user's own copy of all official files counts as the task. `stamp` says whose data it is; None of a row that has a
    size and a latency alone.
    """
    name = task.partition(":")[0] if stamp == "OFFICIAL" else task
    if stamp in ("OFFICIAL SUBSET", "STAND-IN"):
        return None
    return _values().get((name, method))
