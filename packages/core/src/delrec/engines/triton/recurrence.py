"""How a recurrence is handed to the kernels: tables of its triangles, bits of given spikes, gradients from sums.

Everything is made on the tensors' device; nothing is read back to the host.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from delrec.delays import triangle_sides
from delrec.engines.fused import Inputs

__all__ = ["Axonal", "axonal"]


class Axonal(NamedTuple):
    """One delay a sender, N of them.

    tables: whole numbers (4, N): first tap, taps, taps strictly left of the middle, taps left of it or at it. edges:
    (3, N): what the triangle's sides begin with, and 1 / s^2 (see `window`). slope: 1 / s, (N,). chunks, longest: one
    whole number each, words and taps of the widest triangle. reach: the longest tap. past: how many given steps can be
    met; they fill the last bits of the first `prefix` words.
    """

    tables: Tensor
    edges: Tensor
    slope: Tensor
    chunks: Tensor
    longest: Tensor
    reach: int
    past: int
    prefix: int

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

    def gradients(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of delay and half-width, (N,), from (3, N) sums over spikes; see `backward_scan`.

        dm/dd = sign(k - (1+d)) / s^2 and dm/ds = 1 / s^2 - 2 m / s inside the triangle.
        """
        sides, total, y = sums
        scale = self.slope.to(sums.dtype)
        return sides * scale**2, total * scale**2 - 2 * scale * y


@torch.no_grad()
def axonal(inputs: Inputs, reach: int) -> Axonal:
    """Lay out one delay a sender; reach: a tap that none is longer than."""
    current, delay, width = inputs.current, inputs.delay, inputs.width
    assert delay is not None and width is not None
    history = inputs.history.shape[0]
    # never in less than float32, nor in less than either side has
    precise = torch.promote_types(torch.promote_types(delay.dtype, current.dtype), torch.float32)
    delay, width = delay.to(precise), width.to(precise).expand(delay.shape)
    reach = min(reach, current.shape[0] - 1 + history)
    low, count, left, right = triangle_sides(delay, width, reach + 1)
    high, centre = low + count - 1, 1 + delay
    tables = torch.stack([low, count, left, count - right]).to(torch.int32)
    edges = torch.stack([width - (centre - low), width - (high - centre), 1 / width**2]).to(current.dtype)
    longest = tables[1].max()
    past = min(history, reach)
    return Axonal(
        tables, edges, (1 / width).to(current.dtype), (longest + 31) // 32, longest, reach, past, (past + 31) // 32
    )
