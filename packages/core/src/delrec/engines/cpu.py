"""The cpu engine: one fused scan through time, compiled for the neuron, with a hand-written backward pass.

See docs/engines.md. Axonal and shared delays, no delay, and layers without recurrence, in float32 and float64. What it
cannot run goes to the reference engine, with one warning that says why.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from delrec.delays import kernel_length
from delrec.engines import reference
from delrec.engines.state import ScanOutput, ScanState
from delrec.engines.threads import parallel
from delrec.neurons import Neuron

try:
    from delrec.engines import cpu_codegen
    from delrec.engines.cpu_vector import COLUMNS, LANES

    _BROKEN = ""
except Exception as error:  # numba may be absent, or broken by another package, in many ways
    _BROKEN = f"numba cannot be used ({type(error).__name__}: {error})"

__all__ = ["scan"]

_DTYPES = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}
_DENSE_SHARE = 0.35  # share of live entries of z above which the dense product is faster
_GROUPS = 16  # partial sums of the weight gradient: a constant, so that results do not depend on threads
_warned: set[str] = set()


def scan(
    current: Tensor,
    neuron: Neuron,
    weight: Tensor | None = None,
    delay: Tensor | None = None,
    width: Tensor | None = None,
    mask: Tensor | None = None,
    state: ScanState | None = None,
    with_states: bool = True,
) -> ScanOutput:
    """Run the scan of `delrec.engines.reference.scan`, fused; same arguments, same result, same gradients."""
    reason = _unsupported(current, neuron, delay)
    if reason:
        if reason not in _warned:
            _warned.add(reason)
            warnings.warn(f"the reference engine runs instead of the cpu engine: {reason}", RuntimeWarning, stacklevel=3)
        return reference.scan(current, neuron, weight, delay, width, mask, state, with_states)
    steps, batch, size = current.shape
    dtype = current.dtype
    if state is None:
        state = reference.rest_state(neuron, current)
    coef = torch.stack([c.to(dtype).expand(size) for c in neuron.coefficients()])
    start = torch.stack([s.expand(batch, size) for s in state.states])
    inputs = (current, weight, delay, width, coef, start, state.history)
    training = torch.is_grad_enabled() and any(i is not None and i.requires_grad for i in inputs)
    kept = kernel_length(delay, width) - 1 if delay is not None and width is not None else 1
    plan = _Plan(neuron, training or with_states)
    spikes, *trace = _Scan.apply(plan, current, weight, delay, width, mask, coef, start, state.history)
    history = spikes[-kept:] if steps >= kept else torch.cat([state.history, spikes])[-kept:]
    last = (steps - 1) % trace[0].shape[0]
    final = ScanState(tuple(s[last] for s in trace), history)
    return ScanOutput(spikes, tuple(trace) if with_states else (), final, "cpu")


def _unsupported(current: Tensor, neuron: Neuron, delay: Tensor | None) -> str:
    if _BROKEN:
        return _BROKEN
    if current.device.type != "cpu":
        return f"it runs on CPU tensors, not on {current.device.type}"
    if current.dtype not in _DTYPES:
        return f"it runs in float32 and float64, not in {current.dtype}"
    if delay is not None and delay.dim() == 2:
        return "synaptic delays"
    if 0 in current.shape:
        return f"the input is empty: {tuple(current.shape)}"
    try:
        cpu_codegen.scan_module(neuron, _DTYPES[current.dtype])
    except ValueError as error:
        return str(error)
    return ""


@dataclass(frozen=True)
class _Plan:
    neuron: Neuron
    keep: bool  # keep every state: for the backward pass, or because they were asked for


@dataclass(frozen=True)
class _Taps:
    """The kernel m of each sender as contiguous taps first .. first+count-1, padded with zeros to a multiple of 4."""

    first: np.ndarray[Any, Any]
    count: np.ndarray[Any, Any]
    taps: np.ndarray[Any, Any]  # (N, width)
    left: np.ndarray[Any, Any]  # taps before 1 + d, at it, and after it, corners of the triangle included
    middle: np.ndarray[Any, Any]
    right: np.ndarray[Any, Any]
    slope: np.ndarray[Any, Any]  # 1 / half-width


@torch.no_grad()
def _taps(delay: Tensor, width: Tensor, reach: int, dtype: torch.dtype) -> _Taps:
    """Lay out the kernel; taps beyond `reach` steps meet no spike and are left out."""
    size = delay.shape[0]
    k = torch.arange(min(kernel_length(delay, width), reach + 1), dtype=dtype)
    half = width.to(dtype).expand(size).unsqueeze(-1)
    signed = k - (1 + delay.to(dtype)).unsqueeze(-1)
    room = half - signed.abs()
    inside = (room >= 0) & (k >= 1)
    count = inside.sum(1)
    first = torch.where(count > 0, inside.to(torch.uint8).argmax(1), 1)
    padded = (count + 3) // 4 * 4
    longest = max(4, int(padded.max()))
    column = first.unsqueeze(-1) + torch.arange(longest)
    valid = torch.arange(longest) < count.unsqueeze(-1)
    table = torch.where(valid, (room.clamp(min=0) / half**2).gather(1, column.clamp(max=len(k) - 1)), 0)

    def number(which: Tensor) -> np.ndarray[Any, Any]:
        return (inside & which).sum(1).numpy()

    return _Taps(
        first.numpy(), padded.numpy(), table.contiguous().numpy(), number(signed < 0), number(signed == 0),
        number(signed > 0), (1 / half.reshape(-1)).contiguous().numpy(),
    )  # fmt: skip


def _flat(tensor: Tensor) -> np.ndarray[Any, Any]:
    return tensor.detach().contiguous().view(-1).numpy()


def _padded(size: int) -> int:
    return (size + COLUMNS - 1) // COLUMNS * COLUMNS


def _square(weight: Tensor, dtype: torch.dtype) -> np.ndarray[Any, Any]:
    """Copy a matrix into a zero-padded square, row by row."""
    size = weight.shape[0]
    out = torch.zeros(_padded(size), _padded(size), dtype=dtype)
    out[:size, :size] = weight
    return out.view(-1).numpy()


class _Scan(torch.autograd.Function):
    """The scan with its adjoint; see `scan`. History is (K, B, N), newest last."""

    @staticmethod
    def forward(
        ctx: Any, plan: _Plan, current: Tensor, weight: Tensor | None, delay: Tensor | None, width: Tensor | None,
        mask: Tensor | None, coef: Tensor, start: Tensor, history: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        steps, batch, size = current.shape
        dtype, states = current.dtype, len(plan.neuron.states)
        module = cpu_codegen.scan_module(plan.neuron, _DTYPES[dtype])
        tiles = (batch + LANES - 1) // LANES
        held = steps if plan.keep else min(steps, 2)
        spikes = current.new_empty(current.shape)
        trace = [current.new_empty(held, batch, size) for _ in range(states)]
        taps, prefix, past = None, 0, 0
        bits = torch.zeros(0, dtype=torch.int16)
        if weight is not None:
            assert delay is not None and width is not None
            taps = _taps(delay, width, steps - 1 + history.shape[0], dtype)
            prefix = int((taps.first + taps.count).max())
            past = min(history.shape[0], prefix)
            bits = torch.zeros(tiles, size, prefix + steps, dtype=torch.int16)
            _pack(bits, history[-past:], prefix)
        arguments = _arguments(plan, current, weight, mask, coef, start, history, bits, prefix, taps)
        square = _square(weight.detach().t(), dtype) if weight is not None else _empty(dtype)
        flat_x, out, flat_trace = _flat(current), _flat(spikes), [_flat(s) for s in trace]
        a = arguments

        def run(tile: int) -> None:
            module.forward_tile(
                tile, steps, batch, size, _padded(size), flat_x, weight is not None, *a.mask, a.coef, a.params, a.spike0,
                a.start, out, *flat_trace, held, a.bits, prefix, *a.taps, square, a.dense_above,
            )  # fmt: skip

        parallel(run, tiles)
        ctx.plan, ctx.taps, ctx.prefix, ctx.past, ctx.shape = plan, taps, prefix, past, (steps, batch, size)
        ctx.given = [None if d is None else (d.shape, d.dtype) for d in (delay, width)]
        ctx.save_for_backward(weight, mask, coef, start, history, bits, *trace)
        ctx.set_materialize_grads(False)
        return (spikes, *trace)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        weight, mask, coef, start, history, bits, *trace = ctx.saved_tensors
        plan, taps, prefix = ctx.plan, ctx.taps, ctx.prefix
        steps, batch, size = ctx.shape
        dtype, states = coef.dtype, len(plan.neuron.states)
        module = cpu_codegen.scan_module(plan.neuron, _DTYPES[dtype])
        _, _, need_weight, need_delay, need_width, _, need_coef, need_start, need_history = ctx.needs_input_grad
        past = ctx.past if need_history and weight is not None else 0
        padded, tiles = _padded(size), (batch + LANES - 1) // LANES
        groups = min(tiles, _GROUPS)
        recurrent = weight is not None
        g_x = coef.new_empty(steps, batch, size)
        g_wt = coef.new_zeros(groups, padded * padded if need_weight else 0)
        g_delay, g_width = (torch.zeros(groups, size, dtype=torch.float64) for _ in range(2))
        g_coef = torch.zeros(groups, len(coef) * size, dtype=torch.float64)
        wanted = need_start or need_history
        g_start = coef.new_zeros(1 + states, batch, size) if wanted else coef.new_zeros(0)
        g_past = coef.new_zeros(past, batch, size)
        a = _arguments(plan, coef, weight, mask, coef, start, history, bits, prefix, taps, (steps, batch, size))
        square = _square(weight, dtype) if recurrent else _empty(dtype)
        g_spikes = _empty(dtype) if grads[0] is None else _flat(grads[0])
        g_trace = [_empty(dtype) if g is None else _flat(g) for g in grads[1:]]
        given = sum(1 << j for j, g in enumerate(grads[1:]) if g is not None)
        flat_trace, out, start_out, past_out = [_flat(s) for s in trace], _flat(g_x), _flat(g_start), _flat(g_past)
        partial = [x.numpy() for x in (g_wt, g_delay, g_width, g_coef)]
        sides = (taps.left, taps.middle, taps.right, taps.slope) if taps else a.no_sides
        reach = taps.first + taps.count if taps else a.taps[0]

        def run(group: int) -> None:
            for tile in range(group, tiles, groups):
                module.backward_tile(
                    tile, steps, batch, size, padded, recurrent, *a.mask, a.coef, a.params, a.spike0, a.start,
                    *flat_trace, grads[0] is not None, g_spikes, given, *g_trace, out, a.bits, prefix, *a.taps, *sides,
                    reach, square, a.dense_above, need_weight, need_delay or need_width, need_coef, wanted,
                    *(p[group] for p in partial), start_out, past_out, past,
                )  # fmt: skip

        parallel(run, groups)
        g_weight = g_wt.sum(0).view(padded, padded)[:size, :size].t() if need_weight else None
        grad_delay = _reduce(g_delay.sum(0), ctx.given[0]) if need_delay else None
        grad_width = _reduce(g_width.sum(0), ctx.given[1]) if need_width else None
        grad_coef = g_coef.sum(0).view(len(coef), size).to(dtype) if need_coef else None
        grad_history = None
        if need_history:
            grad_history = torch.zeros_like(history)
            if past:
                grad_history[-past:] = g_past
            grad_history[-1] += g_start[0]
        grad_start = g_start[1:] if need_start else None
        return None, g_x, g_weight, grad_delay, grad_width, None, grad_coef, grad_start, grad_history


def _reduce(gradient: Tensor, given: tuple[torch.Size, torch.dtype]) -> Tensor:
    return gradient.sum_to_size(given[0]).to(given[1])


def _empty(dtype: torch.dtype) -> np.ndarray[Any, Any]:
    return np.zeros(0, _DTYPES[dtype])


def _pack(bits: Tensor, history: Tensor, prefix: int) -> None:
    """Write past spikes (K, B, N) in front of step 0: bit b of bits[tile, n, prefix - K + j]."""
    past, batch, size = history.shape
    words = torch.zeros(past, bits.shape[0] * LANES, size, dtype=torch.int32)
    words[:, :batch] = (history.detach() > 0).to(torch.int32)
    shifts = torch.arange(LANES, dtype=torch.int32).view(1, 1, LANES, 1)
    packed = (words.view(past, -1, LANES, size) << shifts).sum(2, dtype=torch.int32)
    bits[:, :, prefix - past : prefix] = packed.permute(1, 2, 0).to(torch.int16)


@dataclass(frozen=True)
class _Arguments:
    """What both passes hand to the compiled scan, flat."""

    mask: tuple[np.ndarray[Any, Any], int, int]
    coef: np.ndarray[Any, Any]
    params: np.ndarray[Any, Any]
    spike0: np.ndarray[Any, Any]
    start: np.ndarray[Any, Any]
    bits: np.ndarray[Any, Any]
    taps: tuple[Any, ...]
    no_sides: tuple[Any, ...]
    dense_above: float


def _arguments(
    plan: _Plan, like: Tensor, weight: Tensor | None, mask: Tensor | None, coef: Tensor, start: Tensor, history: Tensor,
    bits: Tensor, prefix: int, taps: _Taps | None, shape: tuple[int, int, int] | None = None,
) -> _Arguments:  # fmt: skip
    steps, batch, size = shape if shape is not None else like.shape
    dtype = like.dtype
    real = _DTYPES[dtype]
    whole = np.zeros(size, np.int64)
    mask_part: tuple[np.ndarray[Any, Any], int, int] = (_empty(dtype), 0, 0)
    if mask is not None and weight is not None:
        full = mask.to(dtype).expand((batch, size) if mask.dim() == 2 else (steps, batch, size))
        mask_part = (_flat(full), 1, batch * size if mask.dim() == 3 else 0)
    tap_part: tuple[Any, ...] = (whole, whole, _empty(dtype), 0)
    if taps is not None:
        tap_part = (taps.first, taps.count, taps.taps.reshape(-1), taps.taps.shape[1])
    return _Arguments(
        mask=mask_part,
        coef=_flat(coef),
        params=np.array(plan.neuron.surrogate.params or (0.0,), real),
        spike0=_flat(history[-1]),
        start=_flat(start),
        bits=bits.view(-1).numpy().view(np.uint16),
        taps=tap_part,
        no_sides=(whole, whole, whole, _empty(dtype)),
        dense_above=_DENSE_SHARE * size * LANES,
    )
