"""What is reached without any network: a method that does not beat these has learned nothing about time."""

from typing import TYPE_CHECKING, Any

from delrec_bench.methods.base import Method

if TYPE_CHECKING:
    from delrec_bench.tasks.base import Task


def _classes_only(task: "Task") -> str | None:
    return None if task.metric == "accuracy" else "floors classify, and this task forecasts a value"


def _counts_only(data: Any) -> Any:
    from delrec_bench.tasks.floors import counts_only  # scikit-learn: a second that `list` need not wait for

    return counts_only(data)


def _time_slices(data: Any) -> Any:
    from delrec_bench.tasks.floors import time_slices

    return time_slices(data)


METHODS = [
    Method(
        name="counts-only",
        summary="floor: logistic regression on a sample's input per channel, without time",
        source="scikit-learn's LogisticRegression; rule 11 of the protocol",
        learned="a linear classifier",
        quick=True,
        floor=_counts_only,
        applicable=_classes_only,
    ),
    Method(
        name="time-slices",
        summary="floor: logistic regression on the input per channel in ten time slices",
        source="scikit-learn's LogisticRegression; rule 11 of the protocol",
        learned="a linear classifier",
        quick=True,
        floor=_time_slices,
        applicable=_classes_only,
    ),
]
