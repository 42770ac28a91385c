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

_NEEDS = {"mackey-glass": {"tau": 17, "horizon": 20}}


@dataclass(frozen=True)
class Published:
    """One published value. `value` is a fraction (accuracy) or an NMSE; text fields are empty where not stated."""

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
            )
        )
    return tuple(out)


def published_for(task: str, method: str, configuration: Mapping[str, Any]) -> Published | None:
    """The published value of this method on this very dataset, or None."""
    if task not in DATASETS:
        return None
    needed = _NEEDS.get(task, {})
    if needed and not _holds(configuration, needed):
        return None
    for value in published_values():
        if value.dataset == DATASETS[task] and value.ours == method:
            return value
    return None


def _holds(configuration: object, needed: dict[str, int]) -> bool:
    if not isinstance(configuration, dict):
        return False
    if all(configuration.get(k) == v for k, v in needed.items()):
        return True
    return any(_holds(inner, needed) for inner in configuration.values())
