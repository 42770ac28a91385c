"""Make one module of kernels for a neuron's rules, a surrogate and a dtype.

What depends on the neuron is generated: its rules (`delrec.rules`) and the names of `blocks`; the rest is the text of
`scan_kernels`. A surrogate's parameters are written in: a value that is looked up on the host costs a launch nothing.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch

from delrec.engines.generated import load, read_source, without_blocks
from delrec.neurons import Neuron
from delrec.rules import TRITON, NeuronRules, neuron_rules

__all__ = ["kernels_for"]

_PACKAGE = "delrec.engines.triton"
_DTYPES = {torch.float32: "float32", torch.float64: "float64"}
_known: dict[tuple[Any, ...], ModuleType] = {}


def kernels_for(neuron: Neuron, dtype: torch.dtype, keep_current: bool = False) -> ModuleType:
    """Return the kernels of a neuron: `forward_scan`, `backward_scan`, `weight_gradient`, and PLANES that are kept.

    keep_current: as in the cpu engine's. Raises ValueError when a rule cannot be read, saying why.
    """
    rules, surrogate = neuron_rules(neuron), neuron.surrogate.params
    keep_current = keep_current or (rules.needs_current and not rules.solvable)
    key = (rules, neuron.strict, surrogate, neuron.detach_reset, dtype, keep_current)
    if key not in _known:
        head = (
            "import triton\nimport triton.language as tl\n\n"
            f"from {_PACKAGE}.functions import add_rows, div, earlier, power, sign, sqrt, tanh\n\n"
            f"REAL = tl.constexpr(tl.{_DTYPES[dtype]})\n"
            f"STATES, COEFS = tl.constexpr({rules.states}), tl.constexpr({rules.coefficients})\n"
            f"PLANES, KEEPS_CURRENT = {rules.states + keep_current}, {keep_current}\n"
        )
        blocks = _blocks_text(rules, neuron.strict, surrogate, neuron.detach_reset, keep_current)
        kernels = without_blocks(read_source(_PACKAGE, "scan_kernels.py"))
        text = "\n\n".join((head, rules.texts(TRITON, keep_current), blocks, kernels))
        _known[key] = load(f"{type(neuron).__name__.lower()}_triton_{_DTYPES[dtype]}", text)
    return _known[key]


def _blocks_text(
    rules: NeuronRules, strict: bool, surrogate: tuple[float, ...], detach_reset: bool, keep_current: bool
) -> str:
    """Return the functions of `blocks` for a neuron."""
    states, coefs = range(rules.states), range(rules.coefficients)
    fires = ">" if strict else ">="

    def names(pattern: str, count: range) -> str:
        return "".join(pattern.format(j=j) + ", " for j in count)

    def lines(pattern: str, count: range) -> str:
        return "".join(f"    {pattern.format(j=j)}\n" for j in count)

    load_coefs = lines("c{j} = tl.load(coef + {j} * size + cols, mask=inside, other=0)[None, :]", coefs)
    load_old = lines("o{j} = earlier(t, old + {j} * plane, start + {j} * wide, at, ok)", states)
    load_new = lines("n{j} = tl.load(new + {j} * plane + at, mask=ok, other=0)", states)
    params = "".join(TRITON.number.format(repr(p), like="at") + ", " for p in surrogate)
    current = f"tl.load(new + {rules.states} * plane + at, mask=ok, other=0), " if keep_current else ""
    g_reset = "" if detach_reset else " + g_reset"
    c, new, old = names("c{j}", coefs), names("n{j}", states), names("o{j}", states)
    return f"""
@triton.jit
def step_tile(old, new, plane, start, wide, t, at, ok, spike, current, coef, cols, inside, size):
{load_coefs}{load_old}    {new} = step(spike, spike, {old} current, {c})
{lines("tl.store(new + {j} * plane + at, n{j}, mask=ok)", states)}    u = drive({new} {c})
    return tl.where(tl.broadcast_to(u, spike.shape) {fires} 0, 1.0, 0.0).to(REAL)


@triton.jit
def adjoint_tile(
    old, new, plane, start, wide, t, at, ok, first, g_spike, carry, g_trace, trace_plane, coef, g_coef, cols,
    inside, size, TRACE_GIVEN: tl.constexpr, COEF: tl.constexpr,
):
{load_coefs}{load_old}{load_new}    u = tl.broadcast_to(drive({old} {c}), at.shape)
    is_first = tl.full(at.shape, t, tl.int32) == 0
    given = tl.load(first + at, mask=ok & is_first, other=0)
    spike = tl.where(is_first, given, tl.where(u {fires} 0, 1.0, 0.0).to(REAL))
    slope = surrogate(tl.broadcast_to(drive({new} {c}), at.shape), {params})
    {names("d{j}", states)} {names("g_drive_c{j}", coefs)} = drive_adjoint({new} {c} slope * g_spike)
{lines("d{j} += tl.load(carry + ({j} + 1) * wide + at, mask=ok, other=0)", states)}    if TRACE_GIVEN:
{lines("    d{j} += tl.load(g_trace + {j} * trace_plane + at, mask=ok, other=0)", states)}
    g_plain, g_reset, {names("g_old{j}", states)} g_current, {names("g_step_c{j}", coefs)} = step_adjoint(
        spike, spike, {old} {new} {current} {c} {names("d{j}", states)}
    )
    tl.store(carry + at, tl.broadcast_to(g_plain{g_reset}, at.shape), mask=ok)
{lines("tl.store(carry + ({j} + 1) * wide + at, g_old{j}, mask=ok)", states)}    if COEF:
        zero = tl.zeros(at.shape, REAL)
{lines("    add_rows(g_coef + {j} * size + cols, tl.where(ok, zero + g_step_c{j} + g_drive_c{j}, 0), inside)", coefs)}
    return tl.broadcast_to(g_current, at.shape)
"""
