"""A linear map that costs little where its input is mostly zeros, as spikes are."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from delrec.engines import engine_for

__all__ = ["SpikeLinear"]


class SpikeLinear(nn.Linear):
    """y = x W^T + b, as `nn.Linear`; on the cpu engine the work follows the non-zero inputs.

    forward maps (..., inputs) to (..., outputs). Sequences (T, B, inputs) that are sparse take
    `delrec.engines.cpu.linear.spike_linear`, everything else torch's product; the results agree to rounding.
    engine: "auto" or the name of an engine.
    """

    def __init__(self, inputs: int, outputs: int, bias: bool = True, engine: str = "auto") -> None:
        super().__init__(inputs, outputs, bias=bias)
        self.engine = engine

    def forward(self, inputs: Tensor) -> Tensor:
        """Return x W^T + b."""
        engine, _ = engine_for(self.engine, inputs.device.type)
        out = engine.linear(inputs, self.weight, self.bias) if inputs.dim() == 3 else None
        return F.linear(inputs, self.weight, self.bias) if out is None else out
