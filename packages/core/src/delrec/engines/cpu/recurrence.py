"""Tables of a recurrence for the compiled scan, and the gradients from its sums."""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from delrec.delays import kernel_length, triangle_kernel, triangle_sides, triangle_support
from delrec.engines.cpu.common import SLACK, Array, add_up, flat, padded_rows
from delrec.engines.cpu.synaptic_kernels import NEAR
from delrec.engines.cpu.vector import LANES
from delrec.engines.ops import Inputs
from delrec.neurons import Neuron

# half-widths beyond which the sums are in float64: they grow with the square of the delay, and second differences of
# them over the half-width are read
LONGEST = 52
_DENSE_SHARE = 0.35  # share of live entries of z above which the dense product is faster
_latest: weakref.WeakKeyDictionary[Neuron, Recurrence] = weakref.WeakKeyDictionary()  # of the layer of each neuron


class Taps(NamedTuple):
    """Axonal delays, by sender: those of sender o are taps[o * width : o * width + counts[o]]."""

    first: Array  # step of the first tap
    counts: Array  # number of taps, a multiple of 4
    taps: Array
    width: int  # places per sender in `taps`
    left: Array  # number of taps before 1 + d,
    middle: Array  # at 1 + d,
    right: Array  # and after it
    slope: Array  # 1 / half-width
    weight: Array  # padded; by sender in the forward pass, by receiver in the backward pass
    dense_above: float  # number of live entries of z above which the dense product is faster
    g_delay: Array  # sums of one group, in float64
    g_width: Array


class Pairs(NamedTuple):
    """Synaptic delays: each connection reads pairs of neighbouring steps, see `Synaptic`.

    Arrays are `_blocked` and [receiver, sender] in the forward pass, transposed in the backward pass. Steps are counted
    in elements from the block's first ring.
    """

    place: Array  # (N, N, per), the first step of each pair
    factor: Array  # (N, N, per, 2)
    per: int  # pairs of a connection
    ahead: int  # distance of the places before step 1
    length: int  # steps in a ring
    direct: int  # 1 if the pairs are taps of the sequence itself
    span: Array  # (sender, receiver, 4), the steps that bound the triangle's sides
    weight: Array  # (N, N)
    g_span: Array  # sums of one group, laid out like weight
    g_total: Array


def recurrence_of(neuron: Neuron, inputs: Inputs) -> Recurrence:
    """Return the tables of a scan's recurrence; those of a neuron's layer are reused until its delays change."""
    current, delay, width, history = inputs.current, inputs.delay, inputs.width, inputs.history.shape[0]
    if delay is None or width is None:
        return Recurrence(current.shape[-1], current.dtype)
    reach = current.shape[0] - 1 + history
    made_of = current.dtype, delay.dtype, delay.shape, reach, history
    latest = _latest.get(neuron)
    # compared by value: not every change in place leaves a trace
    if latest and latest.made_of == made_of and torch.equal(latest.delay, delay) and torch.equal(latest.width, width):
        return latest
    kind = Synaptic if delay.dim() == 2 else Axonal
    precise = torch.promote_types(torch.promote_types(delay.dtype, current.dtype), torch.float32)
    if kind is Synaptic and kernel_length(delay, width) > LONGEST * float(width.min()):
        precise = torch.float64
    found: Recurrence = kind(delay.detach().to(precise), width.detach().to(precise), current.dtype, reach, history)
    found.delay, found.width, found.made_of = delay.detach().clone(), width.detach().clone(), made_of
    _latest[neuron] = found
    return found


class Recurrence:
    """Tables for the two passes of a layer without recurrence; base class of the others.

    kind: of kernels. past: number of given steps that delays can reach. delay, width, made_of: identify the tables.
    """

    kind = "axonal"
    past = 0
    delay: Tensor
    width: Tensor
    made_of: tuple[Any, ...]
    _tables: Any
    _laid_out: tuple[Array, Array] | None = None

    def __init__(self, size: int, dtype: torch.dtype) -> None:
        none, whole, sums = torch.zeros(0, dtype=dtype).numpy(), np.zeros(size, np.int64), np.zeros(0, np.float64)
        self._tables = Taps(whole, whole, none, 0, whole, whole, whole, none, none, 0.0, sums, sums)

    def forward(self, weight: Tensor | None) -> Taps | Pairs:
        """Return the tables of the forward pass; the layout of the weight is reused until the weight changes."""
        if weight is None:
            return self._tables
        values, held = weight.detach().numpy(), self._laid_out  # read once: layers of one neuron share it over threads
        if held is None or not np.array_equal(held[0], values):
            held = self._laid_out = values.copy(), self._lay_out(weight.t())
        return self._tables._replace(weight=held[1])

    def backward(self, weight: Tensor | None, groups: int) -> tuple[list[Taps | Pairs], Array]:
        """Return the tables of the backward pass per group of tiles, each with its own sums, and all sums."""
        return [self._tables] * groups, np.zeros(0)

    def _lay_out(self, matrix: Tensor) -> Array:
        return padded_rows(matrix)


