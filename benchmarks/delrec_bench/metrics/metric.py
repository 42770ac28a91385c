"""What a metric is, and how metrics are found.

Nothing but this object knows which way a metric goes or how it is written: the choice of the epoch, schedules,
searches, records, statistics, tables and figures all ask it.
"""

import os
from collections.abc import Callable
from numbers import Real
from typing import Annotated, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from delrec_bench.errors import BenchError, RunError, raised
from delrec_bench.plugins import Plugins
from delrec_bench.schema import settings

VARIABLE = "DELREC_BENCH_METRICS"  # folders of more metrics; workers inherit it
MINUS = "\u2212"


@settings("")
class Metric:
    """A metric, declared by a file as `METRIC`."""

    name: str  # in records and columns
    label: str  # for axes and table columns, including the unit
    unit: str  # shown after a score
    direction: Literal["greater", "smaller"]  # which scores are better
    predicts: Literal["class", "value"]  # what a network predicts for each sample: int64, or float64
    score: Callable[[ArrayLike, ArrayLike], float]  # (predictions (n,), targets (n,)) -> the score of all samples
    per_sample: Callable[[ArrayLike, ArrayLike], NDArray[np.float64]]  # the same -> (n,) whose mean is the score
    limits: tuple[float | None, float | None] = (None, None)  # smallest and largest possible score
    factor: Annotated[float, Field(gt=0)] = 1.0  # applied to scores for display (100 for percent)
    digits: Annotated[int, Field(ge=0, le=15)] = 4  # decimals displayed
    difference_unit: str = ""  # shown after a difference of two scores; default `unit`
    code: str = ""  # see `Plugins`; not to be given

    @property
    def more_is_better(self) -> bool:
        """Whether greater scores are better."""
        return self.direction == "greater"

    @property
    def classifies(self) -> bool:
        """Whether predictions are classes."""
        return self.predicts == "class"

    def measured(self, predictions: ArrayLike, targets: ArrayLike) -> float:
        """The score of all samples; a `BenchError` where `score`, `per_sample` and `limits` contradict each other."""
        try:
            score, each = self.score(predictions, targets), np.asarray(self.per_sample(predictions, targets))
        except BenchError:
            raise
        except Exception as error:
            raise RunError(f"metric '{self.name}': it raised {raised(error)}") from error
        if not isinstance(score, Real) or not np.isclose(self.clipped(float(score)) - score, 0):  # nor NaN or infinity
            raise BenchError(f"metric '{self.name}': its score is {score!r}; it must be a number within its limits")
        if each.shape != np.shape(targets) or not np.isclose(np.mean(each), score):
            found, wanted = str(each.tolist())[:60], f"one number per sample, whose mean is the score, {score:g}"
            raise BenchError(f"metric '{self.name}': per_sample gives {found}; give {wanted}")
        return float(score)

    def rank(self, score: float) -> float:
        """A number that is smaller for a better score: sorting by it puts the best first."""
        return -score if self.more_is_better else score

    def better(self, one: float, other: float) -> bool:
        """Whether `one` is the better of two scores; False if they are equal."""
        return self.rank(one) < self.rank(other)

    def clipped(self, value: float) -> float:
        """The value, clipped to the limits."""
        low, high = self.limits
        value = value if low is None else max(low, value)
        return value if high is None else min(high, value)

    def shown(self, value: float) -> float:
        """A score or difference, scaled for display."""
        return self.factor * value

    def format(self, value: float | None) -> str:
        """A score formatted for display, without its unit; empty if missing. One that is almost 0 has a digit more."""
        if value is None:
            return ""
        shown = self.shown(value)
        digits = next((digits for digits in (self.digits, self.digits + 1) if round(shown, digits)), self.digits)
        return f"{shown:z.{digits}f}".replace("-", MINUS)

    def format_difference(self, value: float) -> str:
        """A difference of two scores with its sign."""
        text = self.format(value)
        return text if text.startswith(MINUS) or float(text) == 0 else f"+{text}"


class MetricTable(Plugins[Metric]):
    """Metrics by name."""

    kind, declared, of = "metric", "METRIC", Metric


def find_metrics() -> MetricTable:
    """All metrics: of this package, of installed distributions, and of the folders in DELREC_BENCH_METRICS."""
    return MetricTable.found(filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)))


def metric_named(name: str) -> Metric:
    """The metric of this name."""
    return find_metrics()[name]
