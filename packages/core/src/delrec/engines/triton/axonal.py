"""One delay per sender: the arriving spikes, the gradients that return to a spike, and the product with the weight.

A sender's taps are `count` neighbouring steps from `low` on, of which the first `left` lie at or before the triangle's
middle. With j counted from the oldest (k = low + count - 1 - j) and i from the newest (i = count - 1 - j),

    s^2 m = e_right + j  on the right,    s^2 m = e_left + i  on the left,

so a triangle of any width is read from four whole numbers: the number of spikes on each side and the sums of their
positions. They are counted in words of 32 steps; nothing accumulates over time, so nothing drifts.
Word w of (b, n) holds steps 32 (w - prefix) to 32 (w - prefix) + 31, the first in its lowest bit.
"""

import triton
import triton.language as tl

from delrec.engines.triton.spellings import div, sign


@triton.jit
def taps_of(c, s, reach):
    """Return the first tap k of triangles around c, and the number of taps: up to `reach`, before c, and up to c.

    As in `delays.triangle_sides`; s is the half-width. NaN has no taps.
    """
    low, high = tl.ceil(c - s), tl.floor(c + s)
    low = tl.where(s - tl.abs(low - 1 - c) >= 0, low - 1, tl.where(s - tl.abs(low - c) >= 0, low, low + 1))
    high = tl.where(s - tl.abs(high + 1 - c) >= 0, high + 1, tl.where(s - tl.abs(high - c) >= 0, high, high - 1))
    low, high = tl.maximum(low, 1), tl.minimum(high, reach)
    some = (high >= low) & (c == c)  # not NaN, of which a minimum is the other number
    strict = tl.maximum(tl.minimum(high, tl.ceil(c) - 1) - low + 1, 0)
    right = tl.maximum(high - tl.maximum(low, tl.floor(c) + 1) + 1, 0)
    count = high - low + 1
    return (
        tl.where(some, low, 1).to(tl.int32), tl.where(some, count, 0).to(tl.int32),
        tl.where(some, strict, 0).to(tl.int32), tl.where(some, count - right, 0).to(tl.int32),
    )  # fmt: skip


@triton.jit
def height(k, c, s):
    """Return s^2 m of tap k, which may lie outside the triangle."""
    return tl.maximum(s - tl.abs(k - c), 0)


