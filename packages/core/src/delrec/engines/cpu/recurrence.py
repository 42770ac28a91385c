"""How a recurrence is handed to the compiled scan: its tables, its sums of gradients, and what becomes of them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from delrec.delays import kernel_length, triangle_kernel, triangle_sides
from delrec.engines.cpu import synaptic
from delrec.engines.cpu.arguments import Pairs, Taps
from delrec.engines.cpu.common import flat, padded, padded_rows
from delrec.engines.cpu.vector import LANES

__all__ = ["Axonal", "Nothing", "Recurrence", "Synaptic", "recurrence_of"]

_DENSE_SHARE = 0.35  # share of live entries of z above which the dense product is faster


def recurrence_of(
    weight: Tensor | None, delay: Tensor | None, width: Tensor | None, like: Tensor, history: int
) -> Recurrence:
    """Return the tables of a recurrence (or of none) for sequences like (T, B, N) after `history` given steps."""
    if weight is None:
        return Nothing(like.shape[-1], like.dtype)
    assert delay is not None and width is not None
    kind = Synaptic if delay.dim() == 2 else Axonal
    # never in less than float32, nor in less than either side has
    precise = torch.promote_types(torch.promote_types(delay.dtype, like.dtype), torch.float32)
    return kind(
        delay.detach().to(precise), width.detach().to(precise), like.dtype, like.shape[0] - 1 + history, history
    )


class Recurrence:
    """Tables for the two passes.

    kind: of kernels. length: of the longest kernel, in taps. prefix: steps of spike bits kept in front of step 0. past:
    of these, how many were given.
    """

    kind = "axonal"
    length = 2
    prefix = 0
    past = 0

    def forward(self, weight: Tensor | None) -> Taps | Pairs:
        """Return the tables of the forward pass."""
        raise NotImplementedError

    def start_gradients(self, weight: Tensor | None, groups: int) -> None:
        """Make room for the sums of each group of tiles."""

    def backward(self, group: int) -> Taps | Pairs:
        """Return the tables of the backward pass, for one group."""
        raise NotImplementedError

    def gradients(self, weight: Tensor, g_weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of delay, shaped like it, and of half-width, (N,); g_weight is [sender, receiver]."""
        raise NotImplementedError


class Nothing(Recurrence):
    """A layer without recurrence."""

    def __init__(self, size: int, dtype: torch.dtype) -> None:
        none, whole, sums = torch.zeros(0, dtype=dtype).numpy(), np.zeros(size, np.int64), np.zeros(0, np.float64)
        self._tables = Taps(whole, whole, none, 0, whole, whole, whole, none, whole, none, 0.0, sums, sums)

    def forward(self, weight: Tensor | None) -> Taps:
        """Return empty tables."""
        return self._tables

    def backward(self, group: int) -> Taps:
        """Return empty tables."""
        return self._tables


class Axonal(Recurrence):
    """One delay a sender: the taps of each sender, then the weights. `reach`: steps back that can meet a spike."""

    @torch.no_grad()
    def __init__(self, delay: Tensor, width: Tensor, dtype: torch.dtype, reach: int, history: int) -> None:
        size = delay.shape[0]
        self.length = kernel_length(delay, width)
        length = min(self.length, reach + 1)
        first, count, left, right = triangle_sides(delay, width, length)
        first = first.to(torch.int64)
        rounded = ((count + 3) // 4 * 4).to(torch.int64)
        longest = max(4, int(rounded.max()))
        column = first.unsqueeze(-1) + torch.arange(longest)
        taps = triangle_kernel(delay, width, length).gather(1, column.clamp(max=length - 1))
        taps = torch.where(torch.arange(longest) < count.unsqueeze(-1), taps, 0).to(dtype)
        none, sums = np.zeros(0, taps.numpy().dtype), np.zeros(0, np.float64)
        sides = [s.to(torch.int64).numpy() for s in (left, count - left - right, right)]
        self._tables = Taps(
            first.numpy(), rounded.numpy(), flat(taps), longest, sides[0], sides[1], sides[2],
            flat((1 / width).to(dtype).expand(size)), (first + rounded).numpy(),
            none, _DENSE_SHARE * size * LANES, sums, sums,
        )  # fmt: skip
        self.prefix = int((first + rounded).max())
        self.past = min(history, self.prefix)

    def forward(self, weight: Tensor | None) -> Taps:
        """Return the taps and the weights by sender."""
        assert weight is not None
        return self._tables._replace(weight=padded_rows(weight.t(), padded(len(weight))))

    def start_gradients(self, weight: Tensor | None, groups: int) -> None:
        """Make sums for delay and half-width, in float64."""
        assert weight is not None
        self._weight = padded_rows(weight, padded(len(weight)))
        self._sums = torch.zeros(2, groups, len(weight), dtype=torch.float64)

    def backward(self, group: int) -> Taps:
        """Return the taps, the weights by receiver, and the sums."""
        g_delay, g_width = self._sums[:, group].numpy()
        return self._tables._replace(weight=self._weight, g_delay=g_delay, g_width=g_width)

    def gradients(self, weight: Tensor, g_weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return (N,) and (N,)."""
        g_delay, g_width = self._sums.sum(1)
        return g_delay, g_width


class Synaptic(Recurrence):
    """One delay a connection: pairs of neighbouring steps to read, see `synaptic`."""

    kind = "synaptic"

    def __init__(self, delay: Tensor, width: Tensor, dtype: torch.dtype, reach: int, history: int) -> None:
        self.length = kernel_length(delay, width)
        self._forward, self._backward = synaptic.pairs(delay, width, reach, dtype)
        self._half = width.to(dtype).expand(len(delay))
        self.prefix = self.past = max(1, min(history, self._forward.length))

    def forward(self, weight: Tensor | None) -> Pairs:
        """Return what each receiver reads."""
        assert weight is not None
        return self._forward._replace(weight=flat(synaptic.blocked(weight)))

    def start_gradients(self, weight: Tensor | None, groups: int) -> None:
        """Make sums a connection."""
        assert weight is not None
        self._by_sender = flat(synaptic.blocked(weight.t()))
        self._sums = weight.new_zeros(2, groups, weight.numel())

    def backward(self, group: int) -> Pairs:
        """Return what each sender reads, and the sums."""
        g_span, g_total = self._sums[:, group].numpy()
        return self._backward._replace(weight=self._by_sender, g_span=g_span, g_total=g_total)

    def gradients(self, weight: Tensor, g_weight: Tensor) -> tuple[Tensor, Tensor]:
        """dm/dd = sign(k - (1+d)) / s^2 and dm/ds = 1/s^2 - 2 m / s, inside the triangle; (N, N) and (N,)."""
        sides, total = (synaptic.unblocked(s, len(weight)) for s in self._sums.sum(1))  # [sender, receiver]
        scale = 1 / self._half.unsqueeze(-1)
        by_sender = weight.t()
        g_width = (by_sender * (total * scale**2 - 2 * scale * g_weight)).sum(1)
        return (by_sender * sides * scale**2).t(), g_width
