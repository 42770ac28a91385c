"""Reproduced or not: equal, consistent or different. Decided here alone, for pages, reruns and comparisons.

    equal        bit for bit, all that the run computed
    different    not equal where it must be: the same settings, versions and portable arithmetic; or the first batch,
                 computed in float64, differs by more than rounding explains; or the scores by more than repetitions do
    consistent   everything else

What follows the first batch is chaotic: a spike that rounding moves changes everything after it. So between processors,
engines and versions the first forward pass and gradient are compared (`Record.fingerprint`), and of the scores whether
they differ more than those of repetitions do: for the page as a whole, and row by row after Holm.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from scipy import stats

from delrec_bench.metrics import metric_named
from delrec_bench.records import Record, experiment
from delrec_bench.records.checks import unequal
from delrec_bench.records.record import COMPUTED, computed
from delrec_bench.statistics.verdicts import holm

Word = Literal["equal", "consistent", "different"]

LEVEL = 0.001
"""Of the test of a page's scores, and of its rows' after Holm: who reproduces on another machine sees one false alarm
in a thousand."""
LOGITS, GRADIENT = 1e-3, 1e-2
"""Deviation that is always allowed, relative to the norm: of the median sample's outputs, of each tensor's gradient.
One spike that rounding moves changes a gradient by less; a decay off by 5 percent changes outputs by 0.02 and more."""
ROUNDING = 10.0
"""How many times what rounding did to the record's own network (its fingerprint says) is allowed where that is more."""

_OWN = ("delrec", "delrec-baselines", "delrec-bench")


@dataclass(frozen=True)
class MadeTwice:
    """Runs of one row, made twice.

    Attributes:
        name: What the row is called.
        pairs: (published, made here) of the same experiment and repetition.
        scores: Of all published repetitions: how much they differ is what a difference is held against.
    """

    name: str
    pairs: Sequence[tuple[Record, Record]]
    scores: Sequence[float] = ()


@dataclass(frozen=True)
class JudgedRow:
    """A row, judged.

    Attributes:
        name: As given.
        word: equal, consistent or different.
        reason: What decided.
        n: How many pairs.
        difference: Made here minus published, mean over the pairs; None of runs without a score.
        p: Of "the scores differ no more than repetitions do", after Holm; None of an equal row.
    """

    name: str
    word: Word
    reason: str
    n: int
    difference: float | None = None
    p: float | None = None


@dataclass(frozen=True)
class Reproduction:
    """A page, judged.

    Attributes:
        rows: In the order given.
        p: Of "over all rows that are not equal, the scores are neither better nor worse"; None where all are equal.
    """

    rows: tuple[JudgedRow, ...]
    p: float | None = None

    @property
    def word(self) -> Word:
        """The page's: different where a row is, or the scores as a whole."""
        words = {row.word for row in self.rows}
        if "different" in words or (self.p is not None and self.p < LEVEL):
            return "different"
        return "consistent" if "consistent" in words else "equal"

    @property
    def different(self) -> tuple[JudgedRow, ...]:
        """The rows that are."""
        return tuple(row for row in self.rows if row.word == "different")

    def __str__(self) -> str:
        """The last line of a reproduction."""
        total = len(self.rows)
        if not total:
            return "Nothing to compare with: no published run is of these settings."
        count = {word: sum(row.word == word for row in self.rows) for word in ("equal", "consistent", "different")}
        parts = [f"{count['equal']} of {total} rows equal"]
        parts += [f"{count[word]} {word}" for word in ("consistent", "different") if count[word]]
        text = f"{'Not reproduced' if self.word == 'different' else 'Reproduced'}: {', '.join(parts)}."
        if self.different:
            text += f" Different: {'; '.join(row.name for row in self.different)}."
        if self.p is not None and self.p < LEVEL:
            text += f" Over all rows that are not equal the scores are shifted (p = {self.p:.1g})."
        return text


@dataclass(frozen=True)
class Matched:
    """Runs of two sides, row by row.

    Attributes:
        rows: What both have.
        new: Names of rows that are made here alone.
        absent: Names of rows that are published alone.
    """

    rows: tuple[MadeTwice, ...]
    new: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


