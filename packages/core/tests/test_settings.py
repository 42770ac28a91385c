"""Settings and inputs that are wrong: the error names the setting or input, its value, and what would be right."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from delrec import LIF, BatchNorm, DelayInit, FeedforwardDelays, Neuron, RecurrentDelays, SpikeLinear, SpikingLayer
from delrec.checks import check_finite
from delrec.engines.events.network import EventNetwork
from delrec.layer import deployed
from delrec.stateful import Stateful
from delrec.surrogates import ATan, MultiGaussian, Surrogate, make_surrogate
from delrec.training import SigmaSchedule, count_parameters, parameter_groups
from torch import nn

NUMBERS = ["a", None, True, math.nan, math.inf, np.float32("inf"), torch.tensor([1.0, 2.0])]  # none is a number
WHOLE = ["a", None, True, 2.0, -1]  # none of them is a whole number of at least 0
FLAGS = ["no", 1, None]
PLACES = {"device": ["nope", 1.5], "dtype": [torch.int64, torch.complex64, "float32"]}
OF_MODULES = [check_finite, count_parameters, parameter_groups, SigmaSchedule(epochs=2).step, Stateful]
RECURRENT, FORWARD = partial(RecurrentDelays, 4), partial(FeedforwardDelays, 4, 3, window=5)
SETTINGS = {
    RecurrentDelays: {"size": [*WHOLE, 0]},
    RECURRENT: {
        "sigma": [*NUMBERS, -1.0], "dropout": [*NUMBERS, -0.1, 1.0], "learn": FLAGS, "learn_spread": FLAGS,
        "batch_first": FLAGS, "self_connections": FLAGS, "max_delay": [2.5, True, -1, "a", 2**24 + 1, 2**63],
        "delays": ["dendritic", 1, None], "rounding": ["up"], "dropout_mask": ["batch"],
        "engine": ["gpu", 5, []], "delay_init": ["uniform"], "neuron": [3, nn.ReLU()], **PLACES,
    },
    SpikingLayer: {"size": [*WHOLE, 0]},
    partial(SpikingLayer, 4): {"batch_first": FLAGS, "engine": ["gpu"], **PLACES},
    partial(FeedforwardDelays, outputs=3, window=5): {"inputs": [*WHOLE, 0]},
    FORWARD: {
        "window": [*WHOLE, 0], "kernel_count": [*WHOLE, 0], "left_padding": [2.5, True, -1], "right_padding": WHOLE,
        "spread": [*NUMBERS, -1.0], "learn": FLAGS, "bias": FLAGS, "batch_first": FLAGS, "kernel": ["v2", None],
        "delays": ["both"], "rounding": ["stochastic"], "engine": ["gpu"], **PLACES,
    },
    partial(SpikeLinear, outputs=3): {"inputs": [*WHOLE, 0]},
    partial(SpikeLinear, 4, 3): {"bias": FLAGS, "engine": ["gpu"], **PLACES},
    BatchNorm: {"size": [*WHOLE, 0]},
    partial(BatchNorm, 4): {"batch_first": FLAGS, **PLACES},
    LIF: {
        "tau": [*NUMBERS, 0.5], "threshold": NUMBERS, "v_reset": [*NUMBERS, -1.0], "detach_reset": FLAGS,
        "reset": ["none"], "learn_tau": ["yes"], "surrogate": ["atan"],
    },
    partial(LIF, reset="hard"): {"v_reset": [1.0, 2]},
    partial(LIF, learn_tau="neuron"): {"tau": [1]},
    ATan: {"alpha": [*NUMBERS, 0, -1.0]},
    MultiGaussian: {"h": NUMBERS, "s": [0.0]},
    SigmaSchedule: {"epochs": [0, True, 2.5]},
    partial(parameter_groups, nn.Linear(2, 2)): {"lr": ["a", -1.0], "delay_lr": [-1], "weight_decay": [True]},
    partial(Stateful, SpikingLayer(4)): {"detach": FLAGS},
    partial(EventNetwork, [nn.Linear(4, 3)]): {"batch": [*WHOLE, 0], "dtype": [torch.int64, torch.float16, "float32"]},
}  # fmt: skip
CASES = [(make, name, value) for make, of in SETTINGS.items() for name, values in of.items() for value in values]


@pytest.mark.parametrize(("make", "name", "value"), CASES)
def test_a_wrong_setting_is_named_with_its_value_and_what_would_be_right(make, name, value):
    with pytest.raises((ValueError, TypeError)) as caught:
        make(**{name: value})
    said = str(caught.value)
    assert said.startswith(f"{name} = {value!r}") and any(w in said for w in ("give", "choose", "use", "cannot"))


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: RECURRENT(max_delay=-1), "whole number, at least 0 and at most 16777216"),
        (lambda: RECURRENT(dropout=1.5), "dropout = 1.5: give a finite number, at least 0 and below 1"),
        (lambda: DelayInit("normal"), "delay init = 'normal' is unknown; choose one of half-normal, uniform, constant"),
        (lambda: DelayInit("uniform", "a"), "delay init std = 'a'"),
        (lambda: DelayInit("constant", low=-3), "delay init low = -3: .*at least 0"),
        (lambda: DelayInit("uniform", low=4, high=3), "delay init high = 3: .*at least 4"),
        (lambda: SigmaSchedule(initial=-1), "sigma = -1"),
        (lambda: SigmaSchedule(decay=1.1), "sigma decay = 1.1: .*above 0 and at most 1"),
        (lambda: LIF(threshold=-0.5), "^threshold = -0.5: give a finite number, above 0"),
        (lambda: make_surrogate("spline"), "surrogate = 'spline' .*triangle"),
        (lambda: SpikingLayer(4, neuron=type("Bare", (Neuron,), {})()), "Bare must list its state variables"),
        (lambda: SpikingLayer(4, neuron=type("Bare", (Neuron,), {"states": ()})()), r"Bare must define step\(current"),
        (type("Flat", (Surrogate,), {}), r"Flat must define derivative\(self, u\)"),
        (lambda: RECURRENT()(torch.zeros(3, 2, 4, dtype=torch.int64)), "dtype torch.int64: .*floating-point"),
        (lambda: RECURRENT(batch_first=True)(torch.zeros(3, 2, 5)), r"\(3, 2, 5\): give \(B, T, 4\)"),
        (lambda: FeedforwardDelays(4, 3, window=5, left_padding=0)(torch.zeros(3, 2, 4)), "3 steps .*window 5"),
        (lambda: RECURRENT()(torch.zeros(3, 2, 4).to_sparse()), "current of layout torch.sparse_coo: give a dense"),
        (lambda: RECURRENT()(torch.zeros(3, 2, 4), lengths=["a", 1]), "lengths = .* give 2 whole numbers"),
        (lambda: BatchNorm(4, momentum="a"), "momentum = 'a': give a finite number, at least 0 and at most 1"),
        (lambda: BatchNorm(4)(torch.zeros(3, 4, dtype=torch.int64)), "dtype torch.int64: give a floating-point"),
        (lambda: BatchNorm(4)(torch.zeros(2, 4), [1, 1]), r"lengths are of a sequence; inputs of shape \(2, 4\)"),
        (lambda: EventNetwork(5), "layers of type int: give a list"),
        (lambda: EventNetwork(nn.ModuleList([nn.Linear(3, 8)])), "layers of type ModuleList: give a list"),
        *((lambda use=use: use([RECURRENT()]), "module of type list: give .* nn.ModuleList") for use in OF_MODULES),
        (lambda: deployed([RECURRENT()]).__enter__(), "module of type list: give .* nn.ModuleList"),
        (lambda: EventNetwork([nn.Linear(4, 3)], batch=3).step(torch.zeros(2, 4)), "this network has batch = 3"),
    ],
)  # fmt: skip
def test_an_error_says_what_would_be_right(build, said):
    with pytest.raises((TypeError, ValueError, NotImplementedError), match=said):
        build()


LAYERS = [SpikingLayer(4), RECURRENT(), FORWARD(), SpikeLinear(4, 3), BatchNorm(4)]
NETWORK = EventNetwork([nn.Linear(4, 3)], batch=2)
SEQUENCES, STEPS = [*LAYERS, NETWORK.run], [*(layer.step for layer in LAYERS[:3]), NETWORK.step]


@pytest.mark.parametrize(("call", "shape"), [*((c, (6, 2, 4)) for c in SEQUENCES), *((c, (2, 4)) for c in STEPS)])
def test_an_input_of_another_type_or_shape_is_named(call, shape):
    x = torch.zeros(shape)
    name = "current" if "SpikingLayer" in str(call) or "RecurrentDelays" in str(call) else "inputs"
    for wrong in (x.numpy(), x.tolist(), None):
        with pytest.raises(TypeError, match=f"{name} of type {type(wrong).__name__}: give a tensor"):
            call(wrong)
    with pytest.raises(ValueError, match=f"{name} of dtype torch.complex64: give real numbers"):
        call(x.to(torch.complex64))
    for wrong in (x[..., :3], torch.zeros(()), *([] if isinstance(call, SpikeLinear | BatchNorm) else [x[None]])):
        with pytest.raises(ValueError, match=rf"{name} of shape \({', '.join(map(str, wrong.shape))}\): give \(.*4\)"):
            call(wrong)
