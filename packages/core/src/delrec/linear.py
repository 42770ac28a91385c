"""A linear map that is fast for spikes and bitwise identical on all processors; batch normalisation of sequences."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from delrec.engines import engine_for, map_engine
from delrec.layer import Lengths, autocasts, lengths_of


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
        self, inputs: int, outputs: int, bias: bool = True, engine: str = "auto",
        device: torch.device | str | None = None, dtype: torch.dtype | None = None,
    ) -> None:  # fmt: skip
        super().__init__(inputs, outputs, bias=bias, device=device, dtype=dtype)
        engine_for(engine, "cpu")
        self.engine = engine

    def forward(self, inputs: Tensor) -> Tensor:
        """Return x W^T + b.

        Raises ValueError if the last axis has another size than the weight's inputs.
        """
        if inputs.shape[-1:] != (self.in_features,):  # a kernel would read beyond the input
            raise ValueError(f"inputs have shape {tuple(inputs.shape)}; this layer takes (..., {self.in_features})")
        x = inputs if inputs.is_floating_point() else inputs.to(self.weight.dtype)
        plain = autocasts(x.device.type) or x.dtype != self.weight.dtype
        out = None if plain else map_engine(self.engine, x).linear(x, self.weight, self.bias)
        return F.linear(x, self.weight, self.bias) if out is None else out


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation with one mean and variance per channel, taken over time and batch.

        y = (x - mean) / sqrt(variance + eps) * weight + bias

    Args:
        size: N, the number of channels.
        momentum: Share of a new batch in the running mean and variance, which evaluation uses.
        batch_first: Sequences are (B, T, N) instead of (T, B, N).
        device, dtype: Of the parameters.

    Attributes and state dict are those of `torch.nn.BatchNorm1d`.
    """

    def __init__(
        self, size: int, *, momentum: float = 0.1, batch_first: bool = False, device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:  # fmt: skip
        super().__init__(size, momentum=momentum, device=device, dtype=dtype)
        self.batch_first = bool(batch_first)

    def forward(self, inputs: Tensor, lengths: Lengths | None = None) -> Tensor:
        """Normalise a sequence (T, B, N), or one step (B, N).

        lengths: (B,) steps of each sample, or None for all. In training, mean and variance are taken over each sample's
        own steps, and what comes after them is 0. Raises ValueError for lengths beyond the sequence.
        """
        flat = inputs.flatten(0, -2)
        if lengths is None or not self.training:
            return super().forward(flat).view_as(inputs)
        sequence = inputs.transpose(0, 1) if self.batch_first else inputs
        ends = lengths_of(lengths, sequence)
        assert ends is not None
        inside = torch.arange(len(sequence), device=inputs.device).unsqueeze(-1) < ends
        own = (inside.t() if self.batch_first else inside).flatten()
        return torch.zeros_like(flat).index_put((own,), super().forward(flat[own])).view_as(inputs)
