"""EventProp with delays: exact gradients of weights and delays of spiking neurons, by the adjoint method."""

from typing import TYPE_CHECKING

from delrec_baselines.eventprop import EventPropConfig, EventPropNetwork

from delrec_bench.methods._published import published
from delrec_bench.methods.method import Method
from delrec_bench.methods.stack import configured

if TYPE_CHECKING:
    from delrec_bench.tasks.task import Task

SOURCE = "Mészáros, Knight & Nowotny 2025, arXiv:2501.07331, after EventProp, doi:10.1038/s41598-021-91786-z"


def _applicable(task: "Task") -> str | None:
    if not task.classifies:
        return "the published readout and loss tell classes apart; this task forecasts a value"
    if task.family == "pixels":
        return "its input is spikes, and one channel of grey values step by step has none"
    return None


def _method(kind: str, what: str, learned: str) -> Method:
    settings, build = configured(
        EventPropConfig, EventPropNetwork, delays=kind != "none", recurrent=kind == "recurrent"
    )
    return Method(
        name=f"eventprop-{kind}",
        title=f"EventProp, {what}",
        family="exact gradients",
        summary=f"exact gradients for neurons that spike several times, {what}",
        source=SOURCE,
        learned=learned,
        control=None if kind == "none" else "eventprop-none",
        settings=settings,
        build=build,
        presets=published(f"eventprop-{kind}"),
        applicable=_applicable,
    )


METHODS = [
    _method("none", "no delays", "weights"),
    _method("feedforward", "one delay per connection", "weights, feedforward delays"),
    _method("recurrent", "recurrent, one delay per connection", "weights, feedforward delays, recurrent delays"),
]
