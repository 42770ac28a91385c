"""Exact gradients of spike times: DelGrad, whose neurons spike once, and EventProp, whose spike several times."""

from collections.abc import Mapping
from typing import Any

from delrec_baselines.delgrad import DelGradConfig, DelGradNetwork
from delrec_baselines.eventprop import EventPropConfig, EventPropNetwork

from delrec_bench.methods.method import Method
from delrec_bench.methods.stack import defaults_of, published
from delrec_bench.tasks.task import Task

DELGRAD = "DelGrad, https://doi.org/10.1038/s41467-025-63120-y; on spoken tasks an adaptation"
EVENTPROP = "Mészáros, Knight & Nowotny 2025, arXiv:2501.07331, after EventProp, doi:10.1038/s41598-021-91786-z"


def _applicable(task: Task) -> str | None:
    if not task.classifies:
        return "the published readout tells classes apart; this task forecasts a value"
    if task.family == "pixels":
        return "its input is spikes, and one channel of grey values step by step has none"
    return None


def _method(code: str, kind: str, what: str, learned: str, **fixed: Any) -> Method:
    delgrad = code == "delgrad"
    config: Any = DelGradConfig if delgrad else EventPropConfig
    network: Any = DelGradNetwork if delgrad else EventPropNetwork
    settings = defaults_of(config, fixed)

    def build(given: Mapping[str, Any], inputs: int, classes: int) -> Any:
        own = {name: given[name] for name in settings if name in given}
        return network(config(inputs=inputs, classes=classes, **fixed, **own))

    of = "exact gradients of first-spike times" if delgrad else "exact gradients for neurons that spike several times"
    return Method(
        name=f"{code}-{kind}",
        title=f"{'DelGrad' if delgrad else 'EventProp'}, {what}",
        family="exact gradients",
        summary=f"{of}, {what}",
        source=DELGRAD if delgrad else EVENTPROP,
        learned=learned,
        control=None if kind == "none" else f"{code}-none",
        settings=settings,
        build=build,
        presets=published(f"{code}-{kind}"),
        applicable=_applicable,
    )


FEEDFORWARD = "weights, feedforward delays"
BOTH = f"{FEEDFORWARD}, recurrent delays"
METHODS = [
    _method("delgrad", "none", "no delays", "weights", delays="none"),
    _method("delgrad", "axonal", "one delay per sending neuron", FEEDFORWARD, delays="axonal"),
    _method("delgrad", "dendritic", "one delay per receiving neuron", FEEDFORWARD, delays="dendritic"),
    _method("delgrad", "synaptic", "one delay per connection", FEEDFORWARD, delays="synaptic"),
    _method("eventprop", "none", "no delays", "weights", delays=False, recurrent=False),
    _method("eventprop", "feedforward", "one delay per connection", FEEDFORWARD, delays=True, recurrent=False),
    _method("eventprop", "recurrent", "recurrent, one delay per connection", BOTH, delays=True, recurrent=True),
]
