"""Feedforward delays as dilated convolutions with learnable spacings (DCLS), alone and beside recurrent delays."""

from typing import Any

from delrec_bench.methods._published import published
from delrec_bench.methods.base import Method
from delrec_bench.methods.delrec import LEARNED
from delrec_bench.methods.stack import DELREC, builder, settings_of

DCLS = "Hammouamri et al. 2024, https://arxiv.org/abs/2306.17670"

_V1: dict[str, Any] = {"recurrent": "none", "feedforward": "v1", "learn_positions": True}
_FIXED: dict[str, Any] = {"recurrent": "none", "feedforward": "v1", "learn_positions": False}
_GAUSS: dict[str, Any] = {"recurrent": "none", "feedforward": "gauss", "learn_positions": True}
_BOTH: dict[str, Any] = {"recurrent": "axonal", "feedforward": "v1", "learn_positions": True, **LEARNED}


def _form(form: str, what: str) -> list[Method]:
    """Feedforward delays with fewer parameters, learned, and random and fixed."""
    learned = {**_V1, "feedforward_form": form}
    fixed = {**_FIXED, "feedforward_form": form}
    return [
        Method(
            name=f"dcls-{form}",
            title=f"DCLS, one learned delay per {what} neuron",
            family="feedforward delays",
            summary=f"feedforward delays, one a {what} neuron, learned (DCLS v1)",
            source=f"{DCLS}; one a neuron as in DelGrad, https://doi.org/10.1038/s41467-025-63120-y",
            learned="weights, feedforward delays",
            control=f"dcls-{form}-fixed",
            settings=settings_of(**learned),
            build=builder(**learned),
        ),
        Method(
            name=f"dcls-{form}-fixed",
            title=f"DCLS, one fixed random delay per {what} neuron",
            family="feedforward delays",
            summary=f"feedforward delays, one a {what} neuron, random and fixed",
            source=f"{DCLS} (its 'snn_delays_lr0'); one a neuron as in DelGrad",
            learned="weights",
            control="lif",
            searched_with=f"dcls-{form}",
            settings=settings_of(**fixed),
            build=builder(**fixed),
        ),
    ]


METHODS = [
    Method(
        name="dcls",
        title="DCLS, learned feedforward delays",
        family="feedforward delays",
        summary="feedforward delays, one a connection, learned (DCLS v1, interpolated between two steps)",
        source=f"{DCLS}; settings of {DELREC}",
        learned="weights, feedforward delays",
        board=True,
        control="dcls-fixed",
        settings=settings_of(**_V1),
        build=builder(**_V1),
    ),
    Method(
        name="dcls-fixed",
        title="DCLS, fixed random feedforward delays",
        family="feedforward delays",
        summary="feedforward delays, one a connection, random and fixed",
        source=f"{DCLS} (its 'snn_delays_lr0')",
        learned="weights",
        board=True,
        control="lif",
        searched_with="dcls",
        settings=settings_of(**_FIXED),
        build=builder(**_FIXED),
    ),
    Method(
        name="dcls-2k",
        title="DCLS, two learned delays per connection",
        family="feedforward delays",
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
        title="DCLS, Gaussian kernel",
        family="feedforward delays",
        summary="feedforward delays, one a connection, learned with a gaussian that narrows in training",
        source=DCLS,
        learned="weights, feedforward delays",
        control="dcls-fixed",
        settings=settings_of(**_GAUSS),
        build=builder(**_GAUSS),
        presets=published("dcls-gauss"),
    ),
    Method(
        name="delrec-dcls",
        title="DelRec + DCLS, learned delays",
        family="recurrent delays",
        summary="recurrent delays, one a sending neuron, and feedforward delays, both learned",
        source=f"{DELREC} (its 'rec + ff')",
        learned="weights, recurrent and feedforward delays",
        board=True,
        control="delrec-axonal",
        settings=settings_of(**_BOTH),
        build=builder(**_BOTH),
        presets=published("delrec-dcls"),
    ),
]
