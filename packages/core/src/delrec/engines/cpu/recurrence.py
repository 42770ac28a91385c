"""How a recurrence is handed to the compiled scan: its tables, its sums of gradients, and what becomes of them."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import torch
from torch import Tensor

from delrec.delays import kernel_length, triangle_kernel, triangle_sides
from delrec.engines.cpu import synaptic
from delrec.engines.cpu.arguments import Pairs, Taps
from delrec.engines.cpu.common import Array, add_up, flat, padded, padded_rows
from delrec.engines.cpu.vector import LANES
from delrec.engines.ops import Inputs
from delrec.neurons import Neuron

__all__ = ["Axonal", "Nothing", "Recurrence", "Synaptic", "recurrence_of"]

_DENSE_SHARE = 0.35  # share of live entries of z above which the dense product is faster


def recurrence_of(neuron: Neuron, inputs: Inputs) -> Recurrence:
    """Return the tables of a scan's recurrence, or of none; they are made again only where the delays have changed."""
    current, delay, width, history = inputs.current, inputs.delay, inputs.width, inputs.history.shape[0]
    if delay is None or width is None:
        return Nothing(current.shape[-1], current.dtype)
    reach = current.shape[0] - 1 + history
    made_of = current.dtype, delay.dtype, delay.shape, reach, history
    latest = _latest.get(neuron)
    # by value, as an edit in place leaves no trace everywhere
    same = latest is not None and latest.made_of == made_of
    if same and torch.equal(latest.delay, delay) and torch.equal(latest.width, width):  # type: ignore[union-attr]
        return latest  # type: ignore[return-value]
    kind = Synaptic if delay.dim() == 2 else Axonal
    # never in less than float32, nor in less than either side has
    precise = torch.promote_types(torch.promote_types(delay.dtype, current.dtype), torch.float32)
    found = kind(delay.detach().to(precise), width.detach().to(precise), current.dtype, reach, history)
    found.delay, found.width, found.made_of = delay.detach().clone(), width.detach().clone(), made_of
    _latest[neuron] = found
    return found


_latest: weakref.WeakKeyDictionary[Neuron, Recurrence] = weakref.WeakKeyDictionary()  # of the layer of each neuron


class Recurrence:
    """Tables for the two passes.

    kind: of kernels. past: how many given steps are met. delay, width, made_of: what the tables are of.
    """

    kind = "axonal"
    past = 0
    delay: Tensor
    width: Tensor
    made_of: tuple[Any, ...]
    _tables: Any
    _laid_out: tuple[Tensor, Array] | None = None

    def forward(self, weight: Tensor | None) -> Taps | Pairs:
        """Return the tables of the forward pass, with the weight laid out, which is kept until the weight changes."""
        assert weight is not None
        if self._laid_out is None or not torch.equal(self._laid_out[0], weight):
            self._laid_out = weight.detach().clone(), self._lay_out(weight)
        return self._tables._replace(weight=self._laid_out[1])

    def backward(self, weight: Tensor | None, groups: int) -> tuple[list[Taps | Pairs], Tensor]:
        """Return the tables of the backward pass, those of each group of tiles with sums of its own, and all sums."""
        raise NotImplementedError

    def gradients(self, weight: Tensor, sums: Tensor, g_weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of delay, shaped like it, and of half-width, (N,); g_weight is [sender, receiver]."""
        raise NotImplementedError

    def _lay_out(self, weight: Tensor) -> Array:
        raise NotImplementedError


class Nothing(Recurrence):
    """A layer without recurrence."""

    def __init__(self, size: int, dtype: torch.dtype) -> None:
        none, whole, sums = torch.zeros(0, dtype=dtype).numpy(), np.zeros(size, np.int64), np.zeros(0, np.float64)
        self._tables = Taps(whole, whole, none, 0, whole, whole, whole, none, whole, none, 0.0, sums, sums)

    def forward(self, weight: Tensor | None) -> Taps:
        """Return empty tables."""
        return self._tables

    def backward(self, weight: Tensor | None, groups: int) -> tuple[list[Taps | Pairs], Tensor]:
        """Return empty tables."""
        return [self._tables] * groups, torch.zeros(0)


class Axonal(Recurrence):
    """One delay per sender: the taps of each sender, then the weights. `reach`: steps back that can meet a spike."""

    @torch.no_grad()
    def __init__(self, delay: Tensor, width: Tensor, dtype: torch.dtype, reach: int, history: int) -> None:
        size = delay.shape[0]
        length = min(kernel_length(delay, width), reach + 1)
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
        self.past = min(history, int((first + rounded).max()))

    def _lay_out(self, weight: Tensor) -> Array:
        return padded_rows(weight.t(), padded(len(weight)))

    def backward(self, weight: Tensor | None, groups: int) -> tuple[list[Taps | Pairs], Tensor]:
        """Return the taps and the weights by receiver, with sums for delay and half-width in float64."""
        assert weight is not None
        sums = torch.zeros(2, groups, len(weight), dtype=torch.float64)
        tables = self._tables._replace(weight=padded_rows(weight, padded(len(weight))))
        return [tables._replace(g_delay=d, g_width=w) for d, w in zip(*sums.numpy(), strict=True)], sums

    def gradients(self, weight: Tensor, sums: Tensor, g_weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return (N,) and (N,)."""
        return add_up(sums[0]), add_up(sums[1])


class Synaptic(Recurrence):
    """One delay per connection: pairs of neighbouring steps to read, see `synaptic`."""

    kind = "synaptic"

    def __init__(self, delay: Tensor, width: Tensor, dtype: torch.dtype, reach: int, history: int) -> None:
        self._tables, self._backward = synaptic.pairs(delay, width, reach, dtype)
        self._half = width.to(dtype).expand(len(delay))
        self.past = max(1, min(history, self._tables.length))

    def _lay_out(self, weight: Tensor) -> Array:
        return flat(synaptic.blocked(weight))

    def backward(self, weight: Tensor | None, groups: int) -> tuple[list[Taps | Pairs], Tensor]:
        """Return what each sender reads, with sums a connection."""
        assert weight is not None
        sums = weight.new_zeros(2, groups, weight.numel())
        tables = self._backward._replace(weight=flat(synaptic.blocked(weight.t())))
        return [tables._replace(g_span=s, g_total=t) for s, t in zip(*sums.numpy(), strict=True)], sums

    def gradients(self, weight: Tensor, sums: Tensor, g_weight: Tensor) -> tuple[Tensor, Tensor]:
        """dm/dd = sign(k - (1+d)) / s^2 and dm/ds = 1/s^2 - 2 m / s, inside the triangle; (N, N) and (N,)."""
        sides, total = (synaptic.unblocked(s, len(weight)) for s in map(add_up, sums))  # [sender, receiver]
        scale = 1 / self._half.unsqueeze(-1)
        by_sender = weight.t()
        g_width = (by_sender * (total * scale**2 - 2 * scale * g_weight)).sum(1)
        return (by_sender * sides * scale**2).t(), g_width
