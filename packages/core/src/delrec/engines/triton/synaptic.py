"""One delay a connection: spikes send their taps ahead, gradients are read back, connection by connection.

A spike of sender o at step t adds W[i, o] m_io[k] to the current of step t + k of every receiver i, in a ring of steps
to come: work follows spikes. Back, y[t, o] = sum_i W[i, o] sum_k m_io[k] gI[t + k, i] is dense; the gradients of
weights and delays follow spikes again, once gI is known for all steps. tables (4, N, N) and edges (3, N, N) hold for
each connection what `window` holds for a sender.
"""

import triton
import triton.language as tl

from delrec.engines.triton.window import tap


@triton.jit
def send(
    t, bits, prefix, plane, ring, ring_mask, wide, live, weight, tables, edges, longest, steps, batch, rows,
    SIZE: tl.constexpr, COLS: tl.constexpr, REAL: tl.constexpr,
):  # fmt: skip
    """Clear step t of the ring and add the taps of its spikes to later ones; t < 0 is a given step, which has no place.

    weight, tables, edges: [sender, receiver]; live: (B, N) scratch. Rows are apart, a row's spikes come one by one, and
    a barrier lies between two taps: no number of the ring is changed twice at a time.
    """
    found = tl.zeros((rows.shape[0],), tl.int32)
    for c in tl.range(0, SIZE, COLS):
        cols = c + tl.arange(0, COLS)
        ok = (rows < batch)[:, None] & (cols < SIZE)[None, :]
        at = rows[:, None] * SIZE + cols[None, :]
        now = tl.full(at.shape, t, tl.int32) >= 0
        tl.store(ring + (t & ring_mask) * wide + at, tl.zeros(at.shape, REAL), mask=ok & now)
        fired = (tl.load(bits + (prefix + (t >> 5)) * plane + at, mask=ok, other=0) >> (t & 31)) & 1
        place = rows[:, None] * SIZE + found[:, None] + tl.cumsum(fired, 1) - 1
        tl.store(live + place, tl.broadcast_to(cols[None, :], at.shape), mask=ok & (fired > 0))
        found += tl.sum(fired, 1)
    tl.debug_barrier()
    for e in range(tl.max(found, 0)):
        sender = tl.load(live + rows * SIZE + e, mask=e < found, other=0)
        for c in tl.range(0, SIZE, COLS):
            cols = c + tl.arange(0, COLS)
            ok = (e < found)[:, None] & (cols < SIZE)[None, :]
            at = rows[:, None] * SIZE + cols[None, :]
            pair = sender[:, None] * SIZE + cols[None, :]
            low = tl.load(tables + pair, mask=ok, other=1)
            count = tl.load(tables + SIZE * SIZE + pair, mask=ok, other=0)
            left = tl.load(tables + 3 * SIZE * SIZE + pair, mask=ok, other=0)
            e_left = tl.load(edges + pair, mask=ok, other=0)
            e_right = tl.load(edges + SIZE * SIZE + pair, mask=ok, other=0)
            scale = tl.load(edges + 2 * SIZE * SIZE + pair, mask=ok, other=0)
            w = tl.load(weight + pair, mask=ok, other=0) * scale
            for j in range(longest):
                step = t + low + j
                met = ok & (j < count) & (step >= 0) & (step < steps)
                place = ring + (step & ring_mask) * wide + at
                so_far = tl.load(place, mask=met, other=0)
                tl.store(place, tl.fma(w, tap(j, count, left, e_left, e_right, REAL), so_far), mask=met)
                tl.debug_barrier()
    tl.debug_barrier()


@triton.jit
def sent_back(
    t, sent, steps, weight, tables, edges, longest, rows, ok, cols, inside, SIZE: tl.constexpr, REAL: tl.constexpr
):  # fmt: skip
    """Return y[t] of a tile of senders; weight, tables, edges: [receiver, sender]; sent: gI, (B, N, T)."""
    y = tl.zeros(ok.shape, REAL)
    for i in range(SIZE):
        pair = i * SIZE + cols
        low = tl.load(tables + pair, mask=inside, other=1)
        count = tl.load(tables + SIZE * SIZE + pair, mask=inside, other=0)
        left = tl.load(tables + 3 * SIZE * SIZE + pair, mask=inside, other=0)
        e_left = tl.load(edges + pair, mask=inside, other=0)
        e_right = tl.load(edges + SIZE * SIZE + pair, mask=inside, other=0)
        w = tl.load(weight + pair, mask=inside, other=0) * tl.load(edges + 2 * SIZE * SIZE + pair, mask=inside, other=0)
        line = (rows * SIZE + i).to(tl.int64) * steps
        for j in range(longest):
            step = t + low + j
            met = (j < count) & (step >= 0) & (step < steps)
            g = tl.load(sent + line[:, None] + step[None, :], mask=ok & met[None, :], other=0)
            rise = w * tap(j, count, left, e_left, e_right, REAL)
            y = tl.fma(tl.broadcast_to(rise[None, :], ok.shape), g, y)
    return y


@triton.jit(do_not_specialize=["steps", "batch", "prefix", "words"])
def connection_gradients(
    sent, tables, edges, extent, bits, sums, steps, batch, prefix, words,
    SIZE: tl.constexpr, COLS: tl.constexpr, REAL: tl.constexpr,
):  # fmt: skip
    """Sum over the spikes of a sender, for a tile of receivers: m gI, and gI right minus left of the middle, and all.

    A program takes sender tl.program_id(0) and the receivers of tile tl.program_id(1). tables, edges: [sender,
    receiver]; sent: gI, (B, N, T); sums: (3, N, N), [sender, receiver].
    """
    sender = tl.program_id(0)
    cols = tl.program_id(1) * COLS + tl.arange(0, COLS)
    inside = cols < SIZE
    longest = tl.load(extent)
    pair = sender * SIZE + cols
    low = tl.load(tables + pair, mask=inside, other=1)
    count = tl.load(tables + SIZE * SIZE + pair, mask=inside, other=0)
    strict = tl.load(tables + 2 * SIZE * SIZE + pair, mask=inside, other=0)
    left = tl.load(tables + 3 * SIZE * SIZE + pair, mask=inside, other=0)
    e_left = tl.load(edges + pair, mask=inside, other=0)
    e_right = tl.load(edges + SIZE * SIZE + pair, mask=inside, other=0)
    taps, sides, total = tl.zeros((COLS,), REAL), tl.zeros((COLS,), REAL), tl.zeros((COLS,), REAL)
    for b in range(batch):
        line = (b * SIZE + cols).to(tl.int64) * steps
        for w in range(words):
            word = tl.load(bits + (w * batch + b) * SIZE + sender)
            if word != 0:
                for bit in range(32):
                    if ((word >> bit) & 1) != 0:
                        for j in range(longest):
                            step = 32 * (w - prefix) + bit + low + j
                            met = inside & (j < count) & (step >= 0) & (step < steps)
                            g = tl.load(sent + line + step, mask=met, other=0)
                            taps = tl.fma(tap(j, count, left, e_left, e_right, REAL), g, taps)
                            side = tl.where(j < strict, -1, tl.where(j < left, 0, 1)).to(REAL)
                            sides = tl.fma(side, g, sides)
                            total += g
    scale = tl.load(edges + 2 * SIZE * SIZE + pair, mask=inside, other=0)
    tl.store(sums + pair, taps * scale, mask=inside)
    tl.store(sums + SIZE * SIZE + pair, sides, mask=inside)
    tl.store(sums + 2 * SIZE * SIZE + pair, total, mask=inside)
