"""EventProp with delays: exact gradients of weights and delays of spiking neurons, by the adjoint method."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

from delrec_baselines.eventprop import EventPropConfig, EventPropNetwork

from delrec_bench.methods._published import published
from delrec_bench.methods.base import Method

if TYPE_CHECKING:
    from delrec_bench.tasks.base import Task

SOURCE = "Mészáros, Knight & Nowotny 2025, arXiv:2501.07331, after EventProp, doi:10.1038/s41598-021-91786-z"

KINDS = {
    "none": (False, False, "no delay", "weights"),
    "feedforward": (True, False, "a delay for each connection", "weights, feedforward delays"),
    "recurrent": (
        True,
        True,
        "recurrent, a delay for each connection",
        "weights, feedforward delays, recurrent delays",
    ),
}
FIXED = ("inputs", "classes", "delays", "recurrent")


def _applicable(task: "Task") -> str | None:
    if not task.classifies:
        return "the published readout and loss tell classes apart; this task forecasts a value"
    if task.family == "pixels":
        return "its input is spikes, and one channel of grey values step by step has none"
    return None


def _method(kind: str) -> Method:
    delays, recurrent, what, learned = KINDS[kind]
    defaults: dict[str, Any] = {item.name: item.default for item in fields(EventPropConfig) if item.name not in FIXED}
    assert MISSING not in defaults.values()

    def build(settings: Mapping[str, Any], inputs: int, classes: int) -> EventPropNetwork:
        known: dict[str, Any] = {name: settings[name] for name in defaults if name in settings}
        known |= {name: tuple(value) for name, value in known.items() if isinstance(value, list)}
        return EventPropNetwork(
            EventPropConfig(inputs=inputs, classes=classes, delays=delays, recurrent=recurrent, **known)
        )

    return Method(
        name=f"eventprop-{kind}",
        title=f"EventProp, {what}",
        family="exact gradients",
        summary=f"exact gradients of neurons that spike many times, {what}",
        source=SOURCE,
        learned=learned,
        control=None if kind == "none" else "eventprop-none",
        settings=defaults,
        build=build,
        presets=published(f"eventprop-{kind}"),
        applicable=_applicable,
    )


METHODS = [_method(kind) for kind in KINDS]
