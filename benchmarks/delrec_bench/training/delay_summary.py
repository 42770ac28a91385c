"""A summary of the delays of a network before and after training, small enough for a record."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from delrec import FeedforwardDelays, RecurrentDelays
from torch import Tensor

QUANTILES = np.linspace(0, 1, 11)
KEPT = 64  # delays of a layer that are kept one by one, evenly spaced among all


def summary(start: Mapping[str, Tensor], model: Any) -> list[dict[str, Any]]:
    """Return `Record.delays`: the delays of each layer in steps, at the `start` (`model.delays()`) and now."""
    layers = []
    for name, delay in model.delays().items():
        before, after = (_flat(values) for values in (start[name], delay))
        chosen = np.unique(np.linspace(0, len(after) - 1, min(KEPT, len(after))).round().astype(int))
        module = model.get_submodule(name) if name in dict(model.named_modules()) else None
        weight = outgoing(module)
        units = {"start": _short(before[chosen]), "end": _short(after[chosen])}
        if weight is not None:
            units["weight"] = _short(_flat(weight)[chosen])
        layers.append(
            {
                "layer": name,
                "kind": "recurrent" if isinstance(module, RecurrentDelays) or "recurrent" in name else "feedforward",
                "count": len(after),
                "moved": float((before.round() != after.round()).mean()),
                "start": _short(np.quantile(before, QUANTILES)),
                "end": _short(np.quantile(after, QUANTILES)),
                "units": units,
            }
        )
    return layers


@torch.no_grad()
def outgoing(module: Any) -> Tensor | None:
    """Return the mean |weight| behind each delay of a layer, shaped like its delays; None for another kind of layer.

    An axonal delay is that of a sender, and its weights are all that leave the sender; a synaptic one has its own.
    """
    if isinstance(module, RecurrentDelays):
        weight = module.effective_weight().abs()  # (receiver, sender)
        return {"synaptic": weight, "shared": weight.mean().reshape(1)}.get(module.delay_kind, weight.mean(0))
    if isinstance(module, FeedforwardDelays):
        weight = module.weight.abs().permute(2, 0, 1)  # (element, receiver, sender), as the delays
        one = [axis for axis in (1, 2) if module.position.shape[axis] == 1]
        return weight.mean(one, keepdim=True) if one else weight
    return None


def _flat(values: Tensor) -> np.ndarray:
    return values.detach().double().cpu().numpy().ravel()


def _short(values: np.ndarray) -> list[float]:
    """Round to four significant digits."""
    return [float(f"{value:.4g}") for value in values]
