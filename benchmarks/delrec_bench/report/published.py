"""Published values: they stand beside ours with source and selection, and are never ranked with them."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

DATASETS = {
    "shd": "SHD",
    "ssc": "SSC",
    "ps-mnist": "PS-MNIST",
    "yin-yang": "Yin-Yang",
    "mackey-glass": "Mackey-Glass tau 17 H 20",
}
"""Task -> the dataset whose published values may stand beside it: the same data, never a stand-in."""

_NEEDS = {DATASETS["mackey-glass"]: {"tau": 17, "horizon": 20}}


@dataclass(frozen=True)
class Published:
    """One published value. `value` is a fraction (accuracy) or an NMSE; text fields are empty where not stated.

    `rerun_by` names the authors of another paper where the value is from its table.
    """

    method: str
    dataset: str
    metric: str
    value: float
    sd: float | None
    spread: str
    n: str
    parameters: str
    delays: str
    neuron: str
    year: str
    selection: str
    source: str
    seen_in: str
    ours: str
    rerun_by: str


@cache
def published_values() -> tuple[Published, ...]:
    """All published values of ``published.csv``, in the order of the file."""
    text = (files(__package__) / "published.csv").read_text(encoding="utf-8")
    out = []
    for row in csv.DictReader(text.splitlines()):
        percent = row["metric"] == "accuracy"
        value = round(float(row["accuracy_pct"]) / 100, 6) if percent else float(row["nmse"])
        sd = round(float(row["std"]) / 100, 6) if row["std"] else None
        out.append(
            Published(
                method=row["method"],
                dataset=row["dataset"],
                metric=row["metric"],
                value=value,
                sd=sd,
                spread=row["spread"],
                n=row["n"],
                parameters=row["params"],
                delays=row["delays"],
                neuron=row["neuron"],
                year=row["year"],
                selection=row["selection"],
                source=row["source"],
                seen_in=row["seen_in"],
                ours=row["ours"],
                rerun_by=row["rerun_by"],
            )
        )
    return tuple(out)


def dataset_of(task: str, stamp: str | None) -> str | None:
    """The dataset whose published values may stand beside a row: never of a part of it, nor of a stand-in.

    Also of a user's own copy of all official files; a row without a stamp has a size and a latency alone.
    """
    if stamp in ("OFFICIAL SUBSET", "STAND-IN"):
        return None
    return DATASETS.get(task.partition(":")[0] if stamp == "OFFICIAL" else task)


def published_for(dataset: str | None, method: str, configuration: Mapping[str, Any]) -> Published | None:
    """The published value of this method on this very dataset, or None."""
    needed = _NEEDS.get(dataset or "", {})
    if needed and not _holds(configuration, needed):
        return None
    return next((value for value in published_values() if (value.dataset, value.ours) == (dataset, method)), None)


def _holds(configuration: object, needed: dict[str, int]) -> bool:
    if not isinstance(configuration, dict):
        return False
    if all(configuration.get(k) == v for k, v in needed.items()):
        return True
    return any(_holds(inner, needed) for inner in configuration.values())
