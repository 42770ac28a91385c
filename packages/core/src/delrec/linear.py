"""A linear map that costs little where its input is mostly zeros, as spikes are."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from delrec.engines import engine_for, linear
from delrec.layer import autocasts

__all__ = ["SpikeLinear"]


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
        plain = autocasts(x.device.type) or x.dim() != 3 or x.dtype != self.weight.dtype
        out = None if plain else linear(self.engine, x, self.weight, self.bias)
        return F.linear(x, self.weight, self.bias) if out is None else out
