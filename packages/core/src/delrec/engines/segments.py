"""A scan that keeps little for the backward pass: only the state between segments of time, the rest is run again."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from delrec.engines.reference import rest_state
from delrec.engines.registry import scan
from delrec.engines.state import ScanOutput, ScanState
from delrec.neurons import Neuron

__all__ = ["scan_in_segments"]


def scan_in_segments(
    engine: str,
    current: Tensor,
    neuron: Neuron,
    weight: Tensor | None = None,
    delay: Tensor | None = None,
    width: Tensor | None = None,
    mask: Tensor | None = None,
    state: ScanState | None = None,
    segment: int = 100,
) -> ScanOutput:
    """Run `delrec.engines.scan` over segments of `segment` steps, each run again in the backward pass.

    Same spikes, final state and gradients, without a trace of states. What is kept is the input, and at each border
    the states and the last spikes (as many as the longest delay): for long T, at the price of a second forward pass.
    Raises ValueError for a segment shorter than one step.
    """
    if segment < 1:
        raise ValueError(f"segment = {segment!r}: at least one step")
    state = rest_state(neuron, current) if state is None else state
    count, used = len(state.states), ""

    def run(part: Tensor, part_mask: Tensor | None, *carried: Tensor) -> tuple[Tensor, ...]:
        nonlocal used
        begin = ScanState(carried[:count], carried[count])
        out = scan(engine, part, neuron, weight, delay, width, part_mask, begin, False)
        used = out.engine
        return out.spikes, *out.final.states, out.final.history

    spikes, carried = [], (*state.states, state.history)
    for begin in range(0, current.shape[0], segment):
        part = slice(begin, begin + segment)
        part_mask = mask[part] if mask is not None and mask.dim() == 3 else mask
        first, *carried_now = checkpoint(run, current[part], part_mask, *carried, use_reentrant=False)
        spikes.append(first)
        carried = tuple(carried_now)
    return ScanOutput(torch.cat(spikes), (), ScanState(carried[:count], carried[count]), used)
