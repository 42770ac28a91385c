"""One delay per connection, at a cost independent of the spread and the firing rate.

A triangle is the second difference of a ramp, so its sum over a sequence g follows from sums at three places:

    sum_k max(0, s - |k - c|) g[k] = R(c - s) - 2 R(c) + R(c + s),   R(a) = sum_{k > a} (k - a) g[k],   c = 1 + d

With G1 the running sum of g from its far end and G2 that of G1, R(n + f) = (1 - f) G2[n+1] + f G2[n+2]: six reads for a
triangle of any width. Steps k < 1 are silent, and there G2 continues as a straight line of slope G1[1]. Kernels of at
most MANY taps are read tap by tap from g itself.

In the forward pass g is the spikes, in the backward pass the gradient gI, read by the same kernel: places count towards
the known steps, e = T - 1 - t forward and e = t + past backward, so that step e reads places above it.

G2 restarts every `block` places, which is longer than any tap, so no sum covers more than two blocks or drifts with T.
Each place lies in two frames: the one that begins with its block, and the one that began with the block before, which
is read while e is in this block. Sums grow with block^2: for blocks longer than LONGEST they are float64 (`bend`
subtracts them before it rounds). In the forward pass they are whole numbers, and exact.

lines: (programs, N, 2, length, ROWS), a frame in plane (e / block) % 2 of the block that reads it; silent from `end`.
For a ring, `ring` is its length less one, a power of two, and its first place is repeated after the last; otherwise -1.
sums: (2, 4, programs, N, ROWS), G1 and G2 of the frame that is read now and of the one that begins with this block, for
even and odd places: while some threads are at e, others still read those of e + 1. One read serves all rows of a
program. triangles: (N + 1, N): c of each connection, then s of each sender, in the delays' precision. longest: the
largest number of taps inside a triangle, without its corners.
"""

import triton
import triton.language as tl

from delrec.engines.triton.axonal import MANY, taps_of
from delrec.engines.triton.spellings import div

# places of a block up to which sums are float32: for values of one sign the error is up to 1.5e-3 (half-width 1) or
# 4.3e-4 (3.2) of the largest read in two blocks; in blocks of 64, 2.2e-4 or 8e-5
LONGEST = 128


@triton.jit(do_not_specialize=["size", "reach"])
def lay_out_connections(
    delay, width, weight, triangles, heights, longest, size, reach, PRECISE: tl.constexpr, ONE_WIDTH: tl.constexpr,
    BY_SENDER: tl.constexpr, EDGE: tl.constexpr,
):  # fmt: skip
    """Fill `triangles`, `longest` and `heights`, the weight over s^2, from delay and weight, [receiver, sender].

    They are [sender, receiver] if BY_SENDER. width: (N,), or () if ONE_WIDTH. A triangle without a tap up to `reach`
    gets height 0 and a place just beyond `reach`; one around a step before the present gets height NaN.
    """
    i, j = tl.program_id(0) * EDGE + tl.arange(0, EDGE), tl.program_id(1) * EDGE + tl.arange(0, EDGE)
    inside = (i < size)[:, None] & (j < size)[None, :]
    at = i[:, None] * size + j[None, :]
    c = 1 + tl.load(delay + at, mask=inside, other=0).to(PRECISE)
    given = tl.load(width + j * (0 if ONE_WIDTH else 1), mask=j < size, other=1).to(PRECISE)
    s = tl.where(given == given, given, 1)
    _, count, _, _ = taps_of(c, tl.broadcast_to(s[None, :], c.shape), reach)
    real = heights.dtype.element_ty
    slope = div(tl.full(s.shape, 1.0, PRECISE), s).to(real)
    height = tl.load(weight + at, mask=inside, other=0) * (slope * slope)[None, :]
    height = tl.where(c >= 0, tl.where(count > 0, height, 0), float("nan"))
    c = tl.where(c >= 0, tl.minimum(c, reach + 2 + s[None, :]), -1)
    to = j[None, :] * size + i[:, None] if BY_SENDER else at
    tl.store(triangles + to, c, mask=inside)
    tl.store(heights + to, height, mask=inside)
    tl.store(triangles + size * size + j, s, mask=j < size)
    if tl.program_id(0) + tl.program_id(1) == 0:
        widest = tl.zeros((), PRECISE)
        for first in range(0, size, EDGE):
            n = first + tl.arange(0, EDGE)
            s = tl.load(width + n * (0 if ONE_WIDTH else 1), mask=n < size, other=0).to(PRECISE)
            widest = tl.maximum(widest, tl.max(tl.where(s == s, s, 1), 0))
        tl.store(longest, tl.minimum(tl.ceil(2 * widest), reach).to(tl.int32))


