"""The two passes of the cpu engine as `engines.operators` calls them: each makes its own tables."""

from __future__ import annotations

import torch
from torch import Tensor

from delrec.engines.cpu.codegen import kernels_for
from delrec.engines.cpu.common import real, tile_count
from delrec.engines.cpu.recurrence import recurrence_of
from delrec.engines.cpu.scan import backward as scan_back
from delrec.engines.cpu.scan import forward as scan_forth
from delrec.engines.cpu.scan import pack
from delrec.engines.fused import Inputs, keeps_current
from delrec.neurons import Neuron

__all__ = ["backward", "bits_like", "forward", "planes"]


def planes(neuron: Neuron, dtype: torch.dtype) -> int:
    """Return how many planes a trace has."""
    count: int = kernels_for(neuron, real(dtype), "axonal", keeps_current(neuron, None)).PLANES
    return count


def bits_like(current: Tensor, recurrent: bool) -> Tensor:
    """Return an empty tensor shaped like the bits of the spikes of all steps."""
    steps, batch, size = current.shape
    return current.new_empty(tile_count(batch) if recurrent else 0, size, steps, dtype=torch.int16)


def forward(neuron: Neuron, inputs: Inputs, reach: int, keep: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Run the scan."""
    spikes, trace, final, bits, recurrence, _ = scan_forth(neuron, inputs, keep, keeps_current(neuron, None))
    # steps before the first depend on the longest delay: a shape that nobody knows beforehand
    return spikes, trace, final, bits[..., recurrence.prefix :].contiguous()


def backward(
    neuron: Neuron, inputs: Inputs, reach: int, trace: Tensor, bits: Tensor, grads: tuple[Tensor, Tensor, Tensor],
    needs: tuple[bool, ...],
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """Run it back."""
    like, history = inputs.current, inputs.history
    recurrence = recurrence_of(inputs.weight, inputs.delay, inputs.width, like, history.shape[0])
    words = torch.zeros(*bits.shape[:2], recurrence.prefix + like.shape[0], dtype=torch.int16)
    if inputs.weight is not None:
        words[..., recurrence.prefix :] = bits
        pack(words, history[-recurrence.past :], recurrence.prefix)
    module = kernels_for(neuron, real(inputs.coef.dtype), recurrence.kind, keeps_current(neuron, None))
    return scan_back(neuron, module, recurrence, inputs, trace, words, grads, needs)
