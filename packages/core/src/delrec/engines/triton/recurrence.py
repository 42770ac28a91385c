"""How a recurrence is handed to the kernels: tables of its triangles, bits of given spikes, gradients from sums.

Everything is made on the tensors' device; nothing is read back to the host.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from delrec.delays import triangle_sides
from delrec.engines.fused import Inputs
from delrec.engines.triton.tiles import power_of_two

__all__ = ["Recurrence", "recurrence_of"]


class Recurrence(NamedTuple):
    """Delays of shape D, (N,) one a sender or (N, N), [receiver, sender], one a connection.

    tables: whole numbers (4, *D): first tap, taps, taps strictly left of the middle, taps left of it or at it; with one
    delay a sender (7, N), see `window.returned`. edges: (9, N), what the triangle's sides begin with, 1 / s^2 (see
    `window`) and what `window.returned` says, or (N + 1, N), `synaptic`'s triangles.
    slope: 1 / s, (N,). longest: one whole number, taps of the widest triangle. reach: the longest tap that can be met.
    past: how many given steps can be met; they fill the last bits of the first `prefix` words.
    """

    tables: Tensor
    edges: Tensor
    slope: Tensor
    longest: Tensor
    reach: int
    past: int
    prefix: int

    @property
    def kind(self) -> int:
        """1 with one delay a sender, 2 with one a connection."""
        return self.tables.dim() - 1

    @property
    def words(self) -> Tensor:
        """One whole number, the words of 32 steps of the widest triangle."""
        return (self.longest + 31) // 32

    def by_sender(self) -> tuple[Tensor, Tensor]:
        """Return tables and edges, [sender, receiver] where there is one a connection."""
        if self.kind == 1:
            return self.tables, self.edges
        centre, width = self.edges[:-1], self.edges[-1:]
        return self.tables.transpose(1, 2).contiguous(), torch.cat([centre.t(), width])

    def heights(self, weight: Tensor) -> Tensor:
        """Return the weight, (N, N), as the scan takes it: with a delay a connection, over s^2.

        Kernels read no triangle around a step before the present one: such a connection is not a number. Of one without
        a tap up to `reach`, they would read sums of another block: its weight is 0.
        """
        if self.kind == 1:
            return weight.detach()
        met = torch.where(self.tables[1] > 0, weight.detach() * self.slope**2, 0)
        return torch.where(self.edges[:-1] >= 0, met, torch.nan)

    def slots(self, steps: int) -> int:
        """Return how many steps a ring must hold, or with a delay a connection a block, a power of 2."""
        return power_of_two(min(self.reach + 2, steps) if self.kind == 1 else self.reach + 3)

    def pack(self, history: Tensor, steps: int) -> Tensor:
        """Return words for (K, B, N) given spikes and `steps` to come; bit j of word w is step 32 (w - prefix) + j."""
        batch, size = history.shape[1:]
        words = torch.empty(self.prefix + (steps + 31) // 32, batch, size, dtype=torch.int32, device=history.device)
        if self.past:
            rows = torch.zeros(32 * self.prefix, batch, size, dtype=torch.int64, device=history.device)
            rows[-self.past :] = history[-self.past :].detach() > 0
            shifts = torch.arange(32, device=history.device).view(1, 32, 1, 1)
            packed = (rows.view(self.prefix, 32, batch, size) << shifts).sum(1)
            words[: self.prefix] = torch.where(packed >= 2**31, packed - 2**32, packed).to(torch.int32)
        return words

    def gradients(self, weight: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of delay, D, and half-width, (N,), from sums (3, N) or (3, N, N), [sender, receiver].

        The sums over spikes are of m times the gradient that came back, of it right minus left of the middle, and of
        all inside. dm/dd = sign(k - (1+d)) / s^2 and dm/ds = 1 / s^2 - 2 m / s.
        """
        taps, sides, total = sums
        scale = self.slope.to(sums.dtype)
        if self.kind == 1:
            return sides * scale**2, total * scale**2 - 2 * scale * taps
        scale, by_sender = scale.unsqueeze(-1), weight.t()
        g_width = (by_sender * (total * scale**2 - 2 * scale * taps)).sum(1)
        return (by_sender * sides * scale**2).t(), g_width


@torch.no_grad()
def recurrence_of(inputs: Inputs, reach: int, history: int) -> Recurrence:
    """Lay out the delays of a scan; reach: a tap that none is longer than; history: how many steps were given."""
    current, delay, width = inputs.current, inputs.delay, inputs.width
    assert delay is not None and width is not None
    # never in less than float32, nor in less than either side has
    precise = torch.promote_types(torch.promote_types(delay.dtype, current.dtype), torch.float32)
    half_width = width.to(precise).expand(len(delay))
    delay = delay.to(precise)
    width = half_width.expand(delay.shape)
    reach = min(reach, current.shape[0] - 1 + history)
    low, count, left, right = triangle_sides(delay, width, reach + 1)
    high, centre, scale = low + count - 1, 1 + delay, 1 / half_width**2
    # a delay that is no number has no taps, so that nothing is read for it; its weight is no number then (`heights`)
    tables = torch.stack([low, count, left, count - right]).nan_to_num(0).to(torch.int32)
    if delay.dim() == 1:
        places, rises = _corners(low, count, centre, width)
        tables = torch.cat([tables, places])
        edges = torch.stack([width - (centre - low), width - (high - centre), scale, *(scale * rises[:3]), *rises[3:]])
        edges = edges.to(current.dtype)
    else:  # a triangle beyond all steps stays beyond them where places are small whole numbers
        centre = torch.where(centre >= 0, torch.minimum(centre, reach + 2 + width), -1)
        edges = torch.cat([centre.nan_to_num(-1), half_width[None].nan_to_num(1)])
    past = min(history, reach)
    longest, slope = tables[1].max(), (1 / half_width).to(current.dtype)
    return Recurrence(tables, edges, slope, longest, reach, past, (past + 31) // 32)


def _corners(low: Tensor, count: Tensor, centre: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
    """Return what `window.returned` reads by: near, mid and far (3, N), and its last six edges (6, N), m times s^2.

    A triangle that is cut off before its middle has mid before its last tap; of a single tap, far is the next, where m
    is 0.
    """
    far = low + count - 1
    mid = torch.minimum(centre.floor(), far - 1)
    single = mid < low
    mid, far = torch.where(single, low, mid), torch.where(single, low + 1, far)

    def height(k: Tensor) -> Tensor:
        return (width - (k - centre).abs()).clamp(min=0)

    last = torch.where(single, 0, height(far))
    turn = torch.where(mid + 1 == far, last, height(mid + 1)) - height(mid)
    side_far = torch.where(single, 0, (far - centre).sign())
    rises = torch.stack([height(low), turn, last, (mid - centre).sign(), side_far, (~single).to(width.dtype)])
    places = torch.stack([low, mid, far])
    met = count > 0
    return torch.where(met, places, 0).to(torch.int32), torch.where(met, rises, 0)
