"""What a page may claim: its hypotheses judged once, the ranks of its rows, and the rows against the floors."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from delrec_bench.config.searched import tuning_variance
from delrec_bench.metrics import metric_named
from delrec_bench.records import Record
from delrec_bench.report.declared import Declaration, error_of
from delrec_bench.report.rows import Row, column
from delrec_bench.statistics.clusters import crossed, window_blocks
from delrec_bench.statistics.paired import Estimate, paired
from delrec_bench.statistics.pooled import Pooled, TaskErrors, pool
from delrec_bench.statistics.ranks import Rank, rank_groups
from delrec_bench.statistics.tuning import with_tuning
from delrec_bench.statistics.verdicts import POOLED, SHOWN_ONLY, Claim, Kind, Verdict, judge

COUNTS = "counts-only"
"""The floor that sees no time: who is not above it gives no evidence of using any."""

Pair = tuple[str, str]


@dataclass(frozen=True)
class Difference:
    """A row against its control on one task.

    Attributes:
        verdict: Over repetitions.
        method, control: The rows.
        each: (repetition, method minus control).
        wide: The same difference over repetitions AND samples, clustered; None where predictions do not match.
        errors: Both sides as errors, for pooling; None where a score is no error.
    """

    verdict: Verdict
    method: Row
    control: Row
    each: tuple[tuple[int, float], ...]
    wide: Estimate | None
    errors: TaskErrors | None


@dataclass(frozen=True)
class Judged:
    """All verdicts of a page.

    Attributes:
        primary: The declared hypothesis: pooled, or on the page's one task; None where none is declared or can be made.
        pooled: Over tasks, by (method, control), with its verdict; the primary's among them.
        differences: On each task, every row against its own control, in the order of the rows.
        floors: (task, method) -> verdicts against the task's floors, by floor.
        ranks: Task -> ranks, best mean first.
    """

    primary: Verdict | None
    pooled: Mapping[Pair, tuple[Verdict, Pooled]]
    differences: tuple[Difference, ...]
    floors: Mapping[Pair, Mapping[str, Verdict]]
    ranks: Mapping[str, Sequence[Rank]]

    @property
    def verdicts(self) -> list[Verdict]:
        """Those of the page's json: pooled ones and each task's, the primary first; floors last."""
        found = [v for v, _ in self.pooled.values()] + [d.verdict for d in self.differences]
        found.sort(key=lambda v: v.kind != "primary")
        return found + [v for of in self.floors.values() for v in of.values() if not any(v is other for other in found)]

    def of(self, pair: Pair) -> list[Difference]:
        """The differences of one pair of rows."""
        return [d for d in self.differences if (d.method["method"], d.control["method"]) == pair]


def judge_page(declared: Declaration, rows: Sequence[Row]) -> Judged:
    """Every claim of a page, with Holm over its primary hypotheses alone."""
    made = [(row, other) for row, other in _pairs(declared, rows)]
    raw = [_difference(declared, row, other) for row, other in made]
    pairs = list(dict.fromkeys((row["method"], other["method"]) for row, other in made))
    pools = {pair: _pool(declared, pair, raw, made) for pair in pairs}
    primary = None if declared.primary is None else (declared.primary.method, declared.primary.control)
    on_one_task = primary is not None and primary in pools and pools[primary].estimate.n < 2
    claims: list[Claim] = []
    for pair, found in pools.items():
        kind: Kind = "primary" if pair == primary and not on_one_task else "exploratory"
        if found.estimate.n > 1:
            claims.append(Claim(_named(pair), POOLED, found.estimate, False, found.margin, kind, found.repetitions))
    lone = [
        i
        for i, (row, other) in enumerate(made)
        if (pair := (row["method"], other["method"])) == primary and _is_over(declared, pair, row["task"])
    ]
    for i, ((row, other), (estimate, _, _)) in enumerate(zip(made, raw, strict=True)):
        kind = "primary" if on_one_task and len(lone) == 1 and i == lone[0] else "exploratory"
        name = _named((row["method"], other["method"]))
        better, margin = metric_named(row["metric"]).more_is_better, declared.margin(row["task"])
        claims.append(Claim(name, row["task"], estimate, better, margin, kind))
    floors = list(_floor_pairs(rows))
    claims += [_floor_claim(declared, *pair) for pair in floors if (pair[0]["method"], pair[1]["method"]) not in pairs]
    verdicts = {(v.hypothesis, v.task): v for v in judge(claims)}
    differences = []
    for (row, other), (_, each, errors) in zip(made, raw, strict=True):
        verdict = verdicts[_named((row["method"], other["method"])), row["task"]]
        differences.append(Difference(verdict, row, other, each, _wide(declared, row, other), errors))
    against: dict[Pair, dict[str, Verdict]] = {}
    for row, floor in floors:
        verdict = verdicts[_named((row["method"], floor["method"])), row["task"]]
        against.setdefault((row["task"], row["method"]), {})[floor["method"]] = verdict
    return Judged(
        primary=next((v for v in verdicts.values() if v.kind == "primary"), None),
        pooled={p: (verdicts[_named(p), POOLED], f) for p, f in pools.items() if f.estimate.n > 1},
        differences=tuple(differences),
        floors=against,
        ranks={task: _ranks([r for r in rows if r["task"] == task]) for task in dict.fromkeys(r["task"] for r in rows)},
    )


def _named(pair: Pair) -> str:
    return f"{pair[0]} against {pair[1]}"


def _pairs(declared: Declaration, rows: Sequence[Row]) -> Iterable[tuple[Row, Row]]:
    """Every row with its control, the primary's two, and the contrasts."""
    by_name = {(row["task"], row["method"]): row for row in rows if row.records}
    for (task, method), row in by_name.items():
        controls = [row.control]
        if declared.primary is not None and declared.primary.method == method:
            controls.append(declared.primary.control)
        controls += [contrast.control for contrast in declared.contrasts if contrast.method == method]
        for control in dict.fromkeys(filter(None, controls)):
            if (task, control) in by_name:
                yield row, by_name[task, control]


