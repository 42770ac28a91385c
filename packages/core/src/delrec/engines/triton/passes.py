"""The two passes of the triton engine as `engines.operators` calls them: each makes its own tables."""

from __future__ import annotations

import torch
from torch import Tensor

from delrec.engines.fused import Inputs, keeps_current
from delrec.engines.triton import scan
from delrec.engines.triton.codegen import kernels_for
from delrec.engines.triton.tiles import precision_of
from delrec.neurons import Neuron

__all__ = ["backward", "bits_like", "forward", "planes"]


def planes(neuron: Neuron, dtype: torch.dtype) -> int:
    """Return how many planes a trace has."""
    count: int = kernels_for(neuron, dtype, keeps_current(neuron, None)).PLANES
    return count


def bits_like(current: Tensor, recurrent: bool) -> Tensor:
    """Return an empty tensor shaped like the bits of the spikes of all steps."""
    steps, batch, size = current.shape
    return current.new_empty((steps + 31) // 32 if recurrent else 0, batch, size, dtype=torch.int32)


def forward(neuron: Neuron, inputs: Inputs, reach: int, keep: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Run the scan."""
    plan = _plan(neuron, inputs, reach)
    spikes, states, words = scan.forward(inputs, plan, keep)
    final = states[: len(inputs.start), (len(spikes) - 1) % states.shape[1]].clone()
    # steps before the first depend on the longest delay: a shape that nobody knows beforehand
    bits = bits_like(spikes, False) if plan.recurrence is None else words[plan.recurrence.prefix :].contiguous()
    return spikes, states, final, bits


def backward(
    neuron: Neuron, inputs: Inputs, reach: int, trace: Tensor, bits: Tensor, grads: tuple[Tensor, Tensor, Tensor],
    needs: tuple[bool, ...],
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """Run it back."""
    plan = _plan(neuron, inputs, reach)
    if plan.recurrence is not None:
        past, prefix = plan.recurrence.past, plan.recurrence.prefix
        rows = torch.zeros(32 * prefix, *bits.shape[1:], dtype=torch.int32, device=bits.device)
        rows[-past:] = (inputs.history[-past:] > 0).int() << (
            torch.arange(-past, 0, device=bits.device).view(-1, 1, 1) & 31
        )
        bits = torch.cat([rows.view(prefix, 32, *bits.shape[1:]).sum(1, dtype=torch.int32), bits])
    return scan.backward(inputs, trace, bits, plan, grads, needs)


def _plan(neuron: Neuron, inputs: Inputs, reach: int) -> scan.Plan:
    return scan.plan_of(neuron, inputs, reach, keeps_current(neuron, None), precision_of(inputs.current.dtype))
