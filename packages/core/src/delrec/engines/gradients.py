"""What every hand-written backward pass does first."""

from __future__ import annotations

import torch

__all__ = ["refuse_twice"]


def refuse_twice(engine: str) -> None:
    """Raise RuntimeError where a gradient of the gradient is asked for: a hand-written adjoint has none."""
    if torch.is_grad_enabled():
        raise RuntimeError(
            f"the {engine} engine gives first gradients only, and create_graph=True asks for second ones: "
            "use engine='reference' for this layer"
        )
