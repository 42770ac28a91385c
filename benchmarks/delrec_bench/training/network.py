"""The network of a run."""

from typing import Any

import torch

from delrec_bench.config import Resolved
from delrec_bench.methods.base import refusal
from delrec_bench.training.resuming import seed_everything


def build(resolved: Resolved) -> Any:
    """The network of a run, drawn from the seed of its initialisation, on its device and of its number type.

    Raises:
        BenchError: A setting that the network refuses.
    """
    data = resolved.data
    assert resolved.method.build is not None
    seed_everything(resolved.seeds.stream("initialisation"))
    try:
        model = resolved.method.build({**resolved.network, "engine": resolved.engine}, data.channels, data.classes)
    except (ValueError, TypeError) as error:
        raise refusal(resolved.method.name, error) from error
    dtype = torch.float64 if resolved.dtype == "float64" else torch.float32
    return model.to(device=resolved.device, dtype=dtype)
