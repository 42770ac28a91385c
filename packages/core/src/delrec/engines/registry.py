"""Which engine runs a request: by name, by the variable DELREC_ENGINE, or the fastest that can."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable

from torch import Tensor

from delrec.engines.state import ScanOutput, ScanState
from delrec.neurons import Neuron

__all__ = ["ENGINES", "resolve", "scan"]

ENGINES: tuple[str, ...] = ("reference", "cpu", "events", "cuda")
_BUILT = tuple(name for name in ENGINES if importlib.util.find_spec(f"delrec.engines.{name}") is not None)


def resolve(engine: str, device: str) -> str:
    """Return the name of the engine for tensors on `device` ("cpu", "cuda", ...).

    engine "auto" is the variable DELREC_ENGINE if set, else "cpu" for CPU tensors and "reference" for others.
    Raises ValueError for an unknown name and for an engine that this installation does not hold.
    """
    source = "engine"
    if engine == "auto" and os.environ.get("DELREC_ENGINE"):
        engine, source = os.environ["DELREC_ENGINE"], "DELREC_ENGINE"
    if engine == "auto":
        return "cpu" if device == "cpu" and "cpu" in _BUILT else "reference"
    if engine not in ENGINES:
        raise ValueError(f"{source} = {engine!r} is unknown; choose 'auto' or one of {', '.join(ENGINES)}")
    if engine not in _BUILT:
        raise ValueError(f"{source} = {engine!r} is not built yet; choose 'auto' or one of {', '.join(_BUILT)}")
    return engine


def scan(
    engine: str,
    current: Tensor,
    neuron: Neuron,
    weight: Tensor | None = None,
    delay: Tensor | None = None,
    width: Tensor | None = None,
    mask: Tensor | None = None,
    state: ScanState | None = None,
    with_states: bool = True,
) -> ScanOutput:
    """Run the scan of `delrec.engines.reference.scan` on the engine of that name."""
    name = resolve(engine, current.device.type)
    run: Callable[..., ScanOutput] = importlib.import_module(f"delrec.engines.{name}").scan
    return run(current, neuron, weight, delay, width, mask, state, with_states)
