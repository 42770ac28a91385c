"""How a recurrence is handed to the kernels: tables of its triangles, made on the tensors' device in one launch.

Nothing is read back to the host.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from delrec.engines.ops import Inputs
from delrec.engines.triton.axonal import lay_out_senders
from delrec.engines.triton.synaptic import lay_out_connections
from delrec.engines.triton.tiles import OPTIONS, launch, power_of_two

REALS = {torch.float32: tl.float32, torch.float64: tl.float64}
EDGE, COLS = 32, 256  # of the tiles that tables are made in


class Recurrence(NamedTuple):
    """Weight (N, N), delay, (N,) per sender or (N, N) like the weight, and half-width, (N,) or ().

    reach: a tap that none is longer than. past: how many given steps can be met; they fill the last bits of the first
    `prefix` words.
    """

    weight: Tensor
    delay: Tensor
    width: Tensor
    reach: int
    past: int
    prefix: int

    @property
    def kind(self) -> int:
        """1 with one delay per sender, 2 with one per connection."""
        return self.delay.dim()

    @property
    def constants(self) -> dict[str, Any]:
        """What kernels must know of the types: never less than float32, nor less than delays or weights have."""
        precise = torch.float64 if torch.float64 in (self.delay.dtype, self.weight.dtype) else torch.float32
        return {"PRECISE": REALS[precise], "ONE_WIDTH": self.width.numel() == 1}

    def slots(self, steps: int) -> int:
        """Return how many steps a ring must hold, or with a delay per connection a block, a power of 2."""
        return power_of_two(min(self.reach + 2, steps) if self.kind == 1 else self.reach + 3)

    def tables(self, by_sender: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Return weight, tables and edges as the scan takes them, [sender, receiver] or [receiver, sender].

        See `axonal.lay_out_senders`, and `synaptic.lay_out_connections`, whose `longest` is the only table and whose
        triangles are the edges.
        """
        size, weight = len(self.weight), self.weight
        constants = self.constants
        if self.kind == 1:
            tables, edges = self.delay.new_empty(6 * size + 2, dtype=torch.int32), weight.new_empty(9, size)
            launch(
                lay_out_senders, (1,), OPTIONS, self.delay, self.width, tables, edges, size, self.reach, COLS=COLS,
                **constants,
            )  # fmt: skip
            return (weight.t().contiguous() if by_sender else weight), tables, edges
        precise = torch.float64 if constants["PRECISE"] == tl.float64 else torch.float32
        heights, longest = torch.empty_like(weight), weight.new_empty(1, dtype=torch.int32)
        edges = weight.new_empty(size + 1, size, dtype=precise)
        grid = (triton.cdiv(size, EDGE),) * 2
        launch(
            lay_out_connections, grid, OPTIONS, self.delay, self.width, weight, edges, heights, longest, size,
            self.reach, BY_SENDER=by_sender, EDGE=EDGE, **constants,
        )  # fmt: skip
        return heights, longest, edges


def recurrence_of(inputs: Inputs, reach: int, past: int) -> Recurrence:
    """Return the recurrence of a scan; reach: a tap that none is longer than; past: given steps that may be met."""
    weight, delay, width = inputs.weight, inputs.delay, inputs.width
    assert weight is not None and delay is not None and width is not None
    reach = min(reach, inputs.current.shape[0] - 1 + len(inputs.history))
    return Recurrence(weight.contiguous(), delay.contiguous(), width.contiguous(), reach, past, (past + 31) // 32)
