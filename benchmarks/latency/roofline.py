"""A roofline on paper of the triton engine: what a training step takes, and the time that this bounds on three cards.

    python -m benchmarks.latency.roofline [--write]

prints the tables of docs/engines.md, or writes them there. Nothing is run on a card: every time is the least that
published peaks allow, of kernels that overlap nothing, launches and synchronisation left out.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from delrec_bench.workspace import write_atomic

from benchmarks.latency.shapes import Shape, on

__all__ = ["CARDS", "Card", "Kernel", "kernels", "markdown"]

PAGE = Path(__file__).parents[2] / "docs" / "engines.md"
START, END = "<!-- roofline:start -->\n", "<!-- roofline:end -->\n"
NAMES = ("SHD", "SSC", "PS-MNIST")
REAL = 4  # bytes of float32
RATE = 0.05  # spikes a neuron and step, as trained networks fire
LATENCY = 279  # cycles of a hit in L2
PORT, NEAR = 64, 128  # bytes a cycle and multiprocessor, from L2 and from its own cache
ISSUED = 128  # instructions of a lane, a cycle and multiprocessor: four warps
LINE = 128  # bytes of a cache's line, the least that a read of its own costs
TAPS = 6  # of a synaptic triangle, from running sums
# instructions of a connection, and of each row of it, forward and back: counted in the code for sm_90, of 2 and 4 rows
CODE = ((52.5, 11.8), (45.1, 11.7))
# the same of one delay a sender, four rows: of a term of the product, listed or not, of a neuron forward and
# back, and of a tap back
TERM, NEURON, TAP = (11.8, 6.6), (897, 659), 45


@dataclass(frozen=True)
class Card:
    """Published peaks: float32 operations and bytes a second; multiprocessors, their lanes and bytes of own cache."""

    name: str
    operations: float
    bytes: float
    processors: int
    lanes: int
    cache: int
    source: str

    @property
    def clock(self) -> float:
        """Cycles a second at which the peak is stated: a lane does two operations a cycle."""
        return self.operations / (2 * self.processors * self.lanes)


CARDS = (
    Card("A40", 37.4e12, 696e9, 84, 128, 128 << 10, "NVIDIA A40 datasheet, GA102 whitepaper"),
    Card("A100", 19.5e12, 2039e9, 108, 64, 192 << 10, "NVIDIA A100 80GB SXM datasheet, GA100 whitepaper"),
    Card("H100", 67e12, 3350e9, 132, 128, 256 << 10, "NVIDIA H100 SXM datasheet, GH100 whitepaper"),
)


@dataclass(frozen=True)
class Kernel:
    """What one kernel of a training step takes.

    operations: of float32; a multiplication and an addition are two. bytes: to and from the card's memory.

    Of a scan: steps that wait for each other, and links, the round trips to a cache, one after the other, in each.
    programs: how many own the batch. work, read, near, code: of one program and step, operations, bytes that every step
    reads again, bytes of its own sequences, and instructions of a lane. held: what `read` is read from: if a
    multiprocessor's own cache does not hold it, it comes from L2.
    """

    name: str
    operations: float
    bytes: float
    steps: int = 0
    links: float = 2  # what arrives, then the product of it; a barrier between
    programs: int = 0
    work: float = 0
    read: float = 0
    near: float = 0
    held: float = 0
    code: float = 0

    def bounds(self, card: Card) -> dict[str, float]:
        """Seconds that each limit bounds, by its name."""
        found = {"products": self.operations / card.operations, "memory": self.bytes / card.bytes}
        if self.steps:
            rounds = self.steps * -(-self.programs // card.processors)  # of programs on one multiprocessor
            found["chain"] = self.steps * self.links * LATENCY / card.clock
            if self.held >= card.cache:
                found["reads from L2"] = rounds * self.read / PORT / card.clock
            found["reads from L1"] = rounds * (self.read + self.near) / NEAR / card.clock
            found["products"] = rounds * self.work / (2 * card.lanes) / card.clock
            found["instructions"] = rounds * self.code / ISSUED / card.clock
        return found

    def limit(self, card: Card) -> tuple[str, float]:
        """What limits it, and the seconds."""
        return max(self.bounds(card).items(), key=lambda item: item[1])


def kernels(shape: Shape, recurrent: str = "axonal", card: Card = CARDS[-1]) -> Iterator[Kernel]:
    """The kernels of a training step of a shape's network, in tiles as the engine takes them (float32, IEEE)."""
    from delrec.engines.triton.axonal import EVERY, MANY
    from delrec.engines.triton.tiles import connection_tiles, tiles_for

    config = shape.config(recurrent)
    rows = shape.steps * shape.batch
    widths = (shape.inputs, *config.hidden, shape.classes)
    taps = math.ceil(2 * (1 + config.sigma))  # of a triangle as training begins; 2 at its end
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        plane, wide = rows * outputs * REAL, rows * inputs * REAL
        product = 2 * rows * inputs * outputs
        where = f"layer {layer + 1}" if layer < len(config.hidden) else "readout"
        yield Kernel(f"{where}: map, forward", product, wide + plane)
        yield Kernel(f"{where}: map, gradients", product * (2 if layer else 1), (wide + plane) * (2 if layer else 1))
        again = layer < len(config.hidden)  # what norm was given, from the same spikes
        if layer:  # read twice and packed once; unpacked for each that wants them
            yield Kernel(f"{where}: spikes as bits, and back", 0, (3 + 2 * (1 + again)) * wide)
        if not again:
            return
        yield Kernel(f"{where}: map, again", product, wide + plane)
        yield Kernel(f"{where}: batch norm and dropout", 0, 12 * plane)  # norm 3 + 5 planes, dropout 2 + 2
        tiles = tiles_for(outputs, shape.batch, torch.float32, "ieee")
        if recurrent == "synaptic" and config.is_recurrent(layer):
            tiles = connection_tiles(outputs, shape.batch, card.processors, REAL)
        square = outputs * outputs
        scan: dict[str, float] = {"bytes": 3 * plane + plane / 32, "steps": shape.steps, "programs": tiles.programs}
        if not config.is_recurrent(layer):
            yield Kernel(f"{where}: scan, no recurrence, forward", 0, links=0, **scan)  # type: ignore[arg-type]
            yield Kernel(f"{where}: scan, no recurrence, backward", 0, links=0, **scan)  # type: ignore[arg-type]
        elif recurrent != "synaptic":  # without delays it is the same scan, of one tap
            product = 2 * rows * square
            reached = taps if recurrent == "axonal" else 1
            live = 1 - (1 - RATE) ** (reached * tiles.rows)  # of the senders: the others are passed over, if many are
            listed = live * TERM[0] < TERM[1]
            live = live if listed else 1
            summed = reached if reached <= MANY.value else reached / EVERY.value
            reads = summed + (2 if reached <= MANY.value else 5)  # of a column, each in a line of its own
            scan |= {"held": REAL * square}
            forward = {"work": live * 2 * tiles.rows * square, "read": live * REAL * square}
            forward["code"] = live * square * TERM[0 if listed else 1] + outputs * NEURON[0]
            back = {"work": 2 * tiles.rows * square, "read": REAL * square, "near": LINE * outputs * reads}
            back["code"] = square * TERM[1] + outputs * (NEURON[1] + TAP * summed)
            yield Kernel(f"{where}: scan, forward", live * product, **scan, **forward)  # type: ignore[arg-type]
            yield Kernel(f"{where}: scan, backward", product, **scan, **back)  # type: ignore[arg-type]
            yield Kernel(f"{where}: gradient of weights", product, plane + plane / 32)
        else:
            # of a connection, c and the weight are read again; links: the sums are read, then the neurons make a step
            scan |= {"links": 2, "read": 2 * REAL * square, "held": 2 * REAL * square}
            scan |= {"near": REAL * square * tiles.rows * TAPS, "work": 2 * tiles.rows * square * (TAPS + 1)}
            every = 2 * rows * square * (TAPS + 1)
            for name, (code, row) in zip(("forward", "backward"), CODE, strict=True):
                scan["code"] = square * (code + row * tiles.rows)
                yield Kernel(f"{where}: scan, {name}", every, **scan)  # type: ignore[arg-type]
            spikes = RATE * rows * square  # each reads the six and G1 at four places, and adds nine times
            yield Kernel(f"{where}: gradients of connections", 2 * 9 * spikes, 3 * plane)


