"""A linear map for spikes on a GPU: sums of weight rows over the spikes of a row, or a product where they are many.

The choice is made on the card, for each tile of rows by its own count, so that the host waits for nothing and a step
can be captured; it depends on the inputs alone. No atomics: two runs give the same bits. The backward pass is dense,
two products of torch, in the precision that torch is set to (float32 IEEE by default).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from delrec.engines.gradients import refuse_twice
from delrec.engines.triton.compilation import Compilation, signature_of
from delrec.engines.triton.tiles import launch

__all__ = ["compilations", "spike_linear"]

_LEAST = 32  # inputs: below, a product is as cheap as the search for spikes
_ROWS = 16  # of a tile: the least that a product takes
_CHUNK = 32  # inputs a word of bits, and of a product's step
_SHARE = 8  # events: at most one in so many inputs, or the tile is multiplied
_OPTIONS = {"num_warps": 4, "num_stages": 2, "enable_fp_fusion": True}


@triton.jit(do_not_specialize=["rows"])
def list_spikes(x, bits, count, rows, inputs, ROWS: tl.constexpr):
    """Bit i of bits[r, w], int32, tells whether x[r, 32 w + i] is not 0 (NaN is not); count[r] says how many are."""
    r = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    c = tl.arange(0, 32)
    words = tl.cdiv(inputs, 32)
    here = x + r.to(tl.int64)[:, None] * inputs + c[None, :]
    to = bits + r.to(tl.int64) * words
    total = tl.zeros([ROWS], dtype=tl.int32)
    for w in range(words):
        value = tl.load(here + w * 32, mask=(r[:, None] < rows) & (w * 32 + c[None, :] < inputs), other=0.0)
        found = (value != 0).to(tl.int32)
        total += tl.sum(found, axis=1)
        tl.store(to + w, tl.sum(found << c[None, :], axis=1), mask=r < rows)  # no two share a bit: a sum is an or
    tl.store(count + r, total, mask=r < rows)


@triton.jit(do_not_specialize=["rows"])
def multiply(
    x, bits, count, weight, bias, y, rows, inputs, outputs,
    ROWS: tl.constexpr, OUT: tl.constexpr, CHUNK: tl.constexpr, SHARE: tl.constexpr, BIAS: tl.constexpr,
):  # fmt: skip
    """y[r, o] = bias[o] + sum_i x[r, i] weight[i, o]; bits and count of `list_spikes`, weight (inputs, outputs)."""
    first = tl.program_id(0) * ROWS
    o = tl.program_id(1) * OUT + tl.arange(0, OUT)
    inside = o < outputs
    r = first + tl.arange(0, ROWS)
    offset = tl.zeros([OUT], dtype=y.dtype.element_ty)
    if BIAS:
        offset += tl.load(bias + o, mask=inside, other=0.0)
    events = tl.sum(tl.load(count + r, mask=r < rows, other=0))
    if events * SHARE > ROWS * inputs:
        known, c = r < rows, tl.arange(0, CHUNK)
        here = r.to(tl.int64)[:, None]
        total = tl.zeros([ROWS, OUT], dtype=y.dtype.element_ty) + offset[None, :]
        for start in range(0, inputs, CHUNK):
            i = start + c
            real = i < inputs
            a = tl.load(x + here * inputs + i[None, :], mask=known[:, None] & real[None, :], other=0.0)
            w = tl.load(weight + i[:, None] * outputs + o[None, :], mask=real[:, None] & inside[None, :], other=0.0)
            total = tl.dot(a, w, total, input_precision="ieee", out_dtype=y.dtype.element_ty)
        tl.store(y + here * outputs + o[None, :], total, mask=known[:, None] & inside[None, :])
    else:
        words = tl.cdiv(inputs, 32)
        for row in range(first, tl.minimum(first + ROWS, rows)):
            at = tl.cast(row, tl.int64)
            sum_of_row = offset
            for w in range(words):
                word = tl.load(bits + at * words + w).to(tl.uint32, bitcast=True)
                while word != 0:
                    lowest = word & (0 - word)
                    # a power of two is a float whose exponent is the bit's number
                    i = w * 32 + (lowest.to(tl.float32).to(tl.uint32, bitcast=True) >> 23).to(tl.int32) - 127
                    value = tl.load(x + at * inputs + i)
                    sum_of_row += value * tl.load(weight + i * outputs + o, mask=inside, other=0.0)
                    word = word ^ lowest
            tl.store(y + at * outputs + o, sum_of_row, mask=inside)


def spike_linear(inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor | None:
    """Return inputs weight^T + bias, at a cost that falls with the inputs that are 0.

    inputs: (T, B, N_in), spikes or any values. weight: (N_out, N_in). bias: (N_out,). Returns (T, B, N_out), or None
    for other dtypes than float32 and float64, for fewer than 32 inputs, and for 2^31 weights, numbered in 32 bits.
    """
    if inputs.dim() != 3 or inputs.dtype not in (torch.float32, torch.float64) or inputs.shape[-1] < _LEAST:
        return None
    if weight.numel() >= 2**31:
        return None
    out: Tensor = _SpikeLinear.apply(inputs, weight.to(inputs.dtype), bias)
    return out


class _SpikeLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.bias_dtype = None if bias is None else bias.dtype
        ctx.save_for_backward(inputs, weight)
        steps, batch, size = inputs.shape
        rows, outputs = steps * batch, weight.shape[0]
        x, across = inputs.contiguous(), weight.t().contiguous()
        bits = torch.empty(rows, triton.cdiv(size, 32), dtype=torch.int32, device=x.device)
        count = torch.empty(rows, dtype=torch.int32, device=x.device)
        launch(list_spikes, (triton.cdiv(rows, _ROWS),), _OPTIONS, x, bits, count, rows, size, ROWS=_ROWS)
        y = x.new_empty(steps, batch, outputs)
        tile = _tile(outputs)
        offset = weight if bias is None else bias.to(x.dtype).contiguous()
        grid = (triton.cdiv(rows, _ROWS), triton.cdiv(outputs, tile))
        launch(
            multiply, grid, _OPTIONS, x, bits, count, across, offset, y, rows, size, outputs,
            ROWS=_ROWS, OUT=tile, CHUNK=_CHUNK, SHARE=_SHARE, BIAS=bias is not None,
        )  # fmt: skip
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        refuse_twice("triton")
        inputs, weight = ctx.saved_tensors
        g = grads[0].flatten(0, 1)
        g_x = (g @ weight).view_as(inputs) if ctx.needs_input_grad[0] else None
        g_weight = g.t() @ inputs.flatten(0, 1) if ctx.needs_input_grad[1] else None
        g_bias = g.sum(0).to(ctx.bias_dtype) if ctx.needs_input_grad[2] else None
        return g_x, g_weight, g_bias


def _tile(outputs: int) -> int:
    """Return how many outputs a program computes: all up to 256."""
    return min(256, max(16, triton.next_power_of_2(outputs)))


def compilations(size: int, products: str) -> Iterator[Compilation]:
    """Yield what a map of `size` inputs and outputs launches; bfloat16 products are torch's."""
    if products == "bfloat16":
        return
    number = f"*fp{products.removeprefix('float')}:16"
    types = dict.fromkeys(("x", "weight", "bias", "y"), number) | dict.fromkeys(("bits", "count"), "*i32:16")
    types |= dict.fromkeys(("inputs", "outputs"), "i32:16" if size % 16 == 0 else "i32")
    rows = {"ROWS": _ROWS}
    yield Compilation("linear, spikes as bits", list_spikes, signature_of(list_spikes, types), rows, _OPTIONS)
    constants = rows | {"OUT": _tile(size), "CHUNK": _CHUNK, "SHARE": _SHARE, "BIAS": True}
    yield Compilation("linear, forward", multiply, signature_of(multiply, types), constants, _OPTIONS)
