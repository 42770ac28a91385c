"""What a page may claim: its declared comparison judged on each task, the others beside it, ranks, and floors."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
    made: dict[tuple[str, str], _Asked] = {}
    for asked in _asked(declared, rows):
        made.setdefault((asked.row["task"], asked.hypothesis), asked)
    estimates = [_estimate(asked) for asked in made.values()]
    verdicts = judge(
        [
            Claim(
                asked.hypothesis,
                asked.row["task"],
                estimate,
                metric_named(asked.row["metric"]).more_is_better,
                declared.margin(asked.row["task"]),
                "primary" if asked.primary else "exploratory",
            )
            for asked, estimate in zip(made.values(), estimates, strict=True)
        ]
    )
    found = [
        Difference(verdict, asked.row, asked.other, _each(asked), _wide(declared, asked), asked.about)
        for asked, verdict in zip(made.values(), verdicts, strict=True)
    ]
    found.sort(key=lambda d: (d.verdict.kind != "primary", d.control.kind == "floor"))
    primary = [d for d in found if d.verdict.kind == "primary"]
    one_metric = len({d.method["metric"] for d in primary}) == 1
    return Judged(
        answer=answer_of([d.verdict for d in primary]) if primary else None,
        mean=mean_over([e for e, v in zip(estimates, verdicts, strict=True) if v.kind == "primary"])
        if one_metric
        else None,
        differences=tuple(found),
        ranks={task: _ranks([r for r in rows if r["task"] == task]) for task in dict.fromkeys(r["task"] for r in rows)},
    )


@dataclass(frozen=True)
class _Asked:
    """Two rows to compare; of an interaction also the two whose difference is taken off."""

    row: Row
    other: Row
    about: str = ""
    primary: bool = False
    minus: tuple[Row, ...] = ()

    @property
    def hypothesis(self) -> str:
        less = f", less {' against '.join(row['method'] for row in self.minus)}" if self.minus else ""
        return f"{self.row['method']} against {self.other['method']}{less}"


def _asked(declared: Declaration, rows: Sequence[Row]) -> Iterable[_Asked]:
    """The declared two, every row with its control, the contrasts, and every row with the floors of its task."""
    by_name = {(row["task"], row["method"]): row for row in rows if row.records}
    primary = declared.primary
    for (task, method), row in by_name.items():
        if primary is not None and primary.method == method and (task, primary.control) in by_name:
            names = primary.minus or ()
            minus = tuple(by_name[task, name] for name in names if (task, name) in by_name)
            if len(minus) == len(names):
                yield _Asked(row, by_name[task, primary.control], "", primary.covers(task), minus)
        pairs = [(contrast.control, contrast.about) for contrast in declared.contrasts if contrast.method == method]
        pairs.append((row.control or "", ""))
        pairs += [(floor["method"], "") for floor in rows if floor.kind == "floor" and row.kind == "run"]
        for control, about in pairs:
            if (task, control) in by_name:
                yield _Asked(row, by_name[task, control], about)


def _shared(asked: _Asked) -> list[tuple[Record, ...]]:
    """The records of the repetitions that all rows have."""
    sides = [{r.repetition: r for r in row.records} for row in (asked.row, asked.other, *asked.minus)]
    return [tuple(side[i] for side in sides) for i in sorted(set.intersection(*map(set, sides)))]


def _two_sides(values: Sequence[Any]) -> tuple[Any, Any]:
    """What is subtracted from what: (a, b), or of four (a - b, c - d)."""
    if len(values) == 2:
        return values[0], values[1]
    a, b, c, d = values
    return a - b, c - d


def _each(asked: _Asked) -> tuple[tuple[int, float], ...]:
    found = []
    for records in _shared(asked):
        ours, theirs = _two_sides([r.score for r in records])
        found.append((records[0].repetition, ours - theirs))
    return tuple(found)


def _estimate(asked: _Asked) -> Estimate:
    sides = [_two_sides([r.score for r in records]) for records in _shared(asked)]
    alone = paired([a for a, _ in sides], [b for _, b in sides], resolution=asked.row.resolution)
    return with_tuning(alone, _tuning(asked.row, asked.other))


def _wide(declared: Declaration, asked: _Asked) -> Estimate | None:
    row, shared = asked.row, _shared(asked)
    targets = [column(r, "targets") for records in shared for r in records]
    first = targets[0] if targets else None
    if first is None or not all(t is not None and np.array_equal(t, first) for t in targets):
        return None
    per_sample = metric_named(row["metric"]).per_sample
    scored = [
        np.stack([per_sample(np.asarray(column(r, "predictions")), first) for r in side])
        for side in zip(*shared, strict=True)
    ]
    speakers, overlap = column(shared[0][0], "groups"), declared.about(row["task"]).overlap
    clusters = window_blocks(len(first), overlap, 1) if overlap > 1 else None
    wide = crossed(*_two_sides(scored), clusters if speakers is None else speakers.tolist())
    return with_tuning(wide, _tuning(row, asked.other))


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