class Axonal(Recurrence):
    """One delay per sender: the taps of each sender, then the weights. reach: the longest tap that can meet a spike."""

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
        before, middle, after = (s.to(torch.int64).numpy() for s in (left, count - left - right, right))
        self._tables = Taps(
            first.numpy(), rounded.numpy(), flat(taps), longest, before, middle, after,
            flat((1 / width).to(dtype).expand(size)), none, _DENSE_SHARE * size * LANES, sums, sums,
        )  # fmt: skip
        self.past = min(history, int((first + rounded).max()))

    def backward(self, weight: Tensor | None, groups: int) -> tuple[list[Taps | Pairs], Array]:
        """Return the tables with weights by receiver, and sums for delay and half-width in float64."""
        assert weight is not None
        sums, rows = np.zeros((2, groups, len(weight))), self._lay_out(weight)
        return [self._tables._replace(weight=rows, g_delay=d, g_width=w) for d, w in zip(*sums, strict=True)], sums

    def gradients(self, weight: Tensor, sums: Array, g_weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of delay and half-width, (N,) each; g_weight is that of the weight."""
        return torch.from_numpy(add_up(sums[0])), torch.from_numpy(add_up(sums[1]))


class Synaptic(Recurrence):
    """One delay per connection, at a cost that does not grow with the spread.

    A triangle of half-width s is the second difference of a ramp, so that its sum over a sequence is read off the twice
    accumulated sequence G2 at three places, each between two steps (c = 1 + d, a = n + f with n = floor(a)):

        sum_k max(0, s - |k - c|) g[k] = R(c - s) - 2 R(c) + R(c + s),   R(a) = (1 - f) G2[n+1] + f G2[n+2]

    With s = 1 the two taps are applied directly. Taps k < 1 lie in steps that are still zero, where G2 continues as a
    straight line. The tables are in the order in which they are read: for NEAR rings at a time, all readers in turn
    (`_blocked`). Connections that no spike within `reach` steps can meet are dropped.
    """

    kind = "synaptic"

    @torch.no_grad()
    def __init__(self, delay: Tensor, width: Tensor, dtype: torch.dtype, reach: int, history: int) -> None:
        centre, half = 1 + delay, width.expand(delay.shape)
        direct = bool((half == 1).all())
        points = [(centre, torch.ones_like(centre))]
        if not direct:
            scale = 1 / half**2
            points = [(centre - half, scale), (centre, -2 * scale), (centre + half, scale)]
        met = (centre - half < reach + 1).to(centre.dtype)
        places, factors = [], []
        for at, weight in points:
            n = at.floor()
            f = at - n
            # the ramp from n + f reads G2 at n + 1 and n + 2; a direct tap reads n and n + 1
            places.append(torch.where(met > 0, n + (0 if direct else 1), 1).to(torch.int32))
            factors.append(torch.stack([(1 - f) * weight * met, f * weight * met], -1))
        place = torch.stack(places, -1)
        low, high = triangle_support(delay, half)
        span = torch.stack([low, (centre.ceil() - 1) + 1, centre.floor() + 1, high + 1], -1)
        span[..., 1:3] = torch.minimum(torch.maximum(span[..., 1:3], span[..., :1]), span[..., 3:])
        span = torch.where(met.unsqueeze(-1) > 0, span, 1).to(torch.int32)
        ahead = max(0, -int(place.min()))
        length = max(int(place.max()) + 2, int(span.max()) + 1) + ahead
        factor = torch.stack(factors, -2).to(dtype if direct else torch.promote_types(dtype, delay.dtype))
        ring = (torch.arange(len(delay), dtype=torch.int32) % NEAR * (length + SLACK)).view(-1, 1)

        def elements(table: Tensor) -> Array:
            """Return steps in elements from the block's first ring on, [reader, ring]."""
            return flat(_blocked((table + ring) * LANES))

        none = np.zeros(0, flat(width.to(dtype)).dtype)
        rest = (len(points), ahead, length, int(direct), elements(span.transpose(0, 1)), none, none, none)
        self._tables = Pairs(elements(place), flat(_blocked(factor)), *rest)
        self._back = Pairs(elements(place.transpose(0, 1)), flat(_blocked(factor.transpose(0, 1))), *rest)
        self._half = width.to(dtype).expand(len(delay))
        self.past = max(1, min(history, length))

    def _lay_out(self, matrix: Tensor) -> Array:
        return flat(_blocked(matrix.t()))

    def backward(self, weight: Tensor | None, groups: int) -> tuple[list[Taps | Pairs], Array]:
        """Return the tables by sender, and sums per connection."""
        assert weight is not None
        rows = self._lay_out(weight)
        sums = np.zeros((2, groups, len(rows)), self._back.factor.dtype)
        return [self._back._replace(weight=rows, g_span=s, g_total=t) for s, t in zip(*sums, strict=True)], sums

    def gradients(self, weight: Tensor, sums: Array, g_weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return (N, N) and (N,), from dm/dd = sign(k - (1+d)) / s^2 and dm/ds = 1/s^2 - 2 m / s in the triangle."""
        size = len(weight)
        counts = [min(NEAR, size - b) for b in range(0, size, NEAR)]

        def unblocked(row: Tensor) -> Tensor:
            blocks = row.split([size * n for n in counts])
            return torch.cat([block.view(size, n) for block, n in zip(blocks, counts, strict=True)], 1)

        sides, total = (unblocked(torch.from_numpy(add_up(s))) for s in sums)  # [sender, receiver]
        scale, by_sender = 1 / self._half.unsqueeze(-1), weight.t()
        g_width = (by_sender * (total * scale**2 - 2 * scale * g_weight.t())).sum(1)
        return (by_sender * sides * scale**2).t(), g_width


def _blocked(table: Tensor) -> Tensor:
    """Return (N, N, ...), [reader, ring, ...], as one row of blocks of NEAR rings (or fewer in the last)."""
    return torch.cat([block.reshape(-1) for block in table.split(NEAR, 1)])
