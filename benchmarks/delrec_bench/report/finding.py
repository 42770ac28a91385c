"""A study's finding: written by people, filled with the numbers of the runs, and checked against their verdicts.

    finding = { text = "Learned delays gain {digits.difference} on digits.", verdicts = { digits = "better" } }

Placeholders name a task of the declared comparison: {TASK.difference}, {TASK.interval}, {TASK.n}, {TASK.method} and
{TASK.control} (mean scores), {TASK.verdict}; and {mean.difference}, {mean.interval} over its tasks.
"""

from types import SimpleNamespace

from delrec_bench.errors import BenchError
from delrec_bench.report import words
from delrec_bench.report.judging import Judged
from delrec_bench.statistics.paired import Estimate
from delrec_bench.statistics.verdicts import Verdict
from delrec_bench.studies.file import FindingTable


def filled(finding: FindingTable, judged: Judged) -> str | None:
    """The finding with its numbers; None where a verdict that it relies on is another now, or its runs are not there.

    Raises:
        BenchError: A placeholder that is none.
    """
    by_task = {d.method["task"]: d for d in judged.primary}
    if any(task not in by_task or by_task[task].verdict.verdict != word for task, word in finding.verdicts.items()):
        return None
    names: dict[str, SimpleNamespace] = {}
    for task, d in by_task.items():
        metric = d.method["metric"]
        mean, control = (words.score(metric, row["score_mean"]) for row in (d.method, d.control))
        more = {"n": d.verdict.n, "method": mean, "control": control, "verdict": d.verdict.verdict}
        names[task] = SimpleNamespace(**_numbers(metric, d.verdict), **more)
    if judged.mean is not None:
        names["mean"] = SimpleNamespace(**_numbers(judged.primary[0].method["metric"], judged.mean))
    try:
        return finding.text.format_map(names)
    except (KeyError, AttributeError, ValueError, IndexError) as error:
        if isinstance(error, KeyError) and error.args[0] in (*finding.verdicts, "mean"):
            return None
        known = ", ".join(f"{{{name}.{field}}}" for name, of in names.items() for field in vars(of)) or "none"
        raise BenchError(f"finding: {error} is not a placeholder (available: {known})") from error


def _numbers(metric: str, of: Verdict | Estimate) -> dict[str, str]:
    difference = "" if of.difference is None else words.difference(metric, of.difference)
    return {"difference": difference, "interval": words.difference_range(metric, of.low, of.high)}
