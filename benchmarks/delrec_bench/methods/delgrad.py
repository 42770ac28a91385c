"""DelGrad: neurons that spike once, whose weights and delays learn by the exact gradient of the spike times."""

from typing import TYPE_CHECKING

from delrec_baselines.delgrad import DelGradConfig, DelGradNetwork
from delrec_baselines.delgrad_layer import Delays

from delrec_bench.methods._published import published
from delrec_bench.methods.method import Method
from delrec_bench.methods.stack import configured

if TYPE_CHECKING:
    from delrec_bench.tasks.task import Task

SOURCE = "DelGrad, https://doi.org/10.1038/s41467-025-63120-y; on spoken tasks an adaptation"


def _applicable(task: "Task") -> str | None:
    if not task.classifies:
        return "a class is told by the output that spikes first; this task forecasts a value"
    if task.family == "pixels":
        return "its input is spike times, and one channel of grey values step by step has none"
    return None


def _method(delays: Delays, what: str, learned: str) -> Method:
    settings, build = configured(DelGradConfig, DelGradNetwork, delays=delays)
    return Method(
        name=f"delgrad-{delays}",
        title=f"DelGrad, {what}",
        family="exact gradients",
        summary=f"exact gradients of first-spike times, {what}",
        source=SOURCE,
        learned=learned,
        control=None if delays == "none" else "delgrad-none",
        settings=settings,
        build=build,
        presets=published(f"delgrad-{delays}"),
        applicable=_applicable,
    )


METHODS = [
    _method("none", "no delays", "weights"),
    _method("axonal", "one delay per sending neuron", "weights, feedforward delays"),
    _method("dendritic", "one delay per receiving neuron", "weights, feedforward delays"),
    _method("synaptic", "one delay per connection", "weights, feedforward delays"),
]
