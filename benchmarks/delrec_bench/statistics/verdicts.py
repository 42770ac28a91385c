"""What a page claims: a comparison declared beforehand, judged on each task, with Holm over its tasks alone; ranks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal, NamedTuple, cast

import numpy as np

from delrec_bench.statistics.paired import Estimate, Word, decide, summed

SHOWN_ONLY = 4
"""Up to this many repetitions are shown, not compared: a half-width is 2.48 sd at n = 3."""

Answer = Literal["better on all", "worse on all", "equivalent on all", "depends on the task", "inconclusive"]


class Claim(NamedTuple):
    """A comparison on one task, before it is judged.

    `margin` is the largest difference that does not matter, in the estimate's unit; a claim is primary if the study
    declared it before its runs.
    """

    estimate: Estimate
    more_is_better: bool
    margin: float | None = None
    primary: bool = False


@dataclass(frozen=True)
class Verdict:
    """A claim, judged, as a page's JSON has it; missing is None."""

    difference: float | None  # method minus control in the score's unit
    low: float | None  # its t interval
    high: float | None
    n: int  # repetitions
    p: float | None  # two-sided, uncorrected
    p_holm: float | None  # after Holm over the page's primaries; None of an exploratory one
    margin: float | None
    verdict: Word
    detectable: float | None  # smallest true difference seen with 80 percent power; None where nothing is compared

    @property
    def compared(self) -> bool:
        """Whether there are enough repetitions for a verdict."""
        return self.n > SHOWN_ONLY


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjustment; a hypothesis without a p value counts in the family's size all the same."""
    values = np.array([1.0 if p is None else p for p in p_values])
    order = np.argsort(values, kind="stable")
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)))
    return [None if p is None else float(q) for p, q in zip(p_values, adjusted, strict=True)]


def judge(claims: Sequence[Claim], absent: int = 0) -> list[Verdict]:
    """All claims of a page, in their order.

    Primaries are corrected together, for difference and for equivalence (each claim can be false in one of the two
    ways only); `absent` are primaries that nothing is known of yet, which the family counts all the same. An
    exploratory one is judged by its own interval, and its kind says that nothing was corrected.
    """
    compared = [c.estimate if c.estimate.n > SHOWN_ONLY else replace(c.estimate, se=None, alone=None) for c in claims]
    primary = [i for i, c in enumerate(claims) if c.primary]
    within = [None if (m := claims[i].margin) is None else compared[i].p_equivalent(m) for i in primary]
    differs = dict(zip(primary, holm([*(compared[i].p for i in primary), *[None] * absent]), strict=False))
    same = dict(zip(primary, holm([*within, *[None] * absent]), strict=False))
    verdicts = []
    for i, (c, estimate) in enumerate(zip(claims, compared, strict=True)):
        p, shown = differs.get(i), c.estimate
        word = decide(estimate, more_is_better=c.more_is_better, margin=c.margin, p=p, p_equivalent=same.get(i))
        numbers = shown.difference, shown.low, shown.high, shown.n, estimate.p, p, c.margin
        detectable = estimate.detectable(len(primary) + absent if c.primary else 1)
        verdicts.append(Verdict(*numbers, word, detectable))
    return verdicts


def answer_of(verdicts: Sequence[Verdict]) -> Answer:
    """What a comparison comes to over its tasks.

    One settled word on all tasks, or "depends on the task" where two tasks are settled differently; inconclusive else.
    """
    words = {v.verdict for v in verdicts}
    if len(words - {"inconclusive"}) > 1:
        return "depends on the task"
    word = words.pop() if len(words) == 1 else "inconclusive"
    return "inconclusive" if word == "inconclusive" else cast(Answer, f"{word} on all")


def mean_over(estimates: Sequence[Estimate]) -> Estimate | None:
    """The mean difference over these very tasks, of one metric: se^2 = sum_i se_i^2 / k^2, Satterthwaite's df.

    It says nothing of other tasks. None of a single task, and where one has no standard error.
    """
    k = len(estimates)
    known = [(e.difference, e.se, e.df) for e in estimates if e.difference is not None and e.se is not None]
    if k < 2 or len(known) < k or any(e.n <= SHOWN_ONLY for e in estimates):
        return None
    se, df = summed((se**2, df) for _, se, df in known)
    alone = mean_over([e.alone or e for e in estimates]) if any(e.alone for e in estimates) else None
    return Estimate(float(np.mean([d for d, _, _ in known])), k, se=se / k, df=df, alone=alone)


def rank_groups(
    means: Mapping[str, float], difference: Callable[[str, str], Estimate], *, more_is_better: bool
) -> dict[str, str]:
    """Rank intervals such as "1-4" from all pairwise comparisons of one task, Holm over the pairs; best mean first.

    "1-4" reads: nothing is known to be better, and all but the first four places are ruled out. Unlike letters, an
    interval needs no legend; unlike classes, it stays true where A is not told from B, nor B from C, but A is from C.
    (Holm over all pairs makes all the intervals hold together: Mogstad, Romano, Shaikh & Wilhelm 2024.)
    Pairs of up to `SHOWN_ONLY` shared repetitions are not compared. `means` are those of the methods' scores,
    `difference` that of two of them, (a, b) -> a minus b.
    """
    order = sorted(means, key=lambda m: (-means[m] if more_is_better else means[m], m))
    pairs = list(combinations(order, 2))
    estimates = [difference(a, b) for a, b in pairs]
    first, last = dict.fromkeys(order, 1), dict.fromkeys(order, len(order))
    adjusted = holm([e.p if e.n > SHOWN_ONLY else None for e in estimates])
    for (a, b), estimate, p in zip(pairs, estimates, adjusted, strict=True):
        word = "inconclusive" if p is None else decide(estimate, more_is_better=more_is_better, p=p)
        if word != "inconclusive":
            winner, loser = (a, b) if word == "better" else (b, a)
            first[loser] += 1
            last[winner] -= 1
    return {m: str(first[m]) if first[m] == last[m] else f"{first[m]}-{last[m]}" for m in order}
