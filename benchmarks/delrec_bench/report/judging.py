"""What a page may claim: its declared comparison judged on each task, the others beside it, ranks, and floors."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from delrec_bench.config.searched import tuning_variance
from delrec_bench.metrics import metric_named
from delrec_bench.records import Record
from delrec_bench.report.declared import Declaration
from delrec_bench.report.rows import Row
from delrec_bench.statistics.clusters import crossed, window_blocks
from delrec_bench.statistics.paired import Estimate, paired, with_tuning
from delrec_bench.statistics.verdicts import Answer, Claim, Verdict, answer_of, judge, mean_over, rank_groups


class Difference(NamedTuple):
    """A row against another on one task: the verdict over repetitions, and method minus control of each.

    `wide` is the same difference over repetitions AND samples, clustered; None where predictions do not match. `about`
    is what the comparison is of, where the study says it.
    """

    verdict: Verdict
    method: Row
    control: Row
    each: tuple[float, ...]
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
        ranks: (task, method) -> the places that it may hold.
    """

    answer: Answer | None
    mean: Estimate | None
    differences: tuple[Difference, ...]
    ranks: Mapping[tuple[str, str], str]

    @property
    def primary(self) -> tuple[Difference, ...]:
        """The declared comparison, task by task."""
        return tuple(d for d in self.differences if d.verdict.kind == "primary")


class _Asked(NamedTuple):
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

    @property
    def shared(self) -> list[tuple[Record, ...]]:
        """The records of the repetitions that all rows have."""
        sides = [{r.repetition: r for r in row.records} for row in (self.row, self.other, *self.minus)]
        return [tuple(side[i] for side in sides) for i in sorted(set.intersection(*map(set, sides)))]

    @property
    def tuning(self) -> list[tuple[float, float]]:
        """The tuning variance of each of two rows that were searched separately; none of rows that share a search."""
        if self.row.searched == self.other.searched:
            return []
        found = map(tuning_variance, [*self.row.searched, *self.other.searched])
        return [variance for variance in found if variance is not None]


def judge_page(declared: Declaration, rows: Sequence[Row]) -> Judged:
    """Every claim of a page; the declared comparison is corrected over its tasks (Holm), the others are exploratory."""
    made: dict[tuple[str, str], _Asked] = {}
    for asked in _asked(declared, rows):
        made.setdefault((asked.row["task"], asked.hypothesis), asked)
    claims, sides = [], []
    for (task, hypothesis), asked in made.items():
        scores = np.array([[r.score for r in records] for records in asked.shared])
        sides.append(_two_sides(scores.reshape(-1, 2 + len(asked.minus)).T))
        estimate = with_tuning(paired(*sides[-1], resolution=asked.row.resolution), asked.tuning)
        more, margin = metric_named(asked.row["metric"]).more_is_better, declared.margin(task)
        claims.append(Claim(hypothesis, task, estimate, more, margin, "primary" if asked.primary else "exploratory"))
    found = [
        Difference(verdict, asked.row, asked.other, tuple((a - b).tolist()), _wide(declared, asked), asked.about)
        for asked, verdict, (a, b) in zip(made.values(), judge(claims), sides, strict=True)
    ]
    found.sort(key=lambda d: (d.verdict.kind != "primary", d.control.kind == "floor"))
    primary = [d for d in found if d.verdict.kind == "primary"]
    one_metric = len({d.method["metric"] for d in primary}) == 1
    return Judged(
        answer=answer_of([d.verdict for d in primary]) if primary else None,
        mean=mean_over([c.estimate for c in claims if c.kind == "primary"]) if one_metric else None,
        differences=tuple(found),
        ranks=_ranks(rows),
    )


def _asked(declared: Declaration, rows: Sequence[Row]) -> Iterable[_Asked]:
    """The declared two, every row with its control, the contrasts, and every row with the floors of its task."""
    by_name = {(row["task"], row["method"]): row for row in rows if row.records}
    primary = declared.primary
    for (task, method), row in by_name.items():
        if primary is not None and primary.method == method and (task, primary.control) in by_name:
            minus = tuple(by_name[task, name] for name in primary.minus if (task, name) in by_name)
            if len(minus) == len(primary.minus):
                yield _Asked(row, by_name[task, primary.control], "", primary.covers(task), minus)
        pairs = [(contrast.control, contrast.about) for contrast in declared.contrasts if contrast.method == method]
        pairs.append((row.asked.control or "", ""))
        pairs += [(floor["method"], "") for floor in rows if floor.kind == "floor" and row.kind == "run"]
        for control, about in pairs:
            if (task, control) in by_name:
                yield _Asked(row, by_name[task, control], about)


def _two_sides(values: Any) -> tuple[Any, Any]:
    """What is subtracted from what: (a, b), or of four (a - b, c - d)."""
    return tuple(values) if len(values) == 2 else (values[0] - values[1], values[2] - values[3])


def _wide(declared: Declaration, asked: _Asked) -> Estimate | None:
    shared = asked.shared
    targets = [r.targets.array for records in shared for r in records if r.targets is not None]
    if not targets or not all(np.array_equal(t, targets[0]) for t in targets):
        return None
    per_sample = metric_named(asked.row["metric"]).per_sample
    scored = [
        np.stack([per_sample(r.predictions.array, targets[0]) for r in side if r.predictions is not None])
        for side in zip(*shared, strict=True)
    ]
    speakers, overlap = shared[0][0].groups, declared.about(asked.row["task"]).overlap
    clusters: Any = None if speakers is None else speakers.array
    if clusters is None and overlap > 1:
        clusters = window_blocks(len(targets[0]), overlap)
    return with_tuning(crossed(*_two_sides(scored), clusters), asked.tuning)


def _ranks(rows: Sequence[Row]) -> dict[tuple[str, str], str]:
    """The places of the rows that have enough repetitions and lost no run, task by task."""
    ranks: dict[tuple[str, str], str] = {}
    for task in dict.fromkeys(row["task"] for row in rows):
        runs = [r for r in rows if r["task"] == task and r.kind == "run" and r.compared and not r.diverged]
        if len(runs) > 1:
            more, step = metric_named(runs[0]["metric"]).more_is_better, max(row.resolution for row in runs)
            found = rank_groups({r["method"]: r.scores for r in runs}, more_is_better=more, resolution=step)
            ranks |= {(task, method): rank for method, rank in found.items()}
    return ranks
