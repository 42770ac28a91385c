"""Searched presets: the settings that a search chose for a method on a task at a size, with the evidence for them.

`searched/<task>.toml` holds a table [[search]] per search. That of seed 0 is the preset of its methods; others are
independent searches for the same, and the spread of what they chose is the tuning variance.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import fmean, variance
from typing import Any

from delrec_bench.config.toml import read_toml, toml_value
from delrec_bench.methods.base import Method
from delrec_bench.schema import Table, checked
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


class Draw(Table):
    """One draw of a search.

    Attributes:
        number: 0 is the profile's own settings.
        settings: What was drawn, by dotted key.
        scores: Validation scores in the order of the search's methods; of a final one method after method, split after
            split. NaN is a run that diverged.
    """

    number: int
    settings: dict[str, Any]
    scores: list[float]

    model_config = Table.model_config | {"allow_inf_nan": True}

    @property
    def mean(self) -> float:
        """The mean score; NaN where a run diverged."""
        return fmean(self.scores)


class Search(Table):
    """One search.

    Attributes:
        entry, size, profile, data: What it is for: method, "10000" parameters or "128x128" neurons, profile of presets,
            and the folder of a user's own files ("" for the task's own).
        seed: Of the draws.
        methods: Those that share the settings; a score is the mean over them.
        revision: Of the code.
        space: Digest of the space, in eight hexadecimal digits.
        chosen: Number of the winner.
        settings: Of the winner.
        draws: All of them, at a quarter of the epochs on one split.
        finals: The best of them, in full on several splits.
    """

    entry: str
    size: str
    profile: str
    data: str
    seed: int
    methods: list[str]
    revision: str
    space: str
    chosen: int
    settings: dict[str, Any]
    draws: list[Draw]
    finals: list[Draw]

    @property
    def score(self) -> float:
        """The winner's mean validation score."""
        return next(final.mean for final in self.finals if final.number == self.chosen)

    @property
    def place(self) -> tuple[str, str, str, str]:
        """What it is for."""
        return self.entry, self.size, self.profile, self.data

    def name(self, task: str) -> str:
        """What records call it."""
        return f"{task}/{'/'.join(part for part in self.place if part)}"


class _File(Table):
    search: list[Search]


def searches(task: str) -> list[Search]:
    """The searches on a task.

    Raises:
        BenchError: Its file is damaged.
    """
    return _read(FOLDER / f"{task}.toml")


@cache
def _read(path: Path) -> list[Search]:
    return checked(_File, read_toml(path), str(path)).search if path.exists() else []


def searched_settings(
    method: Method, task: str, profile: str, data: str | None, values: Mapping[str, Any]
) -> tuple[str, dict[str, Any]] | None:
    """The name and the settings of a run's searched preset; None where there was no search for it.

    Args:
        method: Of the run.
        task, profile: Their names.
        data: Folder of a user's own files.
        values: Every setting by dotted key; they say the size.
    """
    place = (method.entry, size_of(values), profile, folder_of(data))
    found = next((one for one in searches(task) if one.place == place and one.seed == 0), None)
    if found is None or method.name not in found.methods:
        return None
    own = searched_keys(method, values)
    return found.name(task), {key: value for key, value in found.settings.items() if key in own}


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
    """Write a search into the task's file, in place of the same one of before."""
    path = FOLDER / f"{task}.toml"
    others = [one for one in searches(task) if (one.place, one.seed) != (search.place, search.seed)]
    tables = sorted([*others, search], key=lambda one: (one.place, one.seed))
    write_atomic(path, "\n\n".join(map(_table, tables)) + "\n")
    _read.cache_clear()
    return path


def _table(search: Search) -> str:
    lines = ["[[search]]"]
    for name, value in search.model_dump().items():
        if name in ("draws", "finals"):
            inner = ",\n".join(f"  {_inline(draw)}" for draw in value)
            lines.append(f"{name} = [\n{inner},\n]")
        else:
            lines.append(f"{name} = {_inline(value)}")
    return "\n".join(lines)


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f'"{name}" = {_inline(inner)}' for name, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else toml_value(value)


def tuning_variance(name: str) -> tuple[float, float] | None:
    """The variance of a row's score that another search would bring, and its degrees of freedom.

    That of the row's own independent searches; else the mean over the measured rows of the task; None where none is.

    Args:
        name: As `Search.name`.
    """
    task = name.partition("/")[0]
    groups: dict[str, list[float]] = {}
    for one in searches(task):
        groups.setdefault(one.name(task), []).append(one.score)
    measured = {name_: scores for name_, scores in groups.items() if len(scores) > 1}
    return _pooled([measured[name]] if name in measured else list(measured.values()))


def _pooled(groups: Sequence[Sequence[float]]) -> tuple[float, float] | None:
    freedom = [len(scores) - 1 for scores in groups]
    if not freedom:
        return None
    return sum(df * variance(scores) for df, scores in zip(freedom, groups, strict=True)) / sum(freedom), sum(freedom)
