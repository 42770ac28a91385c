"""What arrives of past spikes: a triangle read from bits.

A sender's taps are `count` neighbouring steps from `low` on, of which the first `left` lie at or before the triangle's
middle. With j counted from the oldest (k = low + count - 1 - j), i from the newest (i = count - 1 - j),

    s^2 m = e_right + j  on the right,    s^2 m = e_left + i  on the left,

so that a triangle of any width is read from four whole numbers: how many spikes lie on each side, and the sums of their
places. They are counted in words of 32 steps; nothing is accumulated over time, nothing drifts.
Word w of (b, n) holds steps 32 (w - prefix) to 32 (w - prefix) + 31, the first in its lowest bit.
"""

import triton
import triton.language as tl


@triton.jit
def tap(j, count, left, e_left, e_right, REAL: tl.constexpr):
    """Return s^2 m of the j-th tap, j counted from the newest."""
    return tl.where(j < left, e_left + j, e_right + (count - 1 - j).to(REAL))


@triton.jit
def low_bits(count):
    """Return words whose lowest `count` bits are 1; count is put in 0 .. 32."""
    some = (tl.full((), 1, tl.uint32) << tl.where(count > 0, count, 0).to(tl.uint32) % 32) - 1
    return tl.where(count >= 32, tl.full((), 0xFFFFFFFF, tl.uint32), tl.where(count > 0, some, 0))


@triton.jit
def count_and_place(x):
    """Return how many bits of words are 1, and the sum of their places 0 .. 31, by halves.

    For two words at once, the lower and the upper half of 64 bits: (lower count, lower sum, upper count, upper sum).
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
    """Return the 32 steps from place `first` (COLS,) of the bits on, (ROWS, COLS); silence where there are no words."""
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

    tables: whole numbers (4, N): low, count, strictly left, left. edges: (3, N): e_left, e_right, 1 / s^2. chunks:
    words of the widest window.
    """
    low = tl.load(tables + senders, mask=inside, other=1)
    count = tl.load(tables + size + senders, mask=inside, other=0)
    left = tl.load(tables + 3 * size + senders, mask=inside, other=0)
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
        on_left = low_bits(count - done) & ~on_right
        pair = (x & on_right[None, :]).to(tl.uint64) | ((x & on_left[None, :]).to(tl.uint64) << 32)
        n_right, right_place, n_left, left_place = count_and_place(pair)
        z += e_right * n_right.to(REAL) + (done * n_right + right_place).to(REAL)
        z += e_left * n_left.to(REAL) + ((count - 1 - done)[None, :] * n_left - left_place).to(REAL)
    return z * scale
