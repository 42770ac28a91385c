"""y = x W^T + b on the cpu engine: along the events if x is mostly zeros, as spikes are, otherwise dense.

Both give the same bits on every processor, see docs/engines.md: an element is one chain of fused multiply-adds, in
ascending order of the index summed over, or one chain per group of `row_groups`, which are added in order.

Matrices are contiguous tensors of float32 or float64. Blocks follow Goto and van de Geijn (2008), "Anatomy of
high-performance matrix multiplication": panels of one vector's width and _DEPTH terms stay in the first cache.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from delrec.engines.cpu.cache import compiled, entry
from delrec.engines.cpu.common import GROUPS, add_rows, add_up, aligned, flat, padded, padded_rows
from delrec.engines.cpu.vector import LANES, ROWS, get, multiply_rows, next_bit, nonzero_bits, put
from delrec.engines.ops import Operator
from delrec.engines.threads import parallel

_CHUNK = 512  # rows of one task
_SPARSE_SHARE = 0.35  # share of nonzero inputs above which the dense product is as fast
_TILE = 128  # rows whose events are sorted by sender at a time


def _linear(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    rows = inputs.reshape(-1, inputs.shape[-1])
    product = _sparse_product if mostly_zero(rows, _SPARSE_SHARE) else multiply
    return product(rows, weight, bias).view(*inputs.shape[:-1], -1)


def _shapes(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return inputs.new_empty(*inputs.shape[:-1], weight.shape[0])


def _backward(
    inputs: Tensor, weight: Tensor, bias: Tensor | None, _: Any, grads: list[Tensor], needs: list[bool]
) -> tuple[Tensor | None, ...]:
    g, rows = grads[0].reshape(-1, grads[0].shape[-1]), inputs.reshape(-1, inputs.shape[-1])
    sparse = needs[1] and mostly_zero(rows, _SPARSE_SHARE)
    return (
        multiply(g, weight.t()).view(inputs.shape) if needs[0] else None,
        (_sparse_gradient if sparse else weight_gradient)(g, rows) if needs[1] else None,
        sum_rows(g) if needs[2] else None,
    )


linear = Operator("cpu_linear", _linear, _shapes, _backward)


def chunks(rows: int, size: int = _CHUNK) -> list[tuple[int, int]]:
    """Divide 0 .. rows into (begin, end) of `size` rows."""
    return [(begin, min(rows, begin + size)) for begin in range(0, rows, size)]


def row_groups(rows: int) -> list[tuple[int, int]]:
    """Divide 0 .. rows into the groups of a sum over rows: at most GROUPS, of at least 128 rows."""
    return chunks(rows, max(128, -(-rows // GROUPS)))


def mostly_zero(rows: Tensor, share: float) -> bool:
    """Return whether at most `share` of a sample of rows (R, N) is nonzero."""
    sample = rows[:: max(1, rows.shape[0] // 256)]
    return bool(torch.count_nonzero(sample) <= share * sample.numel())


def _sparse_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    outputs, inputs = weight.shape
    out = x.new_empty(len(x), outputs)
    sizes, w = (inputs, outputs, padded(outputs)), padded_rows(weight.t())
    a, y, begin = flat(x), flat(out), flat(x.new_zeros(outputs) if bias is None else bias)
    cut = chunks(len(x))
    parallel(lambda j: forward_rows(*cut[j], sizes, a, w, begin, y), len(cut))
    return out


def _sparse_gradient(g: Tensor, x: Tensor) -> Tensor:
    outputs, inputs = g.shape[1], x.shape[1]
    sizes, groups = (inputs, outputs, padded(outputs)), row_groups(len(x))
    parts = x.new_zeros(len(groups), inputs * padded(outputs))
    a, b, to = flat(g), flat(x), parts.numpy()
    parallel(lambda j: weight_rows(*groups[j], sizes, a, b, to[j], _TILE), len(groups))
    return add_up(parts).view(inputs, -1)[:, :outputs].t().contiguous()


@compiled
def list_row(x, at, inputs, index, value, to):
    """List the nonzero columns of one row and their values, from `to` on; return their number."""
    n = to
    whole = inputs // LANES * LANES
    for c in range(0, whole, LANES):
        word = nonzero_bits(x, at + c)
        while word != 0:
            o = c + next_bit(word)
            index[n] = o
            value[n] = get(x, at + o)
            n += 1
            word &= word - np.uint16(1)
    for o in range(whole, inputs):
        v = get(x, at + o)
        if v != 0.0:
            index[n] = o
            value[n] = v
            n += 1
    return n - to


@entry
def forward_rows(begin, end, sizes, x, wt, bias, y):
    """y[r] = bias + sum_o x[r, o] wt[o] for rows begin .. end - 1. sizes: inputs, outputs, and outputs padded."""
    inputs, outputs, padded = sizes
    out = aligned(padded, x.dtype.type)
    index = np.empty(inputs, np.int32)
    value = np.empty(inputs, x.dtype.type)
    for r in range(begin, end):
        n = list_row(x, r * inputs, inputs, index, value, 0)
        for i in range(outputs):
            put(out, i, get(bias, i))
        add_rows(out, 0, padded, index, value, 0, n, wt, 0, padded)
        for i in range(outputs):
            put(y, r * outputs + i, get(out, i))


@entry
def weight_rows(begin, end, sizes, g, x, g_wt, tile):
    """g_wt[o] += sum_r x[r, o] g[r] for rows begin .. end - 1; sizes: as in `forward_rows`.

    `tile` rows at a time, whose events are sorted by column: counted, then put in their places.
    """
    inputs, outputs, padded = sizes
    real = g.dtype.type
    rows = aligned(tile * padded, real)
    first = np.zeros(tile + 1, np.int64)
    index, value = np.empty(tile * inputs, np.int32), np.empty(tile * inputs, real)
    place = np.zeros(inputs + 1, np.int64)
    which, factor = np.empty(tile * inputs, np.int32), np.empty(tile * inputs, real)
    for r0 in range(begin, end, tile):
        count = min(tile, end - r0)
        place[:] = 0
        for r in range(count):
            for i in range(outputs):
                put(rows, r * padded + i, get(g, (r0 + r) * outputs + i))
            first[r + 1] = first[r] + list_row(x, (r0 + r) * inputs, inputs, index, value, first[r])
        for j in range(first[count]):
            place[index[j] + 1] += 1
        for o in range(inputs):
            place[o + 1] += place[o]
        for r in range(count):
            for j in range(first[r], first[r + 1]):
                to = place[index[j]]
                which[to] = r
                factor[to] = value[j]
                place[index[j]] += 1
        for o in range(inputs):
            before = place[o - 1] if o else 0
            if place[o] > before:
                add_rows(g_wt, o * padded, padded, which, factor, before, place[o] - before, rows, 0, padded)


_DEPTH = 256  # terms of a panel
_HEIGHT = 96  # rows that meet a panel before the next one is fetched
_TASK = 1 << 25  # multiply-adds of a task, about


def multiply(x: Tensor, weight: Tensor, bias: Tensor | None = None, add_to: Tensor | None = None) -> Tensor:
    """Return x weight^T + bias, or add x weight^T to `add_to` in place; (R, N).

    x: (R, K). weight: (N, K), with any strides. bias: (N,).
    """
    rows, depth = x.shape
    size = weight.shape[0]
    out = x.new_empty(rows, size) if add_to is None else add_to
    width = 64 // x.element_size()
    padded = -(-size // width) * width
    start = x.new_zeros(padded)
    if bias is not None:
        start[:size] = bias.detach()
    panels = x.new_empty(depth * padded)
    turned = weight.t().is_contiguous()  # read as it lies
    w, strides = flat(weight.t() if turned else weight), (size, 1) if turned else (1, depth)
    pack(w, *strides, depth, size, panels.numpy())
    begins, a, b, y = start.numpy(), flat(x), panels.numpy(), flat(out)
    cut = chunks(rows, max(_HEIGHT, _TASK // max(1, depth * size)))
    parallel(lambda j: rows_product(*cut[j], depth, size, a, b, begins, add_to is not None, y), len(cut))
    return out


def weight_gradient(g: Tensor, x: Tensor) -> Tensor:
    """Return g^T x, (N, K). g: (R, N). x: (R, K)."""
    groups = row_groups(x.shape[0])
    parts = x.new_zeros(len(groups), g.shape[1], x.shape[1])
    a, b, to = flat(g), flat(x), parts.view(len(groups), -1).numpy()
    parallel(lambda j: outer_product(*groups[j], g.shape[1], x.shape[1], a, b, to[j]), len(groups))
    return add_up(parts)


def sum_rows(g: Tensor) -> Tensor:
    """Return the sums of the columns of g (R, N), computed in float64, in its dtype."""
    groups = row_groups(g.shape[0])
    parts = torch.zeros(len(groups), g.shape[1], dtype=torch.float64)
    a, to = flat(g), parts.numpy()
    parallel(lambda j: column_sums(*groups[j], g.shape[1], a, to[j]), len(groups))
    return add_up(parts).to(g.dtype)


@entry
def pack(w, step, row, depth, size, panels):
    """Store w[n row + k step] as panels (k of _DEPTH, n of a vector) in the order in which they are read."""
    width = 64 // panels.itemsize
    padded = (size + width - 1) // width * width
    for first in range(0, depth, _DEPTH):
        count = min(_DEPTH, depth - first)
        pack_panels(w, first * step, step, row, count, size, panels, first * padded, width)


@compiled
def pack_panels(w, w_at, step, row, count, size, panels, at, width):
    """panels[j, k, i] = w[w_at + k step + (j width + i) row] for k < count; 0 beyond `size`."""
    zero = panels.dtype.type(0.0)
    for first in range(0, size, width):
        m = min(width, size - first)
        for k in range(count):
            source = w_at + k * step + first * row
            if row == 1:
                for i in range(m):
                    put(panels, at + i, get(w, source + i))
            else:
                for i in range(m):
                    put(panels, at + i, get(w, source + i * row))
            for i in range(m, width):
                put(panels, at + i, zero)
            at += width


@compiled
def block_product(rows, a, a_at, a_row, a_step, block, b, b_at, count, size, start, start_at, start_row, c, c_at, tile):
    """c[r, n] = start[r, n] + sum_{k < count} a[r, k] b[k, n]: b in panels; ROWS rows of a are `block` apart."""
    width = 64 // c.itemsize
    for first in range(0, size, width):
        panel = b_at + first * count
        m = min(width, size - first)
        for r in range(0, rows, ROWS):
            n = min(ROWS, rows - r)
            from_a = a_at + r // ROWS * block
            begin, to = start_at + r * start_row + first, c_at + r * size + first
            before, before_at, before_row, after, after_at, after_row = start, begin, start_row, c, to, size
            if m < width:
                before, before_at, before_row, after, after_at, after_row = tile, 0, width, tile, 0, width
                for j in range(n):
                    for i in range(m):
                        put(tile, j * width + i, get(start, begin + j * start_row + i))
            multiply_rows(
                a, from_a, a_row, a_step, b, panel, width, before, before_at, before_row, after, after_at, after_row, n,
                count,
            )  # fmt: skip
            if m < width:
                for j in range(n):
                    for i in range(m):
                        put(c, to + j * size + i, get(tile, j * width + i))


@entry
def rows_product(begin, end, depth, size, x, panels, start, add, y):
    """y[r] = start + x[r] w^T, or y[r] += x[r] w^T if `add`, for rows begin .. end - 1; panels: see `pack`."""
    width = 64 // y.itemsize
    padded = (size + width - 1) // width * width
    tile = aligned(ROWS * width, y.dtype.type)
    for r in range(begin, end, _HEIGHT):
        rows = min(_HEIGHT, end - r)
        for first in range(0, depth, _DEPTH):
            count, at = min(_DEPTH, depth - first), r * depth + first
            before, before_at, before_row = (y, r * size, size) if add or first else (start, 0, 0)
            block_product(
                rows, x, at, depth, 1, ROWS * depth, panels, first * padded, count, size, before, before_at, before_row,
                y, r * size, tile,
            )  # fmt: skip


@entry
def outer_product(begin, end, outputs, inputs, g, x, to):
    """to[o, i] += sum_r g[r, o] x[r, i] for rows begin .. end - 1."""
    width, real = 64 // to.itemsize, to.dtype.type
    tile = aligned(ROWS * width, real)
    a = aligned(_DEPTH * ((outputs + ROWS - 1) // ROWS * ROWS), real)
    b = aligned(_DEPTH * ((inputs + width - 1) // width * width), real)
    for first in range(begin, end, _DEPTH):
        count = min(_DEPTH, end - first)
        pack_panels(g, first * outputs, outputs, 1, count, outputs, a, 0, ROWS)
        pack_panels(x, first * inputs, inputs, 1, count, inputs, b, 0, width)
        for o in range(0, outputs, _HEIGHT):
            rows = min(_HEIGHT, outputs - o)
            block_product(
                rows, a, o * count, 1, ROWS, ROWS * count, b, 0, count, inputs, to, o * inputs, inputs, to, o * inputs,
                tile,
            )  # fmt: skip


@entry
def column_sums(begin, end, size, g, to):
    """to[n] += sum_r g[r, n] for rows begin .. end - 1, in float64."""
    for r in range(begin, end):
        for n in range(size):
            put(to, n, get(to, n) + np.float64(get(g, r * size + n)))
