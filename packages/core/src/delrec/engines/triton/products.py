"""Products of a program's rows with a weight (N, N), in one of two ways.

Every step reads the weight again: a multiprocessor's own cache is asked to give it up last, and what a sequence holds,
which is read once, first. A weight that does not fit there is streamed from L2.

`product`: tiles of 16 rows or more, on tensor cores where PRECISION is "tf32" or "bf16", in float32 state; "ieee" keeps
float32 products. `product_of_live`: any number of rows, a sum of rows of the weight over the senders that are not
silent; with few rows most are, and a row of the weight that no spike needs is not read.
"""

import triton
import triton.language as tl

# what a term costs in one and the other, in instructions of four rows, counted in the code for sm_90
TERM, LISTED_TERM = tl.constexpr(7), tl.constexpr(12)


@triton.jit
def multiply(a, b, total, PRECISION: tl.constexpr):
    """Return total + a b."""
    if PRECISION == "bf16":
        total = tl.dot(a.to(tl.bfloat16), b.to(tl.bfloat16), total)
    else:
        total = tl.dot(a, b, total, input_precision=PRECISION, out_dtype=total.dtype)
    return total


@triton.jit
def product(
    values, weight, size, rows, rows_ok, cols, inside, SIZE: tl.constexpr, DEEP: tl.constexpr, PRECISION: tl.constexpr,
    REAL: tl.constexpr,
):  # fmt: skip
    """Return sum_k values[row, k] weight[k, col], (ROWS, COLS), DEEP terms at a time.

    size is SIZE, as a number that is not known when compiling: a short loop would be unrolled, and spill.
    """
    total = tl.zeros((rows.shape[0], cols.shape[0]), REAL)
    for k in range(0, size, DEEP):
        deep = k + tl.arange(0, DEEP)
        there = deep < SIZE
        a = tl.load(values + rows[:, None] * SIZE + deep[None, :], mask=rows_ok[:, None] & there[None, :], other=0)
        ok = there[:, None] & inside[None, :]
        b = tl.load(weight + deep[:, None] * SIZE + cols[None, :], mask=ok, other=0, eviction_policy="evict_last")
        total = multiply(a, b, total, PRECISION)
    return total


@triton.jit
def product_of_live(
    values, weight, live, count, cols, SIZE: tl.constexpr, ROWS: tl.constexpr, LISTED: tl.constexpr,
    DEEP: tl.constexpr, REAL: tl.constexpr,
):  # fmt: skip
    """Return the same over the first `count` terms, or where LISTED those that `live` lists; DEEP loads under way.

    values: (programs, N + DEEP, ROWS), so that one read serves all rows of a term, with zeros behind the last one. No
    read is masked: columns that are not there read the last one, and rows that are not there are no numbers.
    """
    cols = tl.minimum(cols, SIZE - 1)
    place = values + tl.program_id(0).to(tl.int64) * ((SIZE + DEEP) * ROWS) + tl.arange(0, ROWS)
    total = tl.zeros((ROWS, cols.shape[0]), REAL)
    for e in range(0, count, DEEP):
        for u in tl.static_range(DEEP):
            if LISTED:
                k = tl.load(live + e + u)
            elif SIZE % DEEP == 0:
                k = e + u
            else:
                k = tl.minimum(e + u, SIZE - 1)
            a = tl.load(place + (e + u) * ROWS)
            b = tl.load(weight + k * SIZE + cols, eviction_policy="evict_last")
            total = tl.fma(tl.broadcast_to(a[:, None], total.shape), tl.broadcast_to(b[None, :], total.shape), total)
    return total
