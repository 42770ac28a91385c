"""How a recurrence is handed to the compiled scan: its tables, its sums of gradients, and what becomes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from delrec.delays import kernel_length
from delrec.engines.cpu_synaptic import Pairs, pairs
from delrec.engines.cpu_vector import COLUMNS, LANES

__all__ = ["Axonal", "Nothing", "Recurrence", "Synaptic", "flat", "padded"]

Array = np.ndarray[Any, Any]
_DENSE_SHARE = 0.35  # share of live entries of z above which the dense product is faster


def padded(size: int) -> int:
    """Return a row length: `size` rounded up to whole vectors."""
    return (size + COLUMNS - 1) // COLUMNS * COLUMNS


def flat(tensor: Tensor) -> Array:
    """Return the values of a tensor as one row, copied only where they are not contiguous."""
    out: Array = tensor.detach().contiguous().view(-1).numpy()
    return out


def _square(weight: Tensor) -> Array:
    size = weight.shape[0]
    out = weight.new_zeros(padded(size), padded(size))
    out[:size, :size] = weight
    return flat(out)


class Recurrence:
    """No recurrence, and the interface of the others.

    prefix: steps of past spikes kept in front of step 0. past: of these, how many were given.
    """

    synaptic = False
    prefix = 0
    past = 0

    def forward(self) -> tuple[Any, ...]:
        """Return the arguments that `forward_tile` ends with."""
        raise NotImplementedError

    def start_gradients(self, groups: int) -> None:
        """Make room for the sums of each group of tiles."""

    def backward(self, group: int) -> tuple[Any, ...]:
        """Return the arguments that `backward_tile` ends with, for one group."""
        raise NotImplementedError

    def gradients(self, g_weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of delay, shaped like it, and of half-width, (N,); g_weight is [sender, receiver]."""
        raise NotImplementedError


class Nothing(Recurrence):
    """A layer without recurrence."""

    def __init__(self, size: int, dtype: torch.dtype) -> None:
        none, whole = torch.zeros(0, dtype=dtype).numpy(), np.zeros(size, np.int64)
        self._forward = (whole, whole, none, 0, none, 0.0)
        sums = np.zeros(0, np.float64)
        self._backward = (whole, whole, none, 0, whole, whole, whole, none, whole, none, 0.0, sums, sums)

    def forward(self) -> tuple[Any, ...]:
        """Return empty tables."""
        return self._forward

    def backward(self, group: int) -> tuple[Any, ...]:
        """Return empty tables."""
        return self._backward


@dataclass(frozen=True)
class _Taps:
    """The kernel m of each sender as contiguous taps first .. first+count-1, padded with zeros to a multiple of 4."""

    first: Array
    count: Array
    taps: Array  # (N, width)
    left: Array  # taps before 1 + d, at it, and after it, corners of the triangle included
    middle: Array
    right: Array
    slope: Array  # 1 / half-width


@torch.no_grad()
def _taps(delay: Tensor, width: Tensor, reach: int) -> _Taps:
    """Lay out the kernel; taps beyond `reach` steps meet no spike and are left out."""
    size, dtype = delay.shape[0], delay.dtype
    k = torch.arange(min(kernel_length(delay, width), reach + 1), dtype=dtype)
    half = width.to(dtype).expand(size).unsqueeze(-1)
    signed = k - (1 + delay).unsqueeze(-1)
    room = half - signed.abs()
    inside = (room >= 0) & (k >= 1)
    count = inside.sum(1)
    first = torch.where(count > 0, inside.to(torch.uint8).argmax(1), 1)
    rounded = (count + 3) // 4 * 4
    longest = max(4, int(rounded.max()))
    column = first.unsqueeze(-1) + torch.arange(longest)
    valid = torch.arange(longest) < count.unsqueeze(-1)
    table = torch.where(valid, (room.clamp(min=0) / half**2).gather(1, column.clamp(max=len(k) - 1)), 0)

    def number(which: Tensor) -> Array:
        out: Array = (inside & which).sum(1).numpy()
        return out

    sides = (number(signed < 0), number(signed == 0), number(signed > 0))
    return _Taps(first.numpy(), rounded.numpy(), table.contiguous().numpy(), *sides, flat(1 / half))


class Axonal(Recurrence):
    """One delay a sender: the taps of each sender, then the weights."""

    def __init__(self, weight: Tensor, delay: Tensor, width: Tensor, steps: int, history: int) -> None:
        self.weight = weight.detach()
        self.taps = _taps(delay.detach(), width.detach(), steps - 1 + history)
        self.reach = self.taps.first + self.taps.count
        self.prefix = int(self.reach.max())
        self.past = min(history, self.prefix)
        t = self.taps
        self._tables = (t.first, t.count, t.taps.reshape(-1), t.taps.shape[1])
        self._dense_above = _DENSE_SHARE * weight.shape[0] * LANES

    def forward(self) -> tuple[Any, ...]:
        """Return the taps and the weights by sender."""
        return (*self._tables, _square(self.weight.t()), self._dense_above)

    def start_gradients(self, groups: int) -> None:
        """Make sums for delay and half-width, in float64."""
        self._square = _square(self.weight)
        self._sums = torch.zeros(2, groups, self.weight.shape[0], dtype=torch.float64)

    def backward(self, group: int) -> tuple[Any, ...]:
        """Return the taps, the triangle's sides, the weights by receiver, and the sums."""
        t = self.taps
        sides = (t.left, t.middle, t.right, t.slope, self.reach)
        return (*self._tables, *sides, self._square, self._dense_above, *self._sums[:, group].numpy())

    def gradients(self, g_weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return (N,) and (N,)."""
        g_delay, g_width = self._sums.sum(1)
        return g_delay, g_width


class Synaptic(Recurrence):
    """One delay a connection: pairs of neighbouring steps to read, see `cpu_synaptic`."""

    synaptic = True

    def __init__(self, weight: Tensor, delay: Tensor, width: Tensor, steps: int, history: int) -> None:
        self.weight = weight.detach()
        self.pairs: Pairs = pairs(delay.detach(), width.detach(), steps - 1 + history, weight.dtype)
        self.half = width.detach().to(weight.dtype).expand(weight.shape[0])
        self.prefix = self.past = max(1, min(history, self.pairs.length))

    def forward(self) -> tuple[Any, ...]:
        """Return what each receiver reads."""
        p = self.pairs
        return (p.place, p.factor, 1 if p.direct else 3, p.ahead, p.length, p.direct, flat(self.weight))

    def start_gradients(self, groups: int) -> None:
        """Make sums a connection."""
        self._by_sender = flat(self.weight.t())
        self._sums = self.weight.new_zeros(2, groups, self.weight.numel())

    def backward(self, group: int) -> tuple[Any, ...]:
        """Return what each sender reads, and the sums."""
        p = self.pairs
        tables = (p.place_t, p.factor_t, 1 if p.direct else 3, p.ahead, p.length, p.direct, p.span)
        return (*tables, self._by_sender, *self._sums[:, group].numpy())

    def gradients(self, g_weight: Tensor) -> tuple[Tensor, Tensor]:
        """dm/dd = sign(k - (1+d)) / s^2 and dm/ds = 1/s^2 - 2 m / s, inside the triangle; (N, N) and (N,)."""
        sides, total = self._sums.sum(1).view(2, *self.weight.shape)  # [sender, receiver]
        scale = 1 / self.half.unsqueeze(-1)
        by_sender = self.weight.t()
        g_width = (by_sender * (total * scale**2 - 2 * scale * g_weight)).sum(1)
        return (by_sender * sides * scale**2).t(), g_width
