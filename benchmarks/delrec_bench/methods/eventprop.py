"""EventProp with delays: exact gradients of weights and delays of spiking neurons, by the adjoint method."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

from delrec_baselines.eventprop import EventPropConfig, EventPropNetwork

from delrec_bench.methods.base import Method

if TYPE_CHECKING:
    from delrec_bench.tasks.base import Task

SOURCE = "Mészáros, Knight & Nowotny 2025, arXiv:2501.07331, after EventProp, doi:10.1038/s41598-021-91786-z"

# Yin-Yang, times in steps of 0.1 ms (the authors' are 0.01 ms). Of their code,
# https://github.com/mbalazs98/deventprop: the spiking readout with its temperature of 0.5 ms and its pull of 0.1 ms, no
# delays onto it, 20 ms of the membrane and 5 ms of the synapse, delays that start at 0, batches of 32, the rate of the
# delays, that of the weights times 0.9975 an epoch; and 0.003 of their library's example, https://github.com/genn-team/ml_genn.
# Chosen here, from a dozen trials of 15 to 40 epochs on validation scores: the weights at the start (theirs are for 100
# hidden neurons and a fifth input, here are 30 and four as in DelGrad), and the pull of a hidden neuron to one spike a
# sample, without which the recurrent network falls silent.
POINTS = {
    "task.step_ms": 0.1,
    "training.batch": 32,
    "training.optimiser": "adam",
    "training.weight_decay": 0.0,
    "training.lr_weights": 0.003,
    "training.lr_delays": 0.1,
    "training.schedule_weights": "step",
    "training.schedule_delays": "constant",
    "training.schedule_every": 1,
    "training.schedule_factor": 0.9975,
    "network.hidden": [30],
    "network.tau_m": 200.0,
    "network.tau_s": 50.0,
    "network.weight_mean": [2.5],
    "network.weight_std": [0.78],
    "network.recurrent_std": 0.02,
    "network.readout_mean": 1.5,
    "network.readout_std": 0.3,
    "network.output": "first-spike",
    "network.temperature": 5.0,
    "network.early": 1.0,
    "network.rate_target": 1.0,
    "network.rate_strength": 0.1,
    "network.slope_floor": 1e-6,
}
# A third of the authors' 300 epochs.
LONG = {"training.epochs": 100}
# Spoken words, an adaptation: the authors take steps of 1 ms, 700 channels, layers of 512 and more, and augmentation.
# Here steps and channels are the profile's, the layer is small, and time constants are a few steps, whatever their
# length, so that neurons spike several times in a word. Chosen from a dozen trials of eight epochs, most with
# feedforward delays, on validation scores of spoken digits at 10 ms.
SPEECH = {
    "training.batch": 32,
    "training.optimiser": "adam",
    "training.weight_decay": 0.0,
    "training.lr_weights": 0.02,
    "training.lr_delays": 0.1,
    "network.hidden": [64],
    "network.tau_m": 10.0,
    "network.tau_s": 3.0,
    "network.weight_mean": [0.01],
    "network.weight_std": [0.05],
    "network.recurrent_std": 0.02,
    "network.readout_std": 0.2,
    "network.delay_high": 20.0,
    "network.recurrent_delay_high": 20.0,
    "network.gain": 10.0,
    "network.slope_floor": 0.1,
}
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
        summary=f"exact gradients of neurons that spike many times, {what}",
        source=SOURCE,
        learned=learned,
        control=None if kind == "none" else "eventprop-none",
        settings=defaults,
        build=build,
        presets={
            ("points", "*"): POINTS,
            ("points", "paper"): LONG,
            ("speech", "*"): SPEECH,
        },
        applicable=_applicable,
    )


METHODS = [_method(kind) for kind in KINDS]
