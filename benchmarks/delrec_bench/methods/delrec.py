"""DelRec: recurrent connections whose delays are learned, and the same with delays drawn once and kept."""

from typing import Any

from delrec_bench.methods.base import Method
from delrec_bench.methods.stack import DELREC, builder, settings_of

# The published control draws its delays as the learned ones start, rounds them, and runs at sigma 0 throughout.
FIXED: dict[str, Any] = {"learn_delays": False, "sigma": 0.0, "learn_spread": False}
# Fixed delays, but connections as blurred in time as learned ones are in training: what the blur alone is worth.
FIXED_SPREAD: dict[str, Any] = {"learn_delays": False}
LEARNED: dict[str, Any] = {"learn_delays": True}


def _method(name: str, title: str, summary: str, learned: str, control: str, board: bool, **fixed: Any) -> Method:
    fixed = {"feedforward": "none", **fixed}
    return Method(
        name=name,
        title=f"DelRec, {title}",
        family="recurrent delays",
        summary=summary,
        source=DELREC,
        learned=learned,
        board=board,
        control=control,
        searched_with=name.partition("-fixed")[0],
        settings=settings_of(**fixed),
        build=builder(**fixed),
    )


METHODS = [
    _method(
        "delrec-axonal",
        "learned delays",
        "recurrent delays, one a sending neuron, learned",
        "weights, recurrent delays",
        "delrec-axonal-fixed",
        True,
        recurrent="axonal",
        **LEARNED,
    ),
    _method(
        "delrec-axonal-fixed",
        "fixed random delays",
        "recurrent delays, one a sending neuron, random and fixed",
        "weights",
        "rlif",
        True,
        recurrent="axonal",
        **FIXED,
    ),
    _method(
        "delrec-axonal-fixed-spread",
        "fixed random delays, blurred in training",
        "recurrent delays, one a sending neuron, random and fixed, spread over time in training as learned ones are",
        "weights",
        "delrec-axonal-fixed",
        True,
        recurrent="axonal",
        **FIXED_SPREAD,
    ),
    _method(
        "delrec-synaptic",
        "learned delays per synapse",
        "recurrent delays, one a connection, learned",
        "weights, recurrent delays",
        "delrec-synaptic-fixed",
        True,
        recurrent="synaptic",
        **LEARNED,
    ),
    _method(
        "delrec-synaptic-fixed",
        "fixed random delays per synapse",
        "recurrent delays, one a connection, random and fixed",
        "weights",
        "rlif",
        True,
        recurrent="synaptic",
        **FIXED,
    ),
    _method(
        "delrec-synaptic-fixed-spread",
        "fixed random delays per synapse, blurred in training",
        "recurrent delays, one a connection, random and fixed, spread over time in training as learned ones are",
        "weights",
        "delrec-synaptic-fixed",
        False,
        recurrent="synaptic",
        **FIXED_SPREAD,
    ),
    _method(
        "delrec-shared",
        "one learned delay per layer",
        "recurrent delays, one a layer, learned",
        "weights, recurrent delays",
        "delrec-shared-fixed",
        False,
        recurrent="shared",
        **LEARNED,
    ),
    _method(
        "delrec-shared-fixed",
        "one fixed random delay per layer",
        "recurrent delays, one a layer, random and fixed",
        "weights",
        "rlif",
        False,
        recurrent="shared",
        **FIXED,
    ),
]
