"""Make and compile one module for a neuron's rules, a dtype and a kind of kernel.

What depends on the neuron is generated: its rules (`delrec.rules`) and the names of `blocks`. The rest of the module is
the text of a real file (`scan_kernels`, `events.kernels`). One module, because numba compiles a function that is passed
as an argument anew in every process.
"""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import torch

from delrec.engines.cpu.blocks import BLOCK
from delrec.engines.generated import load, read_source, without_blocks
from delrec.neurons import Neuron
from delrec.rules import Rules, Spelling

__all__ = ["NUMBA", "kernels_for"]

# Scalars inside a loop, of the module's type REAL; selects, no branches, so that the compiler makes vectors. A minimum
# is NaN where an argument is, as torch's.
NUMBA = Spelling(
    {
        "add": "{0} + {1}",
        "sub": "{0} - {1}",
        "mul": "{0} * {1}",
        "div": "{0} / {1}",
        "neg": "-{0}",
        **dict.fromkeys(("pow", "pow_tensor"), "{0} ** {1}"),
        "abs": "abs({0})",
        **{f: f"math.{f}({{0}})" for f in "exp expm1 log log1p sqrt sin cos tan tanh sinh cosh erf erfc".split()},
        "minimum": "{0} if (({0} < {1}) | ({0} != {0})) else {1}",
        "maximum": "{0} if (({0} > {1}) | ({0} != {0})) else {1}",
        "lt": "{0} < {1}",
        "le": "{0} <= {1}",
        "gt": "{0} > {1}",
        "ge": "{0} >= {1}",
        "eq": "{0} == {1}",
        "ne": "{0} != {1}",
        "and": "{0} & {1}",
        "or": "{0} | {1}",
        "not": "not {0}",
        "where": "{1} if {0} else {2}",
    },
    number="REAL({0})",
    decorator="@inlined",
    lifts=True,
)

# kind -> the real file, and where the recurrence's part comes from
_KINDS = {
    "axonal": ("delrec.engines.cpu", "scan_kernels.py", "axonal_kernels"),
    "synaptic": ("delrec.engines.cpu", "scan_kernels.py", "synaptic_kernels"),
    "events": ("delrec.engines.events", "kernels.py", None),
}


def kernels_for(neuron: Neuron, dtype: torch.dtype, kind: str) -> ModuleType:
    """Return the compiled kernels of a neuron.

    kind: "axonal" (one delay per sender, or no recurrence) or "synaptic", with functions `forward_tile` and
    `backward_tile`; or "events", with `event_rows`. Raises RuleError when its step cannot be compiled, saying why.
    """
    rules = neuron.rules(dtype)
    if kind not in rules.kernels:
        name = str(dtype).removeprefix("torch.")
        text = _module_text(rules, name, kind)
        rules.kernels[kind] = load(f"{type(neuron).__name__.lower()}_{kind}_{name}", text)
    found: ModuleType = rules.kernels[kind]
    return found


def _module_text(rules: Rules, dtype: str, kind: str) -> str:
    package, name, recurrence = _KINDS[kind]
    head = "import math\n\nimport numpy as np\n\nfrom delrec.engines.cpu.cache import compiled, inlined\n"
    if recurrence:
        names = "backward_room, forward_room, g_row, receive, receive_gradient, send, send_gradient, send_silence"
        head += f"from delrec.engines.cpu.{recurrence} import {names}\n"
    # a layer by its events has its numbers written in: it is compiled once, and its calls have few arguments
    spelling = NUMBA if recurrence else replace(NUMBA, lifts=False)
    blocks = _blocks_text(rules, dtype, len(rules.numbers) if recurrence else 0)
    return "\n\n".join((head, blocks, rules.text(spelling), without_blocks(read_source(package, name))))


def _blocks_text(rules: Rules, dtype: str, numbers: int) -> str:
    """Return the names of `blocks` for a neuron: the rows of `work`, and its rules on whole blocks of it."""
    states, coefs, planes = rules.states, rules.coefficients, len(rules.kept)
    sizes = {
        "SPIKE": 1, "CURRENT": 1, "OLD": states, "NEW": states, "COEF": coefs, "KEPT": planes, "G_SPIKE": 1,
        "G_NEW": states, "G_COEF": coefs,
    }  # fmt: skip
    places, rows = {}, 0
    for name, count in sizes.items():
        places[name], rows = rows * BLOCK, rows + count

    def at(*names: str) -> str:
        return "".join(f"work[{places[name] + j * BLOCK} + n], " for name in names for j in range(sizes[name]))

    given = "".join(f"p_{j}, " for j in range(numbers))
    loads = "".join(f"    p_{j} = numbers[{j}]\n" for j in range(numbers))
    constants = "\n".join(f"{name} = {place}" for name, place in places.items())
    return f"""
REAL = np.{dtype}
ONE, ZERO = REAL(1.0), REAL(0.0)
BLOCK, STATES, COEFS, PLANES, ROWS = {BLOCK}, {states}, {coefs}, {planes}, {rows}
READS_OLD, COEFFICIENTS_READ_OLD = {rules.reads_old}, {rules.coefficients_read_old}
{constants}


@compiled
def step_block(work, numbers):
{loads}    for n in range(BLOCK):
        {at("SPIKE", "NEW", "KEPT")} = step({at("CURRENT", "OLD", "COEF")}{given})


@compiled
def restore_block(work, numbers):
{loads}    for n in range(BLOCK):
        {at("OLD")} = restore({at("KEPT", "COEF")}{given})


@compiled
def adjoint_block(work, numbers):
{loads}    for n in range(BLOCK):
        {at("CURRENT", "G_NEW", "G_COEF")} = adjoint({at("KEPT", "OLD", "COEF", "G_SPIKE", "G_NEW")}{given})
"""
