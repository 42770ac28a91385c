"""Compile every kernel of the triton engine ahead of time, for cards that are not here, and hold it to their limits.

    python packages/core/tests/cards.py [--cards sm_86,sm_90] [--sizes 64,256,512,1024]

prints a line per kernel: registers per thread, bytes spilled, shared memory per program, and how many programs fit on a
multiprocessor. Triton compiles happily for a card that a kernel does not fit; the launch would then fail. Exit status:
0 all fit; 1 one does not; 2 Triton is missing, or set to interpret.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from io import StringIO
from multiprocessing import get_context
from typing import Any, NamedTuple

import torch
from delrec import LIF
from delrec.engines.ops import Inputs
from torch import Tensor

TYPES = {torch.float32: "fp32", torch.float64: "fp64", torch.int32: "i32"}
FORMS = ("no recurrence", "axonal", "axonal, TF32", "axonal, bfloat16", "synaptic")
PRODUCTS = {"axonal, TF32": "high", "axonal, bfloat16": "medium"}
SIZES = (64, 256, 512, 1024)
_WARP, _KIB = 32, 1024


class Card(NamedTuple):
    """What a compute capability has, in bytes and registers (CUDA C++ Programming Guide, technical specifications).

    shared: per program at most. shared_all, registers, warps: per multiprocessor.
    """

    capability: int
    shared: int
    shared_all: int
    warps: int
    registers: int = 65_536


CARDS = {
    "sm_80": Card(80, 163 * _KIB, 164 * _KIB, 64),
    "sm_86": Card(86, 99 * _KIB, 100 * _KIB, 48),
    "sm_89": Card(89, 99 * _KIB, 100 * _KIB, 48),
    "sm_90": Card(90, 227 * _KIB, 228 * _KIB, 64),
    "sm_100": Card(100, 227 * _KIB, 228 * _KIB, 64),
}
DEFAULT_CARDS = ("sm_86", "sm_90")


class Compilation(NamedTuple):
    """A kernel as it is launched: its name in the table, the function, its types, constants and options.

    types: argument -> type in Triton's words ("*fp32", "i32", "constexpr"), with ":16" where 16 divides the address or
    number and a launch looks for it.
    """

    name: str
    function: Any
    types: Mapping[str, str]
    constants: Mapping[str, Any]
    options: Mapping[str, Any]


class Resources(NamedTuple):
    """What a kernel takes: registers and bytes spilled per thread, shared memory and warps per program."""

    registers: int
    spilled: int
    shared: int
    warps: int


def compilations(size: int) -> Iterator[Compilation]:
    """Yield every kernel that layers of `size` LIF neurons launch, with all gradients wanted.

    For a batch of 256, and of 2,048. The engine runs on tensors without storage, and its launches are written down.
    """
    from delrec.engines.triton import delays, scan

    seen: set[str] = set()
    launched: list[Compilation] = []

    def note(function: Any, grid: Any, options: Mapping[str, Any], *arguments: Any, **constants: Any) -> None:
        types = {p.name: "constexpr" if p.is_constexpr else "" for p in function.params}
        for parameter, given in zip(function.params, arguments, strict=False):
            types[parameter.name] = _type(given, not parameter.do_not_specialize)
        launched.append(Compilation(function.__name__, function, types, constants, options))

    def written_down(title: str) -> Iterator[Compilation]:
        for kernel in launched:
            if (key := str(kernel)) not in seen:
                seen.add(key)
                yield kernel._replace(name=f"{title}: {kernel.name}")
        launched.clear()

    scan.launch = delays.launch = note
    scan.processors_of = lambda _: 132
    real = torch.float32
    for form, batch, delay in itertools.product(FORMS, (256, 2048), (6, 300)):
        torch.set_float32_matmul_precision(PRODUCTS.get(form, "highest"))
        inputs = _inputs(form, size, batch, real, delay)
        neuron = LIF().attach(size)
        settings = neuron.handle, delay, False, True, True
        _, _, trace, *kept = scan.forward(*inputs, *settings)
        scan.backward(*inputs, *settings, kept, [inputs.current, inputs.start, trace], [True] * len(inputs))
        yield from written_down(f"{form}, B = {batch:,}, delays to {delay}")
        if (batch, delay) == (256, 6):  # and the least that may be asked for
            inputs = inputs._replace(mask=None)
            scan.forward(*inputs, neuron.handle, delay, False, False, False)
            needs = [True, *[False] * (len(inputs) - 1)]
            scan.backward(*inputs, *settings, kept, [inputs.current, None, None], needs)
            yield from written_down(f"{form}, spikes alone")
    x, factor = _empty(50, 256, size, dtype=real), _empty(size, size, 2, dtype=real)
    given = x, factor, _empty(size, size, dtype=torch.int32), _empty(size, dtype=real), 25, 24, 0
    delays._backward(*given, [], [delays._forward(*given)], [True] * 4)
    yield from written_down("feedforward delays")


def _empty(*shape: int, dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def _type(given: Any, looked_at: bool) -> str:
    """Return the type of an argument in Triton's words; torch's allocations begin where 16 divides."""
    if isinstance(given, Tensor):
        return f"*{TYPES[given.dtype]}:16"
    return "i32:16" if looked_at and given % 16 == 0 else "i32"


def _inputs(form: str, size: int, batch: int, dtype: torch.dtype, delay: int) -> Inputs:
    """Return what a scan of two steps takes, after so many given steps that delays reach `delay` steps back."""
    current, start = _empty(2, batch, size, dtype=dtype), _empty(1, batch, size, dtype=dtype)
    history, coef = _empty(delay, batch, size, dtype=dtype), _empty(3, 1, dtype=dtype)
    if form == "no recurrence":
        return Inputs(current, None, None, None, None, coef, start, history)
    weight, width = _empty(size, size, dtype=dtype), _empty(size, dtype=dtype)
    delays = weight if form == "synaptic" else width
    return Inputs(current, weight, delays, width, current[0], coef, start, history)


def measure(kernel: Compilation, card: Card) -> Resources:
    """Compile a kernel for a card, which need not be there, and return what it takes.

    Raises RuntimeError where ptxas, which comes with Triton, does not say.
    """
    import triton
    from triton.backends.compiler import GPUTarget

    types = {name: of.removesuffix(":16") for name, of in kernel.types.items()}
    aligned = {(n,): [["tt.divisibility", 16]] for n, of in enumerate(kernel.types.values()) if of.endswith(":16")}
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
    if found.spilled:
        said.append(f"{found.spilled} bytes a thread spilled to memory")
    if not said and programs(found, card) < 1:
        said.append(f"{found.registers} registers x {_WARP * found.warps} threads, of {card.registers:,}")
    return said


def _measured(asked: tuple[str, int]) -> list[tuple[str, Resources]]:
    """Measure the kernels for one card and size: the work of one process of the pool."""
    card, size = asked
    return [(kernel.name, measure(kernel, CARDS[card])) for kernel in compilations(size)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cards", default=",".join(DEFAULT_CARDS), help=f"of {', '.join(CARDS)}; default: %(default)s")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="neurons of a layer; default: %(default)s")
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
    cards = options.cards.split(",")
    print("| card | N | kernel | registers | spilled | shared | warps | programs/SM |\n" + "|---" * 8 + "|")
    count, wrong = 0, []
    asked = [(c, int(n)) for c in cards for n in options.sizes.split(",")]
    with ProcessPoolExecutor(options.jobs, get_context("spawn")) as pool:  # a thread of Triton does not survive a fork
        for (card, size), every in zip(asked, pool.map(_measured, asked), strict=True):
            for name, found in every:
                count += 1
                print(
                    f"| {card} | {size:,} | {name} | {found.registers} | {found.spilled} "
                    f"| {found.shared:,} | {found.warps} | {programs(found, CARDS[card])} |", flush=True,
                )  # fmt: skip
                wrong += [f"{card}, N = {size}, {name}: {problem}" for problem in problems(found, CARDS[card])]
    print(*wrong, f"{count} compiled, {len(wrong)} problems", sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
