"""A linear map that is fast for spikes and bitwise identical on all processors; batch normalisation of sequences."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from delrec.checks import Lengths, before, check_input, check_place, ends_of, flag, number, whole
from delrec.engines import engine_for, map_engine
from delrec.layer import autocasts


class SpikeLinear(nn.Linear):
    """Linear map y = x W^T + b, like `torch.nn.Linear`; the cpu engine skips zeros (with them NaN among
    their weights) and sums in a fixed order.

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
        engine_for(engine, "cpu")
        check_place(device, dtype)
        super().__init__(whole("inputs", inputs), whole("outputs", outputs), flag("bias", bias), device, dtype)
        self.engine = engine

    def forward(self, inputs: Tensor) -> Tensor:
        """Return x W^T + b. Raises ValueError if the last axis has another size than the weight's inputs."""
        check_input("inputs", inputs, "...", self.in_features)  # a kernel would read beyond another one
        x = inputs if inputs.is_floating_point() else inputs.to(self.weight.dtype)
        plain = autocasts(x.device.type) or x.dtype != self.weight.dtype
        out = None if plain else map_engine(self.engine, x).linear(x, self.weight, self.bias)
        return F.linear(x, self.weight, self.bias) if out is None else out


class BatchNorm(nn.BatchNorm1d):
    """A `torch.nn.BatchNorm1d` with one mean and variance per channel, taken over time and batch.

        y = (x - mean) / sqrt(variance + eps) * weight + bias

    Args:
        size: N, the number of channels.
        momentum: Share of a new batch in the running mean and variance, which evaluation uses.
        batch_first: Sequences are (B, T, N) instead of (T, B, N).
        device, dtype: Of the parameters.
    """

    def __init__(
        self, size: int, *, momentum: float = 0.1, batch_first: bool = False, device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:  # fmt: skip
        check_place(device, dtype)
        momentum = number("momentum", momentum, at_least=0, at_most=1)
        super().__init__(whole("size", size), momentum=momentum, device=device, dtype=dtype)
        self.batch_first = flag("batch_first", batch_first)

    def forward(self, inputs: Tensor, lengths: Lengths | None = None) -> Tensor:
        """Normalise a sequence (T, B, N), or one step (B, N).

        lengths: (B,) steps of each sample, or None for all. In training, mean and variance are taken over each sample's
        own steps, what comes after them is 0, and lengths beyond the sequence are a ValueError; else they do nothing.
        """
        check_input("inputs", inputs, "...", self.num_features)
        if not inputs.is_floating_point():
            raise ValueError(f"inputs of dtype {inputs.dtype}: give a floating-point tensor")
        if lengths is not None and inputs.dim() != 3:
            raise ValueError(f"lengths are of a sequence; inputs of shape {tuple(inputs.shape)} are none")
        flat = inputs.reshape(-1, self.num_features)
        if lengths is None or not self.training:
            return self._normalise(flat).view_as(inputs)
        sequence = inputs.transpose(0, 1) if self.batch_first else inputs
        inside = before(ends_of(lengths, sequence), len(sequence))
        own = (inside.transpose(0, 1) if self.batch_first else inside).flatten()
        return torch.zeros_like(flat).index_put((own,), self._normalise(flat[own])).view_as(inputs)

    def _normalise(self, rows: Tensor) -> Tensor:
        more = -self.num_features % 8  # behind the last whole vector, builds of torch round the gradient differently
        own = [getattr(self, n) for n in "running_mean running_var weight bias num_batches_tracked".split()]
        changed = self.momentum is None or not self.track_running_stats or any(value is None for value in own)
        if not more or changed or not self.training or not rows.is_cpu or rows.dtype != torch.float32 or len(rows) < 2:
            return super().forward(rows)
        mean, variance, weight, bias = (F.pad(value, (0, more)) for value in own[:4])
        out = F.batch_norm(F.pad(rows, (0, more)), mean, variance, weight, bias, True, self.momentum or 0.0, self.eps)
        for value, new in zip(own[:2], (mean, variance), strict=True):
            # by .data, as in torch, a graph that read them in evaluation stays valid
            (value if torch.compiler.is_compiling() else value.data).copy_(new[:-more])
        own[4].add_(1)
        return out[:, :-more].contiguous()