@triton.jit
def corners(c, s):
    """Return floor and rest of c - s and of c + s, the floor of c >= 0, and turn.

    Below 0, where R(a) = G2[1] - a G1[1], the rest is the whole value. turn is twice the rest of c less the other two
    rests, which is a whole number and computed exactly.
    """
    below_c, below_s = tl.floor(c), tl.floor(s)
    rest, rest_s = c - below_c, s - below_s
    low, high = rest - rest_s, rest + rest_s
    n_mid, width = below_c.to(tl.int32), below_s.to(tl.int32)
    n = n_mid - width - (low < 0).to(tl.int32)
    n_far = n_mid + width + (high >= 1).to(tl.int32)
    f = tl.where(n < 0, c - s, tl.where(low < 0, low + 1, low))
    f_far = tl.where(high >= 1, high - 1, high)
    return n, f, n_mid, n_far, f_far, tl.maximum(n, 0) + n_far - 2 * n_mid


@triton.jit
def put(line, place, ring, values, ok, ROWS: tl.constexpr):
    """Store values at a place of their lines, and the first place of a ring again after its last."""
    tl.store(line + (place & ring) * ROWS, values, mask=ok)
    first = (place & ring) == tl.where(tl.full(place.shape, ring, tl.int32) > 0, 0, -1)
    tl.store(line + (ring + 1) * ROWS, values, mask=ok & first)


@triton.jit
def keep(e, g, lines, sums, longest, ring, block, length, wide, cols, ok, SIZE: tl.constexpr, ROWS: tl.constexpr):
    """Store g of place e: in its two frames as sums, or if taps are read, unchanged in the first."""
    lane = tl.arange(0, ROWS)[:, None]
    own = ((tl.program_id(0).to(tl.int64) * SIZE + cols) * ROWS)[None, :]
    at, line = own + lane, lines + own * (2 * length) + lane
    place = tl.full(at.shape, e, tl.int32)
    g = g.to(lines.dtype.element_ty)
    if longest > MANY:
        begins = (place + 1) & (block - 1) == 0
        old, new = sums + ((e + 1) & 1) * 4 * wide + at, sums + (e & 1) * 4 * wide + at
        once, twice = tl.load(old, mask=ok, other=0), tl.load(old + wide, mask=ok, other=0)
        new_once, new_twice = tl.load(old + 2 * wide, mask=ok, other=0), tl.load(old + 3 * wide, mask=ok, other=0)
        once, twice = tl.where(begins, new_once, once) + g, tl.where(begins, new_twice, twice)
        new_once, new_twice = tl.where(begins, 0, new_once) + g, tl.where(begins, 0, new_twice)
        twice, new_twice = twice + once, new_twice + new_once
        tl.store(new, once, mask=ok)
        tl.store(new + wide, twice, mask=ok)
        tl.store(new + 2 * wide, new_once, mask=ok)
        tl.store(new + 3 * wide, new_twice, mask=ok)
        odd = (place & block) != 0
        put(line + tl.where(odd, length, 0) * ROWS, place, ring, twice, ok, ROWS)
        put(line + tl.where(odd, 0, length) * ROWS, place, ring, new_twice, ok, ROWS)
    else:
        put(line, place, ring, g, ok, ROWS)


@triton.jit
def above(n, e, end, ring):
    """Return the place of G2 for a corner at n >= 0 or after it: above e, and not beyond the end."""
    return tl.minimum(e + 1 + n, end) & ring


