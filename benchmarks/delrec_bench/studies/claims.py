"""What a study declares of its comparison, checked: the hypothesis stands at one point, a margin can be exceeded."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from delrec_bench.config import defaults, dotted, full_key
from delrec_bench.errors import BenchError
from delrec_bench.methods.base import MethodTable
from delrec_bench.metrics import metric_named
from delrec_bench.studies.file import Contrast, Primary
from delrec_bench.studies.sweep import called, has
from delrec_bench.tasks.base import TaskTable

P = TypeVar("P", Primary, Contrast)


def placed(pair: P, axes: Mapping[str, Sequence[Any]], methods: MethodTable, study: str) -> P:
    """The hypothesis, or a contrast, with dotted keys, checked to stand at one point of the axes."""
    name = "primary" if isinstance(pair, Primary) else "contrasts"

    def place(given: Mapping[str, Any], where: str) -> dict[str, Any]:
        at = {full_key(key, axes): called(value) for key, value in dotted(given).items()}
        for key, value in at.items():
            if value not in (known := [called(value) for value in axes[key]]):
                raise BenchError(f"study '{study}': {name}.{where}.{key} is {value!r}; it is swept over {known}")
        return at

    at = place(pair.at, "at")
    control_at = place(pair.control_at, "control_at")
    for side, there in ((pair.method, at), (pair.control, at | control_at)):
        for key, values in axes.items():
            if has(key, values, defaults(methods[side])) and key not in there and len(values) > 1:
                raise BenchError(
                    f"study '{study}': {name}.at lacks '{key}', which {side} is swept along; give its value"
                )
    if pair.method == pair.control and at == at | control_at:
        raise BenchError(
            f"study '{study}': {name} compares {pair.method} with itself; name another control, or control_at"
        )
    return pair.model_copy(update={"at": at, "control_at": control_at})


def check_margins(margin: Mapping[str, float], tasks: TaskTable, study: str) -> None:
    """Refuse a margin that no difference of scores can exceed: 2 for two points of accuracy is everything."""
    for task, value in margin.items():
        metric = metric_named(tasks[task].metric)
        low, high = metric.limits
        if low is not None and high is not None and value >= high - low:
            raise BenchError(
                f"study '{study}': margin.{task} is {value:g}, but {metric.name} lies in {low:g} to {high:g}: every "
                f"difference is within it; {metric.format(0.01)} {metric.unit} is 0.01"
            )
