"""The page of a run of the latency suites, as Markdown: what is aimed at, and every row with median and quartiles."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from delrec_bench.latency.timing import Quartiles

OURS, OURS_0 = "ours, axonal, sigma 10", "ours, axonal, sigma 0"
FLOOR, PLAIN, PUBLISHED = "floor: matrix products alone", "ours, plain recurrent", "published, axonal, sigma 10"
Aims = Mapping[str, tuple[float, float]] | tuple[float, float]

TARGETS: dict[tuple[str, str, str], Aims] = {
    (OURS, "train", FLOOR): (2.5, 1.5),
    (OURS_0, "train", FLOOR): (2.0, 1.25),
    (OURS, "train", PLAIN): (1.5, 1.2),
    (OURS_0, "train", PLAIN): (1.2, 1.05),
    (PUBLISHED, "train", OURS): {"SHD": (14, 23), "SSC": (20, 33), "PS-MNIST": (20, 40)},
    (PUBLISHED, "forward", OURS): (15, 25),
    (PUBLISHED, "batch1", OURS): (25, 100),
    (PUBLISHED, "bytes saved", OURS): (8, 15),
    ("published, synaptic layer, sigma 10", "train", "ours"): (12, 25),
    ("published, synaptic layer, sigma 0", "train", "ours"): (20, 50),
    ("DCLS Dcls1d v1", "train", "ours"): (2, 5),
    ("axonal layer, delays to 80, sigma 10", "train", "delays to 5"): (1.1, 1.0),
    ("axonal layer, delays to 80, sigma 0", "train", "delays to 5"): (1.1, 1.0),
}
"""(contender, mode, yardstick) -> the ratio that is demanded and the one that is aimed at, which is the better one."""


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
    if targets := [line for row in rows for line in _targets(row)]:
        parts += ["## Targets", _table(["shape", "mode", "ratio", "measured", "demanded", "aim", ""], targets)]
    lines = [[r.shape, r.mode, r.contender, r.time(), r.ratios(), r.note] for r in rows]
    parts += ["## All rows", _table(["shape", "mode", "", "time", "ratios", ""], lines)]
    return "\n\n".join(parts)


def _targets(row: Row) -> Iterable[list[str]]:
    for yardstick, value in row.against.items():
        aims = TARGETS.get((row.contender, row.mode, yardstick))
        found = aims.get(row.shape) if isinstance(aims, Mapping) else aims
        if found is None:
            continue
        demanded, aim = found
        sign = 1 if aim > demanded else -1
        reached = [sign * value.median >= sign * limit for limit in found]
        verdict = "aim" if reached[1] else "met" if reached[0] else "MISSED"
        what = f"{row.contender} / {yardstick}"
        yield [row.shape, row.mode, what, _spread(value), f"{demanded:g}", f"{aim:g}", verdict]


def _spread(value: Quartiles, factor: float = 1) -> str:
    if value.count == 1:
        return f"{factor * value.median:.3g}"
    return f"{factor * value.median:.3g} [{factor * value.low:.3g}, {factor * value.high:.3g}]"


def _table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *body))
