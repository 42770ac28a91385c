"""Ranks that the data tell apart: of each method the places it may hold, never 1..n by mean."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from delrec_bench.statistics.paired import LEVEL, decide, paired
from delrec_bench.statistics.verdicts import SHOWN_ONLY, holm


@dataclass(frozen=True)
class Rank:
    """The places of one method among m on one task.

    Attributes:
        method: its name.
        mean: mean score over its repetitions.
        first: 1 + how many methods are resolved better than it.
        last: m - how many methods are resolved worse than it.
        unresolved: the methods that the data do not tell from it, best mean first.
    """

    method: str
    mean: float
    first: int
    last: int
    unresolved: tuple[str, ...]

    @property
    def group(self) -> str:
        """What a page prints: "1-4", or "2" where every other method is told from it."""
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


def rank_groups(
    scores: Mapping[str, Mapping[int, float]], *, more_is_better: bool, resolution: float = 0.0, level: float = LEVEL
) -> list[Rank]:
    """Rank intervals from all pairwise paired t tests of one task, Holm over the pairs; best mean first.

    "1-4" reads: nothing is known to be better, and all but the first four places are ruled out. Unlike letters, an
    interval needs no legend; unlike classes, it stays true where A is not told from B, nor B from C, but A is from C.
    (Holm over all pairs makes all the intervals hold together: Mogstad, Romano, Shaikh & Wilhelm 2024.)
    Pairs of up to `SHOWN_ONLY` shared repetitions are not compared.

    Args:
        scores: method -> repetition -> score.
        more_is_better: direction of the score.
        resolution: smallest step of a score, as in `paired`.
        level: confidence that all intervals hold at once.
    """
    means = {m: sum(of.values()) / len(of) for m, of in scores.items() if of}
    order = sorted(means, key=lambda m: (-means[m] if more_is_better else means[m], m))
    pairs = list(combinations(order, 2))
    estimates = []
    for a, b in pairs:
        shared = sorted(set(scores[a]) & set(scores[b]))
        values = [[scores[m][r] for r in shared] for m in (a, b)]
        estimates.append(paired(*values, resolution=resolution, level=level))
    adjusted = holm([e.p if e.n > SHOWN_ONLY else None for e in estimates])
    better: dict[str, set[str]] = {m: set() for m in order}  # method -> those resolved better than it
    for (a, b), estimate, p in zip(pairs, estimates, adjusted, strict=True):
        word = "inconclusive" if p is None else decide(estimate, more_is_better=more_is_better, p=p)
        if word != "inconclusive":
            winner, loser = (a, b) if word == "better" else (b, a)
            better[loser].add(winner)
    worse = {m: {other for other in order if m in better[other]} for m in order}
    return [
        Rank(
            method=m,
            mean=means[m],
            first=1 + len(better[m]),
            last=len(order) - len(worse[m]),
            unresolved=tuple(o for o in order if o != m and o not in better[m] and o not in worse[m]),
        )
        for m in order
    ]
