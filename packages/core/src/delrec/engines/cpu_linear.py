"""A linear map for spikes: work follows the events, and the graph keeps a list of them instead of the input."""

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
    from delrec.engines.cpu_vector import COLUMNS

    _USABLE = True
except Exception:  # the scan says why, once
    _USABLE = False

__all__ = ["spike_linear"]

_SPARSE_SHARE = 0.35  # share of inputs that are not zero, above which the dense product is as fast
_CHUNK = 512  # rows of one task
_GROUPS = 16  # partial sums of the weight gradient: constants, so that results do not depend on threads
_TILE = 128  # rows whose events are sorted by sender at a time


def spike_linear(inputs: Tensor, weight: Tensor, bias: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
    """Return (mask * inputs) weight^T + bias, at a cost proportional to the inputs that are not zero.

    inputs: (T, B, N_in), spikes or any values. weight: (N_out, N_in). bias: (N_out,). mask: (B, N_in), a factor held
    over all steps (dropout). Returns (T, B, N_out). Gradients to inputs, weight and bias; none to the mask. Where more
    than 35 percent of a sample of the inputs are not zero, or on other devices and dtypes, it is torch's own product.
    """
    if not sparse(inputs):
        return F.linear(inputs if mask is None else inputs * mask, weight, bias)
    out: Tensor = _SpikeLinear.apply(inputs, weight.to(inputs.dtype), bias, mask)
    return out


def sparse(inputs: Tensor) -> bool:
    if not _USABLE or inputs.device.type != "cpu" or inputs.dtype not in (torch.float32, torch.float64):
        return False
    if inputs.numel() == 0 or inputs.dim() != 3 or inputs.shape[-1] > 65535:
        return False
    rows = inputs.detach().flatten(0, 1)
    sample = rows[:: max(1, rows.shape[0] // 256)]
    return bool(torch.count_nonzero(sample) <= _SPARSE_SHARE * sample.numel())


def _chunks(rows: int, size: int) -> list[tuple[int, int]]:
    return [(begin, min(rows, begin + size)) for begin in range(0, rows, size)]


def _padded(matrix: Tensor) -> np.ndarray[Any, Any]:
    """Copy a matrix with rows padded by zeros to whole vectors."""
    rows, columns = matrix.shape
    out = matrix.new_zeros(rows, (columns + COLUMNS - 1) // COLUMNS * COLUMNS)
    out[:, :columns] = matrix
    return out.view(-1).numpy()


def _flat(tensor: Tensor) -> np.ndarray[Any, Any]:
    return tensor.detach().contiguous().view(-1).numpy()


class _SpikeLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor | None) -> Tensor:
        steps, batch, size = inputs.shape
        rows, outputs = steps * batch, weight.shape[0]
        kernels = cpu_codegen.linear_module()
        wt = _padded(weight.detach().t())
        padded = len(wt) // size
        real = wt.dtype
        out = inputs.new_empty(steps, batch, outputs)
        x, y = _flat(inputs), _flat(out)
        factor, mask_rows = (np.zeros(0, real), 0) if mask is None else (_flat(mask), batch)
        offset = np.zeros(0, real) if bias is None else _flat(bias.to(inputs.dtype))
        keep = torch.is_grad_enabled() or any(ctx.needs_input_grad)
        # Room for a full row each; pages that no event reaches are never touched.
        index, value = np.empty(rows * size, np.uint16), np.empty(rows * size, real)
        counts = np.empty(rows, np.int64)
        chunks = _chunks(rows, _CHUNK)
        ones = [False] * len(chunks)

        def run(j: int) -> None:
            ones[j] = kernels.forward_rows(
                *chunks[j],
                x,
                size,
                outputs,
                padded,
                factor,
                mask_rows,
                wt,
                offset,
                bias is not None,
                y,
                index,
                value,
                counts,
            )

        parallel(run, len(chunks))
        if not keep:
            return out
        first = np.zeros(rows + 1, np.int64)
        np.cumsum(counts, out=first[1:])
        events = torch.empty(int(first[-1]), dtype=torch.int16)
        values = inputs.new_empty(0 if all(ones) else int(first[-1]))
        to, to_value = events.numpy().view(np.uint16), values.numpy()

        def pack(j: int) -> None:
            kernels.pack_rows(*chunks[j], size, index, value, first, not all(ones), to, to_value)

        parallel(pack, len(chunks))
        ctx.ones, ctx.shape, ctx.bias_dtype = all(ones), (steps, batch, size), None if bias is None else bias.dtype
        ctx.save_for_backward(weight, mask, events, values, torch.from_numpy(first.astype(np.int32)))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        weight, mask, events, values, first = ctx.saved_tensors
        steps, batch, size = ctx.shape
        rows, outputs = steps * batch, weight.shape[0]
        kernels = cpu_codegen.linear_module()
        g = _flat(grads[0])
        real = g.dtype
        factor, mask_rows = (np.zeros(0, real), 0) if mask is None else (_flat(mask), batch)
        need_input, need_weight, need_bias, _ = ctx.needs_input_grad
        g_x = g_weight = g_bias = None
        if need_input:
            g_x = weight.new_empty(steps, batch, size)
            out, w = _flat(g_x), _padded(weight)
            chunks = _chunks(rows, _CHUNK)
            width = len(w) // outputs

            def back(j: int) -> None:
                kernels.input_rows(*chunks[j], size, outputs, width, g, w, factor, mask_rows, out, 64)

            parallel(back, len(chunks))
        if need_weight or need_bias:
            padded = (outputs + COLUMNS - 1) // COLUMNS * COLUMNS
            groups = _chunks(rows, max(_TILE, (rows + _GROUPS - 1) // _GROUPS))
            parts = weight.new_zeros(len(groups), size * padded)
            sums = torch.zeros(len(groups), outputs, dtype=torch.float64)
            index, value = events.numpy().view(np.uint16), values.numpy()
            starts, to, to_bias = first.numpy(), parts.numpy(), sums.numpy()

            def run(j: int) -> None:
                kernels.weight_rows(
                    *groups[j], size, outputs, padded, g, index, value, not ctx.ones, starts, factor, mask_rows, to[j],
                    to_bias[j], _TILE,
                )  # fmt: skip

            parallel(run, len(groups))
            g_weight = parts.sum(0).view(size, padded)[:, :outputs].t() if need_weight else None
            g_bias = sums.sum(0).to(ctx.bias_dtype) if need_bias else None
        return g_x, g_weight, g_bias, None
