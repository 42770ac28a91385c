"""What a page may claim: its declared comparison judged on each task, the others beside it, ranks, and floors."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from delrec_bench.config.searched import tuning_variance
from delrec_bench.metrics import metric_named
from delrec_bench.records import Record
from delrec_bench.report.declared import Declaration
from delrec_bench.report.rows import Row, column
from delrec_bench.statistics.clusters import crossed, window_blocks
from delrec_bench.statistics.paired import Estimate, paired
from delrec_bench.statistics.ranks import Rank, rank_groups
from delrec_bench.statistics.tuning import with_tuning
from delrec_bench.statistics.verdicts import Answer, Claim, Verdict, answer_of, judge, mean_over

Pair = tuple[str, str]


@dataclass(frozen=True)
class Difference:
    """A row against another on one task.

    Attributes:
        verdict: Over repetitions.
        method, control: The rows.
        each: (repetition, method minus control).
        wide: The same difference over repetitions AND samples, clustered; None where predictions do not match.
        about: What the comparison is of, where the study says it.
    """

    verdict: Verdict
    method: Row
    control: Row
    each: tuple[tuple[int, float], ...]
    wide: Estimate | None
    about: str = ""


@dataclass(frozen=True)
class Judged:
    """All verdicts of a page.

    Attributes:
        answer: Of the declared comparison over its tasks; None where none is declared or nothing of it is there.
        mean: Its mean difference over these very tasks; None where their metrics differ, or there is one task.
        differences: Every comparison on each task: the declared one first, then rows with their controls, contrasts,
            and floors.
        ranks: Task -> ranks, best mean first.
    """

    answer: Answer | None
    mean: Estimate | None
    differences: tuple[Difference, ...]
    ranks: Mapping[str, Sequence[Rank]]

    @property
    def primary(self) -> tuple[Difference, ...]:
        """The declared comparison, task by task."""
        return tuple(d for d in self.differences if d.verdict.kind == "primary")


def judge_page(declared: Declaration, rows: Sequence[Row]) -> Judged:
    """Every claim of a page; the declared comparison is corrected over its tasks (Holm), the others are exploratory."""
    made: dict[tuple[str, str, str], tuple[Row, Row, str]] = {}
    for row, other, about in _pairs(declared, rows):
        made.setdefault((row["task"], row["method"], other["method"]), (row, other, about))
    estimates = [_estimate(row, other) for row, other, _ in made.values()]
    verdicts = judge(
        [
            Claim(
                f"{row['method']} against {other['method']}",
                row["task"],
                estimate,
                metric_named(row["metric"]).more_is_better,
                declared.margin(row["task"]),
                "primary" if _is_primary(declared, row, other) else "exploratory",
            )
            for (row, other, _), estimate in zip(made.values(), estimates, strict=True)
        ]
    )
    found = [
        Difference(verdict, row, other, _each(row, other), _wide(declared, row, other), about)
        for (row, other, about), verdict in zip(made.values(), verdicts, strict=True)
    ]
    found.sort(key=lambda d: (d.verdict.kind != "primary", d.control.kind == "floor"))
    primary = [d for d in found if d.verdict.kind == "primary"]
    one_metric = len({d.method["metric"] for d in primary}) == 1
    return Judged(
        answer=answer_of([d.verdict for d in primary]) if primary else None,
        mean=mean_over([_estimate(d.method, d.control) for d in primary]) if one_metric else None,
        differences=tuple(found),
        ranks={task: _ranks([r for r in rows if r["task"] == task]) for task in dict.fromkeys(r["task"] for r in rows)},
    )


def _is_primary(declared: Declaration, row: Row, other: Row) -> bool:
    primary = declared.primary
    asked = primary is not None and (primary.method, primary.control) == (row["method"], other["method"])
    return asked and primary is not None and primary.covers(row["task"])


def _pairs(declared: Declaration, rows: Sequence[Row]) -> Iterable[tuple[Row, Row, str]]:
    """The declared two, every row with its control, the contrasts, and every row with the floors of its task."""
    by_name = {(row["task"], row["method"]): row for row in rows if row.records}
    for (task, method), row in by_name.items():
        asked: list[tuple[str, str | None, str]] = []
        if declared.primary is not None:
            asked.append((declared.primary.method, declared.primary.control, ""))
        asked += [(contrast.method, contrast.control, contrast.about) for contrast in declared.contrasts]
        asked += [(method, row.control, "")]
        floors = [(method, floor["method"], "") for floor in rows if floor.kind == "floor" and row.kind == "run"]
        for name, control, about in (*asked, *floors):
            if name == method and (task, control) in by_name:
                yield row, by_name[task, str(control)], about


def _shared(row: Row, other: Row) -> list[tuple[Record, Record]]:
    ours, theirs = ({r.repetition: r for r in side.records} for side in (row, other))
    return [(ours[i], theirs[i]) for i in sorted(set(ours) & set(theirs))]


def _each(row: Row, other: Row) -> tuple[tuple[int, float], ...]:
    return tuple((a.repetition, a.score - b.score) for a, b in _shared(row, other))


def _estimate(row: Row, other: Row) -> Estimate:
    both = _shared(row, other)
    alone = paired([a.score for a, _ in both], [b.score for _, b in both], resolution=row.resolution)
    return with_tuning(alone, _tuning(row, other))


def _wide(declared: Declaration, row: Row, other: Row) -> Estimate | None:
    both = _shared(row, other)
    targets = [column(r, "targets") for pair in both for r in pair]
    first = targets[0] if targets else None
    if first is None or not all(t is not None and np.array_equal(t, first) for t in targets):
        return None
    per_sample = metric_named(row["metric"]).per_sample
    ours, theirs = (
        np.stack([per_sample(np.asarray(column(r, "predictions")), first) for r in side])
        for side in zip(*both, strict=True)
    )
    speakers, overlap = column(both[0][0], "groups"), declared.about(row["task"]).overlap
    clusters = window_blocks(len(first), overlap, 1) if overlap > 1 else None
    wide = crossed(ours, theirs, clusters if speakers is None else speakers.tolist())
    return with_tuning(wide, _tuning(row, other))


def _tuning(row: Row, other: Row) -> list[tuple[float, float]]:
    """The tuning variance of each of two rows that were searched separately; none of rows that share a search."""
    if row.searched == other.searched:
        return []
    names = [*row.searched, *other.searched]
    return [found for name in names if (found := tuning_variance(name)) is not None]


def _ranks(rows: Sequence[Row]) -> Sequence[Rank]:
    """The places of the rows of a task that have enough repetitions and lost no run."""
    runs = [row for row in rows if row.kind == "run" and row.compared and not row.diverged]
    if len(runs) < 2:
        return []
    better = metric_named(runs[0]["metric"]).more_is_better
    resolution = max(row.resolution for row in runs)
    return rank_groups({r["method"]: r.scores for r in runs}, more_is_better=better, resolution=resolution)