def match(ours: Iterable[Record], published: Iterable[Record], name: Callable[[Record], str] = str) -> Matched:
    """Put the runs made here beside the published ones of the same experiment.

    Args:
        ours, published: Runs and floors; other kinds are left out.
        name: What the row of a run is called.
    """
    known: dict[str, Record] = {}
    scores: dict[str, list[float]] = {}
    theirs = [r for r in published if r.kind in ("run", "floor")]
    for record in theirs:
        known.setdefault(experiment(record), record)
        scores.setdefault(row_of(record), []).append(record.score)
    pairs: dict[str, list[tuple[Record, Record]]] = {}
    names: dict[str, str] = {}
    new: dict[str, None] = {}
    for record in (r for r in ours if r.kind in ("run", "floor")):
        other = known.get(experiment(record))
        if other is None:
            new[name(record)] = None
            continue
        pairs.setdefault(row_of(record), []).append((other, record))
        names[row_of(record)] = name(record)
    made = set(pairs)
    absent = dict.fromkeys(name(record) for record in theirs if row_of(record) not in made)
    rows = tuple(MadeTwice(names[row], of, scores[row]) for row, of in pairs.items())
    return Matched(rows, tuple(new), tuple(absent))


def row_of(record: Record) -> str:
    """Digest of what the repetitions of a row share, whatever ran them."""
    return experiment(record, ("repetition", "seeds"))


def judge(rows: Sequence[MadeTwice]) -> Reproduction:
    """Judge every row, and their scores together."""
    judged = [_first_look(row) for row in rows]
    open_ = [i for i, row in enumerate(judged) if row.word != "equal" and row.difference is not None]
    spread = _spreads(rows)
    z = [_standardised(rows[i], judged[i], spread[i]) for i in open_]
    corrected = holm([None if value is None else _two_sided(value) for value in z])
    for i, p in zip(open_, corrected, strict=True):
        word, reason = judged[i].word, judged[i].reason
        if word == "consistent" and p is not None and p < LEVEL:
            word, reason = "different", f"the score differs by {judged[i].difference:+.3g}, more than repetitions do"
        judged[i] = replace(judged[i], word=word, reason=reason, p=p)
    known = [value for value in z if value is not None]
    together = _two_sided(sum(known) / math.sqrt(len(known))) if known else None
    return Reproduction(tuple(judged), together)


def _first_look(row: MadeTwice) -> JudgedRow:
    """The row's word before its scores are asked."""
    words = [pair_word(published, ours) for published, ours in row.pairs]
    order = ("different", "consistent", "equal")
    word, reason = min(words, key=lambda found: order.index(found[0]), default=("consistent", "nothing was made"))
    differences = [b.score - a.score for a, b in row.pairs if a.kind in ("run", "floor")]
    mean = sum(differences) / len(differences) if differences else None
    return JudgedRow(row.name, word, reason, len(row.pairs), mean)


def pair_word(published: Record, ours: Record) -> tuple[Word, str]:
    """Judge two makings of one run without their scores; the word and what decided."""
    if published.digest == ours.digest:
        return "equal", "all that was computed is the same, bit for bit"
    where = first_difference(published, ours)
    if published.key == ours.key and _bound(published, ours):
        return "different", f"the same versions and portable arithmetic, but not the same {where}"
    if published.fingerprint is None or ours.fingerprint is None:
        return "consistent", f"without a fingerprint; first in {where}"
    apart = fingerprint_difference(published.fingerprint, ours.fingerprint)
    if apart is not None:
        return "different", f"the first batch in float64 differs by more than rounding: {apart}"
    return "consistent", f"the first batch agrees in float64; first in {where}"


def _bound(a: Record, b: Record) -> bool:
    """Whether two makings of one run must be the same to the bit."""
    versions = [{n: v for n, v in (r.provenance.get("versions") or {}).items() if n not in _OWN} for r in (a, b)]
    portable = all(r.configuration.get("arithmetic") == "portable" for r in (a, b))
    return portable and versions[0] == versions[1]


