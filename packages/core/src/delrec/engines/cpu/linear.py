"""y = x W^T + b on the cpu engine: along the events where x is mostly zeros, as spikes are, and dense elsewhere.

Both ways sum in the same order (see `product`) and give the same bits. An event touches one row of the weight, or of
its gradient.
"""

from typing import Any

import numpy as np
from torch import Tensor

from delrec.engines.cpu import product
from delrec.engines.cpu.cache import compiled, entry
from delrec.engines.cpu.common import add_up, chunks, flat, mostly_zero, padded, padded_rows, row_groups
from delrec.engines.cpu.kernels import add_rows, aligned
from delrec.engines.cpu.vector import LANES, get, next_bit, nonzero_bits, put
from delrec.engines.ops import Operator
from delrec.engines.threads import parallel

_SPARSE_SHARE = 0.35  # share of inputs that are not zero, above which the dense product is as fast
_TILE = 128  # rows whose events are sorted by sender at a time


def _linear(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    rows = inputs.reshape(-1, inputs.shape[-1])
    if mostly_zero(rows, _SPARSE_SHARE):
        out = _sparse_product(rows, weight, bias)
    else:
        out = product.multiply(rows, weight, bias)
    return out.view(*inputs.shape[:-1], -1)


def _shapes(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return inputs.new_empty(*inputs.shape[:-1], weight.shape[0])


def _backward(
    inputs: Tensor, weight: Tensor, bias: Tensor | None, _: Any, grads: list[Tensor], needs: list[bool]
) -> tuple[Tensor | None, ...]:
    g, rows = grads[0].reshape(-1, grads[0].shape[-1]), inputs.reshape(-1, inputs.shape[-1])
    sparse = needs[1] and mostly_zero(rows, _SPARSE_SHARE)
    return (
        product.input_gradient(g, weight).view(inputs.shape) if needs[0] else None,
        (_sparse_gradient if sparse else product.weight_gradient)(g, rows) if needs[1] else None,
        product.sum_rows(g) if needs[2] else None,
    )


linear = Operator("cpu_linear", _linear, _shapes, _backward)
"""Return inputs weight^T + bias. inputs: (..., N_in). weight: (N_out, N_in). bias: (N_out,). One dtype for all."""


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
    """List the columns of one row that are not zero, and their values, from `to` on; return how many."""
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
