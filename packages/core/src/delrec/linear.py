"""A linear map that is fast for sparse inputs such as spikes and bitwise identical on all processors."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from delrec.engines import engine_for, map_engine
from delrec.layer import autocasts


class SpikeLinear(nn.Linear):
    """Linear map y = x W^T + b, like `torch.nn.Linear`; the cpu engine skips zeros and sums in a fixed order.

    Args:
        inputs, outputs: Sizes of the last axis.
        bias: Add a bias.
        engine: "auto", or the name of an engine.
        device, dtype: Of the parameters.

    forward maps (..., inputs) to (..., outputs). Integers and booleans are converted to the weight's dtype; under
    autocast the result is in autocast's dtype, as in torch.
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
        plain = autocasts(x.device.type) or x.dtype != self.weight.dtype
        out = None if plain else map_engine(self.engine, x).linear(x, self.weight, self.bias)
        return F.linear(x, self.weight, self.bias) if out is None else out
