"""Reproduced or not: equal, consistent or different. Decided here alone, for pages, reruns and comparisons.

    equal        bit for bit, all that the run computed
    different    not equal where it must be: the same settings, versions and portable arithmetic; or the first batch,
                 computed in float64, differs by more than rounding explains; or the scores by more than repetitions do
    consistent   everything else

What follows the first batch is chaotic: a spike that rounding moves changes everything after it. So between processors,
engines and versions the first forward pass and gradient are compared (`Record.fingerprint`), and of the scores whether
they differ more than those of repetitions do: for the page as a whole, and row by row after Holm.
"""

import math
import reprlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from scipy import stats

from delrec_bench.metrics import metric_named
from delrec_bench.records import COMPUTED, Record, computed, experiment, unequal, version_of
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


class MadeTwice(NamedTuple):
    """Runs of one row, made twice: (published, made here) pairs, and the scores of all published repetitions."""

    name: str
    pairs: Sequence[tuple[Record, Record]]
    scores: Sequence[float] = ()


@dataclass(frozen=True)
class JudgedRow:
    """A row, judged: the word, and what decided.

    `difference` is the score made here minus the published one, mean over n pairs; None of trials, which have no test
    score. `p` is that of "the scores differ no more than repetitions do", after Holm; None of an equal row.
    """

    name: str
    word: Word
    reason: str
    n: int
    difference: float | None
    p: float | None = None

    def __str__(self) -> str:
        return f"{self.name}: {self.word}: {self.reason}"


@dataclass(frozen=True)
class Reproduction:
    """A page, judged; `new` are names of rows that were made here alone.

    `p` is that of "over all rows that are not equal, scores are neither better nor worse"; None where all are equal.
    """

    rows: tuple[JudgedRow, ...]
    p: float | None = None
    new: tuple[str, ...] = ()

    @property
    def word(self) -> Word | None:
        """The page's: different where a row is, or the scores as a whole; None where nothing is compared."""
        if not self.rows:
            return None
        words = {row.word for row in self.rows}
        if "different" in words or (self.p is not None and self.p < LEVEL):
            return "different"
        return "consistent" if "consistent" in words else "equal"

    @property
    def lines(self) -> list[str]:
        """A line for each row that is not equal, and one for those without a published run."""
        lines = [str(row) for row in self.rows if row.word != "equal"]
        if self.new:
            lines.append(f"no stored run for {len(self.new)} of the rows, such as {self.new[0]}")
        return lines

    def __str__(self) -> str:
        """The last line of a reproduction."""
        if not self.rows:
            return "Nothing to compare with: there is no stored run with these settings."
        words = Counter(row.word for row in self.rows)
        text = f"{words['equal']} of {len(self.rows)} rows equal"
        text += "".join(f", {words[word]} {word}" for word in get_args(Word)[1:] if words[word])
        text = f"{'Not reproduced' if self.word == 'different' else 'Reproduced'}: {text}."
        if self.p is not None and self.p < LEVEL:
            text += f" Over all rows that are not equal, scores are systematically shifted (p = {self.p:.1g})."
        return text


def match(
    ours: Iterable[Record], published: Iterable[Record], name: Callable[[Record], str]
) -> tuple[list[MadeTwice], tuple[str, ...]]:
    """The rows of runs and floors that were made here and published, and the names of those made here alone."""
    theirs = [record for record in published if record.kind in ("run", "floor")]
    same = {record.key: record for record in theirs}
    known: dict[str, Record] = {}
    scores: dict[str, list[float]] = {}
    for record in sorted(theirs, key=version_of, reverse=True):  # of an experiment, the newest version counts
        if known.setdefault(experiment(record), record) is record:
            scores.setdefault(row_of(record), []).append(record.score)
    pairs: dict[str, list[tuple[Record, Record]]] = {}
    new: dict[str, None] = {}
    for record in ours:
        if record.kind in ("run", "floor"):
            if (other := same.get(record.key) or known.get(experiment(record))) is None:
                new[name(record)] = None
            else:
                pairs.setdefault(row_of(record), []).append((other, record))
    return [MadeTwice(name(of[-1][1]), of, scores[row]) for row, of in pairs.items()], tuple(new)


def row_of(record: Record) -> str:
    """Digest of what the repetitions of a row share, whatever ran them."""
    return experiment(record, ("repetition", "seeds"))


