"""A study's finding: written by people, filled with the numbers of the runs, and checked against their verdicts.

    finding = { text = "Learned delays gain {digits.difference} on digits.", verdicts = { digits = "better" } }

Placeholders name a task of the declared comparison: {TASK.difference}, {TASK.interval}, {TASK.n}, {TASK.method} and
{TASK.control} (mean scores), {TASK.verdict}; and {mean.difference}, {mean.interval} over its tasks.
"""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from delrec_bench.errors import BenchError
from delrec_bench.report import words
from delrec_bench.report.declared import Finding
from delrec_bench.report.judging import Difference, Judged
from delrec_bench.statistics.paired import Estimate


def filled(finding: Finding, judged: Judged) -> str | None:
    """The finding with its numbers; None where a verdict that it relies on is another now, or its runs are not there.

    Raises:
        BenchError: A placeholder that is none.
    """
    by_task = {d.method["task"]: d for d in judged.primary}
    if any(task not in by_task or by_task[task].verdict.verdict != word for task, word in finding.verdicts.items()):
        return None
    names: dict[str, Any] = {task: _numbers(d) for task, d in by_task.items()}
    if judged.mean is not None and judged.mean.difference is not None:
        names["mean"] = _of_estimate(judged.mean, judged.primary[0].method["metric"])
    try:
        return finding.text.format_map(names)
    except (KeyError, AttributeError, ValueError, IndexError) as error:
        if isinstance(error, KeyError) and error.args[0] in (*finding.verdicts, "mean"):
            return None
        raise BenchError(f"finding: {error} is no placeholder (there are: {_known(names)})") from error


def _known(names: Mapping[str, Any]) -> str:
    return ", ".join(f"{{{name}.{field}}}" for name, of in names.items() for field in vars(of)) or "none"


def _numbers(d: Difference) -> SimpleNamespace:
    metric, v = d.method["metric"], d.verdict
    mean, control = (words.score(metric, row["score_mean"]) for row in (d.method, d.control))
    found = _of_estimate(Estimate(v.difference, v.n), metric)
    interval = words.difference_range(metric, v.low, v.high)
    return SimpleNamespace(
        difference=found.difference, interval=interval, n=v.n, method=mean, control=control, verdict=v.verdict
    )


def _of_estimate(estimate: Estimate, metric: str) -> SimpleNamespace:
    difference = "" if estimate.difference is None else words.difference(metric, estimate.difference)
    return SimpleNamespace(difference=difference, interval=words.difference_range(metric, estimate.low, estimate.high))
