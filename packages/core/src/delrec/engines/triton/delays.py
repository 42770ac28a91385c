"""Feedforward delays (DCLS, version v1, one element) on a GPU: two taps per connection instead of a window.

A program owns a tile of receivers and of time in one row of the batch and sums over the senders; time is last, so that
the threads of a tap read adjacent steps. The same kernel, with receivers and senders exchanged and time reversed, gives
the gradient of the input. Without atomics, two runs give the same bits. Arithmetic is always IEEE.
"""

from typing import Any

import triton
import triton.language as tl
from torch import Tensor
from torch.nn.functional import pad

from delrec.engines.ops import delayed_operator
from delrec.engines.triton.tiles import launch

RECEIVERS, TIME = 16, 64  # of a tile: 8 sums per thread
GRID = 65_535  # programs along the second and third axis of a launch
_PROGRAMS = 2048  # for the kernel's gradient, at least, if the batch has enough rows: they fill the largest GPU
_OPTIONS = {"num_warps": 4, "num_stages": 2, "enable_fp_fusion": True}


@triton.jit(do_not_specialize=["length", "lead", "after", "batch"])
def read_taps(
    lines, place, factor, offset, y, length, lead, after, batch, senders, receivers,
    R: tl.constexpr, T: tl.constexpr, BIAS: tl.constexpr,
):  # fmt: skip
    """y[t, b, r] = offset[r] + sum_s factor[s, 0, r] x[n] + factor[s, 1, r] x[n - 1], n = t + lead - place[s, r].

    lines: x, (batch, senders, length), padded with silence so that no n lies outside. y: (after, batch, receivers).
    """
    b = tl.program_id(0).to(tl.int64)
    r = tl.program_id(1) * R + tl.arange(0, R)
    t = tl.program_id(2) * T + tl.arange(0, T)
    known = tl.minimum(r, receivers - 1)
    total = tl.zeros([R, T], dtype=y.dtype.element_ty)
    for s in range(senders):
        at = lines + (b * senders + s) * length + lead
        p = tl.load(place + s * receivers + known)
        newer = tl.load(factor + 2 * s * receivers + known)
        older = tl.load(factor + (2 * s + 1) * receivers + known)
        n = t[None, :] - p[:, None]
        total += newer[:, None] * tl.load(at + n) + older[:, None] * tl.load(at + n - 1)
    if BIAS:
        total += tl.load(offset + known)[:, None]
    to = (t.to(tl.int64)[None, :] * batch + b) * receivers + r[:, None]
    tl.store(y + to, total, mask=(t[None, :] < after) & (r[:, None] < receivers))


@triton.jit(do_not_specialize=["length", "lead", "grad_length", "grad_lead", "after", "batch", "rows"])
def sum_taps(
    lines, length, lead, grads, grad_length, grad_lead, place, parts, after, batch, senders, receivers, rows,
    R: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    """parts[group, s, k, r] = sum over rows of a group and t of g[t, b, r] x[t + lead - place[s, r] - k], k = 0, 1."""
    s = tl.program_id(0)
    r = tl.program_id(1) * R + tl.arange(0, R)
    group = tl.program_id(2)
    known = tl.minimum(r, receivers - 1)
    p = tl.load(place + s * receivers + known)
    newer = tl.zeros([R, T], dtype=parts.dtype.element_ty)
    older = tl.zeros([R, T], dtype=parts.dtype.element_ty)
    for b in range(group * rows, tl.minimum(batch, (group + 1) * rows)):
        row = tl.cast(b, tl.int64)
        at = lines + (row * senders + s) * length + lead
        of = grads + (row * receivers + known) * grad_length + grad_lead
        for start in range(0, after, T):
            t = start + tl.arange(0, T)
            n = t[None, :] - p[:, None]
            g = tl.load(of[:, None] + t[None, :])
            newer += g * tl.load(at + n)
            older += g * tl.load(at + n - 1)
    to = parts + (tl.cast(group, tl.int64) * senders + s) * 2 * receivers + r
    tl.store(to, tl.sum(newer, axis=1), mask=r < receivers)
    tl.store(to + receivers, tl.sum(older, axis=1), mask=r < receivers)


def _forward(
    inputs: Tensor, factor: Tensor, place: Tensor, bias: Tensor | None, window: int, left: int, right: int
) -> Tensor:
    after = inputs.shape[0] + left + right - window + 1
    lines = _lines(inputs, left, _whole(after) + window - 1)
    return _read(lines, place.t().contiguous(), factor.permute(1, 2, 0).contiguous(), bias, after, window - 1)


def _backward(
    inputs: Tensor, factor: Tensor, place: Tensor, bias: Tensor | None, window: int, left: int, right: int, _: Any,
    grads: list[Tensor], needs: list[bool],
) -> tuple[Tensor | None, ...]:  # fmt: skip
    (g,) = grads
    (steps, batch, senders), (after, _, receivers) = inputs.shape, g.shape
    shift = window - 1 - left
    before = max(0, shift)
    back = _lines(g, before, before + max(_whole(after), _whole(steps) - shift + window - 1))
    g_inputs = g_factor = None
    if needs[0]:  # x[s] reaches y at s - shift + place and one step later: the same kernel, forwards in time
        flipped = factor.flip(-1).permute(0, 2, 1).contiguous()
        g_inputs = _read(back, -1 - place, flipped, None, steps, before - shift)
    if needs[1]:
        lines, tiles = _lines(inputs, left, _whole(after) + window - 1), triton.cdiv(receivers, RECEIVERS)
        rows = triton.cdiv(batch, min(batch, triton.cdiv(_PROGRAMS, tiles * senders)))
        parts = g.new_empty(triton.cdiv(batch, rows), senders, 2, receivers)
        launch(
            sum_taps, (senders, tiles, len(parts)), _OPTIONS,
            lines, lines.shape[2], window - 1, back, back.shape[2], before, place.t().contiguous(), parts,
            after, batch, senders, receivers, rows, R=RECEIVERS, T=TIME,
        )  # fmt: skip
        g_factor = parts.sum(0).permute(2, 0, 1).contiguous()
    return g_inputs, g_factor, None, g.sum((0, 1)) if needs[3] else None


delayed = delayed_operator("triton", _forward, _backward)


def _whole(steps: int) -> int:
    """Return steps rounded up to whole tiles."""
    return triton.cdiv(steps, TIME) * TIME


def _lines(sequence: Tensor, before: int, length: int) -> Tensor:
    """Return (T, B, N) as (B, N, at least length) with `before` steps of silence in front, and the rest behind."""
    behind = max(0, length - before - sequence.shape[0])
    return pad(sequence.permute(1, 2, 0), (before, behind)).contiguous()


def _read(lines: Tensor, place: Tensor, factor: Tensor, offset: Tensor | None, after: int, lead: int) -> Tensor:
    """Launch `read_taps`; place: (senders, receivers), factor: (senders, 2, receivers), both contiguous."""
    batch, senders, length = lines.shape
    receivers = place.shape[1]
    out = lines.new_empty(after, batch, receivers)
    grid = (batch, triton.cdiv(receivers, RECEIVERS), triton.cdiv(after, TIME))
    launch(
        read_taps, grid, _OPTIONS,
        lines, place, factor, factor if offset is None else offset.contiguous(), out,
        length, lead, after, batch, senders, receivers, R=RECEIVERS, T=TIME, BIAS=offset is not None,
    )  # fmt: skip
    return out
