"""Synaptic delays on the cpu engine: one delay per connection, at a cost that does not grow with the spread.

A triangle of half-width s is the second difference of a ramp, so that its sum over a sequence is read off the twice
accumulated sequence G2 at three places, each between two steps (c = 1 + d, a = n + f with n = floor(a)):

    sum_k max(0, s - |k - c|) g[k] = R(c - s) - 2 R(c) + R(c + s),   R(a) = (1 - f) G2[n+1] + f G2[n+2]

With s = 1 the two taps are applied directly. What is not delivered (k < 1) lies in steps that are still zero, where G2
goes on as a straight line. The kernels are in `synaptic_kernels`; the tables are made here, in the order in which they
are read: NEAR rings at a time, for which every reader comes in turn (`blocked`).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from delrec.delays import triangle_support
from delrec.engines.cpu.arguments import Pairs
from delrec.engines.cpu.common import Array, flat
from delrec.engines.cpu.kernels import SLACK
from delrec.engines.cpu.synaptic_kernels import NEAR
from delrec.engines.cpu.vector import LANES

__all__ = ["blocked", "pairs", "unblocked"]


def blocked(table: Tensor) -> Tensor:
    """Return (N, N, ...), [reader, ring, ...], as a row of blocks of NEAR rings (the last may have fewer)."""
    return torch.cat([block.reshape(-1) for block in table.split(NEAR, 1)])


def unblocked(row: Tensor, size: int) -> Tensor:
    """Return the (N, N) that `blocked` made a row of."""
    counts = [min(NEAR, size - b) for b in range(0, size, NEAR)]
    blocks = row.split([size * n for n in counts])
    return torch.cat([block.view(size, n) for block, n in zip(blocks, counts, strict=True)], 1)


@torch.no_grad()
def pairs(delay: Tensor, width: Tensor, reach: int, dtype: torch.dtype) -> tuple[Pairs, Pairs]:
    """Lay out the kernels of (N, N) delays for the two passes, without weights and sums.

    Connections that no spike within `reach` steps can meet are dropped.
    """
    centre = 1 + delay
    half = width.expand(delay.shape)
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
        # the ramp that starts at n + f reads G2 at n + 1 and n + 2; a tap between n and n + 1 reads those
        places.append(torch.where(met > 0, n + (0 if direct else 1), 1).to(torch.int32))
        factors.append(torch.stack([(1 - f) * weight * met, f * weight * met], -1))
    place, factor = torch.stack(places, -1), torch.stack(factors, -2).to(dtype)
    low, high = triangle_support(delay, half)
    span = torch.stack([low, (centre.ceil() - 1) + 1, centre.floor() + 1, high + 1], -1)
    span[..., 1:3] = torch.minimum(torch.maximum(span[..., 1:3], span[..., :1]), span[..., 3:])
    span = torch.where(met.unsqueeze(-1) > 0, span, 1).to(torch.int32)
    ahead = max(0, -int(place.min()))
    length = max(int(place.max()) + 2, int(span.max()) + 1) + ahead
    ring = (torch.arange(len(delay), dtype=torch.int32) % NEAR * (length + SLACK)).view(-1, 1)

    def elements(table: Tensor) -> Array:
        """Steps as elements from the block's first ring on, for readers (rows) of rings (columns)."""
        return flat(blocked((table + ring) * LANES))

    none = np.zeros(0, flat(factor).dtype)
    rest = (len(points), ahead, length, int(direct), elements(span.transpose(0, 1)), none, none, none)
    return (
        Pairs(elements(place), flat(blocked(factor)), *rest),
        Pairs(elements(place.transpose(0, 1)), flat(blocked(factor.transpose(0, 1))), *rest),
    )