@triton.jit
def read(
    e, lines, sums, longest, end, ring, block, length, weight, triangles, size, wide, cols,
    SIZE: tl.constexpr, ROWS: tl.constexpr, DEEP: tl.constexpr, FORWARD: tl.constexpr, REAL: tl.constexpr,
):  # fmt: skip
    """Return sum_j w[j, col] sum_k m[k] g[e + k, row, j], (ROWS, COLS), over all j.

    weight, over s^2, and triangles: [j, col]. FORWARD: j is the sender, whose half-width counts, otherwise the column.
    DEEP terms are in flight, which divide SIZE; size equals SIZE, but is unknown to the compiler. Nothing is masked:
    columns beyond N read the last one.
    """
    lane, cols = tl.arange(0, ROWS)[:, None], tl.minimum(cols, SIZE - 1)
    y = tl.zeros((ROWS, cols.shape[0]), REAL)
    width = triangles + SIZE * SIZE
    own = tl.program_id(0).to(tl.int64) * SIZE
    if not FORWARD:
        s = tl.load(width + cols)
    if longest > MANY:
        # when entering a block, read the frame that began with the one before
        now = ((e + 1) & 1) * 4 * wide + tl.where((e + 1) & (block - 1) == 0, 2 * wide, 0) + own * ROWS
        frame = lines + (own * 2 + tl.where(e & block != 0, 1, 0)) * length * ROWS
        middles, weights, slopes, widths = triangles + cols, weight + cols, sums + now + lane, width
        line, stride = frame, tl.full((), 2, tl.int64) * length * ROWS
        for _ in range(0, size, DEEP):
            for u in tl.static_range(DEEP):
                if FORWARD:
                    s = tl.load(widths + u)
                c = tl.load(middles + u * SIZE)
                w = tl.load(weights + u * SIZE)
                n, f, n_mid, n_far, f_far, turn = corners(c, s)
                near, near_up = pair(line, above(tl.maximum(n, 0), e, end, ring), ROWS)
                mid, mid_up = pair(line, above(n_mid, e, end, ring), ROWS)
                far, far_up = pair(line, above(n_far, e, end, ring), ROWS)
                # the stored G1: the difference of two G2 has lost digits unless sums are whole numbers
                once_near = tl.where((n < 0)[None, :], tl.load(slopes + u * ROWS), near - near_up)
                bent = bend(
                    near, once_near, f[None, :], mid, mid - mid_up, far, far - far_up, f_far[None, :], turn[None, :],
                    REAL,
                )  # fmt: skip
                y = tl.fma(row_of(w, y), bent, y)
                line += stride
            middles, weights, slopes, widths = (
                middles + DEEP * SIZE, weights + DEEP * SIZE, slopes + DEEP * ROWS, widths + DEEP,
            )  # fmt: skip
    else:
        for j in range(size):
            if FORWARD:
                s = tl.load(width + j)
            c = tl.load(triangles + j * SIZE + cols)
            w = tl.load(weight + j * SIZE + cols)
            n, _, _, _, _, _ = corners(c, s)
            low = tl.maximum(n + 1, 1)
            line = lines + (own + j) * (2 * length * ROWS) + lane
            for k in range(longest):
                place = tl.minimum(e + low + k, end) & ring
                rise = w * tl.maximum(s - tl.abs((low + k).to(s.dtype) - c), 0).to(REAL)
                g = tl.load(line + (place * ROWS)[None, :]).to(REAL)
                y = tl.fma(row_of(rise, y), g, y)
    return y


@triton.jit
def row_of(values, y):
    """Return (COLS,) values broadcast to the rows of y, in its precision."""
    return tl.broadcast_to(values.to(y.dtype)[None, :], y.shape)


@triton.jit
def pair(line, place, ROWS: tl.constexpr):
    """Return G2 at a place and after it, (ROWS, COLS) each; unsigned 32-bit offsets halve the address arithmetic."""
    real = line.dtype.element_ty
    BYTES: tl.constexpr = real.primitive_bitwidth // 8
    offset = ((place * (ROWS * BYTES))[None, :] + (tl.arange(0, ROWS) * BYTES)[:, None]).to(tl.uint32)
    at = (line.to(tl.pointer_type(tl.int8)) + offset.to(tl.uint64)).to(tl.pointer_type(real))
    at = tl.multiple_of(tl.max_contiguous(at, [ROWS, 1]), [ROWS * BYTES, 1])
    return tl.load(at), tl.load(at + ROWS)


@triton.jit
def bend(near, once_near, f, mid, once_mid, far, once_far, f_far, turn, REAL: tl.constexpr):
    """Return R(c - s) - 2 R(c) + R(c + s) from G2 and G1 at its corners, R(n + f) = G2[n + 1] - f G1[n + 1].

    Sums are subtracted in the precision in which they are kept, which is exact for whole numbers, and rounded to REAL
    afterwards.
    """
    y = tl.fma(tl.broadcast_to(turn.to(mid.dtype), mid.shape), once_mid, (near - mid) - (mid - far)).to(REAL)
    y = tl.fma(tl.broadcast_to(f.to(REAL), y.shape), (once_mid - once_near).to(REAL), y)
    return tl.fma(tl.broadcast_to(f_far.to(REAL), y.shape), (once_mid - once_far).to(REAL), y)


