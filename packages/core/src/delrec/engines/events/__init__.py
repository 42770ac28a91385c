"""The events engine: see `delrec.engines.events.network`."""

from delrec.engines.events.network import ENGINE, EventLayer, EventNetwork

__all__ = ["ENGINE", "EventLayer", "EventNetwork"]
