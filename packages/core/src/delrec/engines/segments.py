"""A scan that keeps little for the backward pass: only the state between segments of time, the rest is run again."""

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from delrec.engines.interface import Output, Request, State, check, rest_state, run


def scan_in_segments(engine: str, request: Request, segment: int = 100) -> Output:
    """Run `scan` over segments of `segment` steps, each run again in the backward pass.

    Same spikes, final state and gradients, without a trace of states. What is kept is the input, and at each border
    the states and the last spikes (as many as the longest delay): for long T, at the price of a second forward pass.
    Raises ValueError for a segment below one step, a request for a trace or with lengths, or what `check` refuses.
    """
    if segment < 1:
        raise ValueError(f"segment = {segment!r}: at least one step")
    if request.trace or request.lengths is not None:
        raise ValueError("a scan in segments gives no trace of states and takes no lengths: leave out `segment`")
    check(request)  # the whole: parts of a mask that is too long have the right shape
    state = rest_state(request.neuron, request.current) if request.state is None else request.state
    count, cut, mask = len(state.states), state.cut, request.mask
    used: set[str] = set()

    # what `piece` reads apart from its arguments: torch does not know that the backward pass reads it again
    read = [t for t in (request.weight, request.delay, request.width, mask, request.taps) if t is not None]
    eager = not torch.compiler.is_compiling()
    read = [*read, *request.neuron.parameters()] if eager else []
    versions = [t._version for t in read]

    def piece(part: Tensor, part_mask: Tensor | None, cut: bool, *carried: Tensor) -> tuple[Tensor, ...]:
        if [t._version for t in read] != versions:
            raise RuntimeError(
                "a weight, delay or parameter was modified by an inplace operation between the forward and the "
                "backward pass of a layer with segments: call backward() first"
            )
        begin = State(carried[:count], carried[count], cut)
        out = run(engine, request._replace(current=part, mask=part_mask, state=begin))
        if eager:  # a side effect, which a checkpoint in a graph may not have
            used.add(out.engine)
        return out.spikes, *out.final.states, out.final.history

    spikes, carried = [], (*state.states, state.history)
    for begin in range(0, request.current.shape[0], segment):
        part = slice(begin, begin + segment)
        part_mask = mask[part] if mask is not None and mask.dim() == 3 else mask
        first, *now = checkpoint(piece, request.current[part], part_mask, cut, *carried, use_reentrant=False)
        spikes.append(first)
        cut = cut or now[count].shape[0] < carried[count].shape[0] + first.shape[0]
        carried = tuple(now)
    return Output(torch.cat(spikes), (), State(carried[:count], carried[count], cut), "+".join(sorted(used)))