@triton.jit
def once(line, place, end, ROWS: tl.constexpr):
    """Return G1 at a place, the difference of two G2."""
    at = line + tl.minimum(place, end) * ROWS
    return tl.load(at) - tl.load(at + ROWS)


@triton.jit(do_not_specialize=["batch", "prefix", "words", "past", "end", "block", "reach"])
def connection_gradients(
    lines, delay, width, weight, longest, bits, g_weight, g_delay, g_width, batch, prefix, words, past, end, block,
    reach, SIZE: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, PRECISE: tl.constexpr, ONE_WIDTH: tl.constexpr,
):  # fmt: skip
    """Fill the gradients of weight and delay, [receiver, sender], and those of the half-widths, (tiles, N), in parts.

    As in `axonal.sender_gradients`, from sums over the spikes of a sender. A program takes sender tl.program_id(0) and
    the receivers of tile tl.program_id(1). delay, weight: [receiver, sender]. lines: of gI, end + 2 places long.
    """
    sender = tl.program_id(0)
    cols = tl.program_id(1) * COLS + tl.arange(0, COLS)
    inside = cols < SIZE
    known = tl.minimum(cols, SIZE - 1)
    REAL: tl.constexpr = weight.dtype.element_ty
    most = tl.load(longest)
    c = 1 + tl.load(delay + known * SIZE + sender).to(PRECISE)
    s = tl.load(width + sender * (0 if ONE_WIDTH else 1)).to(PRECISE)
    low, number, strict, left = taps_of(c, tl.broadcast_to(s, c.shape), reach)
    c = tl.where(c >= 0, tl.minimum(c, reach + 2 + s), -1)
    n, f, n_mid, n_far, f_far, turn = corners(c, s)
    n = tl.maximum(n, 0)
    taps, sides, total = tl.zeros((COLS,), REAL), tl.zeros((COLS,), REAL), tl.zeros((COLS,), REAL)
    for b in range(batch):
        first = lines + (b // ROWS * SIZE + known).to(tl.int64) * (2 * (end + 2) * ROWS) + b % ROWS
        for w in range(words):
            word = tl.load(bits + (w * batch + b) * SIZE + sender)
            if word != 0:
                for bit in range(32):
                    if ((word >> bit) & 1) != 0:
                        e = 32 * (w - prefix) + bit + past
                        if most > MANY:
                            line = first + tl.where(e & block != 0, end + 2, 0) * ROWS
                            near = line + above(n, e, end, -1) * ROWS
                            mid = line + above(n_mid, e, end, -1) * ROWS
                            far = line + above(n_far, e, end, -1) * ROWS
                            near, near_up = tl.load(near), tl.load(near + ROWS)
                            mid, mid_up = tl.load(mid), tl.load(mid + ROWS)
                            far, far_up = tl.load(far), tl.load(far + ROWS)
                            taps += bend(
                                near, near - near_up, f, mid, mid - mid_up, far, far - far_up, f_far, turn, REAL
                            )  # fmt: skip
                            begin, stop = once(line, e + low, end, ROWS), once(line, e + low + number, end, ROWS)
                            before = once(line, e + low + strict, end, ROWS)
                            after = once(line, e + low + left, end, ROWS)
                            sides += ((after - stop) - (begin - before)).to(REAL)
                            total += (begin - stop).to(REAL)
                        else:
                            for k in range(most + 1):  # and one at a corner
                                g = tl.load(first + tl.minimum(e + low + k, end) * ROWS).to(REAL)
                                g = tl.where(k < number, g, 0)
                                rise = tl.maximum(s - tl.abs((low + k).to(s.dtype) - c), 0).to(REAL)
                                taps = tl.fma(rise, g, taps)
                                side = tl.where(k < strict, -1, tl.where(k < left, 0, 1)).to(REAL)
                                sides = tl.fma(side, g, sides)
                                total += g
    # a triangle beyond the longest tap was moved and has no taps
    slope = div(tl.full((), 1.0, PRECISE), s).to(REAL)
    taps = tl.where(number > 0, taps * slope * slope, 0)
    w = tl.load(weight + known * SIZE + sender)
    tl.store(g_weight + known * SIZE + sender, taps, mask=inside)
    tl.store(g_delay + known * SIZE + sender, w * sides * (slope * slope), mask=inside)
    grown = w * (total * (slope * slope) - 2 * slope * taps)
    tl.store(g_width + tl.program_id(1) * SIZE + sender, tl.sum(tl.where(inside, grown, 0), 0))
