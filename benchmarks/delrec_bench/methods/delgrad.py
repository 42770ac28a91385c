"""DelGrad: neurons that spike once, whose weights and delays learn by the exact gradient of the spike times."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

from delrec_baselines.delgrad import DelGradConfig, DelGradNetwork
from delrec_baselines.delgrad_layer import Delays

from delrec_bench.methods._published import published
from delrec_bench.methods.base import Method

if TYPE_CHECKING:
    from delrec_bench.tasks.base import Task

SOURCE = "DelGrad, https://doi.org/10.1038/s41467-025-63120-y; on spoken tasks an adaptation"


def _applicable(task: "Task") -> str | None:
    if not task.classifies:
        return "a class is told by the output that spikes first; this task forecasts a value"
    if task.family == "pixels":
        return "its input is spike times, and one channel of grey values step by step has none"
    return None


def _method(delays: Delays, what: str, learned: str) -> Method:
    defaults = {item.name: item.default for item in fields(DelGradConfig) if item.default is not MISSING}

    def build(settings: Mapping[str, Any], inputs: int, classes: int) -> DelGradNetwork:
        known: dict[str, Any] = {name: settings[name] for name in defaults if name != "delays" and name in settings}
        known |= {name: tuple(value) for name, value in known.items() if isinstance(value, list)}
        return DelGradNetwork(DelGradConfig(inputs=inputs, classes=classes, delays=delays, **known))

    return Method(
        name=f"delgrad-{delays}",
        title=f"DelGrad, {what}",
        family="exact gradients",
        summary=f"exact gradients of first-spike times, {what}",
        source=SOURCE,
        learned=learned,
        control=None if delays == "none" else "delgrad-none",
        settings={name: value for name, value in defaults.items() if name != "delays"},
        build=build,
        presets=published(f"delgrad-{delays}"),
        applicable=_applicable,
    )


METHODS = [
    _method("none", "no delay", "weights"),
    _method("axonal", "a delay for each sending neuron", "weights, feedforward delays"),
    _method("dendritic", "a delay for each receiving neuron", "weights, feedforward delays"),
    _method("synaptic", "a delay for each connection", "weights, feedforward delays"),
]
