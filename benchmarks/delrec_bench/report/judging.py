"""What a page may claim: its declared comparison judged on each task, the others beside it, and ranks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from delrec_bench.config.searched import tuning_variance
from delrec_bench.records import Record
from delrec_bench.report import words
from delrec_bench.report.declared import Comparison, Declaration
from delrec_bench.report.rows import Row
from delrec_bench.statistics.clusters import crossed, window_blocks
from delrec_bench.statistics.paired import Estimate, paired, with_tuning
from delrec_bench.statistics.verdicts import Claim, Verdict, judge, rank_groups
from delrec_bench.workspace import base_and_folder


@dataclass(frozen=True)
class Pairing:
    """Two rows of a task to compare; of an interaction also the two whose difference is taken off.

    `overlap` is the task's; `about` what the comparison is of, where the study says it; `primary` whether it is the
    declared one.
    """

    method: Row
    control: Row
    overlap: int
    about: str = ""
    primary: bool = False
    minus: tuple[Row, ...] = ()

    @property
    def hypothesis(self) -> str:
        """It in the names of its rows."""
        less = f", less {' against '.join(row['method'] for row in self.minus)}" if self.minus else ""
        return f"{self.method['method']} against {self.control['method']}{less}"

    @property
    def title(self) -> str:
        """It as people read it: a point of a sweep at which both of two rows stand is said once."""
        sides = [of for of in ((self.method, self.control), self.minus) if of]
        names = {f"{a.asked.called} − {b.asked.called}" for a, b in sides}
        if len(names) == 1 and all(a.asked.point == b.asked.point for a, b in sides):
            at = ", compared with ".join(words.place(a.asked.point).strip(" ()") for a, _ in sides)
            return f"{names.pop()} ({at})" if at else names.pop()
        return ", compared with ".join(f"{a.title} − {b.title}" for a, b in sides)

    @property
    def shared(self) -> list[tuple[Record, ...]]:
        """The records of the repetitions that all rows have."""
        sides = [{r.repetition: r for r in row.records} for row in (self.method, self.control, *self.minus)]
        return [tuple(side[i] for side in sides) for i in sorted(set.intersection(*map(set, sides)))]

    @property
    def tuning(self) -> list[tuple[float, float]]:
        """The tuning variance of each of two rows that were searched separately; none of rows that share a search."""
        rows = self.method, self.control
        presets = [{r.provenance["searched"] for r in row.records if "searched" in r.provenance} for row in rows]
        found = map(tuning_variance, () if presets[0] == presets[1] else (*presets[0], *presets[1]))
        return [variance for variance in found if variance is not None]

    @property
    def scores(self) -> tuple[Any, Any]:
        """The scores of both sides, by shared repetition."""
        values = np.array([[r.score for r in records] for records in self.shared])
        return self._sides(values.reshape(-1, 2 + len(self.minus)).T)

    @property
    def over_repetitions(self) -> Estimate:
        """The difference over repetitions, its test set taken for the whole world."""
        return with_tuning(paired(*self.scores, resolution=self.method.resolution), self.tuning)

    @property
    def over_samples(self) -> Estimate | None:
        """The difference over repetitions AND samples, clustered; None where predictions do not match."""
        shared = self.shared
        targets = [r.targets.array for records in shared for r in records if r.targets is not None]
        if not targets or not all(np.array_equal(t, targets[0]) for t in targets):
            return None
        per_sample, sides = self.method.metric.per_sample, zip(*shared, strict=True)
        scored = [np.stack([per_sample(r.predictions.array, targets[0]) for r in side]) for side in sides]
        clusters: Any = window_blocks(len(targets[0]), self.overlap) if self.overlap > 1 else None
        if (speakers := shared[0][0].groups) is not None:
            clusters = speakers.array
        return with_tuning(crossed(*self._sides(scored), clusters), self.tuning)

    @property
    def clustered(self) -> bool:
        """Whether test samples belong together: they have speakers, or are overlapping windows."""
        return self.overlap > 1 or any(r.groups is not None for r in self.method.records)

    @property
    def estimate(self) -> Estimate:
        """What the verdict is of: the difference over repetitions, and over clusters where samples come in such."""
        alone, wide = self.over_repetitions, self.over_samples if self.clustered else None
        return alone if alone.se is None or wide is None or wide.se is None else replace(wide, alone=alone)

    def _sides(self, values: Any) -> tuple[Any, Any]:
        """What is subtracted from what: (a, b), or of four (a - b, c - d)."""
        return (values[0] - values[1], values[2] - values[3]) if self.minus else tuple(values)


@dataclass(frozen=True, kw_only=True)
class Difference(Pairing):
    """A pairing, judged."""

    verdict: Verdict


def judge_rows(declared: Declaration, rows: Sequence[Row]) -> tuple[Difference, ...]:
    """Every comparison on each task: the declared one first, then contrasts, and rows with their controls.

    The declared one is corrected over all of its tasks (Holm), also those without runs; the others are exploratory.
    """
    by_name = {(row["task"], row["method"]): row for row in rows if row.records}
    tasks = dict.fromkeys(task for task, _ in by_name)
    asked = [(one, task) for one in (declared.primary, *declared.contrasts) if one is not None for task in tasks]
    asked += [(Comparison(name, row.asked.control or ""), task) for (task, name), row in by_name.items()]
    made: dict[tuple[str, str], Pairing] = {}
    for one, task in asked:
        names = [(task, name) for name in (one.method, one.control, *one.minus)]
        if all(name in by_name for name in names):
            method, control, *minus = map(by_name.__getitem__, names)
            primary = one is declared.primary and base_and_folder(task)[0] in one.over
            overlap = declared.about(task).overlap
            pairing = Pairing(method, control, overlap, one.about, primary, tuple(minus))
            made.setdefault((task, pairing.hypothesis), pairing)
    margins = {task: declared.study.margin.get(base_and_folder(task)[0]) for task in tasks}
    claims = [
        Claim(p.estimate, p.method.metric.more_is_better, margins[task], p.primary) for (task, _), p in made.items()
    ]
    verdicts = judge(claims, len(unjudged(declared, made.values())))
    return tuple(Difference(**vars(p), verdict=v) for p, v in zip(made.values(), verdicts, strict=True))


def unjudged(declared: Declaration, made: Iterable[Pairing]) -> list[str]:
    """The tasks of the declared comparison on which one of its rows has no run."""
    judged = {base_and_folder(pairing.method["task"])[0] for pairing in made if pairing.primary}
    return [task for task in (declared.primary.over if declared.primary else ()) if task not in judged]


def ranks_of(declared: Declaration, rows: Sequence[Row]) -> dict[tuple[str, str], str]:
    """The places of the rows that have enough repetitions and lost no run, task by task."""
    ranks: dict[tuple[str, str], str] = {}
    for task in dict.fromkeys(row["task"] for row in rows):
        runs = [r for r in rows if r["task"] == task and r.kind == "run" and r.compared and not r.diverged]
        if len(runs) > 1:
            found = _ranks({row["method"]: row for row in runs}, declared.about(task).overlap)
            ranks |= {(task, method): rank for method, rank in found.items()}
    return ranks


def _ranks(runs: Mapping[str, Row], overlap: int) -> dict[str, str]:
    def difference(a: str, b: str) -> Estimate:
        return Pairing(runs[a], runs[b], overlap).estimate

    more = next(iter(runs.values())).metric.more_is_better
    return rank_groups({name: row["score_mean"] for name, row in runs.items()}, difference, more_is_better=more)
