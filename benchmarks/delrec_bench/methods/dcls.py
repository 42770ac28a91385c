"""Feedforward delays as dilated convolutions with learnable spacings (DCLS), alone and beside recurrent delays."""

from typing import Any

from delrec_bench.methods.base import Method
from delrec_bench.methods.delrec import LEARNED
from delrec_bench.methods.stack import DELREC, builder, settings_of

DCLS = "Hammouamri et al. 2024, https://arxiv.org/abs/2306.17670"

_V1: dict[str, Any] = {"recurrent": "none", "feedforward": "v1", "learn_positions": True}
_FIXED: dict[str, Any] = {"recurrent": "none", "feedforward": "v1", "learn_positions": False}
_GAUSS: dict[str, Any] = {"recurrent": "none", "feedforward": "gauss", "learn_positions": True}
_BOTH: dict[str, Any] = {"recurrent": "axonal", "feedforward": "v1", "learn_positions": True, **LEARNED}


# As published, whatever the profile: the spread is annealed from K//2 on, K the window that the profile has there, and
# delays are whole while a network is judged, and real again after.
def _annealed(window: int) -> dict[str, Any]:
    return {
        "network.feedforward_spread": float(window // 2),
        "network.anneal_spread": True,
        "network.rounding": "restore",
    }


# Hammouamri's own networks, best_config_SHD.py and best_config_SSC.py of https://github.com/Thvnvtos/SNN-delays: delays
# in every layer, padded on both sides.
_GAUSS_SHD = {
    "task.step_ms": 10.0,
    "task.binning": "clean",
    "task.augment": False,
    "network.feedforward_layers": None,
    "network.feedforward_readout": True,
    "network.right_padding": 12,
    "network.window": 25,
    "network.tau": 1.005,
    "network.bias": False,
    "network.weight_init": "relu",
    "network.position_weight_init": "relu",
    "network.dropout": 0.4,
    "training.optimiser": "adam",
    "training.lr_weights": 5e-3,
    "training.lr_delays": 0.1,
}
_GAUSS_SSC = {
    **_GAUSS_SHD,
    "network.hidden": [512, 512, 512],
    "network.right_padding": 15,
    "network.window": 31,
    "network.kernel_count": 2,
    "network.tau": 1.5,
    "network.dropout": 0.25,
    "network.order": "norm-spike-dropout",
    "network.batch_norm": True,
    "network.reset": "hard",
    "network.detach_reset": True,
    "network.surrogate": "atan",
    "network.surrogate_parameters": [5.0],
    "network.readout": "leaky",
    "network.aggregate": "softmax-sum",
    "training.epochs": 60,
    "training.batch": 128,
    "training.schedule_delays": "cosine",
}


def _form(form: str, what: str) -> list[Method]:
    """Feedforward delays with fewer parameters, learned, and random and fixed."""
    learned = {**_V1, "feedforward_form": form}
    fixed = {**_FIXED, "feedforward_form": form}
    return [
        Method(
            name=f"dcls-{form}",
            summary=f"feedforward delays, one a {what} neuron, learned (DCLS v1)",
            source=f"{DCLS}; one a neuron as in DelGrad, https://doi.org/10.1038/s41467-025-63120-y",
            learned="weights, feedforward delays",
            control=f"dcls-{form}-fixed",
            settings=settings_of(**learned),
            build=builder(**learned),
        ),
        Method(
            name=f"dcls-{form}-fixed",
            summary=f"feedforward delays, one a {what} neuron, random and fixed",
            source=f"{DCLS} (its 'snn_delays_lr0'); one a neuron as in DelGrad",
            learned="weights",
            control="lif",
            settings=settings_of(**fixed),
            build=builder(**fixed),
        ),
    ]


METHODS = [
    Method(
        name="dcls",
        summary="feedforward delays, one a connection, learned (DCLS v1, interpolated between two steps)",
        source=f"{DCLS}; settings of {DELREC}",
        learned="weights, feedforward delays",
        quick=True,
        control="dcls-fixed",
        settings=settings_of(**_V1),
        build=builder(**_V1),
    ),
    Method(
        name="dcls-fixed",
        summary="feedforward delays, one a connection, random and fixed",
        source=f"{DCLS} (its 'snn_delays_lr0')",
        learned="weights",
        quick=True,
        control="lif",
        settings=settings_of(**_FIXED),
        build=builder(**_FIXED),
    ),
    Method(
        name="dcls-2k",
        summary="feedforward delays, two a connection (kernel count 2), learned",
        source=f"{DCLS} (its '2KC')",
        learned="weights, feedforward delays",
        control="dcls",
        settings=settings_of(**_V1, kernel_count=2),
        build=builder(**_V1, kernel_count=2),
    ),
    *_form("axonal", "sending"),
    *_form("dendritic", "receiving"),
    Method(
        name="dcls-gauss",
        summary="feedforward delays, one a connection, learned with a gaussian that narrows in training",
        source=DCLS,
        learned="weights, feedforward delays",
        control="dcls-fixed",
        settings=settings_of(**_GAUSS),
        build=builder(**_GAUSS),
        presets={
            ("*", "*"): _annealed(25),
            **{(family, when): _annealed(21) for family in ("forecast", "points") for when in ("quick", "embedded")},
            ("ps-mnist", "paper"): _annealed(31),
            ("ps-mnist", "paper-2025"): _annealed(31),
            ("shd", "paper"): _GAUSS_SHD,
            ("ssc", "paper"): {**_GAUSS_SSC, **_annealed(31)},
        },
    ),
    Method(
        name="delrec-dcls",
        summary="recurrent delays, one a sending neuron, and feedforward delays, both learned",
        source=f"{DELREC} (its 'rec + ff')",
        learned="weights, recurrent and feedforward delays",
        quick=True,
        control="delrec-axonal",
        settings=settings_of(**_BOTH),
        build=builder(**_BOTH),
        # arXiv 2509.24852, equi-parameter SHD
        presets={("speech", "equi-parameter"): {"network.hidden": [38, 38]}},
    ),
]
