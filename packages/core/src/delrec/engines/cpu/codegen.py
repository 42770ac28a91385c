"""Make and compile one module for a neuron's rules, a surrogate, a dtype and a kind of kernel.

What depends on the neuron is generated: its rules (`delrec.rules`) and the names of `blocks`. The rest of the module is
the text of a real file (`scan_kernels`, `events.kernels`). One module, because numba compiles a function that is passed
as an argument anew in every process.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from delrec.engines.cpu.blocks import BLOCK
from delrec.engines.generated import load, read_source, without_blocks
from delrec.neurons import Neuron
from delrec.rules import NUMBA, NeuronRules, neuron_rules

__all__ = ["kernels_for"]

# kind -> the real file, and where the recurrence's part comes from
_KINDS = {
    "axonal": ("delrec.engines.cpu", "scan_kernels.py", "axonal_kernels"),
    "synaptic": ("delrec.engines.cpu", "scan_kernels.py", "synaptic_kernels"),
    "events": ("delrec.engines.events", "kernels.py", None),
}
_known: dict[tuple[Any, ...], ModuleType] = {}


def kernels_for(neuron: Neuron, dtype: Any, kind: str, keep_current: bool = False) -> ModuleType:
    """Return the compiled kernels of a neuron.

    kind: "axonal" (one delay a sender, or no recurrence) or "synaptic", with functions `forward_tile` and
    `backward_tile`; or "events", with `event_rows`. keep_current: see `fused`; a neuron whose current cannot be
    recovered keeps it in any case. Raises ValueError when a rule cannot be compiled, saying why.
    """
    rules, params = neuron_rules(neuron), len(neuron.surrogate.params)
    keep_current = keep_current or (rules.needs_current and not rules.solvable)
    key = (rules, neuron.strict, params, dtype.str, kind, keep_current)
    if key not in _known:
        text = _module_text(rules, neuron.strict, params, dtype, kind, keep_current)
        _known[key] = load(f"{type(neuron).__name__.lower()}_{kind}_{dtype.name}", text)
    return _known[key]


def _module_text(rules: NeuronRules, strict: bool, params: int, dtype: Any, kind: str, keep_current: bool) -> str:
    package, name, recurrence = _KINDS[kind]
    text = rules.texts(NUMBA, keep_current)
    head = "import math\n\nimport numpy as np\n\nfrom delrec.engines.cpu.cache import compiled, inlined\n"
    if recurrence:
        names = "backward_room, forward_room, g_row, receive, receive_gradient, send, send_gradient, send_silence"
        head += f"from delrec.engines.cpu.{recurrence} import {names}\n"
    blocks = _blocks_text(rules, strict, params, dtype, keep_current)
    return "\n\n".join((head, text, blocks, without_blocks(read_source(package, name))))


def _blocks_text(rules: NeuronRules, strict: bool, params: int, dtype: Any, keep_current: bool) -> str:
    """Return the names of `blocks` for a neuron: the rows of `work`, and its rules on whole blocks of it."""
    states, coefs = rules.states, rules.coefficients
    sizes = {
        "SPIKE": 1, "CURRENT": 1, "OLD": states, "NEW": states, "COEF": coefs, "G_SPIKE": 1, "G_NEW": states,
        "G_COEF": coefs,
    }  # fmt: skip
    places, rows = {}, 0
    for name, count in sizes.items():
        places[name], rows = rows * BLOCK, rows + count

    def at(name: str) -> str:
        return "".join(f"work[{places[name] + j * BLOCK} + n], " for j in range(sizes[name]))

    def stores(name: str, values: str) -> str:
        return "\n".join(
            f"        work[{places[name] + j * BLOCK} + n] = {values.format(j=j)}" for j in range(sizes[name])
        )

    def names(pattern: str, count: int) -> str:
        return "".join(pattern.format(j=j) + ", " for j in range(count))

    new, fires = names("s{j}", states), ">" if strict else ">="
    current = at("CURRENT") if keep_current else ""
    constants = "\n".join(f"{name} = {place}" for name, place in places.items())
    g_totals = "".join(f"work[{places['G_NEW'] + j * BLOCK} + n] + d{j}, " for j in range(states))
    return f"""
REAL = np.{dtype.name}
ONE, ZERO = REAL(1.0), REAL(0.0)
BLOCK, STATES, COEFS, ROWS = {BLOCK}, {states}, {coefs}, {rows}
KEEPS_CURRENT, PLANES = {keep_current}, {states + keep_current}
{constants}


@compiled
def step_block(work, params):
    for n in range(BLOCK):
        spike = work[SPIKE + n]
        {new} = step(spike, spike, {at("OLD")} work[CURRENT + n], {at("COEF")})
        u = drive({new} {at("COEF")})
        work[SPIKE + n] = ONE if u {fires} ZERO else ZERO
{stores("NEW", "s{j}")}


@compiled
def spike_block(work):
    for n in range(BLOCK):
        u = drive({at("OLD")} {at("COEF")})
        work[SPIKE + n] = ONE if u {fires} ZERO else ZERO


@compiled
def adjoint_block(work, params):
    for n in range(BLOCK):
        {new} = {at("NEW")}
        slope = surrogate(drive({new} {at("COEF")}), {names("params[{j}]", params)})
        {names("d{j}", states)} {names("g_drive_c{j}", coefs)} = drive_adjoint(
            {new} {at("COEF")} slope * work[G_SPIKE + n]
        )
        spike = work[SPIKE + n]
        g_plain, g_reset, {names("g_old{j}", states)} g_current, {names("g_step_c{j}", coefs)} = step_adjoint(
            spike, spike, {at("OLD")} {new} {current} {at("COEF")} {g_totals}
        )
        work[G_SPIKE + n] = g_plain + params[{params}] * g_reset
        work[CURRENT + n] = g_current
{stores("G_NEW", "g_old{j}")}
{stores("G_COEF", "g_step_c{j} + g_drive_c{j}")}
"""
