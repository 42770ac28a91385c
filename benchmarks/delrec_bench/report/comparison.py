"""Two methods on the tasks that both have runs on: the paired difference of each, with its interval."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from delrec_bench.errors import BenchError, nearest
from delrec_bench.metrics import metric_named
from delrec_bench.records import Record
from delrec_bench.statistics.paired import Estimate, paired
from delrec_bench.statistics.verdicts import SHOWN_ONLY


@dataclass(frozen=True)
class OnTask:
    """One task.

    Attributes:
        task, metric: Names.
        estimate: Of the difference, first method minus second.
    """

    task: str
    metric: str
    estimate: Estimate

    def __str__(self) -> str:
        """The difference, its 95 percent interval, the repetitions and the p value, as people read them."""
        metric, e = metric_named(self.metric), self.estimate
        shown = metric.format_difference
        assert e.difference is not None
        text = f"{self.task}: {shown(e.difference)} {metric.difference_unit or metric.unit}"
        runs = f"{e.n} run{'s' if e.n > 1 else ''}"
        if e.n <= SHOWN_ONLY:
            return f"{text} ({runs}: too few for an interval)"
        if e.low is None or e.high is None or e.p is None:
            return f"{text} ({runs}: {e.reason})"
        return f"{text} ({runs}; 95 % interval {shown(e.low)} to {shown(e.high)}, p {e.p:.2g})"

    def to_dict(self) -> dict[str, Any]:
        """For `--json`, in the metric's own unit."""
        e = self.estimate
        known = e.n > SHOWN_ONLY
        ends = {name: getattr(e, name) if known else None for name in ("low", "high", "p")}
        numbers = {"difference": e.difference, "n": e.n, **ends}
        return {"task": self.task, "metric": self.metric, **numbers}


def compare_rows(records: Iterable[Record], rows: Mapping[str, str], a: str, b: str) -> list[OnTask]:
    """Row a minus row b, paired by repetition, task by task. Nobody declared it before the runs: it is exploratory.

    Args:
        records: Any; runs and floors count.
        rows: Key -> the row that a page gives a run to; else the method's name.
        a, b: Rows: names of methods, of a sweep with the point.

    Raises:
        BenchError: There are no runs of one of them, no task with both, or runs of several settings.
    """
    found: dict[str, dict[str, dict[int, Record]]] = {}
    for record in records:
        if record.kind not in ("run", "floor"):
            continue
        row = rows.get(record.key, record.method)
        first = found.setdefault(row, {}).setdefault(record.task, {}).setdefault(record.repetition, record)
        if row in (a, b) and first.key != record.key:
            raise BenchError(
                f"there are runs of several settings of {row} on {record.task}, repetition {record.repetition} "
                f"({first.key[:12]} and {record.key[:12]}); compare the two by one study's runs: --of STUDY"
            )
    for name in (a, b):
        if name not in found:
            raise BenchError(f"there are no runs of '{name}' to compare; {nearest(name, found)}")
    out = []
    for task, ours in sorted(found[a].items()):
        theirs = found[b].get(task, {})
        shared = sorted(ours.keys() & theirs.keys())
        if shared:
            of = [ours[i] for i in shared]
            estimate = paired([r.score for r in of], [theirs[i].score for i in shared], resolution=_step(of))
            out.append(OnTask(task, of[0].metric, estimate))
    if not out:
        raise BenchError(f"'{a}' and '{b}' have no task and repetition in common")
    return out


def _step(records: Iterable[Record]) -> float:
    """The smallest step of a score: 1 / test samples where it is a share of them, else 0."""
    return max((1 / r.result["total"] for r in records if metric_named(r.metric).classifies), default=0.0)
