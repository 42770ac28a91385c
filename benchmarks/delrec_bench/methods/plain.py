"""Networks without delays: the floor that any delay has to beat."""

from delrec_bench.methods.base import Method
from delrec_bench.methods.stack import DELREC, builder, settings_of

FEEDFORWARD = {"recurrent": "none", "feedforward": "none"}
RECURRENT = {"recurrent": "plain", "feedforward": "none"}

METHODS = [
    Method(
        name="lif",
        summary="leaky integrate-and-fire neurons, feedforward, no delay",
        source=f"{DELREC} (its 'SNN')",
        learned="weights",
        quick=True,
        settings=settings_of(**FEEDFORWARD),
        build=builder(**FEEDFORWARD),
        # arXiv 2509.24852, equi-parameter SHD: 52 neurons a layer make up for the recurrent weights
        presets={("speech", "equi-parameter"): {"network.hidden": [52, 52]}},
    ),
    Method(
        name="rlif",
        summary="LIF with ordinary recurrent connections: one step, no delay",
        source=f"{DELREC} (its 'RSNN')",
        learned="weights",
        quick=True,
        control="lif",
        settings=settings_of(**RECURRENT),
        build=builder(**RECURRENT),
        # arXiv 2509.24852: on SHD this network alone has its gradient's values clipped at 1
        presets={
            ("shd", profile): {"training.clip_value": 1.0} for profile in ("paper", "paper-2025", "equi-parameter")
        },
    ),
]
