"""The step of a neuron and its adjoint as machine code, for each dtype.

Kernels call it by address, for BLOCK neurons at a time, and are compiled, which takes longer, once for all neurons.
"""

from collections import namedtuple

import torch

from delrec.engines.cpu.cache import by_address
from delrec.neurons import Neuron
from delrec.rules import Spelling, load

BLOCK = 64  # neurons of a block
CURRENT, OLD = BLOCK, 2 * BLOCK  # where the current (later its gradient) and the old states begin; the spike is first

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


# What kernels know of a neuron: sizes, where its values begin in `work`, an array of `rows` x BLOCK, whether gradients
# of current and states, and those of coefficients, need the old states, and the addresses of its functions.
Places = namedtuple(
    "Places",
    "states coefs planes rows new coef kept g_spike g_new g_coef reads_old coefficients_read_old step restore adjoint",
)


def places_of(neuron: Neuron, dtype: torch.dtype) -> Places:
    """Compile a neuron. Raises RuleError with the reason if its step cannot be compiled.

    Its functions are void(work, numbers), with `Rules.numbers`. `step` turns current, old states and coefficients into
    spike, new states and kept planes; `restore` the kept planes and coefficients of the step before into old states;
    `adjoint` the gradients of spike and new states into those of old states and current (in place) and coefficients.
    Places are constants in their text, so the compiler knows that nothing overlaps and vectorises any step.
    """
    rules = neuron.rules(dtype)
    if "cpu" in rules.kernels:
        return rules.kernels["cpu"]
    states, coefs, planes, name = rules.states, rules.coefficients, len(rules.kept), str(dtype).removeprefix("torch.")
    counts = 1, 1, states, states, coefs, planes, 1, states, coefs
    sizes = dict(zip("spike current old new coef kept g_spike g_new g_coef".split(), counts, strict=True))
    begins = {part: sum(counts[:j]) * BLOCK for j, part in enumerate(sizes)}

    def at(parts: str) -> str:
        return "".join(f"work[{begins[p] + j * BLOCK} + n], " for p in parts.split() for j in range(sizes[p]))

    given = "".join(f"p_{j}, " for j in range(len(rules.numbers)))
    loads = "".join(f"    p_{j} = numbers[{j}]\n" for j in range(len(rules.numbers)))
    text = f"{_HEAD}REAL = np.{name}\n\n\n{rules.text(NUMBA)}"
    for function, (takes, gives) in _FUNCTIONS.items():
        loop = f"    for n in range({BLOCK}):\n        {at(gives)} = {function}({at(takes)}{given})\n"
        text += f"\n\ndef {function}_block(work, numbers):\n{loads}{loop}"
    module = load(f"{type(neuron).__name__.lower()}_{name}", text)
    functions = (by_address(vars(module)[f"{function}_block"], module.REAL).address for function in _FUNCTIONS)
    reads, places = (rules.reads_old, rules.coefficients_read_old), list(begins.values())[3:]
    rules.kernels["cpu"] = Places._make((states, coefs, planes, sum(counts), *places, *map(int, reads), *functions))
    return rules.kernels["cpu"]


_HEAD = "import math\n\nimport numpy as np\n\nfrom delrec.engines.cpu.cache import inlined\n\n"
_FUNCTIONS = {
    "step": ("current old coef", "spike new kept"),
    "restore": ("kept coef", "old"),
    "adjoint": ("kept old coef g_spike g_new", "current g_new g_coef"),
}
