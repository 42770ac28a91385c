"""The page of a run of the latency suites, as Markdown: every row with median and quartiles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from delrec_bench.latency.timing import Quartiles

OURS, OURS_0 = "ours, axonal, sigma 10", "ours, axonal, sigma 0"
FLOOR, PLAIN, PUBLISHED = "floor: matrix products alone", "ours, plain recurrent", "published, axonal, sigma 10"


@dataclass(frozen=True)
class Row:
    """What was measured of one contender."""

    suite: str  # "engines" or "peers"
    shape: str
    mode: str
    contender: str
    seconds: Quartiles | None  # of a round; None where it is not time that was measured
    against: Mapping[str, Quartiles]  # the ratio to each yardstick
    note: str = ""  # engine and spikes

    def ratios(self) -> str:
        """The ratios in words."""
        return "; ".join(f"{_spread(value)} x {name}" for name, value in self.against.items())

    def time(self) -> str:
        """Median and quartiles with their unit."""
        if self.seconds is None:
            return ""
        factor, unit = (1, "s") if self.seconds.median >= 1 else (1e3, "ms")
        return f"{_spread(self.seconds, factor)} {unit}"


def markdown(rows: Sequence[Row], about: str, failed: int) -> str:
    """The whole page."""
    parts = ["# Engines", f"{about}. Median [quartiles]; ratios are of times of one round."]
    if failed:
        parts.append(f"**{failed} measurements failed, and are missing: see the output above.**")
    head = ["shape", "mode", "", "time", "ratios", ""]
    lines = [[r.shape, r.mode, r.contender, r.time(), r.ratios(), r.note] for r in rows]
    parts.append("\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *lines)))
    return "\n\n".join(parts)


def _spread(value: Quartiles, factor: float = 1) -> str:
    if value.count == 1:
        return f"{factor * value.median:.3g}"
    return f"{factor * value.median:.3g} [{factor * value.low:.3g}, {factor * value.high:.3g}]"