def _shared(row: Row, other: Row) -> list[tuple[Record, Record]]:
    ours, theirs = ({r.repetition: r for r in side.records} for side in (row, other))
    return [(ours[i], theirs[i]) for i in sorted(set(ours) & set(theirs))]


def _difference(
    declared: Declaration, row: Row, other: Row
) -> tuple[Estimate, tuple[tuple[int, float], ...], TaskErrors | None]:
    both = _shared(row, other)
    mine, theirs = [a.score for a, _ in both], [b.score for _, b in both]
    estimate = with_tuning(paired(mine, theirs, resolution=row.resolution), _tuning(row, other))
    each = tuple((a.repetition, a.score - b.score) for a, b in both)
    errors = [error_of(row["metric"], s) for s in (*mine, *theirs)]
    known = [e for e in errors if e is not None]
    if not both or len(known) < len(errors) or not _has_logarithm(known, row.resolution > 0):
        return estimate, each, None
    n, samples = len(both), round(1 / row.resolution) if row.resolution else None
    return estimate, each, TaskErrors(row["task"], known[:n], known[n:], samples, declared.margin(row["task"]))


def _has_logarithm(errors: Sequence[float], proportions: bool) -> bool:
    """Whether errors are on the scale on which tasks are pooled: shares of the samples, or above 0."""
    return all(0 <= e <= 1 for e in errors) if proportions else all(e > 0 for e in errors)


def _pool(
    declared: Declaration,
    pair: Pair,
    raw: Sequence[tuple[Estimate, tuple[tuple[int, float], ...], TaskErrors | None]],
    made: Sequence[tuple[Row, Row]],
) -> Pooled:
    errors = [
        found[2]
        for (row, other), found in zip(made, raw, strict=True)
        if (row["method"], other["method"]) == pair and found[2] is not None and _is_over(declared, pair, row["task"])
    ]
    return pool(errors)


def _is_over(declared: Declaration, pair: Pair, task: str) -> bool:
    primary = declared.primary
    return primary is None or (primary.method, primary.control) != pair or primary.covers(task)


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
    speakers, overlap = column(both[0][0], "groups"), declared.overlap(row["task"])
    clusters = window_blocks(len(first), overlap, 1) if overlap > 1 else None
    wide = crossed(ours, theirs, clusters if speakers is None else speakers.tolist())
    return with_tuning(wide, _tuning(row, other))


def _tuning(row: Row, other: Row) -> list[tuple[float, float]]:
    """The tuning variance of each of two rows that were searched separately; none of rows that share a search."""
    if row.searched == other.searched:
        return []
    names = [*row.searched, *other.searched]
    return [found for name in names if (found := tuning_variance(name)) is not None]


def _floor_pairs(rows: Sequence[Row]) -> Iterable[tuple[Row, Row]]:
    for row in rows:
        if row.kind == "run":
            yield from ((row, floor) for floor in rows if floor.kind == "floor" and floor["task"] == row["task"])


def _floor_claim(declared: Declaration, row: Row, floor: Row) -> Claim:
    both = _shared(row, floor)
    estimate = paired([a.score for a, _ in both], [b.score for _, b in both], resolution=row.resolution)
    better = metric_named(row["metric"]).more_is_better
    name = _named((row["method"], floor["method"]))
    return Claim(name, row["task"], estimate, better, declared.margin(row["task"]))


def _ranks(rows: Sequence[Row]) -> Sequence[Rank]:
    """The places of the rows of a task: none of up to three repetitions where others have more, nor of one alone."""
    runs = [row for row in rows if row.kind == "run"]
    if not runs:
        return []
    many = [row for row in runs if row["n"] > SHOWN_ONLY]
    if len(many) == 1 < len(runs):
        return []
    runs = many or runs
    better = metric_named(runs[0]["metric"]).more_is_better
    resolution = max(row.resolution for row in runs)
    return rank_groups({r["method"]: r.scores for r in runs}, more_is_better=better, resolution=resolution)
