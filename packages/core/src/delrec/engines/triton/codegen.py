"""Make one module of kernels for a neuron's rules and a dtype.

What depends on the neuron is generated: its rules (`delrec.rules`) and the names of `blocks`; the rest is the text of
`scan_kernels`. Constants are written in: a value that is looked up on the host costs a launch nothing.
"""

from __future__ import annotations

import weakref
from types import ModuleType

import torch

from delrec.engines.generated import load, read_source, without_blocks
from delrec.neurons import Neuron
from delrec.rules import Rules, Spelling

__all__ = ["TRITON", "kernels_for"]

# Tensors of a tile, of the module's type REAL, constants too; what Triton spells for one dtype only, or in less than
# float32's precision, is in `functions`.
TRITON = Spelling(
    {
        "add": "{0} + {1}",
        "sub": "{0} - {1}",
        "mul": "{0} * {1}",
        "div": "div({0}, {1})",
        "neg": "-{0}",
        "pow": "power({0}, {last})",
        **{name: f"tl.{name}({{0}})" for name in ("abs", "exp", "log", "sin", "cos")},
        **{name: f"{name}({{0}})" for name in ("log1p", "sqrt", "tanh")},
        "minimum": "tl.where(({0} < {1}) | ({0} != {0}), {0}, {1})",
        "maximum": "tl.where(({0} > {1}) | ({0} != {0}), {0}, {1})",
        "lt": "{0} < {1}",
        "le": "{0} <= {1}",
        "gt": "{0} > {1}",
        "ge": "{0} >= {1}",
        "eq": "{0} == {1}",
        "ne": "{0} != {1}",
        "and": "{0} & {1}",
        "or": "{0} | {1}",
        "not": "~({0})",
        "where": "tl.where({0}, {1}, {2})",
    },
    number="tl.full({like}.shape, {0}, REAL)",
    decorator="@triton.jit",
)

_PACKAGE = "delrec.engines.triton"
_DTYPES = {torch.float32: "float32", torch.float64: "float64"}
_known: weakref.WeakKeyDictionary[Rules, ModuleType] = weakref.WeakKeyDictionary()


def kernels_for(neuron: Neuron, dtype: torch.dtype) -> ModuleType:
    """Return the kernels of a neuron: `forward_scan`, `backward_scan` and `weight_gradient`.

    Raises RuleError when its step cannot be compiled, saying why.
    """
    rules = neuron.rules(dtype)
    if rules not in _known:
        head = (
            "import triton\nimport triton.language as tl\n\n"
            f"from {_PACKAGE}.functions import add_rows, div, log1p, power, sqrt, tanh\n\n"
            f"REAL = tl.constexpr(tl.{_DTYPES[dtype]})\n"
            f"STATES, COEFS = tl.constexpr({rules.states}), tl.constexpr({rules.coefficients})\n"
        )
        kernels = without_blocks(read_source(_PACKAGE, "scan_kernels.py"))
        text = "\n\n".join((head, rules.text(TRITON), _blocks_text(rules), kernels))
        _known[rules] = load(f"{type(neuron).__name__.lower()}_triton_{_DTYPES[dtype]}", text)
    return _known[rules]


def _blocks_text(rules: Rules) -> str:
    """Return the functions of `blocks` for a neuron."""
    states, coefs, planes = range(rules.states), range(rules.coefficients), range(len(rules.kept))

    def names(pattern: str, count: range) -> str:
        return "".join(pattern.format(j=j) + ", " for j in count)

    def lines(pattern: str, count: range, indent: str = "    ") -> str:
        return "".join(f"{indent}{pattern.format(j=j)}\n" for j in count)

    def put(to: str, value: str, count: range, indent: str = "    ") -> str:
        return lines(f"tl.store({to} + at, tl.broadcast_to({value}, at.shape), mask=ok)", count, indent)

    load_coefs = lines("c{j} = tl.load(coef + {j} * size + cols, mask=inside, other=0)[None, :]", coefs)
    load_state = lines("o{j} = tl.load(state + {j} * wide + at, mask=ok, other=0)", states)
    load_kept = lines("k{j} = tl.load(kept + {j} * plane + at, mask=ok, other=0)", planes)
    load_carry = lines("g{j} = tl.load(carry + {j} * wide + at, mask=ok, other=0)", states)
    inner = "        "
    new, old, kept, c = names("n{j}", states), names("o{j}", states), names("k{j}", planes), names("c{j}", coefs)
    given, back, g_coefs = names("g{j}", states), names("d{j}", states), names("g_c{j}", coefs)
    sums = lines("add_rows(g_coef + {j} * size + cols, tl.where(ok, zero + g_c{j}, 0), inside)", coefs, inner)
    restored = "".join(
        (
            lines("b{j} = tl.load(before + {j} * plane + at, mask=later, other=0)", planes, inner),
            f"{inner}{new} = restore({names('b{j}', planes)} {c})\n",
            lines("s{j} = tl.load(start + {j} * wide + at, mask=ok & (now == 0), other=0)", states, inner),
            lines("o{j} = tl.where(now == 0, s{j}, n{j})", states, inner),
        )
    )
    reads_old = "True" if rules.reads_old else "COEF" if rules.coefficients_read_old else "False"
    return f"""
@triton.jit
def step_tile(
    state, wide, trace, kept, plane, at, ok, current, coef, cols, inside, size, TRACED: tl.constexpr,
    KEEP: tl.constexpr,
):
{load_coefs}{load_state}    spike, {new} {kept} = step(current, {old} {c})
{put("state + {j} * wide", "n{j}", states)}    if TRACED:
{put("trace + {j} * plane", "n{j}", states, inner)}    if KEEP:
{put("kept + {j} * plane", "k{j}", planes, inner)}        pass
    return tl.broadcast_to(spike, at.shape)


@triton.jit
def adjoint_tile(
    before, kept, plane, start, wide, t, at, ok, g_spike, carry, g_trace, coef, g_coef, cols, inside, size,
    TRACE_GIVEN: tl.constexpr, COEF: tl.constexpr,
):
{load_coefs}{load_kept}{lines("o{j} = tl.zeros(at.shape, REAL)", states)}    if {reads_old}:
        now = tl.full(at.shape, t, tl.int32)  # the interpreter cannot mask by a scalar
        later = ok & (now > 0)
{restored}{load_carry}    if TRACE_GIVEN:
{lines("g{j} += tl.load(g_trace + {j} * plane + at, mask=ok, other=0)", states, inner)}
    g_current, {back} {g_coefs} = adjoint({kept} {old} {c} g_spike, {given})
{put("carry + {j} * wide", "d{j}", states)}    if COEF:
        zero = tl.zeros(at.shape, REAL)
{sums}    return tl.broadcast_to(g_current, at.shape)
"""