def markdown() -> str:
    """The tables."""
    shapes = [on(name, "cuda") for name in NAMES]
    parts = []
    for recurrent in ("axonal", "synaptic"):
        by_card = {card: {shape.name: list(kernels(shape, recurrent, card)) for shape in shapes} for card in CARDS}
        made = by_card[CARDS[-1]]
        head = [f"training step, {recurrent}, float32", *NAMES]
        lines = [
            ["steps x batch", *(f"{s.steps} x {s.batch}" for s in shapes)],
            ["widths", *("-".join(map(str, (s.inputs, *s.config().hidden, s.classes))) for s in shapes)],
            ["products, GFLOP", *(f"{sum(k.operations for k in made[n]) / 1e9:.0f}" for n in NAMES)],
            ["memory, GB", *(f"{sum(k.bytes for k in made[n]) / 1e9:.1f}" for n in NAMES)],
            ["round trips, one after the other", *(f"{sum(k.steps * k.links for k in made[n]):,.0f}" for n in NAMES)],
        ]
        for card, made in by_card.items():
            for what in ("products", "memory", "chain"):
                lines.append([f"{card.name}: {what} alone", *(_ms(_alone(made[n], card, what)) for n in NAMES)])
            count = [str(max(k.programs for k in made[n])) for n in NAMES]
            lines.append([f"{card.name}: programs of a scan, of {card.processors} multiprocessors", *count])
            design = [f"**{_ms(_total(made[n], card))}**" for n in NAMES]
            lines.append([f"**{card.name}: this design, at least**", *design])
            if recurrent == "axonal":
                bare = {shape.name: _total(kernels(shape, "plain", card), card) for shape in shapes}
                over = [f"{_total(made[n], card) / bare[n]:.2f}" for n in NAMES]
                lines.append([f"{card.name}: over a plain recurrent network by this engine", *over])
        parts.append(_table(head, lines))
        grouped = {card: _grouped(made) for card, made in by_card.items()}
        body = [
            [name, *("; ".join(_limits(grouped[card][name][n], card) for n in NAMES) for card in CARDS)]
            for name in grouped[CARDS[0]]
        ]
        said = f"By kernel, {', '.join(NAMES)}: milliseconds at least, all layers, and what limits them."
        parts += [said, _table([recurrent, *(card.name for card in CARDS)], body)]
    sources = "; ".join(f"{card.name}: {card.source}" for card in CARDS)
    parts.append(
        f"Peaks: {sources}. {LATENCY} cycles of a hit in L2: arXiv 2606.22588, measured on an L40, taken for all; "
        f"{PORT} bytes a cycle from L2 to a multiprocessor, {NEAR} from its own cache, {ISSUED} instructions a cycle: "
        f"assumed for all. Sigma is that of the first epoch; {100 * RATE:g} percent of neurons spike at a step."
    )
    return "\n\n".join(parts) + "\n"


