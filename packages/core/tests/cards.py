"""Compile every kernel of the triton engine ahead of time, for cards that are not here, and hold it to their limits.

    python packages/core/tests/cards.py [--cards sm_86,sm_90] [--sizes 64,256,512,1024] [--products float32,bfloat16]

prints a line per kernel: registers per thread, bytes spilled, shared memory per program, and how many programs fit on a
multiprocessor. Triton compiles happily for a card that a kernel does not fit; the launch would then fail. Exit status:
0 all fit; 1 one does not; 2 Triton is missing, or set to interpret.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from io import StringIO
from multiprocessing import get_context
from typing import Any, NamedTuple

import torch
from delrec import LIF

SIZES, PRODUCTS = (64, 256, 512, 1024), ("float32", "bfloat16", "float64")  # the last is for checks: on request
_WARP, _KIB = 32, 1024


class Card(NamedTuple):
    """What a compute capability has, in bytes and registers (CUDA C++ Programming Guide, technical specifications).

    shared: per program at most. shared_all, registers, warps: per multiprocessor. A thread has 255 registers.
    """

    capability: int
    shared: int
    shared_all: int
    warps: int
    registers: int = 65_536
    thread: int = 255


CARDS = {
    "sm_80": Card(80, 163 * _KIB, 164 * _KIB, 64),
    "sm_86": Card(86, 99 * _KIB, 100 * _KIB, 48),
    "sm_89": Card(89, 99 * _KIB, 100 * _KIB, 48),
    "sm_90": Card(90, 227 * _KIB, 228 * _KIB, 64),
    "sm_100": Card(100, 227 * _KIB, 228 * _KIB, 64),
}
DEFAULT_CARDS = ("sm_86", "sm_90")


class Compilation(NamedTuple):
    """A kernel as it is launched: its name in the table, the function, types of arguments, constants and options.

    types: name -> type in Triton's words ("*fp32", "i32"), with ":16" where 16 divides the address or number. Every
    argument that is neither there nor a constant is a whole number.
    """

    name: str
    function: Any
    types: Mapping[str, str]
    constants: Mapping[str, Any]
    options: Mapping[str, Any]

    @property
    def signature(self) -> dict[str, str]:
        """The types of all arguments, in order."""
        constants = {parameter.name for parameter in self.function.params if parameter.is_constexpr}
        names = self.function.arg_names
        return {name: "constexpr" if name in constants else self.types.get(name, "i32") for name in names}


class Resources(NamedTuple):
    """What a kernel takes: registers and bytes spilled per thread, shared memory and warps per program."""

    registers: int
    spilled: int
    shared: int
    warps: int


def compilations(size: int, products: str) -> Iterator[Compilation]:
    """Yield every kernel that is launched for layers of `size` neurons, with all gradients wanted.

    products: "float32", IEEE and TF32, "bfloat16", or "float64", of numbers too.
    """
    yield from _of_scans(size, products)
    if products != "bfloat16":
        yield from _of_delays(size, products)


def _of_scans(size: int, products: str) -> Iterator[Compilation]:
    """Yield what a layer of LIF neurons launches, for a batch of 256, and of 2,048."""
    from delrec.engines.triton import axonal, recurrence, scan_kernels, synaptic
    from delrec.engines.triton.scan import Plan, _kept
    from delrec.engines.triton.spellings import steps_of
    from delrec.engines.triton.tiles import OPTIONS, Tiles, connection_tiles, connections_of, parts_of, tiles_for

    real = torch.float64 if products == "float64" else torch.float32
    precise = recurrence.REALS[real]
    neuron, number = steps_of(LIF().attach(size), real), f"*{precise}:16"
    numbers = (
        "x weight delay width edges triangles heights mask coef history start states trace planes spikes z ring sent "
        "running lines g_spikes g_trace g_x carry g_history g_weight g_delay g_width out"
    ).split()
    types = dict.fromkeys(numbers, number) | {"sums": "*fp64:16", "g_coef": "*fp64:16"}
    types |= dict.fromkeys(("tables", "longest", "bits", "live"), "*i32:16")
    wide = dict.fromkeys(("z", "sent", "running"), "*fp64:16")
    incoming = {"SPIKES_GIVEN": True, "TRACE_GIVEN": True, "COEF": True, "HISTORY": True}
    for precision in {"float32": ("ieee", "tf32"), "bfloat16": ("bf16",), "float64": ("ieee",)}[products]:
        for kind, name in enumerate(("no recurrence", "axonal", "synaptic")):
            if kind != 1 and precision != "ieee":
                continue  # products are of axonal delays alone
            chosen: dict[str, tuple[Tiles, dict[str, str]]] = {}
            for batch in (256, 2048) if kind > 0 and precision == "ieee" else (256,):
                tiles = tiles_for(size, batch, real, precision)
                if kind < 2:
                    chosen[f"{name}, {precision}, {tiles.rows} rows"] = tiles, {}
                else:  # of float32 sums two rows per program, and four; of float64 two for both batches
                    for block, long, other in ((synaptic.LONGEST, "", {}), (512, ", long delays", wide)):
                        tiles = connection_tiles(size, batch, 132, _kept(block, real).itemsize)
                        chosen[f"{name}, {precision}, {tiles.rows} rows{long}"] = tiles, other
            for title, (tiles, other) in chosen.items():
                known = Plan(None, neuron, tiles, precision, None).constants(size) | {"KIND": kind}
                given = known | {"MASKED": min(kind, 1), "STEP": neuron.step_tile, "TRACED": True, "KEEP": True}
                back = known | incoming | {"MASKED": min(kind, 1), "ADJOINT": neuron.adjoint_tile, "TAPS": kind == 1}
                for way, function, constants in (
                    ("forward", scan_kernels.forward_scan, given), ("backward", scan_kernels.backward_scan, back),
                ):  # fmt: skip
                    yield Compilation(f"scan, {title}, {way}", function, types | other, constants, tiles.options)
            if kind == 1:
                parts = parts_of(size, 250)
                constants = parts.constants | {"SIZE": size, "PRECISION": precision, "MASKED": 1}
                title = f"scan, {name}, {precision}, dW"
                yield Compilation(title, scan_kernels.weight_gradient, types, constants, parts.options)
        if precision == "ieee":
            known = {"PRECISE": precise, "ONE_WIDTH": True}
            pairs = connections_of(size)
            constants = pairs.constants | known | {"SIZE": size, "ROWS": 2}
            for long, lines in (("", number), (", long delays", "*fp64:16")):
                of, function = types | {"lines": lines}, synaptic.connection_gradients
                yield Compilation(f"connections, gradients{long}", function, of, constants, pairs.options)
            constants = known | {"BY_SENDER": True, "EDGE": recurrence.EDGE}
            yield Compilation("connections, tables", synaptic.lay_out_connections, types, constants, OPTIONS)
            constants = known | {"COLS": recurrence.COLS}
            yield Compilation("senders, tables", axonal.lay_out_senders, types, constants, OPTIONS)
            constants = {"ONE_WIDTH": True, "COLS": recurrence.COLS}
            yield Compilation("senders, gradients", axonal.sender_gradients, types, constants, OPTIONS)


def _of_delays(size: int, products: str) -> Iterator[Compilation]:
    """Yield what feedforward delays between `size` and `size` neurons launch; there are no products."""
    from delrec.engines.triton import delays

    names = ("lines", "factor", "offset", "y", "grads", "parts")
    types = dict.fromkeys(names, f"*fp{products.removeprefix('float')}:16") | {"place": "*i32:16"}
    types |= dict.fromkeys(("senders", "receivers"), "i32:16" if size % 16 == 0 else "i32")
    tile, options = {"R": delays._RECEIVERS, "T": delays._TIME}, delays._OPTIONS
    yield Compilation("delays, forward", delays.read_taps, types, tile | {"BIAS": True}, options)
    yield Compilation("delays, kernel's gradient", delays.sum_taps, types, tile, options)


def measure(kernel: Compilation, card: Card) -> Resources:
    """Compile a kernel for a card, which need not be there, and return what it takes.

    Raises RuntimeError where ptxas, which comes with Triton, does not say.
    """
    import triton
    from triton.backends.compiler import GPUTarget

    types = {name: of.removesuffix(":16") for name, of in kernel.signature.items()}
    aligned = {(n,): [["tt.divisibility", 16]] for n, of in enumerate(kernel.signature.values()) if of.endswith(":16")}
    source = triton.compiler.ASTSource(kernel.function, types, dict(kernel.constants), aligned)
    with triton.knobs.nvidia.scope(), triton.knobs.compilation.scope(), redirect_stdout(StringIO()) as log:
        triton.knobs.nvidia.dump_ptxas_log = True
        triton.knobs.compilation.always_compile = True  # a kernel from the cache says nothing
        target = GPUTarget("cuda", card.capability, _WARP)
        made: Any = triton.compile(source, target=target, options=dict(kernel.options))
    said = log.getvalue()
    registers = re.search(r"Used (\d+) registers", said)
    spills = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", said)
    if registers is None or spills is None:
        raise RuntimeError(f"{kernel.name} for sm_{card.capability}: ptxas says neither registers nor spills: {said}")
    return Resources(int(registers[1]), max(map(int, spills.groups())), made.metadata.shared, made.metadata.num_warps)


def programs(found: Resources, card: Card) -> int:
    """Return how many programs of a kernel a multiprocessor holds at once."""
    by_registers = card.registers // max(1, -(-found.registers // 8) * 8 * _WARP * found.warps)
    by_shared = card.shared_all // (found.shared + _KIB)  # the system keeps 1 KiB per program
    return min(by_registers, by_shared, card.warps // found.warps)


def problems(found: Resources, card: Card) -> list[str]:
    """Return why a kernel does not run on a card as it should, or nothing."""
    said = []
    if found.shared > card.shared:
        said.append(f"{found.shared:,} bytes of shared memory, of which a program has {card.shared:,}")
    if found.registers > card.thread:
        said.append(f"{found.registers} registers a thread, of which there are {card.thread}")
    if found.spilled:
        said.append(f"{found.spilled} bytes a thread spilled to memory")
    if not said and programs(found, card) < 1:
        said.append(f"{found.registers} registers x {_WARP * found.warps} threads, of {card.registers:,}")
    return said


def _measured(asked: tuple[str, int, str]) -> list[tuple[str, Resources]]:
    """Measure the kernels for one card, size and precision: the work of one process of the pool."""
    card, size, products = asked
    return [(kernel.name, measure(kernel, CARDS[card])) for kernel in compilations(size, products)]


def _chosen(text: str, known: Iterable[str], what: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    if not names or not set(names) <= set(known):
        raise SystemExit(f"--{what} {text}: choose of {', '.join(known)}")
    return names


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cards", default=",".join(DEFAULT_CARDS), help=f"of {', '.join(CARDS)}; default: %(default)s")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="neurons of a layer; default: %(default)s")
    parser.add_argument("--products", default=",".join(PRODUCTS[:2]), help=f"of {', '.join(PRODUCTS)}")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes; default: one per core")
    options = parser.parse_args(arguments)
    try:
        import triton
    except ImportError as error:
        print(f"nothing to compile: Triton cannot be imported ({error}); pip install 'delrec[triton]'")
        return 2
    if triton.knobs.runtime.interpret:
        print("nothing to compile: TRITON_INTERPRET is set, and interpreted kernels are not compiled; unset it")
        return 2
    cards, products = _chosen(options.cards, CARDS, "cards"), _chosen(options.products, PRODUCTS, "products")
    print("| card | N | products | kernel | registers | spilled | shared | warps | programs/SM |\n" + "|---" * 9 + "|")
    count, wrong = 0, []
    asked = [(c, int(n), p) for c in cards for n in options.sizes.split(",") for p in products]
    with ProcessPoolExecutor(options.jobs, get_context("spawn")) as pool:  # a thread of Triton does not survive a fork
        for (card, size, precision), every in zip(asked, pool.map(_measured, asked), strict=True):
            for name, found in every:
                count += 1
                print(
                    f"| {card} | {size:,} | {precision} | {name} | {found.registers} | {found.spilled} "
                    f"| {found.shared:,} | {found.warps} | {programs(found, CARDS[card])} |", flush=True,
                )  # fmt: skip
                where = f"{card}, N = {size}, {precision}, {name}"
                wrong += [f"{where}: {problem}" for problem in problems(found, CARDS[card])]
    print(*wrong, f"{count} compiled, {len(wrong)} problems", sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