def judge(rows: Sequence[MadeTwice], new: tuple[str, ...] = ()) -> Reproduction:
    """Judge every row, and their scores together."""
    judged, found = [], {}
    for i, row in enumerate(rows):
        word, reason = max((pair_word(*pair) for pair in row.pairs), key=lambda one: get_args(Word).index(one[0]))
        differences = [ours.score - published.score for published, ours in row.pairs if ours.kind != "trial"]
        difference = sum(differences) / len(differences) if differences else None
        judged.append(JudgedRow(row.name, word, reason, len(row.pairs), difference))
        if word != "equal" and difference is not None:
            found[i] = _standardised(row, difference, rows)
    corrected = holm([None if z is None else _two_sided(z) for z in found.values()])
    for i, p in zip(found, corrected, strict=True):
        judged[i] = replace(judged[i], p=p)
        if judged[i].word == "consistent" and p is not None and p < LEVEL:
            reason = f"the score differs by {judged[i].difference:+.3g}, more than between repetitions"
            judged[i] = replace(judged[i], word="different", reason=reason)
    known = [z for z in found.values() if z is not None]
    return Reproduction(tuple(judged), _two_sided(sum(known) / math.sqrt(len(known))) if known else None, new)


def pair_word(published: Record, ours: Record) -> tuple[Word, str]:
    """Judge two makings of one run without their scores; the word and what decided."""
    if published.digest == ours.digest:
        return "equal", "bitwise identical"
    where = first_difference(published, ours)
    versions = [{n: v for n, v in r.provenance.get("versions", {}).items() if n not in _OWN} for r in (published, ours)]
    portable = {r.configuration.get("arithmetic") for r in (published, ours)} == {"portable"}
    if published.key == ours.key and portable and versions[0] == versions[1]:
        return "different", f"same versions and portable arithmetic, but a different {where}"
    if published.fingerprint is None or ours.fingerprint is None:
        return "consistent", f"no fingerprint to compare; first difference: {where}"
    apart = fingerprint_difference(published.fingerprint, ours.fingerprint)
    if apart is not None:
        return "different", f"the first batch in float64 differs by more than rounding: {apart}"
    return "consistent", f"the first batch agrees in float64; first difference: {where}"


def fingerprint_difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> str | None:
    """Where two fingerprints differ by more than rounding explains; None where they agree."""
    if len(a["logits"]) != len(b["logits"]) or a["gradient"].keys() != b["gradient"].keys():
        return "the tensors are not the same ones"
    if a["logits"]:
        found = [_deviation(x, y) for x, y in zip(a["logits"], b["logits"], strict=True)]
        deviation, rounding = np.median(found, axis=0)
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


def _standardised(row: MadeTwice, difference: float, rows: Sequence[MadeTwice]) -> float | None:
    """The difference as a standard normal would see it, positive for better; None where no spread is known.

    The spread of a repetition is the row's own or its task's, the larger; where settings are drawn anew for each
    repetition, that of runs of one name. Both makings of a chaotic run are drawn from the repetitions' distribution: a
    difference has twice the variance.
    """
    first = row.pairs[0][0]
    metric = metric_named(first.metric)
    alike, named = [r for r in rows if r.pairs[0][0].task == first.task], dict[str, list[float]]()
    for one in alike:
        named.setdefault(one.name, []).extend(one.scores)
    of_task = [r.scores for r in alike if len(r.scores) > 1] or [of for of in named.values() if len(of) > 1]
    df = float(sum(len(scores) - 1 for scores in of_task))
    pooled = sum(float(np.var(scores, ddof=1)) * (len(scores) - 1) for scores in of_task) / df if df else 0.0
    sd = math.sqrt(max(pooled, float(np.var(row.scores, ddof=1)) if len(row.scores) > 1 else 0.0))
    if metric.classifies and first.predictions is not None:
        total = len(first.predictions)
        sd = max(sd, 1 / total)
        if df == 0.0:  # one repetition: what the test set alone resolves
            sd, df = math.sqrt(max(first.score * (1 - first.score), 1 / total) / total), math.inf
    if not sd:
        return None
    t = difference / (sd * math.sqrt(2 / len(row.pairs)))
    z = float(stats.norm.isf(stats.t.sf(abs(t), df)))
    return (1 if (t > 0) == metric.more_is_better else -1) * min(z, 38.0)  # beyond, probabilities are 0


def _two_sided(z: float) -> float:
    return float(2 * stats.norm.sf(abs(z)))


def first_difference(a: Record, b: Record) -> str:
    """Where two makings of a run part first, in the order of the run."""
    one, two = (computed(r) | {"predictions": r.predictions and r.predictions.array.tolist()} for r in (a, b))
    for part in dict.fromkeys(("parameters", "history", "predictions", *COMPUTED)):
        x, y = one.get(part), two.get(part)
        if part == "history" and x and y:  # a published record keeps less of each epoch
            shared = set(x[0]) & set(y[0])
            x, y = ([{k: v for k, v in entry.items() if k in shared} for entry in of] for of in (x, y))
        if part == "delays" and (a.published or b.published):
            continue
        for name, (old, new) in unequal(x, y, part).items():
            return f"{name} ({reprlib.repr(old)} and {reprlib.repr(new)})"
    return "detail that is not stored"
