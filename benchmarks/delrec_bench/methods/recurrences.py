"""Recurrent delays of other forms: ASRC's softmax over one delay a layer, and DelRec's with one small convolution."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from delrec_baselines import ConvolutionalRecurrence, SoftmaxRecurrence

from delrec_bench.methods._published import presets_of
from delrec_bench.methods.base import Method
from delrec_bench.methods.stack import settings_of
from delrec_bench.networks import Network, NetworkConfig

_SHARED: dict[str, Any] = {"recurrent": "shared", "feedforward": "none"}
_AXONAL: dict[str, Any] = {"recurrent": "axonal", "feedforward": "none", "learn_delays": True}
_NOT_ASRC = ("learn_spread", "learn_delays", "delay_init", "delay_std", "delay_low", "delay_high", "rounding")


def _build(
    fixed: Mapping[str, Any], layer: Any, option: str, settings: Mapping[str, Any], inputs: int, classes: int
) -> Network:
    rest = dict(settings)
    own = {option: rest.pop(option)}
    config = NetworkConfig(inputs=inputs, classes=classes, **{**rest, **fixed})
    return Network(config, recurrence=partial(layer, **own))


# dgxdn/ASRC-SNN, commands.txt and the defaults of main.py. The temperature falls by .96 an epoch: in 200 epochs by
# .96^2 per hundredth of training. Its checkpoint is the best of the test set; here validation chooses.
_ASRC = {
    "training.weight_decay": 0.0,
    "training.lr_weights": 1e-3,
    "training.lr_delays": 0.1,
    "training.schedule_delays": "one-cycle",
    "network.recurrent_dropout": 0.0,
}

# luciozebendo/delrec_snn, configs/perf_SHD.py; kernel of 3 as in its README. Left out: the current is not scaled by
# 1/tau in recurrent layers, and training does not stop early.
_CONVOLUTIONAL = {
    "training.batch": 32,
    "training.lr_weights": 0.0013225582163493585,
    "training.lr_delays": 0.027880072537707235,
    "training.weight_decay": 4.1063106382417676e-06,
    "network.hidden": [256, 256, 256, 256],
    "network.recurrent_layers": [1, 2, 3],
    "network.tau": 1.1685654746037886,
    "network.detach_reset": False,
    "network.recurrent_dropout": 0.23495685940955754,
    "network.dropout": 0.4376747992061383,
    "network.dropout_mask": "step",
    "network.sigma": 10.35556186978472,
    "network.sigma_decay": 0.9714489091279568,
}

METHODS = [
    Method(
        name="asrc",
        summary="recurrent delay, one a layer, learned as a softmax over all delays that sharpens in training",
        source="Xu et al. 2025, https://arxiv.org/abs/2505.11455, and its code dgxdn/ASRC-SNN",
        learned="weights, recurrent delays",
        control="delrec-shared",
        settings={
            **{name: value for name, value in settings_of(**_SHARED).items() if name not in _NOT_ASRC},
            "sigma": 1.0,  # the temperature
            "sigma_decay": 0.96,
            "span": 21,
        },
        build=partial(_build, _SHARED, SoftmaxRecurrence, "span"),
        presets={
            **presets_of("asrc"),
            # profiles speak of a spread in steps; here sigma is a temperature, which falls as in 100 published epochs
            ("*", "*"): {"network.sigma": 1.0, "network.sigma_decay": 0.96},
            ("ssc", "paper"): {**_ASRC, "training.epochs": 100, "training.batch": 128, "network.span": 6},
            ("ps-mnist", "paper"): {
                **_ASRC,
                "training.weight_decay": 0.01,
                "network.dropout": 0.0,
                "network.span": 31,
                "network.sigma_decay": 0.96**2,
            },
        },
    ),
    Method(
        name="delrec-axonal-conv",
        summary="recurrent delays, one a sending neuron, learned; one convolution in place of the recurrent matrix",
        source="Zebendo et al. 2026, https://arxiv.org/abs/2604.15997, and its code luciozebendo/delrec_snn",
        learned="weights, recurrent delays",
        control="delrec-axonal",
        settings={
            **{name: value for name, value in settings_of(**_AXONAL).items() if name != "self_connections"},
            "kernel_size": 3,
        },
        build=partial(_build, _AXONAL, ConvolutionalRecurrence, "kernel_size"),
        presets={**presets_of("delrec-axonal-conv"), ("shd", "paper"): _CONVOLUTIONAL},
    ),
]
