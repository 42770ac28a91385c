"""DelGrad: neurons that spike once, whose weights and delays learn by the exact gradient of the spike times."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

from delrec_baselines.delgrad import DelGradConfig, DelGradNetwork
from delrec_baselines.delgrad_layer import Delays

from delrec_bench.methods.base import Method

if TYPE_CHECKING:
    from delrec_bench.tasks.base import Task

SOURCE = "DelGrad, https://doi.org/10.1038/s41467-025-63120-y; on spoken tasks an adaptation"

# The authors' Yin-Yang configurations (30 hidden neurons), in units of tau_s: rates of weights and of delays, and the
# mean of the initial weights.
PUBLISHED = {
    "none": (0.02, 0.0, 0.5),
    "axonal": (0.005, 0.005, 1.0),
    "dendritic": (0.005, 0.005, 1.0),  # the authors report none: as axonal, which has as many delays
    "synaptic": (0.01, 0.003, 1.0),
}
RECIPE = {
    "training.batch": 150,
    "training.optimiser": "adam",
    "training.weight_decay": 0.0,
    "training.schedule_weights": "step",
    "training.schedule_delays": "step",
    "training.schedule_every": 20,
    "training.schedule_factor": 0.95,
}
# The adaptation: every count is an event, and tau_s is ten steps (100 ms at 10 ms steps, about a sound of a word;
# another step does not rescale it). Initial weights let a neuron of the first layer, that about a thousand spikes
# reach in a tau_s, fire at some time within a word. Cross-entropy needs no output spike but that of the true class;
# weights are raised for any that is missing, as published. Chosen from single short trials on spoken digits, not by a
# search.
SPEECH = {
    "training.batch": 32,
    "training.lr_weights": 0.002,
    "training.lr_delays": 0.01,
    "network.encoding": "events",
    "network.step": 0.1,
    "network.loss": "cross-entropy",
    "network.weight_mean": [0.0005, 0.1],
    "network.weight_std": [0.02, 0.15],
    "network.delay_scale": 2.0,
}


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

    lr_weights, lr_delays, mean = PUBLISHED[delays]
    rates = {"training.lr_weights": lr_weights, "training.lr_delays": lr_delays}
    return Method(
        name=f"delgrad-{delays}",
        summary=f"exact gradients of first-spike times, {what}",
        source=SOURCE,
        learned=learned,
        control=None if delays == "none" else "delgrad-none",
        settings={name: value for name, value in defaults.items() if name != "delays"},
        build=build,
        presets={
            ("points", "*"): {
                **RECIPE,
                **rates,
                "task.binning": "times",
                "network.hidden": [30],
                "network.encoding": "times",
                "network.weight_mean": [mean],
            },
            # As published: 300 epochs, and the network at their end.
            ("points", "paper"): {"training.epochs": 300, "training.selection": "last"},
            ("speech", "*"): {**RECIPE, **SPEECH},
        },
        applicable=_applicable,
    )


METHODS = [
    _method("none", "no delay", "weights"),
    _method("axonal", "a delay for each sending neuron", "weights, feedforward delays"),
    _method("dendritic", "a delay for each receiving neuron", "weights, feedforward delays"),
    _method("synaptic", "a delay for each connection", "weights, feedforward delays"),
]
