"""Ranks that the data tell apart: of each method the places it may hold, never 1..n by mean."""

from collections.abc import Mapping
from itertools import combinations

from delrec_bench.statistics.paired import decide, paired
from delrec_bench.statistics.verdicts import SHOWN_ONLY, holm


def rank_groups(
    scores: Mapping[str, Mapping[int, float]], *, more_is_better: bool, resolution: float = 0.0
) -> dict[str, str]:
    """Rank intervals such as "1-4" from all pairwise paired t tests of one task, Holm over the pairs; best mean first.

    "1-4" reads: nothing is known to be better, and all but the first four places are ruled out. Unlike letters, an
    interval needs no legend; unlike classes, it stays true where A is not told from B, nor B from C, but A is from C.
    (Holm over all pairs makes all the intervals hold together: Mogstad, Romano, Shaikh & Wilhelm 2024.)
    Pairs of up to `SHOWN_ONLY` shared repetitions are not compared.

    Args:
        scores: method -> repetition -> score.
        more_is_better: direction of the score.
        resolution: smallest step of a score, as in `paired`.
    """
    means = {m: sum(of.values()) / len(of) for m, of in scores.items() if of}
    order = sorted(means, key=lambda m: (-means[m] if more_is_better else means[m], m))
    pairs = list(combinations(order, 2))
    estimates = []
    for a, b in pairs:
        shared = sorted(set(scores[a]) & set(scores[b]))
        estimates.append(paired(*([scores[m][r] for r in shared] for m in (a, b)), resolution=resolution))
    first, last = dict.fromkeys(order, 1), dict.fromkeys(order, len(order))
    adjusted = holm([e.p if e.n > SHOWN_ONLY else None for e in estimates])
    for (a, b), estimate, p in zip(pairs, estimates, adjusted, strict=True):
        word = "inconclusive" if p is None else decide(estimate, more_is_better=more_is_better, p=p)
        if word != "inconclusive":
            winner, loser = (a, b) if word == "better" else (b, a)
            first[loser] += 1
            last[winner] -= 1
    return {m: str(first[m]) if first[m] == last[m] else f"{first[m]}-{last[m]}" for m in order}
