"""Published values: they stand beside ours with source and selection, and are never ranked with them."""

import csv
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

_DATASETS = {
    "shd": "SHD",
    "ssc": "SSC",
    "ps-mnist": "PS-MNIST",
    "yin-yang": "Yin-Yang",
    "mackey-glass": "Mackey-Glass tau 17 H 20",
}
"""Task -> the dataset whose published values may stand beside it."""
_NEEDS = {"mackey-glass": {"tau": 17, "horizon": 20}}  # options of the task


class Published(NamedTuple):
    """One published value: a fraction (accuracy) or an NMSE; texts are empty where not stated.

    `rerun_by` names the authors of another paper where the value is from its table, to which `source` then leads.
    """

    method: str
    metric: str
    value: float
    parameters: str
    selection: str
    source: str
    rerun_by: str


@cache
def _values() -> dict[tuple[str, str], Published]:
    """``published.csv`` by dataset and method of the suite."""
    found: dict[tuple[str, str], Published] = {}
    for row in csv.DictReader((files(__package__) / "published.csv").read_text(encoding="utf-8").splitlines()):
        value = round(float(row["accuracy_pct"]) / 100, 6) if row["metric"] == "accuracy" else float(row["nmse"])
        texts = (row[name] for name in ("params", "selection", "source", "rerun_by"))
        found.setdefault((row["dataset"], row["ours"]), Published(row["method"], row["metric"], value, *texts))
    return found


def published_for(task: str, stamp: str | None, method: str, options: Mapping[str, Any]) -> Published | None:
    """The published value of a method on the very data of a row, or None: a part of it, or a stand-in, has none.

    Args:
        task: The row's; a user's own copy of all official files counts as the task.
        stamp: Whose data it is; None of a row that has a size and a latency alone.
        method: Of the suite.
        options: Of the task, empty for its own.
    """
    name = task.partition(":")[0] if stamp == "OFFICIAL" else task
    if stamp in ("OFFICIAL SUBSET", "STAND-IN") or name not in _DATASETS:
        return None
    if any(options.get(option) != value for option, value in _NEEDS.get(name, {}).items()):
        return None
    return _values().get((_DATASETS[name], method))
