"""The published settings of adaptive neurons, by method, task and profile; each number with its source.

Where a paper's own code leaves a number open the profile's stands, and a comment says so. All start at zero states
where the published code starts at random ones, and all choose their epoch on validation data.
"""

from typing import Any

Presets = dict[tuple[str, str], dict[str, Any]]

# idiap/sparch, models/snns.py and its parsers. Weights, a bias-free batch norm, a learned leak as readout. Widths: the
# published 3.9 million parameters of RadLIF are two hidden layers of 1024. Epochs are not in the code.
_SPARCH = {
    "task.step_ms": 14.0,  # 100 steps in 1.4 s
    "task.channels": 700,
    "task.augment": False,
    "task.binning": "clean",
    "training.optimiser": "adam",
    "training.weight_decay": 0.0,
    "training.lr_weights": 1e-2,
    "training.schedule_weights": "plateau",
    "training.schedule_factor": 0.7,
    "training.schedule_patience": 1,
    "training.batch": 128,
    "network.hidden": [1024, 1024],
    "network.order": "norm-spike-dropout",
    "network.batch_norm": True,
    "network.norm_momentum": 0.05,
    "network.bias": False,
    "network.weight_init": "default",
    "network.dropout": 0.1,
    "network.dropout_mask": "step",
    "network.readout": "leaky",
    "network.readout_norm": True,
    "network.leak": "decay",
    "network.aggregate": "softmax-sum",
}
_RECURRENT = {"network.recurrent_layers": None, "network.recurrent_dropout": 0.0}

# Maxtimer97/SSM-inspired-LIF, configs/*.yaml and the defaults of its parsers: 4 ms, 140 channels, two layers of 512,
# 100 epochs, factor .7 after 10 epochs without progress. On SHD its test set is its validation set.
_SILIF = {
    **_SPARCH,
    "task.step_ms": 4.0,
    "task.channels": 140,
    "training.epochs": 100,
    "training.schedule_patience": 10,
    "network.hidden": [512, 512],
    "network.weight_init": "xavier",
}
_SILIF_SHD = {**_SILIF, "task.steps": 250, "training.batch": 128}  # 1 s of the sample
_SILIF_SSC = {**_SILIF, "task.steps": 300, "training.batch": 256, "network.dropout": 0.5}  # 1.2 s

# IGITUGraz/SE-adlif, config/experiment/*.yaml and models/. The code leaves out the steps that pad a sample; here they
# are summed like any other. No batch norm; the readout's time constant is 15 steps, whose decay exp(-1/15) is that of
# tau = 1/(1 - exp(-1/15)) here.
_SE = {
    "task.step_ms": 4.0,
    "task.channels": 140,
    "task.augment": False,
    "task.binning": "clean",
    "training.optimiser": "adam",
    "training.weight_decay": 0.0,
    "training.schedule_weights": "constant",
    "training.clip_norm": 1.5,
    "training.batch": 256,
    "network.order": "norm-spike-dropout",
    "network.batch_norm": False,
    "network.bias": True,
    "network.zero_bias": True,
    "network.weight_init": "default",
    "network.dropout": 0.15,
    "network.dropout_mask": "step",
    "network.readout": "leaky",
    "network.readout_tau": 15.505552,
    "network.readout_gain": "complement",
    "network.leak": "fixed",
    "network.skip_steps": 10,
    **_RECURRENT,
}

# The SHD script of Yin et al. It has two biases a layer, whose sum is the one here.
_ALIF_SHD = {
    "task.step_ms": 4.0,
    "task.steps": 250,
    "task.channels": 700,
    "task.augment": False,
    "training.optimiser": "adam",
    "training.weight_decay": 0.0,
    "training.lr_weights": 1e-2,
    "training.schedule_weights": "step",
    "training.schedule_every": 10,
    "training.schedule_factor": 0.5,
    "training.epochs": 20,
    "training.batch": 64,
    "network.hidden": [128, 128],
    "network.batch_norm": False,
    "network.bias": True,
    "network.weight_init": "default",
    "network.dropout": 0.0,
    "network.readout": "leaky",
    "network.leak": "tau",
    "network.aggregate": "softmax-sum",
    "network.skip_steps": 10,
    **_RECURRENT,
}

