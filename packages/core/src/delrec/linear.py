"""A linear map that costs little where its input is mostly zeros, as spikes are."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from delrec.engines import engine_for, linear
from delrec.layer import autocasts

__all__ = ["SpikeLinear", "product"]


class SpikeLinear(nn.Linear):
    """y = x W^T + b, as `nn.Linear`; on the cpu engine the work follows the non-zero inputs.

    forward maps (..., inputs) to (..., outputs), whatever the order of the axes before. Whole numbers and booleans are
    taken for numbers; under autocast it is torch's product, in autocast's dtype. Sparse sequences of three axes take
    the engine's product, everything else torch's; the results agree to rounding. engine: "auto" or the name of an
    engine. device, dtype: of the parameters.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        bias: bool = True,
        engine: str = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(inputs, outputs, bias=bias, device=device, dtype=dtype)
        engine_for(engine, "cpu")
        self.engine = engine

    def forward(self, inputs: Tensor) -> Tensor:
        """Return x W^T + b."""
        x = inputs if inputs.is_floating_point() else inputs.to(self.weight.dtype)
        return product(self.engine, x, self.weight, self.bias)


def product(engine: str, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return x W^T + b by the engine of that name, or by torch where that is as good, or needed."""
    plain = autocasts(x.device.type) or x.dim() != 3 or x.dtype != weight.dtype
    out = None if plain else linear(engine, x, weight, bias)
    return F.linear(x, weight, bias) if out is None else out
