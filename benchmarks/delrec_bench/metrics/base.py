"""What a metric is, and how metrics are found.

Nothing but this object knows which way a metric goes or how it is written: the choice of the epoch, schedules,
searches, records, statistics, tables and figures all ask it.
"""

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from delrec_bench.errors import BenchError, nearest
from delrec_bench.plugins import import_folder

VARIABLE = "DELREC_BENCH_METRICS"  # folders of more metrics; workers inherit it
MINUS = "\u2212"


@dataclass(frozen=True)
class Metric:
    """A metric as its file declares it, in the module variable `METRIC`.

    Attributes:
        name: As records and columns name it.
        label: What an axis or a column of a table is called, its unit included.
        unit: What follows a score where people read it.
        direction: Whether a "greater" or a "smaller" score is the better one.
        predicts: What a network gives for each sample: a "class" (int64), or a "value" (float64).
        score: (predictions (n,), targets (n,)) -> the score of all samples.
        per_sample: (predictions (n,), targets (n,)) -> (n,) contributions whose mean is the score.
        limits: Least and greatest score that there can be; None for no limit.
        factor: What a score is multiplied by where people read it.
        digits: Decimals there.
        difference_unit: What follows a difference of two scores there; else `unit`.
    """

    name: str
    label: str
    unit: str
    direction: Literal["greater", "smaller"]
    predicts: Literal["class", "value"]
    score: Callable[[ArrayLike, ArrayLike], float]
    per_sample: Callable[[ArrayLike, ArrayLike], NDArray[np.float64]]
    limits: tuple[float | None, float | None] = (None, None)
    factor: float = 1.0
    digits: int = 4
    difference_unit: str = ""

    def __post_init__(self) -> None:
        if self.direction not in ("greater", "smaller"):
            raise BenchError(
                f"metric '{self.name}': direction is {self.direction!r}; it must be 'greater' or 'smaller'"
            )
        if self.predicts not in ("class", "value"):
            raise BenchError(f"metric '{self.name}': predicts is {self.predicts!r}; it must be 'class' or 'value'")

    @property
    def more_is_better(self) -> bool:
        """Whether the greater score is the better one."""
        return self.direction == "greater"

    @property
    def classifies(self) -> bool:
        """Whether predictions are classes."""
        return self.predicts == "class"

    def rank(self, score: float) -> float:
        """A number that is smaller for a better score: sorting by it puts the best first."""
        return -score if self.more_is_better else score

    def better(self, one: float, other: float) -> bool:
        """Whether `one` is the better score of the two; equal ones are not."""
        return self.rank(one) < self.rank(other)

    def within(self, score: float) -> bool:
        """Whether there can be such a score."""
        low, high = self.limits
        return (low is None or score >= low) and (high is None or score <= high)

    def clipped(self, value: float) -> float:
        """The value, or the limit that it lies beyond."""
        low, high = self.limits
        value = value if low is None else max(low, value)
        return value if high is None else min(high, value)

    def shown(self, value: float) -> float:
        """A score or difference on the scale where people read it."""
        return self.factor * value

    def format(self, value: float | None) -> str:
        """A score as people read it, without its unit; empty when missing."""
        return "" if value is None else number(self.shown(value), self.digits)

    def format_difference(self, value: float) -> str:
        """A difference of two scores with its sign."""
        text = self.format(value)
        return text if text.startswith(MINUS) or float(text) == 0 else f"+{text}"


class MetricTable(dict[str, Metric]):
    """Metrics by name; an unknown name is a BenchError that names the nearest."""

    def __missing__(self, name: str) -> Metric:
        raise BenchError(f"no metric '{name}'; {nearest(name, self)}")


def number(value: float, digits: int) -> str:
    """Fixed digits with a true minus sign, never a negative zero."""
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def find_metrics() -> MetricTable:
    """All metrics: those of this package, and of every *.py file in the folders of DELREC_BENCH_METRICS.

    Raises:
        BenchError: A folder that is not there, a file that does not import or declares no METRIC, a name twice.
    """
    return _found(os.environ.get(VARIABLE, ""))


def metric_named(name: str) -> Metric:
    """The metric of this name.

    Raises:
        BenchError: There is none; names the nearest.
    """
    return find_metrics()[name]


@cache
def _found(folders: str) -> MetricTable:
    table = MetricTable()
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        module = importlib.import_module(f"delrec_bench.metrics.{path.stem}")
        if hasattr(module, "METRIC"):
            _add(table, module.METRIC, path)
    for folder in filter(None, folders.split(os.pathsep)):
        for path, module in import_folder(Path(folder), "metric"):
            _add(table, getattr(module, "METRIC", None), path)
    return table


def _add(table: MetricTable, metric: Any, path: Path) -> None:
    if not isinstance(metric, Metric):
        raise BenchError(f"{path}: METRIC is a {type(metric).__name__}; it must be a delrec_bench.metrics.base.Metric")
    if metric.name in table:
        raise BenchError(f"{path}: metric '{metric.name}' exists already; give it another name")
    table[metric.name] = metric
