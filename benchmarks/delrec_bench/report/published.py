"""Published values: they stand beside ours with source and selection, and are never ranked with them."""

import csv
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from delrec_bench.workspace import base_and_folder

DATASETS = {
    "shd": "SHD",
    "ssc": "SSC",
    "ps-mnist": "PS-MNIST",
    "yin-yang": "Yin-Yang",
    "mackey-glass": "Mackey-Glass tau 17 H 20",
}
"""Task -> the dataset whose published values may stand beside it: the same data, never a stand-in."""
_NEEDS = {DATASETS["mackey-glass"]: {"tau": 17, "horizon": 20}}  # options of the task


class Published(NamedTuple):
    """One published value. `value` is a fraction (accuracy) or an NMSE; text fields are empty where not stated.

    `ours` is the method of the suite that it is of; `rerun_by` names the authors of another paper where the value is
    from its table, to which `source` then leads.
    """

    method: str
    dataset: str
    metric: str
    value: float
    sd: float | None
    n: str
    parameters: str
    delays: str
    neuron: str
    year: str
    selection: str
    source: str
    ours: str
    rerun_by: str


@cache
def published_values() -> tuple[Published, ...]:
    """All published values of ``published.csv``, in the order of the file."""
    lines = (files(__package__) / "published.csv").read_text(encoding="utf-8").splitlines()
    return tuple(map(_read, csv.DictReader(lines)))


def _read(row: dict[str, str]) -> Published:
    scale = 100 if row["metric"] == "accuracy" else 1
    numbers = {
        "value": round(float(row["accuracy_pct"] or row["nmse"]) / scale, 6),
        "sd": round(float(row["std"]) / scale, 6) if row["std"] else None,
    }
    texts = {"parameters": row["params"]} | {name: row[name] for name in Published._fields if name in row}
    return Published(**texts, **numbers)  # type: ignore[arg-type]


def dataset_of(task: str, stamp: str | None) -> str | None:
    """The dataset whose published values may stand beside a row: never of a part of it, nor of a stand-in.

    Also of a user's own copy of all official files; a row without a stamp has a size and a latency alone.
    """
    if stamp in ("OFFICIAL SUBSET", "STAND-IN"):
        return None
    return DATASETS.get(base_and_folder(task)[0] if stamp == "OFFICIAL" else task)


def published_for(dataset: str | None, method: str, configuration: Mapping[str, Any]) -> Published | None:
    """The published value of this method on this very dataset, or None."""
    options = configuration.get("task", {})
    if any(options.get(name) != value for name, value in _NEEDS.get(dataset or "", {}).items()):
        return None
    return next((value for value in published_values() if (value.dataset, value.ours) == (dataset, method)), None)
