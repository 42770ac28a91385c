"""GRU and LSTM, for scale: networks of real numbers with as many parameters."""

from collections.abc import Mapping
from typing import Any

from delrec_baselines import GatedNetwork

from delrec_bench.methods.method import Method
from delrec_bench.methods.stack import EQUAL

SETTINGS = {"hidden": [128, 128], "dropout": 0.1, "pool": "mean", "loss": "cross-entropy"}


def _method(cell: Any, source: str) -> Method:
    def build(settings: Mapping[str, Any], inputs: int, classes: int) -> GatedNetwork:
        hidden = tuple(settings["hidden"])
        return GatedNetwork(inputs, classes, hidden, cell, settings["dropout"], settings["pool"], settings["loss"])

    return Method(
        name=cell,
        title=cell.upper(),
        family="not spiking",
        summary=f"{cell.upper()}, real-valued, without spikes or delays",
        source=source,
        learned="weights",
        board=cell == "gru",
        settings=SETTINGS,
        build=build,
        presets={**EQUAL, ("forecast", "*"): {"network.pool": "last"}},
    )


METHODS = [
    _method("gru", "Cho et al. 2014, https://arxiv.org/abs/1406.1078; torch.nn.GRU"),
    _method("lstm", "Hochreiter & Schmidhuber 1997, https://doi.org/10.1162/neco.1997.9.8.1735; torch.nn.LSTM"),
]
