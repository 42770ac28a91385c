"""Make and compile one module for a neuron's rules, a surrogate and a dtype.

numba's disk cache does not notice that a function called from the cached one was edited in another file, and never
hits for functions passed as arguments. So the rules, as `delrec.rules` writes them, stand in ONE generated file
together with the scan and its kernels. A hash of all that text is in the file's name: an edited rule is another file.
Files and numba's cache of them live in `cache_folder()`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import os
import sys
import tempfile
from pathlib import Path
from string import Template
from types import ModuleType
from typing import Any

import numba
import numpy as np

from delrec.engines import (
    cpu_delays_kernels,
    cpu_kernels,
    cpu_linear_kernels,
    cpu_synaptic,
    cpu_synaptic_kernels,
    cpu_template,
    cpu_vector,
)
from delrec.engines.events_template import EVENTS
from delrec.neurons import Neuron
from delrec.rules import NUMBA, NeuronRules, neuron_rules

__all__ = ["cache_folder", "delays_module", "linear_module", "scan_module"]

# what generated modules import: part of their hash
_KERNELS = (cpu_vector, cpu_kernels, cpu_linear_kernels, cpu_synaptic_kernels)
_loaded: dict[str, ModuleType] = {}
_known: dict[tuple[Any, ...], ModuleType] = {}


def cache_folder() -> Path:
    """Return the folder of generated modules: DELREC_CACHE, or `delrec` in the user's cache folder."""
    if os.environ.get("DELREC_CACHE"):
        return Path(os.environ["DELREC_CACHE"])
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "delrec"


def scan_module(
    neuron: Neuron, dtype: np.dtype[Any], synaptic: bool = False, keep_current: bool | None = None
) -> ModuleType:
    """Return the compiled scan for `neuron`: functions `forward_tile` and `backward_tile`.

    synaptic: with one delay a connection; else one a sender, or no recurrence. keep_current: whether the current is a
    trace that the backward pass reads (`NeuronRules.keeps_current`); None where no backward pass will run. Raises
    ValueError when a rule cannot be read.
    """
    rules = neuron_rules(neuron)
    if keep_current is None:
        keep_current = rules.needs_current and not rules.solvable
    key = (rules, neuron.strict, len(neuron.surrogate.params), dtype.str, synaptic, keep_current)
    if key not in _known:
        text = _scan_text(rules, neuron.strict, len(neuron.surrogate.params), dtype, synaptic, keep_current)
        kind = "synaptic" if synaptic else "axonal"
        _known[key] = _load(f"{type(neuron).__name__.lower()}_{kind}_{dtype.name}", text)
    return _known[key]


def linear_module() -> ModuleType:
    """Return the compiled kernels of the sparse linear map (`cpu_linear_kernels`)."""
    return _static(cpu_linear_kernels)


def delays_module() -> ModuleType:
    """Return the compiled kernels of feedforward delays (`cpu_delays_kernels`)."""
    return _static(cpu_delays_kernels)


def _static(source: ModuleType) -> ModuleType:
    if (source,) not in _known:
        _known[(source,)] = _load(source.__name__.rpartition(".")[2], inspect.getsource(source))
    return _known[(source,)]


