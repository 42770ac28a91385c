"""Networks without delays: the floor that any delay has to beat."""

from typing import Any

from delrec_bench.methods.method import Method
from delrec_bench.methods.stack import DELREC, builder, published, settings_of

FEEDFORWARD = {"recurrent": "none", "feedforward": "none"}
RECURRENT = {"recurrent": "plain", "feedforward": "none"}
LEARNED_TAU = {"learn_tau": "neuron"}
# Learned time constants are those of Fang et al., one per neuron here where they have one per layer.
PLIF = "Fang et al. 2021, https://arxiv.org/abs/2007.05785 (PLIF)"


def _method(name: str, title: str, summary: str, source: str, control: str | None, **fixed: Any) -> Method:
    taus = "learn_tau" in fixed
    return Method(
        name=name,
        title=f"{title}, learned time constants" if taus else title,
        family="no delays",
        summary=summary,
        source=f"{DELREC} (its '{source}'); {PLIF}" if taus else f"{DELREC} (its '{source}')",
        learned="weights, neuron parameters" if taus else "weights",
        board=not taus,
        control=control,
        settings=settings_of(**fixed),
        build=builder(**fixed),
        presets=published(name),
    )


METHODS = [
    _method("lif", "LIF", "leaky integrate-and-fire neurons, feedforward, no delays", "SNN", None, **FEEDFORWARD),
    _method(
        "rlif",
        "Recurrent LIF",
        "LIF neurons with ordinary recurrent connections, no delays",
        "RSNN",
        "lif",
        **RECURRENT,
    ),
    _method(
        "lif-learned-tau",
        "LIF",
        "LIF neurons that learn their time constants, feedforward, no delays",
        "SNN",
        "lif",
        **FEEDFORWARD,
        **LEARNED_TAU,
    ),
    _method(
        "rlif-learned-tau",
        "Recurrent LIF",
        "LIF neurons that learn their time constants, with ordinary recurrent connections, no delays",
        "RSNN",
        "rlif",
        **RECURRENT,
        **LEARNED_TAU,
    ),
]
