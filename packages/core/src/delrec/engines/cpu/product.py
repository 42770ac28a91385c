"""Dense matrix products with one order of summation, whatever the processor, the threads and the tiles.

An element of a product is one chain of fused multiply-adds, in ascending order of the index summed over. A weight's
gradient sums over rows, of which there are many: `row_groups` cuts them by their number alone, each group is a chain,
and the groups are added in order. Terms that are 0 change nothing, so that the sparse products of `linear`, which
leave them out, give the same bits.

Matrices are contiguous tensors of float32 or float64. Blocks follow Goto and van de Geijn (2008), "Anatomy of
high-performance matrix multiplication": panels of one vector's width and DEPTH terms stay in the first cache.
"""

import numpy as np
import torch
from torch import Tensor

from delrec.engines.cpu.cache import compiled, entry
from delrec.engines.cpu.common import Array, add_up, chunks, flat, row_groups
from delrec.engines.cpu.kernels import aligned
from delrec.engines.cpu.vector import ROWS, get, multiply_rows, put
from delrec.engines.threads import parallel

_DEPTH = 256  # terms of a panel
_HEIGHT = 96  # rows that meet a panel before the next one is fetched
_TASK = 1 << 25  # multiply-adds of a task, about


def multiply(x: Tensor, weight: Tensor, bias: Tensor | None = None, add_to: Tensor | None = None) -> Tensor:
    """Return x weight^T + bias, or add x weight^T to `add_to` in place, whose values begin the chains.

    x: (R, K). weight: (N, K), of any strides. bias: (N,). add_to: (R, N). Returns (R, N).
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
    w, strides = _with_strides(weight)
    pack(w, *strides, depth, size, panels.numpy())
    begins, a, b, y = start.numpy(), flat(x), panels.numpy(), flat(out)
    cut = chunks(rows, max(_HEIGHT, _TASK // max(1, depth * size)))
    parallel(lambda j: rows_product(*cut[j], depth, size, a, b, begins, add_to is not None, y), len(cut))
    return out


def input_gradient(g: Tensor, weight: Tensor, add_to: Tensor | None = None) -> Tensor:
    """Return g weight, or add it to `add_to` (R, K) in place. g: (R, N). weight: (N, K), of any strides."""
    return multiply(g, weight.t(), None, add_to)


def weight_gradient(g: Tensor, x: Tensor) -> Tensor:
    """Return g^T x, (N, K). g: (R, N). x: (R, K)."""
    groups = row_groups(x.shape[0])
    parts = x.new_zeros(len(groups), g.shape[1], x.shape[1])
    a, b, to = flat(g), flat(x), parts.view(len(groups), -1).numpy()
    parallel(lambda j: outer_product(*groups[j], g.shape[1], x.shape[1], a, b, to[j]), len(groups))
    return add_up(parts)


def sum_rows(g: Tensor) -> Tensor:
    """Return the sums of the columns of g (R, N), made in float64, in its dtype."""
    groups = row_groups(g.shape[0])
    parts = torch.zeros(len(groups), g.shape[1], dtype=torch.float64)
    a, to = flat(g), parts.numpy()
    parallel(lambda j: column_sums(*groups[j], g.shape[1], a, to[j]), len(groups))
    return add_up(parts).to(g.dtype)


def _with_strides(matrix: Tensor) -> tuple[Array, tuple[int, int]]:
    """Return the values that a matrix lies among, from its first on, and how far its columns and rows are apart."""
    matrix = matrix.detach()
    if not matrix.is_contiguous() and not matrix.t().is_contiguous():
        matrix = matrix.contiguous()
    values = matrix if matrix.is_contiguous() else matrix.t()
    return flat(values), (matrix.stride(1), matrix.stride(0))


@entry
def pack(w, step, row, depth, size, panels):
    """Lay w[n row + k step] out as panels (k of DEPTH, n of a vector) in the order in which they are read."""
    width = 64 // panels.itemsize
    for first in range(0, depth, _DEPTH):
        count = min(_DEPTH, depth - first)
        pack_panels(
            w, first * step, step, row, count, size, panels, first * ((size + width - 1) // width * width), width
        )


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
def block_product(
    rows, a, a_at, a_row, a_step, a_block, b, b_at, count, size, start, start_at, start_row, c, c_at, tile
):
    """c[r, n] = start[r, n] + sum_{k < count} a[r, k] b[k, n]: b in panels; ROWS rows of a are a_block apart."""
    width = 64 // c.itemsize
    for first in range(0, size, width):
        panel = b_at + first * count
        m = min(width, size - first)
        for r in range(0, rows, ROWS):
            n = min(ROWS, rows - r)
            from_a = a_at + r // ROWS * a_block
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
    """y[r] = start + x[r] w^T, or y[r] += x[r] w^T if `add`, for rows begin .. end - 1; panels: of `pack`."""
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