def _load(name: str, text: str) -> ModuleType:
    stamp = hashlib.sha256()
    for part in (text, *map(inspect.getsource, _KERNELS), numba.__version__, np.__version__):
        stamp.update(part.encode())
    full = f"delrec_{name}_{stamp.hexdigest()[:20]}"
    if full not in _loaded:
        folder = cache_folder()
        path = folder / f"{full}.py"
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=folder, suffix=".tmp", delete=False, encoding="utf-8") as file:
                file.write(text)
            Path(file.name).replace(path)
        spec = importlib.util.spec_from_file_location(full, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[full] = module
        spec.loader.exec_module(module)
        _loaded[full] = module
    return _loaded[full]


def _load_g_new(state: int, row: int) -> str:
    """Fetch the gradient that a state carries back, and what the caller's own use of it adds."""
    lines = (
        "for n in range(m):",
        f"    put(work, {row} + n, get(carry, {1 + state} * LANES * size + held + n))",
        f"if given_trace & {1 << state}:",
        "    for n in range(m):",
        f"        put(work, {row} + n, get(work, {row} + n) + get(g_h{state}, now + n))",
    )
    return "\n                ".join(lines)


def _scan_text(
    rules: NeuronRules, strict: bool, params: int, dtype: np.dtype[Any], synaptic: bool, keep_current: bool
) -> str:
    states, coefs = rules.states, rules.coefficients
    # Rows of `work`: spike, current, old states, new states, coefficients, g_spike, g_new, g_coefficients.
    old, new, coef = 2, 2 + states, 2 + 2 * states
    g_spike = coef + coefs
    g_new, g_coef = g_spike + 1, g_spike + 1 + states
    names = [f"s{j}" for j in range(states)]

    def at(row: int, n: int) -> str:
        """Arguments, each with its comma: there may be none."""
        return "".join(f"work[{(row + j) * 64} + n], " for j in range(n))

    def copies(indent: int, lines: list[str]) -> str:
        pad = " " * indent
        return f"\n{pad}".join(f"for n in range(m):\n{pad}    {line}" for line in lines)

    def stores(lines: list[str]) -> str:
        return "\n        ".join(lines) or "pass"

    g_step = [f"g_old{j}" for j in range(states)]
    g_coefs = [f"g_step_c{j}" for j in range(coefs)]
    fill = {
        "spike": "0",
        "current": "64",
        "rows": str(g_coef + coefs),
        "coefs": str(coefs),
        "carried": str(1 + states),
        "first_coef": str(coef),
        "first_g_coef": str(g_coef),
        "g_spike": str(g_spike * 64),
        "fires": ">" if strict else ">=",
        "old_at": at(old, states),
        "new_at": at(new, states),
        "coef_at": at(coef, coefs),
        "new": ", ".join(names),
        "unpack": ", ".join(names) + ",",
        "params": ", ".join(f"params[{j}]" for j in range(params)),
        "kept_at": at(1, 1) if keep_current else "",
        "store_current": copies(16, ["put(kept, keep + n, get(work, 64 + n))"]) if keep_current else "",
        "load_current": copies(16, ["put(work, 64 + n, get(kept, now + n))"]) if keep_current else "",
        "store_new": stores([f"work[{(new + j) * 64} + n] = s{j}" for j in range(states)]),
        "g_drive": ", ".join([*(f"d{j}" for j in range(states)), *(f"g_drive_c{j}" for j in range(coefs))]) + ",",
        "g_step": ", ".join(["g_plain", "g_reset", *g_step, "g_current", *g_coefs]),
        "g_new_total": ", ".join(f"work[{(g_new + j) * 64} + n] + d{j}" for j in range(states)),
        "g_spike_next": f"g_plain + params[{params}] * g_reset",
        "store_g_old": stores([f"work[{(g_new + j) * 64} + n] = g_old{j}" for j in range(states)]),
        "store_g_coef": stores([f"work[{(g_coef + j) * 64} + n] = g_step_c{j} + g_drive_c{j}" for j in range(coefs)]),
        "trace": ", ".join(f"h{j}" for j in range(states)),
        "g_trace": ", ".join(f"g_h{j}" for j in range(states)),
        "first_state": str(new * 64),
        "advance": copies(
            16, [f"put(mine, {(old + j) * 64} + n, get(mine, {(new + j) * 64} + n))" for j in range(states)]
        ).replace("range(m)", "range(BLOCK)"),
        "load_start": copies(
            20, [f"put(work, {(old + j) * 64} + n, get(start0, {j} * plane + at + n))" for j in range(states)]
        ),
        "load_before": copies(20, [f"put(work, {(old + j) * 64} + n, get(h{j}, before + n))" for j in range(states)]),
        "store_trace": copies(16, [f"put(h{j}, keep + n, get(work, {(new + j) * 64} + n))" for j in range(states)]),
        "load_new": copies(16, [f"put(work, {(new + j) * 64} + n, get(h{j}, now + n))" for j in range(states)]),
        "store_carry": copies(
            16,
            [
                f"put(carry, {1 + j} * LANES * size + held + n, get(work, {(g_new + j) * 64} + n))"
                for j in range(states)
            ],
        ),
        "load_g_new": "\n                ".join(_load_g_new(j, (g_new + j) * 64) for j in range(states)),
    }
    fill |= cpu_synaptic.SYNAPTIC if synaptic else cpu_template.AXONAL
    types = f"REAL = np.{dtype.name}\nONE, ZERO = REAL(1.0), REAL(0.0)\nKEEPS_CURRENT = {keep_current}"
    head = f"{cpu_template.HEAD}\n{types}\n\n\n"
    return head + rules.texts(NUMBA, keep_current) + Template(cpu_template.SCAN + EVENTS).substitute(fill)
