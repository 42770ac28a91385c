"""Feedforward delays (DCLS, version v1, one element) on the cpu engine: two taps a connection instead of a window.

A dense convolution multiplies every input with all K taps of every connection, of which two are not zero. Here a tile
of the batch reads those two; and the gradient of a kernel follows the input's events.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from delrec.engines.threads import parallel

try:
    from delrec.engines import cpu_codegen
    from delrec.engines.cpu_recurrence import flat
    from delrec.engines.cpu_vector import LANES

    _USABLE = True
except Exception:  # the scan says why, once
    _USABLE = False

__all__ = ["delayed_linear", "suits"]

# share of inputs that are not zero, above which the dense convolution trains faster (docs/engines.md)
_SPARSE_SHARE = 0.6
_EPSILON = 1e-7  # of DCLS's normalisation
_GROUPS = 16  # partial sums of the kernel's gradient: a constant, so that results do not depend on threads
_CHUNK = 512


def suits(inputs: Tensor, window: int) -> bool:
    """Return whether `delayed_linear` takes (T, B, inputs) and is the faster way, by a sample of its rows."""
    if not _USABLE or inputs.device.type != "cpu" or inputs.dtype not in (torch.float32, torch.float64):
        return False
    if window < 2 or inputs.numel() == 0:
        return False
    rows = inputs.detach().flatten(0, 1)
    sample = rows[:: max(1, rows.shape[0] // 256)]
    return bool(torch.count_nonzero(sample) <= _SPARSE_SHARE * sample.numel())


def delayed_linear(
    inputs: Tensor, weight: Tensor, position: Tensor, bias: Tensor | None, window: int, left: int, right: int
) -> Tensor:
    """Return y of `delrec.feedforward.FeedforwardDelays` for the kernel "v1".

    inputs: (T, B, N_in). weight: (N_out, N_in). position: (N_out|1, N_in|1), relative to the window's centre. bias:
    (N_out,) or None. left, right: zeros around the sequence. Returns (T + left + right - window + 1, B, N_out).
    """
    dtype = inputs.dtype
    at = position + window // 2
    first = at.detach().floor().clamp(0, window - 2)
    taps = torch.stack([first, first + 1], -1)
    triangle = F.relu(1 - (taps - at.unsqueeze(-1)).abs())
    triangle = triangle / (triangle.sum(-1, keepdim=True) + _EPSILON)
    factor = (weight.unsqueeze(-1) * triangle).to(dtype)
    # tap k reads window - 1 - k steps before the clock of the output; the later of the two lies first in the ring
    place = (window - 2 - first).to(torch.int32).expand(weight.shape)
    offset = None if bias is None else bias.to(dtype)
    out: Tensor = _Delayed.apply(inputs, factor.flip(-1), place, offset, window, left, right)
    return out


class _Delayed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        factor: Tensor,
        place: Tensor,
        offset: Tensor | None,
        window: int,
        left: int,
        right: int,
    ) -> Tensor:
        steps, batch, size = inputs.shape
        outputs = factor.shape[0]
        after = steps + left + right - window + 1
        out = inputs.new_empty(after, batch, outputs)
        kernels = cpu_codegen.delays_module()
        x, y = flat(inputs), flat(out)
        empty, whole = x[:0], np.zeros(0, np.int32)
        tables = (flat(place), flat(factor), empty if offset is None else flat(offset), offset is not None)
        ctx.sizes = (steps, after, window - 1 - left, batch)

        def run(tile: int) -> None:
            kernels.delayed_tile(
                tile, *ctx.sizes, size, outputs, window, x, *tables, y, False, whole, whole, empty, whole, empty
            )

        parallel(run, (batch + LANES - 1) // LANES)
        ctx.window = window
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(factor, place, *_events(kernels, x, steps * batch, size))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        factor, place, first, index, value = ctx.saved_tensors
        steps, _, _, batch = ctx.sizes
        outputs, size = place.shape
        g = grads[0].contiguous()
        g_x = g.new_empty(steps, batch, size)
        kernels = cpu_codegen.delays_module()
        tiles = (batch + LANES - 1) // LANES
        groups = min(tiles, _GROUPS)
        g_factor = g.new_zeros(groups, size * outputs * 2)
        back, flat_g, y = flat(place.t()), flat(g), flat(g_x)
        tables = (back, flat(factor.transpose(0, 1)), flat_g[:0], False)
        events, sums = (flat(first), flat(index), flat(value)), g_factor.numpy()

        def run(group: int) -> None:
            for tile in range(group, tiles, groups):
                kernels.delayed_tile(
                    tile, *ctx.sizes, outputs, size, ctx.window, flat_g, *tables, y, True, *events, back, sums[group]
                )

        parallel(run, groups)
        total = g_factor.sum(0).view(size, outputs, 2).transpose(0, 1)
        g_offset = g.flatten(0, 1).sum(0) if ctx.needs_input_grad[3] else None
        return g_x, total, None, g_offset, None, None, None


def _events(kernels: Any, x: np.ndarray[Any, Any], rows: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """List what is not zero, row by row: where each row begins, columns, values."""
    index, value, counts = np.empty(rows * size, np.int32), np.empty(rows * size, x.dtype), np.empty(rows, np.int64)
    chunks = [(begin, min(rows, begin + _CHUNK)) for begin in range(0, rows, _CHUNK)]

    def run(j: int) -> None:
        kernels.list_rows(*chunks[j], x, size, index, value, counts)

    parallel(run, len(chunks))
    first = np.zeros(rows + 1, np.int64)
    np.cumsum(counts, out=first[1:])
    parts = [slice(begin * size, begin * size + int(first[end] - first[begin])) for begin, end in chunks]
    columns = np.concatenate([index[p] for p in parts])
    values = np.concatenate([value[p] for p in parts])
    return torch.from_numpy(first), torch.from_numpy(columns), torch.from_numpy(values)
