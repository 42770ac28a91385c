"""Neurons in Triton: the table of operators, and the step and adjoint of a neuron on a tile.

Functions replace operators that Triton has for one dtype only or does not round as IEEE requires.
"""

from types import ModuleType

import torch
import triton
import triton.language as tl

from delrec.neurons import Neuron
from delrec.rules import Rules, Spelling, load


@triton.jit
def div(x, y):
    """x / y, rounded to nearest."""
    return tl.div_rn(x, y) if x.dtype == tl.float32 else x / y


@triton.jit
def sqrt(x):
    """The square root, rounded to nearest."""
    return tl.sqrt_rn(x) if x.dtype == tl.float32 else tl.sqrt(x)


@triton.jit
def sign(x):
    """-1, 0 or 1; NaN gives 0."""
    return (x > 0).to(x.dtype) - (x < 0).to(x.dtype)


@triton.jit
def tanh(x):
    """sign(x) (1 - e) / (1 + e), e = exp(-2 |x|)."""
    e = tl.exp(-2 * tl.abs(x))
    return tl.where(x < 0, -1, 1) * div(1 - e, 1 + e)


@triton.jit
def log1p(x):
    """log(1 + x), exact for small x: the rounding of 1 + x is corrected."""
    y = 1 + x
    return tl.where(y == 1, x, tl.log(y) * div(x, tl.where(y == 1, 1, y - 1)))


@triton.jit
def add_rows(to, values, inside):
    """Add the sum of (ROWS, COLS) values over rows to (COLS,) numbers in float64."""
    tl.store(to, tl.load(to, mask=inside, other=0) + tl.sum(values.to(tl.float64), 0), mask=inside)


# tensors of a tile, constants included, of the module's type REAL
TRITON = Spelling(
    {
        "div": "div({0}, {1})",
        "pow": "tl.exp({last} * tl.log({0}))",  # of an exponent that is not whole
        **{name: f"tl.{name}({{0}})" for name in ("abs", "exp", "log", "sin", "cos")},
        **{name: f"{name}({{0}})" for name in ("log1p", "sqrt", "tanh")},
        "minimum": "tl.where(({0} < {1}) | ({0} != {0}), {0}, {1})",
        "maximum": "tl.where(({0} > {1}) | ({0} != {0}), {0}, {1})",
        "not": "~({0})",
        "where": "tl.where({0}, {1}, {2})",
    },
    number="tl.full({like}.shape, {0}, REAL)",
    decorator="@triton.jit",
)


def steps_of(neuron: Neuron, dtype: torch.dtype) -> ModuleType:
    """Return the functions of a neuron for a tile (ROWS, COLS) of a step's (B, N), which the scan's kernels call.

    `step_tile` replaces the states at state + j wide + at by the next ones and returns the spikes. If TRACED it stores
    the states at trace + j plane + at, if KEEP the planes for the backward pass at kept + j plane + at.

    `adjoint_tile` turns the gradients of a step's spikes (g_spike) and states (at carry) into those of the states
    before, at carry, and returns that of the current. before, kept: planes of the step before and of this one. start:
    the states before the first step. g_coef: (COEFS, N), where the coefficients' gradients are added if COEF.

    at: places in (B, N), which exist where `ok`; coef: (COEFS, ACROSS), ACROSS being N or 1, read at `cols` (COLS,),
    which exist where `inside`. Raises RuleError with the reason if the neuron's step cannot be compiled.
    """
    rules = neuron.rules(dtype)
    if "triton" not in rules.kernels:
        name = str(dtype).removeprefix("torch.")
        text = f"""
import triton
import triton.language as tl

from {__name__} import add_rows, div, log1p, sqrt, tanh

REAL = tl.constexpr(tl.{name})

{rules.text(TRITON)}
{_tiles_text(rules)}"""
        rules.kernels["triton"] = load(f"{type(neuron).__name__.lower()}_triton_{name}", text)
    return rules.kernels["triton"]


def _tiles_text(rules: Rules) -> str:
    """Return the text of `step_tile` and `adjoint_tile`."""
    states, coefs, planes = range(rules.states), range(rules.coefficients), range(len(rules.kept))

    def names(letter: str, count: range) -> str:
        return "".join(f"{letter}{j}, " for j in count)

    def lines(pattern: str, count: range, indent: int = 4) -> str:
        return "".join(f"{' ' * indent}{pattern.format(j=j)}\n" for j in count).strip() or "pass"

    def get(letter: str, place: str, count: range, mask: str = "ok", indent: int = 4) -> str:
        return lines(f"{letter}{{j}} = tl.load({place} + at, mask={mask}, other=0)", count, indent)

    def put(place: str, letter: str, count: range, indent: int = 4) -> str:
        value = f"tl.broadcast_to({letter}{{j}}, at.shape)"
        return lines(f"tl.store({place} + at, {value}, mask=ok)", count, indent)

    c, old, new, kept = names("c", coefs), names("o", states), names("n", states), names("k", planes)
    place = "{j} * ACROSS + tl.minimum(cols, ACROSS - 1)"
    coefficients = lines(f"c{{j}} = tl.load(coef + {place}, mask=inside, other=0)[None, :]", coefs)
    reads_old = "True" if rules.reads_old else "COEF" if rules.coefficients_read_old else "False"
    return f"""
@triton.jit
def step_tile(
    state, wide, trace, kept, plane, at, ok, current, coef, cols, inside, ACROSS: tl.constexpr, TRACED: tl.constexpr,
    KEEP: tl.constexpr,
):
    {coefficients}
    {get("o", "state + {j} * wide", states)}
    spike, {new} {kept} = step(current, {old} {c})
    {put("state + {j} * wide", "n", states)}
    if TRACED:
        {put("trace + {j} * plane", "n", states, 8)}
    if KEEP:
        {put("kept + {j} * plane", "k", planes, 8)}
    return tl.broadcast_to(spike, at.shape)


@triton.jit
def adjoint_tile(
    before, kept, plane, start, wide, t, at, ok, g_spike, carry, g_trace, coef, g_coef, cols, inside, size,
    ACROSS: tl.constexpr, TRACE_GIVEN: tl.constexpr, COEF: tl.constexpr,
):
    {coefficients}
    {get("k", "kept + {j} * plane", planes)}
    {lines("o{j} = tl.zeros(at.shape, REAL)", states)}
    if {reads_old}:
        now = tl.full(at.shape, t, tl.int32)  # the interpreter cannot mask by a scalar
        {get("b", "before + {j} * plane", planes, "ok & (now > 0)", 8)}
        {new} = restore({names("b", planes)} {c})
        {get("s", "start + {j} * wide", states, "ok & (now == 0)", 8)}
        {lines("o{j} = tl.where(now == 0, s{j}, n{j})", states, 8)}
    {get("g", "carry + {j} * wide", states)}
    if TRACE_GIVEN:
        {lines("g{j} += tl.load(g_trace + {j} * plane + at, mask=ok, other=0)", states, 8)}
    g_current, {names("d", states)} {names("g_c", coefs)} = adjoint({kept} {old} {c} g_spike, {names("g", states)})
    {put("carry + {j} * wide", "d", states)}
    if COEF:
        zero, mine = tl.zeros(at.shape, REAL), g_coef + tl.program_id(0) * {len(coefs)} * size + cols
        {lines("add_rows(mine + {j} * size, tl.where(ok, zero + g_c{j}, 0), inside)", coefs, 8)}
    return tl.broadcast_to(g_current, at.shape)
"""