PUBLISHED: dict[str, Presets] = {
    "adlif": {("shd", "paper"): _SPARCH, ("ssc", "paper"): _SPARCH},
    "radlif": {("shd", "paper"): {**_SPARCH, **_RECURRENT}, ("ssc", "paper"): {**_SPARCH, **_RECURRENT}},
    "cadlif": {
        ("shd", "paper"): {**_SILIF_SHD, "training.lr_weights": 5e-3, "network.dropout": 0.25},
        ("ssc", "paper"): _SILIF_SSC,
    },
    "se-adlif": {
        ("shd", "paper"): {
            **_SE,
            "training.lr_weights": 1e-2,
            "training.epochs": 300,
            "network.hidden": [360, 360],
            "network.aggregate": "softmax-sum",
        },
        ("ssc", "paper"): {
            **_SE,
            "training.lr_weights": 6e-3,
            "training.epochs": 40,
            "network.hidden": [720, 720],
            "network.aggregate": "mean",
        },
    },
    "alif": {("shd", "paper"): _ALIF_SHD},
    "silif": {
        ("shd", "paper"): {
            **_SILIF_SHD,
            "training.lr_weights": 1e-3,
            "training.schedule_patience": 5,
            "network.dropout": 0.25,
        },
        ("ssc", "paper"): _SILIF_SSC,
    },
    "c-silif": {
        ("shd", "paper"): {
            **_SILIF_SHD,
            "training.lr_weights": 5e-3,
            "training.schedule_factor": 0.9,
            "network.weight_init": "default",
            "network.dropout": 0.1,
        },
        ("ssc", "paper"): {**_SILIF_SSC, "network.weight_init": "default", "network.step_max": 5.0},
    },
}

# What a neuron's networks cannot do without, whatever the profile: behind a factor 1 - alpha and a boxcar surrogate a
# layer that starts silent has no gradient, and the papers' batch norm is what keeps it from that.
_NORM = {"network.batch_norm": True, "network.norm_momentum": 0.05}

# Neurons of both hidden layers at the equi-parameter setting of SHD (140 channels, 20 classes, 10,290 trainable
# parameters at most, as DelRec has there): what `delrec_bench.config.budget.solve_width` finds, held in a test.
EQUAL = {
    "adlif": 46,
    "radlif": 40,
    "cadlif": 46,
    "se-adlif": 41,
    "alif": 41,
    "silif": 46,
    "c-silif": 46,
    "delrec-axonal-adlif": 40,
    "delrec-axonal-adlif-fixed": 40,
    "dcls-adlif": 40,
    "dcls-adlif-fixed": 46,
    "delrec-axonal-cadlif": 40,
    "delrec-axonal-cadlif-fixed": 40,
    "dcls-cadlif": 40,
    "dcls-cadlif-fixed": 46,
    "delrec-axonal-se-adlif": 40,
    "delrec-axonal-se-adlif-fixed": 41,
    "dcls-se-adlif": 41,
    "dcls-se-adlif-fixed": 47,
    "delrec-axonal-alif": 41,
    "delrec-axonal-alif-fixed": 41,
    "dcls-alif": 41,
    "dcls-alif-fixed": 48,
    "delrec-axonal-silif": 40,
    "delrec-axonal-silif-fixed": 40,
    "dcls-silif": 40,
    "dcls-silif-fixed": 46,
    "delrec-axonal-c-silif": 40,
    "delrec-axonal-c-silif-fixed": 40,
    "dcls-c-silif": 40,
    "dcls-c-silif-fixed": 46,
    "gru": 16,
    "lstm": 13,
    "asrc": 42,
    "delrec-axonal-conv": 48,
}


def presets_of(method: str, norm: bool = False) -> Presets:
    """The presets of a method: its published settings, and its widths at the equi-parameter setting.

    Args:
        method: Its name.
        norm: Whether its neuron needs the batch norm of its paper, whatever the profile.
    """
    width = EQUAL[method]
    equal: dict[str, Any] = {"network.hidden": [width, width]}
    return {("*", "*"): _NORM if norm else {}, ("speech", "equi-parameter"): equal, **PUBLISHED.get(method, {})}