def fingerprint_difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> str | None:
    """Where two fingerprints differ by more than rounding explains; None where they agree."""
    if len(a["logits"]) != len(b["logits"]) or a["gradient"].keys() != b["gradient"].keys():
        return "they are of other tensors"
    logits = [(*_deviation(x, y), "outputs") for x, y in zip(a["logits"], b["logits"], strict=True)]
    if logits:
        deviation, rounding = (float(np.median([one[i] for one in logits])) for i in (0, 1))
        if not deviation <= max(LOGITS, ROUNDING * rounding):
            return f"outputs of the median sample by {deviation:.1g}"
    norms = [values[0] or 0.0 for values in a["gradient"].values()]
    least = 1e-4 * max(norms, default=0.0)  # a gradient that is zero but for rounding, of a bias before batch norm, say
    for name, values in a["gradient"].items():
        deviation, rounding = _deviation(values, b["gradient"][name], least)
        if not deviation <= max(GRADIENT, ROUNDING * rounding):
            return f"gradient of {name} by {deviation:.1g}"
    return None


def _deviation(a: Sequence[float | None], b: Sequence[float | None], least: float = 0.0) -> tuple[float, float]:
    """How far two tensors are apart by their norm and products, and what rounding does to the first; relative."""
    if None in (*a, *b):
        return (0.0, 0.0) if list(a) == list(b) else (math.inf, 0.0)
    x, y = np.asarray(a, float), np.asarray(b, float)
    norm = max(x[0], least) or 1.0
    return float(np.abs(x[:3] - y[:3]).max() / norm), float(max(x[3], y[3]) * x[0] / norm)


def _spreads(rows: Sequence[MadeTwice]) -> list[tuple[float, float]]:
    """(standard deviation, degrees of freedom) of a repetition of each row: its own or its task's, the larger."""
    of_task: dict[str, list[tuple[float, int]]] = {}
    own = []
    for row in rows:
        variance = float(np.var(row.scores, ddof=1)) if len(row.scores) > 1 else 0.0
        own.append(variance)
        if len(row.scores) > 1 and row.pairs:
            of_task.setdefault(row.pairs[0][0].task, []).append((variance, len(row.scores) - 1))
    out = []
    for row, variance in zip(rows, own, strict=True):
        pooled = of_task.get(row.pairs[0][0].task, []) if row.pairs else []
        df = sum(n for _, n in pooled)
        out.append((math.sqrt(max(variance, sum(v * n for v, n in pooled) / df if df else 0.0)), float(df)))
    return out


def _standardised(row: MadeTwice, judged: JudgedRow, spread: tuple[float, float]) -> float | None:
    """The difference as a standard normal would see it, positive for better; None where no spread is known.

    Both makings of a chaotic run are drawn from the repetitions' distribution: a difference has twice the variance.
    """
    sd, df = spread
    first = row.pairs[0][0]
    metric = metric_named(first.metric)
    if metric.classifies and first.predictions is not None:
        total = len(first.predictions)
        sd = max(sd, 1 / total)
        df = df or math.inf  # one repetition: what the test set alone resolves
        if spread[1] == 0.0:
            sd = math.sqrt(max(first.score * (1 - first.score), 1 / total) / total)
    if not sd or judged.difference is None:
        return None
    t = judged.difference / (sd * math.sqrt(2 / judged.n))
    z = float(stats.norm.isf(stats.t.sf(abs(t), df))) if math.isfinite(df) else abs(t)
    sign = 1 if (t > 0) == metric.more_is_better else -1
    return sign * min(z, 38.0)  # beyond, probabilities are 0 in double precision


def _two_sided(z: float) -> float:
    return float(2 * stats.norm.sf(abs(z)))


def first_difference(a: Record, b: Record) -> str:
    """Where two makings of a run part first, in the order of the run."""
    one, two = computed(a), computed(b)
    for part in dict.fromkeys(("parameters", "history", "predictions", *COMPUTED)):
        x, y = one.get(part), two.get(part)
        if part == "history" and x and y:  # a published record keeps less of each epoch
            shared = set(x[0]) & set(y[0])
            x, y = ([{k: v for k, v in entry.items() if k in shared} for entry in of] for of in (x, y))
        if part == "delays" and (a.published or b.published):
            continue
        if part == "predictions" and x != y:
            left, right = np.asarray(a.predictions), np.asarray(b.predictions)
            if left.shape == right.shape:
                at = int(np.flatnonzero(left != right)[0])
                return f"prediction of test sample {at} ({left[at]} and {right[at]})"
        for name, (old, new) in unequal(x, y, part).items():
            return f"{name} ({_short(old)} and {_short(new)})"
    return "detail that is not published"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
