"""Paired comparisons under a family declared beforehand.

Protocol: repetitions share the task's split, so methods are compared by their difference at each repetition. A
comparison is resolved only where the t interval of the differences excludes 0 and Holm's adjusted p value is
below 1 - level; everything else is "not resolved".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from scipy import stats

from delrec_bench.errors import BenchError
from delrec_bench.metrics import metric_named
from delrec_bench.records import Record
from delrec_bench.statistics.intervals import LEVEL, Interval, crossed_interval, stacked_scores, t_interval

SHOWN_ONLY = 3
"""Up to this many repetitions are shown, every point, rather than compared: a half-width is 2.48 sd at n = 3."""

NOT_RESOLVED = "not resolved"


@dataclass(frozen=True)
class Comparison:
    """A method against its control on one task.

    Attributes:
        differences: (repetition, method minus control) in the metric's units.
        interval: mean difference and its t interval over repetitions.
        samples: the same mean with an interval over repetitions AND test samples (`crossed_interval`), or None
            where the repetitions do not share one test set.
        p: two-sided paired t test, None below two repetitions or when all differences are equal.
        p_holm: p after Holm's correction over the task's family.
        verdict: "better", "worse" (of the method, whatever the metric's direction) or "not resolved".
    """

    task: str
    method: str
    control: str
    metric: str
    differences: tuple[tuple[int, float], ...]
    interval: Interval
    samples: Interval | None
    p: float | None
    p_holm: float | None
    verdict: str

    @property
    def n(self) -> int:
        """How many repetitions both methods have."""
        return len(self.differences)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjustment: p_(i) -> max_{j <= i} min(1, (m - j + 1) p_(j)).

    A comparison without a p value (None) still counts in the family's size m.
    """
    m = len(p_values)
    order = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * m
    running = 0.0
    for rank, (p, i) in enumerate(order):
        running = max(running, min(1.0, (m - rank) * p))
        adjusted[i] = running
    return adjusted


def family_of(records: Iterable[Record]) -> dict[str, str]:
    """Method -> control, as the methods themselves declared it before their runs.

    Raises:
        BenchError: two records of one method declare different controls.
    """
    family: dict[str, str] = {}
    for r in records:
        if r.kind != "run" or r.control is None:
            continue
        if family.setdefault(r.method, r.control) != r.control:
            raise BenchError(
                f"method {r.method} declares the controls {family[r.method]} and {r.control}: "
                "run it again so that all its records agree"
            )
    return family


def compare_pair(method: Sequence[Record], control: Sequence[Record], level: float = LEVEL) -> Comparison | None:
    """One method against one control on one task, paired by repetition, before Holm (p_holm None, no verdict yet).

    Returns:
        None when they have no repetition in common.
    """
    ours = {r.repetition: r for r in method}
    theirs = {r.repetition: r for r in control}
    shared = sorted(set(ours) & set(theirs))
    if not shared:
        return None
    first = ours[shared[0]]
    values = [ours[i].score - theirs[i].score for i in shared]
    interval = t_interval(values, level)
    known = interval.low is not None
    a, b = (stacked_scores([side[i] for i in shared]) for side in (ours, theirs))
    same = a is not None and b is not None and a.shape == b.shape
    same = same and first.targets == theirs[shared[0]].targets
    return Comparison(
        task=first.task,
        method=first.method,
        control=theirs[shared[0]].method,
        metric=first.metric,
        differences=tuple(zip(shared, values, strict=True)),
        interval=interval,
        samples=crossed_interval(a - b, level) if same and a is not None and b is not None else None,
        p=float(stats.ttest_1samp(values, 0.0).pvalue) if known else None,
        p_holm=None,
        verdict=NOT_RESOLVED,
    )


def compare_family(
    records: Sequence[Record], family: Mapping[str, str] | None = None, level: float = LEVEL
) -> list[Comparison]:
    """Each method against its own control, task by task, with Holm's correction within each task.

    Args:
        records: runs; one record per task, method and repetition.
        family: method -> control; the methods' own declarations when None.
        level: confidence level of intervals and verdicts.
    """
    runs = [r for r in records if r.kind == "run"]
    family = family_of(runs) if family is None else dict(family)
    out: list[Comparison] = []
    for task in sorted({r.task for r in runs}):
        by_method: dict[str, list[Record]] = {}
        for r in runs:
            if r.task == task:
                by_method.setdefault(r.method, []).append(r)
        pairs = [
            pair
            for method, control in sorted(family.items())
            if method in by_method and control in by_method
            if (pair := compare_pair(by_method[method], by_method[control], level)) is not None
        ]
        for pair, p_holm in zip(pairs, holm([c.p for c in pairs]), strict=True):
            out.append(_judged(pair, p_holm, level))
    return out


def _judged(pair: Comparison, p_holm: float | None, level: float) -> Comparison:
    verdict = NOT_RESOLVED
    if p_holm is not None and p_holm < 1 - level and pair.interval.excludes_zero():
        verdict = "better" if metric_named(pair.metric).better(pair.interval.mean, 0.0) else "worse"
    return Comparison(**{**pair.__dict__, "p_holm": p_holm, "verdict": verdict})
