"""Engines: ways to run a scan of neurons through time, behind one interface (`delrec.engines.interface`)."""

from delrec.engines.interface import (
    ENGINES,
    Engine,
    EngineError,
    Output,
    Request,
    State,
    engine_for,
    map_engine,
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
    "engine_for",
    "map_engine",
    "rest_state",
    "scan",
]