def _alone(found: Iterable[Kernel], card: Card, what: str) -> float:
    """Seconds of one limit at the card's peak, whatever the tiles."""
    if what == "products":
        return sum(k.operations for k in found) / card.operations
    return sum(k.bounds(card).get(what, 0.0) for k in found)


def _total(found: Iterable[Kernel], card: Card) -> float:
    return sum(k.limit(card)[1] for k in found)


def _grouped(made: dict[str, list[Kernel]]) -> dict[str, dict[str, list[Kernel]]]:
    """Kernels of one kind, of all layers, by shape."""
    found: dict[str, dict[str, list[Kernel]]] = {}
    for shape, every in made.items():
        for kernel in every:
            kind = kernel.name.partition(": ")[2]
            found.setdefault(kind, {name: [] for name in made})[shape].append(kernel)
    return dict(sorted(found.items()))


def _limits(found: list[Kernel], card: Card) -> str:
    if not found:
        return "-"
    limits = dict.fromkeys(k.limit(card)[0] for k in sorted(found, key=lambda k: -k.limit(card)[1]))
    return f"{1e3 * _total(found, card):.2f} ({', '.join(limits)})"


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.1f} ms"


def _table(head: list[str], body: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *body])


def placed(page: str) -> str:
    """A page with the tables between its marks.

    Raises:
        ValueError: The marks are not there.
    """
    before, start, rest = page.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise ValueError(f"{PAGE.name} lacks the lines {START.strip()} and {END.strip()}")
    return f"{before}{START}\n{markdown()}\n{END}{after}"


def main() -> None:
    """Print the tables, or write them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency.roofline", description="A roofline on paper.")
    parser.add_argument("--write", action="store_true", help=f"into docs/{PAGE.name}")
    if parser.parse_args().write:
        write_atomic(PAGE, placed(PAGE.read_text(encoding="utf-8")))
    else:
        print(markdown())


if __name__ == "__main__":
    main()
