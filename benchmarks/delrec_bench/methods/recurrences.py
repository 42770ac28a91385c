"""Recurrent delays of other forms: ASRC's softmax over one delay per layer, and DelRec's with one small convolution."""

from typing import Any

from delrec_baselines import ConvolutionalRecurrence, SoftmaxRecurrence

from delrec_bench.methods.method import Method
from delrec_bench.methods.stack import EQUAL, builder, published, settings_of

_SHARED: dict[str, Any] = {"recurrent": "shared", "feedforward": "none"}
_AXONAL: dict[str, Any] = {"recurrent": "axonal", "feedforward": "none", "learn_delays": True}
_NOT_ASRC = ("learn_spread", "learn_delays", "delay_init", "delay_std", "delay_low", "delay_high", "rounding")


METHODS = [
    Method(
        name="asrc",
        title="ASRC, one learned delay per layer",
        family="recurrent delays",
        summary="recurrent delay, one per layer, learned as a softmax over all delays that sharpens during training",
        source="Xu et al. 2025, https://arxiv.org/abs/2505.11455, and its code dgxdn/ASRC-SNN",
        learned="weights, recurrent delays",
        board=True,
        control="delrec-shared",
        settings={
            **{name: value for name, value in settings_of(**_SHARED).items() if name not in _NOT_ASRC},
            "sigma": 1.0,  # the temperature
            "sigma_decay": 0.96,
            "span": 21,
        },
        build=builder(SoftmaxRecurrence, "span", **_SHARED),
        presets={**EQUAL, **published("asrc")},
    ),
    Method(
        name="delrec-axonal-conv",
        title="DelRec, convolutional recurrence",
        family="recurrent delays",
        summary="recurrent delays, one per sending neuron, learned; one convolution instead of the recurrent matrix",
        source="Zebendo et al. 2026, https://arxiv.org/abs/2604.15997, and its code luciozebendo/delrec_snn",
        learned="weights, recurrent delays",
        control="delrec-axonal",
        settings={
            **{name: value for name, value in settings_of(**_AXONAL).items() if name != "self_connections"},
            "kernel_size": 3,
        },
        build=builder(ConvolutionalRecurrence, "kernel_size", **_AXONAL),
        presets={**EQUAL, **published("delrec-axonal-conv")},
    ),
]
