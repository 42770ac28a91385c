"""Engines: ways to run a scan of neurons through time, behind one interface (`delrec.engines.interface`)."""

from delrec.engines.interface import (
    ENGINES,
    Engine,
    EngineError,
    Output,
    Request,
    State,
    convolution,
    delayed_linear,
    engine_for,
    linear,
    rest_state,
    scan,
)

__all__ = [
    "ENGINES",
    "Engine",
    "EngineError",
    "Output",
    "Request",
    "State",
    "convolution",
    "delayed_linear",
    "engine_for",
    "linear",
    "rest_state",
    "scan",
]
