"""Rows made here against the committed ones: the same, within the interval, or different."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from delrec_bench.report import words
from delrec_bench.report.rows import Row

SAME, WITHIN, DIFFERENT, NEW, ABSENT = "same", "within interval", "different", "new", "not run here"
_TOLERANCE = 5e-7  # scores are written with six decimals


@dataclass(frozen=True)
class RowComparison:
    """How one row compares with its committed one; `detail` says why in words."""

    task: str
    method: str
    verdict: str
    detail: str

    def __str__(self) -> str:
        return f"{self.verdict:<16} {self.task}  {self.method}  {self.detail}".rstrip()


def compare(
    rows: Iterable[Row | Mapping[str, Any]], committed: Iterable[Row | Mapping[str, Any]]
) -> list[RowComparison]:
    """Every row beside the committed row of the same task and method.

    "same": same n, mean, spread, parameters and data. "within interval": on the same data, our mean lies in the
    committed 95 percent interval, or theirs in ours. "different": anything else. "new" has no committed row; "not
    run here" has only that.

    Args:
        rows: rows of this workspace, as `Row` or as dicts of leaderboard.json.
        committed: rows of the committed page, in either form.
    """
    ours = {(row["task"], row["method"]): row for row in rows}
    theirs = {(row["task"], row["method"]): row for row in committed}
    out = [_one(task, method, row, theirs.get((task, method))) for (task, method), row in ours.items()]
    out += [RowComparison(t, m, ABSENT, "") for t, m in theirs if (t, m) not in ours]
    return out


def _one(task: str, method: str, a: Row | Mapping[str, Any], b: Row | Mapping[str, Any] | None) -> RowComparison:
    metric = a["metric"]
    mean = words.score(metric, a["score_mean"])
    if b is None:
        return RowComparison(task, method, NEW, mean)
    for name in ("metric", "data_digest", "parameters_total"):
        if a[name] != b[name]:
            return RowComparison(task, method, DIFFERENT, f"{name}: {_short(a[name])}, committed {_short(b[name])}")
    detail = f"{mean} (n {a['n']}), committed {words.score(metric, b['score_mean'])} (n {b['n']})"
    if a["n"] == b["n"] and _close(a["score_mean"], b["score_mean"]) and _close(a["score_sd"], b["score_sd"]):
        return RowComparison(task, method, SAME, detail)
    if _inside(a["score_mean"], b) or _inside(b["score_mean"], a):
        return RowComparison(task, method, WITHIN, detail)
    return RowComparison(task, method, DIFFERENT, detail)


def _short(value: Any) -> str:
    return str(value)[:12] if isinstance(value, str) else str(value)


def _close(a: float | None, b: float | None) -> bool:
    return a is b if a is None or b is None else abs(a - b) <= _TOLERANCE


def _inside(value: float, row: Row | Mapping[str, Any]) -> bool:
    low, high = row["score_low"], row["score_high"]
    return low is not None and high is not None and low <= value <= high


def summary(comparisons: Iterable[RowComparison]) -> str:
    """One line: how many rows of each verdict."""
    verdicts = [c.verdict for c in comparisons]
    counts = [f"{verdicts.count(v)} {v}" for v in (SAME, WITHIN, DIFFERENT, NEW, ABSENT) if v in verdicts]
    return ", ".join(counts) if counts else "no rows to compare"
