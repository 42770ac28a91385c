"""One search budget for all methods: the same draws for each, on every machine, judged on validation data.

    trial 0            the study's own settings, untouched
    trial 1, 2, ...    every setting of the space drawn from u = SHA-256(study, task, trial, setting) / 2^256

The draw does not depend on the method or the point of a sweep, so a method and its control try the same values of what
both have. A trial is trained on the split of repetition 0, from seeds that no repetition has, and never sees the test
set. The trial with the best validation score (of equals the earliest) gives its values to the runs that are reported.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import Field, model_validator

from delrec_bench.config import Request, defaults, full_key
from delrec_bench.errors import BenchError
from delrec_bench.methods.base import Method
from delrec_bench.metrics import metric_named
from delrec_bench.records import Record, canonical_json
from delrec_bench.schema import Table, checked

SPACE: Mapping[str, Any] = {
    "training.lr_weights": {"low": 1e-3, "high": 3e-2, "log": True},
    "training.lr_delays": {"low": 1e-2, "high": 3e-1, "log": True},
    "network.dropout": [0.0, 0.1, 0.2, 0.4],
}
"""What is searched where a study names no space of its own."""

PROTOCOL = ("training.epochs", "training.selection", "training.ties")
"""Settings of training that every method must share, so that a search leaves them alone."""


@dataclass(frozen=True)
class Search:
    """A study's search.

    Attributes:
        trials: How many, for every method on every task alike; the first is the study's own settings.
        space: Dotted setting -> a list of values, or {low, high} with `log = true` for even steps of the logarithm.
            Whole bounds draw whole numbers. A method draws the settings that it has.
    """

    trials: int
    space: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits that name the space."""
        return hashlib.sha256(canonical_json(self.space).encode()).hexdigest()[:8]


class Range(Table):
    """A range of a space: evenly spaced in the logarithm where `log`; whole bounds draw whole numbers."""

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _is_one(self) -> "Range":
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError("a range whose low is below its high, and above 0 where log = true")
        return self


class SearchTable(Table):
    """The table `search` of a study.

    Attributes:
        trials: For every method on every task alike; the first is the study's own settings.
        space: Dotted setting -> a list of values, or a `Range`; `SPACE` where a study names none.
    """

    trials: Annotated[int, Field(ge=1, le=1000)]
    space: dict[str, Any] | None = None


def parse(table: SearchTable, where: str, known: Iterable[str]) -> Search:
    """The search of a study's table `search`.

    Args:
        table: What the study says.
        where: Study and profile, for messages.
        known: Every setting of every method.

    Raises:
        BenchError: A setting that is unknown or no hyperparameter, or a range that is none.
    """
    names = list(known)
    space = {}
    for key, values in _settings(SPACE if table.space is None else table.space):
        try:
            name = full_key(key, names)
        except BenchError as error:
            raise BenchError(f"{where}, search.space: {error}") from error
        if not is_hyperparameter(name):
            raise BenchError(
                f"{where}: search.space.{name} is no hyperparameter: trials must share data, seeds, epochs and the way "
                "an epoch is chosen; search settings of network.* and training.*"
            )
        space[name] = _checked(values, f"{where}: search.space.{name}")
    return Search(table.trials, space)


def is_hyperparameter(name: str) -> bool:
    """Whether a search may choose a setting: it changes the method, not the data, the seeds or the protocol."""
    return name.startswith(("network.", "training.")) and name not in PROTOCOL


def _settings(table: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Dotted settings of a space; a table with a bound in it is a range, any other a group."""
    for name, value in table.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and not {"low", "high"} & set(value):
            yield from _settings(value, key + ".")
        else:
            yield key, value


def _checked(values: Any, where: str) -> Any:
    if isinstance(values, list) and values:
        return values
    if not isinstance(values, Mapping):
        raise BenchError(f"{where} is {values!r}; write a list of values, or {{ low = 0.001, high = 0.1, log = true }}")
    checked(Range, values, where)
    return dict(values)


def space_of(search: Search, method: Method) -> dict[str, Any]:
    """What a method can draw: the settings that it has, the rate of delays only where delays are learned.

    Raises:
        BenchError: Nothing, so that its trials would all be one.
    """
    known = defaults(method)
    still = set() if "delay" in method.learned else {"training.lr_delays"}
    own = {key: values for key, values in search.space.items() if key in known and key not in still}
    if not own and search.trials > 1:
        raise BenchError(
            f"method '{method.name}' has no setting of the search ({', '.join(search.space)}); "
            "add one that it has to search.space, or leave the method out of the study"
        )
    return own


def draw(search: Search, study: str, method: Method, task: str, number: int) -> dict[str, Any]:
    """The values of one trial: none for trial 0, else one for each setting of `space_of`."""
    if number == 0:
        return {}
    values = {}
    for key, choice in space_of(search, method).items():
        text = ":".join(["delrec-bench", "search", study, task, str(number), key])
        values[key] = _value(choice, int.from_bytes(hashlib.sha256(text.encode()).digest(), "big") / 2**256)
    return values


def _value(choice: Any, u: float) -> Any:
    """The value of a list or a range at u in [0, 1)."""
    if isinstance(choice, list):
        return choice[int(u * len(choice))]
    low, high = choice["low"], choice["high"]
    whole = isinstance(low, int) and isinstance(high, int)
    if choice.get("log"):
        value = low * (high / low) ** u
        return round(value) if whole else float(f"{value:.3g}")
    if whole:
        return low + int(u * (high - low + 1))
    return float(f"{low + u * (high - low):.3g}")


def with_values(request: Request, values: Mapping[str, Any]) -> Request:
    """The request with a trial's values over the study's own settings."""
    return replace(request, overrides=tuple(sorted((dict(request.overrides) | dict(values)).items())))


def trials_of(search: Search, request: Request, method: Method) -> list[Request]:
    """The trials of one method on one task and point, trial 0 first."""
    values = [draw(search, request.study or "", method, request.task, n) for n in range(search.trials)]
    # What is searched is trained: all conditions of evaluation of one network share its trials.
    return [replace(with_values(request.trained(), v), repetition=0, trial=True) for v in values]


def best(records: Sequence[Record]) -> int:
    """The number of the best trial by validation: of equals the earliest, 0 where all have failed."""
    metric = metric_named(records[0].metric)
    scores = [r.result["valid_score"] for r in records]
    judged = [(metric.rank(score), number) for number, score in enumerate(scores) if score is not None]
    return min(judged)[1] if judged else 0


def account(search: Search, study: str, method: Method, task: str, records: Sequence[Record]) -> dict[str, Any]:
    """What a final run says of its search, in `Record.search`: the trials of its method, task and point, by number."""
    number = best(records)
    return {
        "trials": len(records),
        "trial": number,
        "key": records[number].key,
        "values": draw(search, study, method, task, number),
        "scores": [record.result["valid_score"] for record in records],
        "space": search.digest,
    }
