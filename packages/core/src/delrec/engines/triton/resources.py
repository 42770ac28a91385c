"""Compile every kernel of the engine ahead of time, for cards that are not here, and hold it to what they have.

    python -m delrec.engines.triton.resources [--cards sm_86,sm_90] [--sizes 64,256,512,1024] [--products float32]

prints a line a kernel: registers a thread, bytes spilled, shared memory a program, and how many programs fit a
multiprocessor. Triton compiles happily for a card that a kernel does not fit; the launch would then fail. Exit status:
0 all fit; 1 one does not; 2 Triton is missing, or set to interpret.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO
from multiprocessing import get_context
from typing import Any, NamedTuple

from delrec.engines.triton.compilation import Compilation

__all__ = ["CARDS", "Card", "Resources", "compilations", "measure", "problems"]

KERNELS = ("scan", "delays", "linear")  # modules with a `compilations(size, products)`
SIZES, PRODUCTS = (64, 256, 512, 1024), ("float32", "bfloat16", "float64")  # the last is for checks: on request
_WARP = 32


class Card(NamedTuple):
    """What a compute capability has, in bytes and registers (CUDA C++ Programming Guide, technical specifications).

    shared: of one program at most. shared_all, registers, warps: of a multiprocessor. A thread has 255 registers.
    """

    capability: int
    shared: int
    shared_all: int
    warps: int
    registers: int = 65_536
    thread: int = 255


_KIB = 1024
CARDS = {
    "sm_80": Card(80, 163 * _KIB, 164 * _KIB, 64),
    "sm_86": Card(86, 99 * _KIB, 100 * _KIB, 48),
    "sm_89": Card(89, 99 * _KIB, 100 * _KIB, 48),
    "sm_90": Card(90, 227 * _KIB, 228 * _KIB, 64),
    "sm_100": Card(100, 227 * _KIB, 228 * _KIB, 64),
}
DEFAULT_CARDS = ("sm_86", "sm_90")


class Resources(NamedTuple):
    """What a kernel takes: registers a thread, bytes spilled a thread, shared memory and warps a program."""

    registers: int
    spilled: int
    shared: int
    warps: int


def compilations(size: int, products: str, modules: Sequence[str] = KERNELS) -> Iterator[Compilation]:
    """Yield every kernel of the engine as it is launched for layers of `size` neurons."""
    for name in modules:
        yield from import_module(f"delrec.engines.triton.{name}").compilations(size, products)


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
    by_shared = card.shared_all // (found.shared + _KIB)  # the system keeps 1 KiB a program
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


def _measured(asked: tuple[str, int, str, Sequence[str]]) -> list[tuple[str, Resources]]:
    """Measure the kernels of one card, size and precision: what a process of the pool does."""
    card, size, products, modules = asked
    return [(kernel.name, measure(kernel, CARDS[card])) for kernel in compilations(size, products, modules)]


def _chosen(text: str, known: Iterable[str], what: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise SystemExit(f"--{what} {text}: choose of {', '.join(known)}")
    return names


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m delrec.engines.triton.resources",
        description="Compile every kernel of the triton engine ahead of time, and hold it to what each card has.",
    )
    parser.add_argument("--cards", default=",".join(DEFAULT_CARDS), help=f"of {', '.join(CARDS)}; default: %(default)s")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="neurons of a layer; default: %(default)s")
    parser.add_argument(
        "--products", default=",".join(PRODUCTS[:2]), help="of float32, bfloat16, float64; default: %(default)s"
    )
    parser.add_argument("--kernels", default=",".join(KERNELS), help="modules; default: %(default)s")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes; default: one a core")
    options = parser.parse_args(arguments)
    try:
        import triton
    except ImportError as error:
        print(f"nothing to compile: Triton cannot be imported ({error}); pip install 'delrec[triton]'")
        return 2
    if triton.knobs.runtime.interpret:
        print("nothing to compile: TRITON_INTERPRET is set, and interpreted kernels are not compiled; unset it")
        return 2
    cards = _chosen(options.cards, CARDS, "cards")
    products = _chosen(options.products, PRODUCTS, "products")
    modules = _chosen(options.kernels, KERNELS, "kernels")
    print("| card | N | products | kernel | registers | spilled | shared | warps | programs/SM |\n" + "|---" * 9 + "|")
    count, wrong = 0, []
    asked = [(c, int(n), p, modules) for c in cards for n in options.sizes.split(",") for p in products]
    with ProcessPoolExecutor(options.jobs, get_context("spawn")) as pool:  # a thread of Triton does not survive a fork
        for (card, size, precision, _), every in zip(asked, pool.map(_measured, asked), strict=True):
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