@triton.jit(do_not_specialize=["size", "reach"])
def lay_out_senders(
    delay, width, tables, edges, size, reach, PRECISE: tl.constexpr, ONE_WIDTH: tl.constexpr, COLS: tl.constexpr
):
    """Fill the tables of `delayed` and `returned` from delay (N,) and half-width, (N,) or () if ONE_WIDTH.

    tables: whole numbers (6, N): low, count, left, near, mid, far; near is 0 without taps. Then two more: the taps of
    the widest triangle, and its words of 32 steps. edges: (9, N): e_left, e_right, 1 / s^2, m[near], m[mid+1] - m[mid],
    m[far], the sides of the taps at mid and far (-1, 0 or 1), and whether far is a tap. A triangle cut off before its
    middle has mid before its last tap; for a single tap, far is the next step, where m is 0. No tap is longer than
    `reach`. One program fills all tables.
    """
    longest = tl.full((), 0, tl.int32)
    for first in range(0, size, COLS):
        n = first + tl.arange(0, COLS)
        inside = n < size
        c = 1 + tl.load(delay + n, mask=inside, other=0).to(PRECISE)
        s = tl.load(width + n * (0 if ONE_WIDTH else 1), mask=inside, other=1).to(PRECISE)
        low, count, _, left = taps_of(c, s, reach)
        longest = tl.maximum(longest, tl.max(tl.where(inside, count, 0), 0))
        near, last = low.to(PRECISE), (low + count - 1).to(PRECISE)
        scale = div(tl.full(s.shape, 1.0, PRECISE), s * s)
        tl.store(edges + n, s - (c - near), mask=inside)
        tl.store(edges + size + n, s - (last - c), mask=inside)
        tl.store(edges + 2 * size + n, scale, mask=inside)
        mid = tl.minimum(tl.floor(c), last - 1)
        single = mid < near
        mid, far = tl.where(single, near, mid), tl.where(single, near + 1, last)
        at_far = tl.where(single, 0, height(far, c, s))
        turn = tl.where(mid + 1 == far, at_far, height(mid + 1, c, s)) - height(mid, c, s)
        met = count > 0
        scale = tl.where(met, scale, 0)
        tl.store(edges + 3 * size + n, scale * height(near, c, s), mask=inside)
        tl.store(edges + 4 * size + n, scale * turn, mask=inside)
        tl.store(edges + 5 * size + n, scale * at_far, mask=inside)
        tl.store(edges + 6 * size + n, tl.where(met, sign(mid - c), 0), mask=inside)
        tl.store(edges + 7 * size + n, tl.where(met & (single == 0), sign(far - c), 0), mask=inside)
        tl.store(edges + 8 * size + n, tl.where(met & (single == 0), 1.0, 0.0), mask=inside)
        tl.store(tables + n, low, mask=inside)
        tl.store(tables + size + n, count, mask=inside)
        tl.store(tables + 2 * size + n, left, mask=inside)
        tl.store(tables + 3 * size + n, tl.where(met, low, 0), mask=inside)
        tl.store(tables + 4 * size + n, tl.where(met, mid, 0).to(tl.int32), mask=inside)
        tl.store(tables + 5 * size + n, tl.where(met, far, 0).to(tl.int32), mask=inside)
    tl.store(tables + 6 * size, longest)
    tl.store(tables + 6 * size + 1, (longest + 31) // 32)


@triton.jit(do_not_specialize=["size", "programs"])
def sender_gradients(sums, width, g_delay, g_width, size, programs, ONE_WIDTH: tl.constexpr, COLS: tl.constexpr):
    """Fill the gradients of delay and half-width, (N,), from sums (programs, 3, N) over the spikes.

    The sums are those of the returned gradient weighted by m, right minus left of the middle, and of all taps:
    dm/dd = sign(k - (1+d)) / s^2 and dm/ds = 1 / s^2 - 2 m / s.
    """
    n = tl.program_id(0) * COLS + tl.arange(0, COLS)
    inside = n < size
    taps, sides, total = tl.zeros((COLS,), tl.float64), tl.zeros((COLS,), tl.float64), tl.zeros((COLS,), tl.float64)
    for program in range(programs):
        own = sums + program * 3 * size + n
        taps += tl.load(own, mask=inside, other=0)
        sides += tl.load(own + size, mask=inside, other=0)
        total += tl.load(own + 2 * size, mask=inside, other=0)
    s = tl.load(width + n * (0 if ONE_WIDTH else 1), mask=inside, other=1).to(tl.float64)
    tl.store(g_delay + n, sides / (s * s), mask=inside)
    tl.store(g_width + n, total / (s * s) - 2 * taps / s, mask=inside)


@triton.jit
def low_bits(count):
    """Return words whose lowest `count` bits are 1, with count clamped to 0 .. 32."""
    some = (tl.full((), 1, tl.uint32) << tl.where(count > 0, count, 0).to(tl.uint32) % 32) - 1
    return tl.where(count >= 32, tl.full((), 0xFFFFFFFF, tl.uint32), tl.where(count > 0, some, 0))


@triton.jit
def count_and_place(x):
    """Return the number of bits that are 1 and the sum of their positions 0 .. 31, for two words in 64 bits.

    Returns (lower count, lower sum, upper count, upper sum).
    """
    place = (x >> 1) & 0x5555555555555555
    count = (x & 0x5555555555555555) + place
    upper = (count >> 2) & 0x3333333333333333
    place = (place & 0x3333333333333333) + ((place >> 2) & 0x3333333333333333) + (upper << 1)
    count = (count & 0x3333333333333333) + upper
    upper = (count >> 4) & 0x0F0F0F0F0F0F0F0F
    place = (place & 0x0F0F0F0F0F0F0F0F) + ((place >> 4) & 0x0F0F0F0F0F0F0F0F) + (upper << 2)
    count = (count & 0x0F0F0F0F0F0F0F0F) + upper
    upper = (count >> 8) & 0x00FF00FF00FF00FF
    place = (place & 0x00FF00FF00FF00FF) + ((place >> 8) & 0x00FF00FF00FF00FF) + (upper << 3)
    count = (count & 0x00FF00FF00FF00FF) + upper
    upper = (count >> 16) & 0x0000FFFF0000FFFF
    place = (place & 0x0000FFFF0000FFFF) + ((place >> 16) & 0x0000FFFF0000FFFF) + (upper << 4)
    count = (count & 0x0000FFFF0000FFFF) + upper
    lower_count, lower_place = (count & 0xFFFF).to(tl.int32), (place & 0xFFFF).to(tl.int32)
    return lower_count, lower_place, (count >> 32).to(tl.int32), (place >> 32).to(tl.int32)


@triton.jit
def window_words(bits, first, plane, at, ok, words):
    """Return the 32 steps from position `first` (COLS,) of the bits on, (ROWS, COLS); silence beyond the words."""
    word, shift = first >> 5, (first & 31).to(tl.uint32)
    here = ok & ((word >= 0) & (word < words))[None, :]
    after = ok & ((word >= -1) & (word < words - 1))[None, :]
    place = bits + (word * plane)[None, :] + at
    low = tl.load(place, mask=here, other=0).to(tl.uint32, bitcast=True)
    high = tl.load(place + plane, mask=after, other=0).to(tl.uint32, bitcast=True)
    return (low >> shift[None, :]) | ((high << 1) << (31 - shift)[None, :])


@triton.jit
def delayed(t, bits, prefix, words, plane, at, ok, senders, inside, tables, edges, size, chunks, REAL: tl.constexpr):
    """Return z[b, o] = sum_k m_o[k] S[t-k, b, o] of a tile of senders, (ROWS, COLS).

    tables, edges: see `lay_out_senders`. chunks: words of the widest window.
    """
    low = tl.load(tables + senders, mask=inside, other=1)
    count = tl.load(tables + size + senders, mask=inside, other=0)
    left = tl.load(tables + 2 * size + senders, mask=inside, other=0)
    e_left = tl.load(edges + senders, mask=inside, other=0)[None, :]
    e_right = tl.load(edges + size + senders, mask=inside, other=0)[None, :]
    scale = tl.load(edges + 2 * size + senders, mask=inside, other=0)[None, :]
    right = count - left
    oldest = t - low - count + 1 + 32 * prefix
    z = tl.zeros(at.shape, REAL)
    for chunk in range(chunks):
        done = 32 * chunk
        x = window_words(bits, oldest + done, plane, at, ok & (done < count)[None, :], words)
        on_right = low_bits(right - done)
        both = low_bits(count - done)
        on_left = both ^ (both & on_right)  # and not; Triton 3.7's interpreter cannot invert unsigned integers
        pair = (x & on_right[None, :]).to(tl.uint64) | ((x & on_left[None, :]).to(tl.uint64) << 32)
        n_right, right_place, n_left, left_place = count_and_place(pair)
        z += e_right * n_right.to(REAL) + (done * n_right + right_place).to(REAL)
        z += e_left * n_left.to(REAL) + ((count - 1 - done)[None, :] * n_left - left_place).to(REAL)
    return z * scale


EVERY = tl.constexpr(16)  # steps between two full sums; updates in between accumulate rounding
MANY = tl.constexpr(6)  # taps up to which the sum is always full: running sums would take as many reads, or one less


@triton.jit
def own(cols, ROOM: tl.constexpr, ROWS: tl.constexpr):
    """Return the places of a program's columns in (programs, ROOM, ROWS): one read serves all rows of a column."""
    return ((tl.program_id(0).to(tl.int64) * ROOM + cols) * ROWS)[None, :] + tl.arange(0, ROWS)[:, None]


@triton.jit
def lines(ring, slots, cols, SIZE: tl.constexpr, ROWS: tl.constexpr):
    """Return the places of columns in a ring (programs, N, slots, ROWS), at its first slot.

    The slots of a column are adjacent, since each column is read at its own delay.
    """
    first = (tl.program_id(0).to(tl.int64) * SIZE + cols) * slots * ROWS
    return ring + first[None, :] + tl.arange(0, ROWS)[:, None]


@triton.jit
def at_step(line, step, steps, ring_mask, there, ROWS: tl.constexpr):
    """Return gz of the steps (COLS,), (ROWS, COLS), and silence after the last step."""
    met = there & (step.to(tl.uint32) < steps)  # a step before the first is a large number
    return tl.load(line + ((step & ring_mask) * ROWS)[None, :], mask=met[None, :], other=0)


@triton.jit
def returned(
    t, ring, ring_mask, steps, running, wide, cols, inside, tables, edges, longest, SIZE: tl.constexpr,
    ROWS: tl.constexpr, TAPS: tl.constexpr, REAL: tl.constexpr,
):  # fmt: skip
    """Return y = sum_k m[k] gz[t+k], (ROWS, COLS), and if TAPS the sums of gz: right minus left, and all.

    tables, edges: see `lay_out_senders`. running: (3, programs, N, ROWS), planes of `wide` numbers, zeros before the
    last step. Rows beyond the batch are meaningless.

    y is updated from the step after, at a cost independent of the width: m rises by 1 / s^2 from near to mid and falls
    by as much from mid + 1 to far,

        y[t] - y[t+1] = m[near] gz[t+near] + (m[mid+1] - m[mid]) gz[t+1+mid] - m[far] gz[t+1+far] + (L - R) / s^2

    with L the sum of gz[t+1+k] over near <= k < mid and R over mid < k < far, which are updated too. Every EVERY steps
    all are summed again, so the error of y is relative to the largest gz since then.
    """
    near = tl.load(tables + 3 * SIZE + cols, mask=inside, other=0)
    mid = tl.load(tables + 4 * SIZE + cols, mask=inside, other=0)
    far = tl.load(tables + 5 * SIZE + cols, mask=inside, other=0)
    scale = tl.load(edges + 2 * SIZE + cols, mask=inside, other=0)
    is_tap = tl.load(edges + 8 * SIZE + cols, mask=inside, other=0) > 0
    there = inside & (near > 0)
    held = running + own(cols, SIZE, ROWS)
    line = lines(ring, ring_mask + 1, cols, SIZE, ROWS)
    at_mid = at_step(line, t + mid, steps, ring_mask, there, ROWS)
    at_far = at_step(line, t + far, steps, ring_mask, there, ROWS)
    if (longest <= MANY) | (t & (EVERY - 1) == EVERY - 1):
        count = tl.load(tables + SIZE + cols, mask=inside, other=0)
        left = tl.load(tables + 2 * SIZE + cols, mask=inside, other=0)
        e_left = tl.load(edges + cols, mask=inside, other=0)
        e_right = tl.load(edges + SIZE + cols, mask=inside, other=0)
        y, before, after = tl.zeros(at_mid.shape, REAL), tl.zeros(at_mid.shape, REAL), tl.zeros(at_mid.shape, REAL)
        for j in range(longest):
            g = at_step(line, t + near + j, steps, ring_mask, there & (j < count), ROWS)
            rise = tl.where(j < left, e_left + j, e_right + (count - 1 - j).to(REAL)) * scale  # m of the j-th tap
            y = tl.fma(tl.broadcast_to(rise[None, :], at_mid.shape), g, y)
            k = near + j
            before += tl.where((k < mid)[None, :], g, 0)
            after += tl.where(((k > mid) & (k < far))[None, :], g, 0)
    else:
        first = tl.load(edges + 3 * SIZE + cols, mask=inside, other=0)
        turn = tl.load(edges + 4 * SIZE + cols, mask=inside, other=0)
        last = tl.load(edges + 5 * SIZE + cols, mask=inside, other=0)
        y = tl.load(held, mask=inside[None, :], other=0)
        before = tl.load(held + wide, mask=inside[None, :], other=0)
        after = tl.load(held + 2 * wide, mask=inside[None, :], other=0)
        at_near = at_step(line, t + near, steps, ring_mask, there, ROWS)
        met = at_step(line, t + 1 + mid, steps, ring_mask, there, ROWS)
        left_behind = at_step(line, t + 1 + far, steps, ring_mask, there & is_tap, ROWS)
        y = tl.fma(tl.broadcast_to(first[None, :], at_mid.shape), at_near, y)
        y = tl.fma(tl.broadcast_to(turn[None, :], at_mid.shape), met, y)
        y = tl.fma(tl.broadcast_to(-last[None, :], at_mid.shape), left_behind, y)
        y = tl.fma(tl.broadcast_to(scale[None, :], at_mid.shape), before - after, y)
        before += at_near - at_mid
        after += met - at_far
    if longest > MANY:
        tl.store(held, y, mask=inside[None, :])
        tl.store(held + wide, before, mask=inside[None, :])
        tl.store(held + 2 * wide, after, mask=inside[None, :])
    sides, total = tl.zeros(at_mid.shape, REAL), tl.zeros(at_mid.shape, REAL)
    if TAPS:
        side_mid = tl.load(edges + 6 * SIZE + cols, mask=inside, other=0)[None, :]
        side_far = tl.load(edges + 7 * SIZE + cols, mask=inside, other=0)[None, :]
        at_far = tl.where(is_tap[None, :], at_far, 0)
        sides = after - before + side_mid * at_mid + side_far * at_far
        total = after + before + at_mid + at_far
    return y, sides, total


@triton.jit
def multiply(a, b, total, PRECISION: tl.constexpr):
    """Return total + a b, on tensor cores if PRECISION is "tf32" or "bf16"; the sum stays float32."""
    if PRECISION == "bf16":
        total = tl.dot(a.to(tl.bfloat16), b.to(tl.bfloat16), total)
    else:
        total = tl.dot(a, b, total, input_precision=PRECISION, out_dtype=total.dtype)
    return total


# instructions of one term for four rows, counted in the code for sm_90
TERM, LISTED_TERM = tl.constexpr(7), tl.constexpr(12)


@triton.jit
def product(
    values, weight, live, count, cols, SIZE: tl.constexpr, ROWS: tl.constexpr, LISTED: tl.constexpr,
    DEEP: tl.constexpr, PRECISION: tl.constexpr, REAL: tl.constexpr,
):  # fmt: skip
    """Return sum_k values[row, k] weight[k, col], (ROWS, COLS), over the first `count` terms, or those in `live`.

    DEEP loads are in flight. values: (programs, N + DEEP, ROWS), so that one read serves all rows of a term, with zeros
    after the last. Columns beyond N and rows beyond the batch are meaningless. Every step reads the weight again, so a
    multiprocessor's cache should evict it last. PRECISION "ieee" adds term by term; see `multiply` for the others.
    """
    place = values + tl.program_id(0).to(tl.int64) * ((SIZE + DEEP) * ROWS) + tl.arange(0, ROWS)
    total = tl.zeros((ROWS, cols.shape[0]), REAL)
    if PRECISION == "ieee":  # no read is masked: columns beyond N read the last one
        cols = tl.minimum(cols, SIZE - 1)
        for e in range(0, count, DEEP):
            for u in tl.static_range(DEEP):
                if LISTED:
                    k = tl.load(live + e + u)
                elif SIZE % DEEP == 0:
                    k = e + u
                else:
                    k = tl.minimum(e + u, SIZE - 1)
                a = tl.load(place + (e + u) * ROWS)[:, None]
                b = tl.load(weight + k * SIZE + cols, eviction_policy="evict_last")[None, :]
                total = tl.fma(tl.broadcast_to(a, total.shape), tl.broadcast_to(b, total.shape), total)
    else:
        cols = tl.max_contiguous(tl.multiple_of(cols, 16), 16)  # which `scan_kernels.tile` hides
        for e in range(0, count, DEEP):
            terms = e + tl.arange(0, DEEP)
            k = tl.load(live + terms) if LISTED else tl.minimum(terms, SIZE - 1)
            a = tl.load(place[:, None] + terms[None, :] * ROWS)
            at = weight + k[:, None] * SIZE + cols[None, :]
            b = tl.load(at, mask=(cols < SIZE)[None, :], other=0, eviction_policy="evict_last")
            total = multiply(a, b, total, PRECISION)
    return total
