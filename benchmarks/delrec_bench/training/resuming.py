"""The whole state of a training at the end of an epoch, saved and put back: what follows is the same to the bit."""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from delrec_bench.training.optimisation import Optimisation


class CheckpointError(Exception):
    """A checkpoint does not fit the training that it should go on with."""


def seed_everything(seed: int) -> None:
    """Start the global generators of torch (every device), numpy and Python from one 63-bit seed."""
    torch.manual_seed(seed)
    np.random.seed(np.random.SeedSequence(seed).generate_state(4))
    random.seed(seed)


def capture(model: Any, optimisation: Optimisation, fit: Any) -> dict[str, Any]:
    """Return all that the next epoch depends on but its number and the data, and what `fit`, a dataclass, holds."""
    return {
        "model": model.state_dict(),
        "buffers": _unsaved_buffers(model),
        "optimisation": optimisation.state(),
        "random": random_states(),
        "fit": dict(vars(fit)),
    }


def restore(saved: Mapping[str, Any], model: Any, optimisation: Optimisation, fit: Any) -> None:
    """Put back what `capture` took, the random states last; a `CheckpointError` leaves the network between the two."""
    try:
        vars(fit).update({name: saved["fit"][name] for name in vars(fit)})
        model.load_state_dict(saved["model"])
        with torch.no_grad():
            for name, buffer in _unsaved_buffers(model).items():
                buffer.copy_(saved["buffers"][name])
        optimisation.restore(saved["optimisation"])
        set_random_states(saved["random"])
    except Exception as error:  # whatever a foreign or damaged file makes torch raise
        raise CheckpointError(f"{type(error).__name__}: {error}") from error


def random_states() -> dict[str, Any]:
    """Return the states of the global generators of torch, its present CUDA device, numpy and Python."""
    name, words, *rest = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None,
        "numpy": [name, torch.from_numpy(np.asarray(words).astype(np.int64)), *rest],
        "python": random.getstate(),
    }


def set_random_states(states: Mapping[str, Any]) -> None:
    """Put back what `random_states` gave."""
    name, words, *rest = states["numpy"]
    np.random.set_state((name, words.numpy().astype(np.uint32), *rest))
    random.setstate(states["python"])
    torch.set_rng_state(states["torch"])
    if states["cuda"] is not None:
        torch.cuda.set_rng_state(states["cuda"])


def _unsaved_buffers(model: Any) -> dict[str, Tensor]:
    """Return the buffers that a state_dict leaves out."""
    kept = set(model.state_dict())
    return {name: buffer for name, buffer in model.named_buffers() if name not in kept}
