"""Searched presets: the settings that a search chose for a method on a task at a size, with the evidence for them.

`searched/<task>.json` holds them. That of seed 0 is the preset of its methods; others are independent searches for the
same, and the spread of what they chose is the tuning variance.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from statistics import fmean, variance
from typing import Any

from delrec_bench.errors import BenchError
from delrec_bench.methods.method import Method
from delrec_bench.schema import FileTable, checked
from delrec_bench.workspace import write_atomic

FOLDER = Path(__file__).parent / "searched"

SPACE: Mapping[str, Any] = {
    "training.lr_weights": {"low": 1e-3, "high": 5e-2, "log": True},
    "training.lr_delays": {"low": 1e-2, "high": 3e-1, "log": True},
    "network.tau": {"low": 1.5, "high": 20.0, "log": True},
    "network.sigma": {"low": 1.0, "high": 20.0, "log": True},
    "network.dropout": [0.0, 0.1, 0.2, 0.4],
}
"""What is searched: dotted setting -> values, or a range that is even in the logarithm."""


class Draw(FileTable):
    """One draw of a search, number 0 being the profile's own settings.

    `scores` are those of validation: of a short draw in the order of the search's methods, of a final method after
    method and split after split. NaN is a run that diverged.
    """

    number: int
    settings: dict[str, Any]
    scores: list[float]

    model_config = FileTable.model_config | {"allow_inf_nan": True}

    @property
    def mean(self) -> float:
        """The mean score; NaN where a run diverged."""
        return fmean(self.scores)


class Search(FileTable):
    """One search: for `entry` at `size`, in a profile of presets, on `data`."""

    entry: str
    size: str  # "10000" parameters or "128x128" neurons
    profile: str
    data: str  # the folder of a user's own files, "" for the task's own
    seed: int  # of the draws
    methods: list[str]  # that share the settings; a score is the mean over them
    revision: str
    space: str  # digest of `SPACE`, eight hexadecimal digits
    chosen: int  # number of the winner
    settings: dict[str, Any]  # that it drew
    draws: list[Draw]  # at a quarter of the epochs on one split
    finals: list[Draw]  # the best, in full on several splits

    @property
    def score(self) -> float:
        """The winner's mean validation score."""
        return next(final.mean for final in self.finals if final.number == self.chosen)

    def name(self, task: str) -> str:
        """What records call it: what it is for."""
        return "/".join(filter(None, (task, self.entry, self.size, self.profile, self.data)))


class _File(FileTable):
    search: list[Search]


def searches(task: str) -> list[Search]:
    """The searches on a task; a `BenchError` says that its file is damaged."""
    return _read(FOLDER / f"{task}.json")


@cache
def _read(path: Path) -> list[Search]:
    try:
        return checked(_File, json.loads(path.read_bytes()), str(path)).search if path.exists() else []
    except (ValueError, TypeError) as error:
        raise BenchError(f"{path} is no JSON object ({error}); restore it, or search again") from error


def searched_settings(
    method: Method, task: str, profile: str, data: str | None, values: Mapping[str, Any], seed: int = 0
) -> tuple[str, dict[str, Any]] | None:
    """The name of the search for a run, and the settings that the one with this seed chose; None where there is none.

    `values` are all of its settings by dotted key; they say its size. `data` is the folder of a user's own files.
    """
    name = "/".join(filter(None, (task, method.entry, size_of(values), profile, folder_of(data))))
    found = next((one for one in searches(task) if one.name(task) == name and one.seed == seed), None)
    if found is None or method.name not in found.methods:
        return None
    own = searched_keys(method, values)
    return name, {key: value for key, value in found.settings.items() if key in own}


def searched_keys(method: Method, known: Mapping[str, Any]) -> set[str]:
    """The settings of the space that a method has; the rate of delays only where delays are learned."""
    still = set() if "delay" in method.learned else {"training.lr_delays"}
    return {key for key in SPACE if key in known and key not in still}


def size_of(values: Mapping[str, Any]) -> str:
    """A run's size, as searches name it: its budget of parameters, or its neurons layer by layer."""
    hidden = values.get("network.hidden") or ()
    return str(values.get("budget") or "x".join(map(str, hidden if isinstance(hidden, list | tuple) else [hidden])))


def folder_of(data: str | None) -> str:
    """The name of a folder of a user's own files, as rows are named."""
    return "" if data is None else Path(data).resolve().name


def keep(task: str, search: Search) -> Path:
    """Write a search into the task's file, in place of an earlier one of the same place and seed."""
    path = FOLDER / f"{task}.json"
    every = {(one.name(task), one.seed): one.model_dump() for one in (*searches(task), search)}
    write_atomic(path, json.dumps({"search": [every[place] for place in sorted(every)]}, indent=1) + "\n")
    _read.cache_clear()
    return path


def tuning_variance(name: str) -> tuple[float, float] | None:
    """The variance of a row's score that another search would bring, and its degrees of freedom; see `Search.name`.

    That of the row's own independent searches; else the mean over the measured rows of the task; None where none is.
    """
    task = name.partition("/")[0]
    scores: dict[str, list[float]] = {}
    for one in searches(task):
        scores.setdefault(one.name(task), []).append(one.score)
    measured = {place: of for place, of in scores.items() if len(of) > 1}
    groups = [measured[name]] if name in measured else list(measured.values())
    freedom = sum(len(of) - 1 for of in groups)
    return (sum((len(of) - 1) * variance(of) for of in groups) / freedom, freedom) if groups else None
