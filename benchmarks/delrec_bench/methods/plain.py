"""Networks without delays: the floor that any delay has to beat."""

from delrec_bench.methods._published import published
from delrec_bench.methods.base import Method
from delrec_bench.methods.stack import DELREC, builder, settings_of

FEEDFORWARD = {"recurrent": "none", "feedforward": "none"}
RECURRENT = {"recurrent": "plain", "feedforward": "none"}
LEARNED_TAU = {"learn_tau": "neuron"}
# Learned time constants are those of Fang et al., one a neuron here where they have one a layer.
PLIF = "Fang et al. 2021, https://arxiv.org/abs/2007.05785 (PLIF)"

METHODS = [
    Method(
        name="lif",
        title="LIF",
        family="no delays",
        summary="leaky integrate-and-fire neurons, feedforward, no delay",
        source=f"{DELREC} (its 'SNN')",
        learned="weights",
        board=True,
        settings=settings_of(**FEEDFORWARD),
        build=builder(**FEEDFORWARD),
        presets=published("lif"),
    ),
    Method(
        name="rlif",
        title="Recurrent LIF",
        family="no delays",
        summary="LIF with ordinary recurrent connections: one step, no delay",
        source=f"{DELREC} (its 'RSNN')",
        learned="weights",
        board=True,
        control="lif",
        settings=settings_of(**RECURRENT),
        build=builder(**RECURRENT),
        presets=published("rlif"),
    ),
    Method(
        name="lif-learned-tau",
        title="LIF, learned time constants",
        family="no delays",
        summary="LIF neurons that learn their time constants, feedforward, no delay",
        source=f"{DELREC} (its 'SNN'); {PLIF}",
        learned="weights, neuron parameters",
        control="lif",
        settings=settings_of(**FEEDFORWARD, **LEARNED_TAU),
        build=builder(**FEEDFORWARD, **LEARNED_TAU),
        presets=published("lif-learned-tau"),
    ),
    Method(
        name="rlif-learned-tau",
        title="Recurrent LIF, learned time constants",
        family="no delays",
        summary="LIF that learn their time constants, with ordinary recurrent connections, no delay",
        source=f"{DELREC} (its 'RSNN'); {PLIF}",
        learned="weights, neuron parameters",
        control="rlif",
        settings=settings_of(**RECURRENT, **LEARNED_TAU),
        build=builder(**RECURRENT, **LEARNED_TAU),
        presets=published("rlif-learned-tau"),
    ),
]
