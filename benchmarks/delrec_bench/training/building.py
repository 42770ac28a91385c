"""Building the network of a run, and the arithmetic of its CUDA device."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from delrec_bench.config import Resolved
from delrec_bench.training.resuming import seed_everything


def build(resolved: Resolved) -> Any:
    """Return the network of a run, drawn from the seed of its initialisation, on its device and in its dtype."""
    settings, data = resolved.configuration, resolved.data
    seed_everything(resolved.seeds.stream("initialisation"))
    network = {**settings["network"], "engine": settings["engine"]}
    model = resolved.method.network(network, data.channels, data.classes)
    dtype = torch.float64 if resolved.dtype == "float64" else torch.float32
    return model.to(device=resolved.device, dtype=dtype)


def exact(device: str) -> AbstractContextManager[None]:
    """Inside, cudnn on a CUDA device neither rounds to TF32, as torch's default does, nor differs from run to run."""
    if device != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
