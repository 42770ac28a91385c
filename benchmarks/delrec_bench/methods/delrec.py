"""DelRec: recurrent connections with learned delays, and with fixed random delays."""

from typing import Any

from delrec_bench.methods.method import Method
from delrec_bench.methods.stack import DELREC, builder, settings_of

# The published control draws its delays as the learned ones start, rounds them, and runs at sigma 0 throughout.
FIXED: dict[str, Any] = {"learn_delays": False, "sigma": 0.0, "learn_spread": False}
# Fixed delays with the same spread in training as learned ones: shows the effect of the spread alone.
FIXED_SPREAD: dict[str, Any] = {"learn_delays": False}
LEARNED: dict[str, Any] = {"learn_delays": True}

KINDS = {"axonal": "sending neuron", "synaptic": "connection", "shared": "layer"}
SPREAD = "random and fixed, with the same spread in training as learned ones"


def _method(kind: str, variant: str, title: str, how: str, control: str, **fixed: Any) -> Method:
    fixed = {"recurrent": kind, "feedforward": "none", **fixed}
    return Method(
        name=f"delrec-{kind}{variant}",
        title=f"DelRec, {title}",
        family="recurrent delays",
        summary=f"recurrent delays, one per {KINDS[kind]}, {how}",
        source=DELREC,
        learned="weights" if variant else "weights, recurrent delays",
        board=kind != "shared" and (kind, variant) != ("synaptic", "-fixed-spread"),
        control=control,
        searched_with=f"delrec-{kind}",
        settings=settings_of(**fixed),
        build=builder(**fixed),
    )


def _methods(kind: str, learned: str, drawn: str) -> list[Method]:
    """Learned delays, fixed delays, and fixed delays with the spread of learned ones."""
    fixed = f"delrec-{kind}-fixed"
    return [
        _method(kind, "", learned, "learned", fixed, **LEARNED),
        _method(kind, "-fixed", drawn, "random and fixed", "rlif", **FIXED),
        _method(kind, "-fixed-spread", f"{drawn} with spread", SPREAD, fixed, **FIXED_SPREAD),
    ]


METHODS = [
    *_methods("axonal", "learned delays", "fixed random delays"),
    *_methods("synaptic", "learned delays per synapse", "fixed random delays per synapse"),
    *_methods("shared", "one learned delay per layer", "one fixed random delay per layer")[:2],
]
