"""One module of compiled kernels per neuron, dtype and kind of kernel.

Its text is generated for the neuron, followed by a template (`scan_kernels`, `events.kernels`): numba would compile a
function that is passed as an argument again in every process.
"""

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import torch

from delrec.neurons import Neuron
from delrec.rules import Rules, Spelling, load

BLOCK = 64  # neurons of a block

# scalars of the module's type REAL; selects instead of branches, so that loops become vectors; a minimum propagates NaN
NUMBA = Spelling(
    {
        "div": "{0} / {1}",
        **dict.fromkeys(("pow", "pow_tensor"), "{0} ** {1}"),
        "abs": "abs({0})",
        **{f: f"math.{f}({{0}})" for f in "exp expm1 log log1p sqrt sin cos tan tanh sinh cosh erf erfc".split()},
        "minimum": "{0} if (({0} < {1}) | ({0} != {0})) else {1}",
        "maximum": "{0} if (({0} > {1}) | ({0} != {0})) else {1}",
        "not": "not {0}",
        "where": "{1} if {0} else {2}",
    },
    number="REAL({0})",
    decorator="@inlined",
    lifts=True,
)


def kernels_for(neuron: Neuron, dtype: torch.dtype, kind: str) -> ModuleType:
    """Return the compiled kernels of a neuron. Raises RuleError with the reason if its step cannot be compiled.

    kind: "axonal" (one delay per sender, or no recurrence) or "synaptic", with functions `forward_tile` and
    `backward_tile`; or "events", with `event_rows`.
    """
    rules = neuron.rules(dtype)
    if kind not in rules.kernels:
        name = str(dtype).removeprefix("torch.")
        text = _module_text(rules, name, kind)
        rules.kernels[kind] = load(f"{type(neuron).__name__.lower()}_{kind}_{name}", text)
    return rules.kernels[kind]


def _module_text(rules: Rules, dtype: str, kind: str) -> str:
    head = "import math\n\nimport numpy as np\n\nfrom delrec.engines.cpu.cache import compiled, inlined\n"
    template, spelling, numbers = Path(__file__).with_name("scan_kernels.py"), NUMBA, len(rules.numbers)
    if kind == "events":  # with constants in the text, so that calls have few arguments
        template = Path(__file__).parents[1] / "events" / "kernels.py"
        spelling, numbers = replace(NUMBA, lifts=False), 0
    else:
        names = "g_row, receive, receive_gradient, send, send_gradient, send_silence"
        head += f"from delrec.engines.cpu.{kind}_kernels import {names}\n"
    texts = _blocks_text(rules, dtype, numbers), rules.text(spelling), template.read_text(encoding="utf-8")
    return "\n\n".join((head, *texts))


def _blocks_text(rules: Rules, dtype: str, numbers: int) -> str:
    """Return the constants and block functions that a template needs besides the rules.

    `work` is one small array of ROWS blocks of BLOCK values at constant places, so the compiler knows that nothing
    overlaps and vectorises any step. It holds the spike, the current (then its gradient), old and new states,
    coefficients, kept planes, and the gradients of spike, new (then old) states and coefficients. `step_block` turns
    CURRENT, OLD and COEF into SPIKE, NEW and KEPT; `restore_block` KEPT and COEF of the step before into OLD;
    `adjoint_block` gradients of SPIKE and NEW into those of OLD and CURRENT (in place) and COEF.
    """
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
