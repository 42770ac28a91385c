"""Batch normalisation of sequences."""

import torch
from torch import Tensor, nn

from delrec.layer import Lengths, lengths_of


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
        self,
        size: int,
        *,
        momentum: float = 0.1,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
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
