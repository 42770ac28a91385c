"""Networks without delays: the floor that any delay has to beat."""

from typing import Any

from delrec_bench.methods.method import Method
from delrec_bench.methods.stack import DELREC, builder, published, settings_of

FEEDFORWARD = {"recurrent": "none", "feedforward": "none"}
RECURRENT = {"recurrent": "plain", "feedforward": "none"}
TAUS = {"learn_tau": "neuron"}
# Learned time constants are those of Fang et al., one per neuron here where they have one per layer.
PLIF = "Fang et al. 2021, https://arxiv.org/abs/2007.05785 (PLIF)"


def _method(name: str, summary: str, control: str | None, **fixed: Any) -> Method:
    taus, recurrent = "learn_tau" in fixed, fixed["recurrent"] == "plain"
    title, source = ("Recurrent LIF", "RSNN") if recurrent else ("LIF", "SNN")
    return Method(
        name=name,
        title=f"{title}, learned time constants" if taus else title,
        family="no delays",
        summary=f"{summary}, no delays",
        source=f"{DELREC} (its '{source}'){f'; {PLIF}' if taus else ''}",
        learned="weights, neuron parameters" if taus else "weights",
        board=not taus,
        control=control,
        settings=settings_of(**fixed),
        build=builder(**fixed),
        presets=published(name),
    )


LEARNING = "LIF neurons that learn their time constants"
METHODS = [
    _method("lif", "leaky integrate-and-fire neurons, feedforward", None, **FEEDFORWARD),
    _method("rlif", "LIF neurons with ordinary recurrent connections", "lif", **RECURRENT),
    _method("lif-learned-tau", f"{LEARNING}, feedforward", "lif", **FEEDFORWARD, **TAUS),
    _method("rlif-learned-tau", f"{LEARNING}, with ordinary recurrent connections", "rlif", **RECURRENT, **TAUS),
]
