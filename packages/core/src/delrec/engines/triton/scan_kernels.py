"""The scan through all T and its adjoint, each one launch, for any neuron, recurrent with delays or not.

A program owns ROWS rows of the batch and all N of the layer, which it passes in tiles of COLS columns: programs never
wait for each other. What a step hands to the next lies in global memory, in reach of the processor's own cache; a
barrier of the program's threads stands between writing and reading it. Sequences are (T, B, N), plane = B N.

STEP and ADJOINT are one neuron's, see `spellings.steps_of`. Whole numbers are not specialised: another T, batch or
history is not another kernel.
"""

import triton
import triton.language as tl

from delrec.engines.triton.axonal import delayed, lines, own, returned
from delrec.engines.triton.products import LISTED_TERM, TERM, multiply, product, product_of_live
from delrec.engines.triton.spellings import add_rows
from delrec.engines.triton.synaptic import keep, read


@triton.jit
def tile(
    c, batch, size, SIZE: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, KIND: tl.constexpr, DOT: tl.constexpr
):
    """Return the columns of the tile that begins at c, which of them there are, which places, and their places.

    size is SIZE, as a number that is not known when compiling: but for `tl.dot` a recurrence hides by it that columns
    are neighbours. A thread would get some of one row, and what is read for all rows, of a connection or of the weight,
    would be read by each row's threads; so it gets one column of all.
    """
    rows, cols = tl.program_id(0) * ROWS + tl.arange(0, ROWS), c + tl.arange(0, COLS)
    if KIND > 0 and not DOT:
        cols = cols ^ (size - SIZE)
    inside = cols < SIZE
    return cols, inside, (rows < batch)[:, None] & inside[None, :], rows[:, None] * SIZE + cols[None, :]


@triton.jit
def masked(values, mask, t, wide, at, ok, MASKED: tl.constexpr):
    """Return values times the mask of step t; MASKED: 0 for none, 1 for one for all steps, 2 for one per step."""
    if MASKED == 1:
        values *= tl.load(mask + at, mask=ok, other=0)
    elif MASKED == 2:
        values *= tl.load(mask + t * wide + at, mask=ok, other=0)
    return values


@triton.jit
def pack(
    history, bits, count, prefix, past, size, batch, SIZE: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
    KIND: tl.constexpr, DOT: tl.constexpr,
):  # fmt: skip
    """Write the last `past` of `count` given steps in front of step 0 of the bits, and silence before them."""
    plane = batch * SIZE
    wide = tl.full((), 1, tl.int64) * plane
    for w in range(prefix):
        for c in tl.range(0, SIZE, COLS):
            _, _, ok, at = tile(c, batch, size, SIZE, ROWS, COLS, KIND, DOT)
            word = tl.zeros(at.shape, tl.int32)
            for bit in range(32):
                t = 32 * (w - prefix) + bit
                met = ok & (tl.full(at.shape, t, tl.int32) >= -past)
                fired = tl.load(history + (count + t) * wide + at, mask=met, other=0) > 0
                word |= fired.to(tl.int32) << bit
            tl.store(bits + w * plane + at, word, mask=ok)


@triton.jit(do_not_specialize=["steps", "batch", "size", "count", "prefix", "past", "ring_mask"])
def forward_scan(
    x, weight, tables, edges, mask, coef, history, states, trace, planes, spikes, bits, z, live, running, steps,
    batch, size, count, prefix, past, ring_mask,
    SIZE: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, DEEP: tl.constexpr, DOT: tl.constexpr,
    PRECISION: tl.constexpr, KIND: tl.constexpr, MASKED: tl.constexpr, ACROSS: tl.constexpr,
    STEP: tl.constexpr, TRACED: tl.constexpr, KEEP: tl.constexpr,
):  # fmt: skip
    """Fill spikes (T, B, N) and bits, and make the states (states, B, N) of the start those of the end.

    trace (states, T, B, N) gets the states where TRACED, planes (.., T, B, N) what the backward pass needs where KEEP.
    history: (count, B, N), the newest last. weight: [sender, receiver]. KIND: 0 is without
    recurrence, 1 with one delay per sender, 2 with one per connection. mask: (B, N) where MASKED is 1, (T, B, N) where
    it is 2. bits: (words, B, N), of which the first `prefix` lie before step 0 and hold the last `past` given steps.
    KIND 1: tables, edges: see `axonal.lay_out_senders`; z, live: what is handed to the product, for `tl.dot` as (B, N),
    else as `product_of_live` takes it, all terms and those listed. KIND 2: see `synaptic`: tables: its `longest`;
    edges: its triangles, [sender, receiver]; z: its lines, a ring of two blocks; running: its sums; both zeros.
    """
    REAL: tl.constexpr = x.dtype.element_ty
    program = tl.program_id(0)
    rows = program * ROWS + tl.arange(0, ROWS)
    plane = batch * SIZE
    wide = tl.full((), 1, tl.int64) * plane
    kept = tl.full((), 1, tl.int64) * tl.num_programs(0) * ROWS * SIZE  # numbers of a plane of `running`
    block, end = (ring_mask + 1) // 2, steps + past
    listed = live + program.to(tl.int64) * (SIZE + DEEP)
    apart = tl.full((), 1, tl.int64) * tl.num_programs(0) * (SIZE + DEEP) * ROWS
    if KIND > 0:
        widest = tl.load(tables + (6 * SIZE + 1 if KIND == 1 else 0))
        pack(history, bits, count, prefix, past, size, batch, SIZE, ROWS, COLS, KIND, DOT)
        tl.debug_barrier()
    if KIND == 2:
        for back in range(past):
            t = back - past
            for c in tl.range(0, SIZE, COLS):
                cols, inside, ok, at = tile(c, batch, size, SIZE, ROWS, COLS, KIND, DOT)
                given = tl.load(history + (count + t) * wide + at, mask=ok, other=0)
                keep(
                    steps - 1 - t, given, z, running, widest, ring_mask, block, ring_mask + 2, kept, cols, ok, SIZE,
                    ROWS,
                )  # fmt: skip
            tl.debug_barrier()
    for t in range(steps):
        if KIND == 1:
            alive = tl.full((), 0, tl.int32)
            for c in tl.range(0, SIZE, COLS):
                cols, inside, ok, at = tile(c, batch, size, SIZE, ROWS, COLS, KIND, DOT)
                arrived = delayed(
                    t, bits, prefix, prefix + (steps + 31) // 32, plane, at, ok, cols, inside, tables, edges, SIZE,
                    widest, REAL,
                )  # fmt: skip
                if DOT:
                    tl.store(z + at, arrived, mask=ok)
                else:  # those that are not silent, one behind the other
                    met = (tl.max(tl.abs(arrived), 0) > 0).to(tl.int32)
                    place = alive + tl.cumsum(met, 0) - 1
                    tl.store(listed + place, cols, mask=met > 0)
                    tl.store(z + own(cols, SIZE + DEEP, ROWS), arrived, mask=inside[None, :])
                    tl.store(z + apart + own(place, SIZE + DEEP, ROWS), arrived, mask=(met > 0)[None, :])
                    alive += tl.sum(met, 0)
            if not DOT:
                behind = alive + tl.arange(0, DEEP)
                tl.store(listed + behind, tl.zeros_like(behind))
                tl.store(z + apart + own(behind, SIZE + DEEP, ROWS), tl.zeros((ROWS, DEEP), REAL))
            tl.debug_barrier()
        for c in tl.range(0, SIZE, COLS):
            cols, inside, ok, at = tile(c, batch, size, SIZE, ROWS, COLS, KIND, DOT)
            current = tl.load(x + t * wide + at, mask=ok, other=0, eviction_policy="evict_first")
            if KIND == 1:
                if DOT:
                    sent = product(z, weight, size, rows, rows < batch, cols, inside, SIZE, DEEP, PRECISION, REAL)
                elif alive * LISTED_TERM > SIZE * TERM:
                    sent = product_of_live(z, weight, listed, SIZE, cols, SIZE, ROWS, False, DEEP, REAL)
                else:
                    sent = product_of_live(z + apart, weight, listed, alive, cols, SIZE, ROWS, True, DEEP, REAL)
                current += masked(sent, mask, t, wide, at, ok, MASKED)
            if KIND == 2:
                arrived = read(
                    steps - 1 - t, z, running, widest, end, ring_mask, block, ring_mask + 2, weight, edges, size, kept,
                    cols, SIZE, ROWS, DEEP, True, REAL,
                )  # fmt: skip
                current += masked(arrived, mask, t, wide, at, ok, MASKED)
            spike = STEP(
                states, wide, trace + t * wide, planes + t * wide, steps * wide, at, ok, current, coef, cols, inside,
                ACROSS, TRACED, KEEP,
            )  # fmt: skip
            tl.store(spikes + t * wide + at, spike, mask=ok)
            if KIND > 0:
                word = bits + (prefix + t // 32) * plane + at
                so_far = tl.where(t % 32 > 0, tl.load(word, mask=ok, other=0), 0)
                tl.store(word, so_far | ((spike > 0).to(tl.int32) << t % 32), mask=ok)
            if KIND == 2:
                keep(
                    steps - 1 - t, spike, z, running, widest, ring_mask, block, ring_mask + 2, kept, cols, ok, SIZE,
                    ROWS,
                )  # fmt: skip
        tl.debug_barrier()


@triton.jit
def add_taps(t, bits, prefix, plane, at, ok, cols, inside, y, sides, total, sums, SIZE: tl.constexpr):
    """Add what the spikes of step t give to the delays: sums (3, N), of y, sides and total, in float64."""
    word = tl.load(bits + (prefix + (t >> 5)) * plane + at, mask=ok, other=0)
    fired = ((word >> (t & 31)) & 1) > 0
    add_rows(sums + cols, tl.where(fired, y, 0), inside)
    add_rows(sums + SIZE + cols, tl.where(fired, sides, 0), inside)
    add_rows(sums + 2 * SIZE + cols, tl.where(fired, total, 0), inside)


@triton.jit(do_not_specialize=["steps", "batch", "size", "count", "prefix", "past", "ring_mask"])
def backward_scan(
    weight, tables, edges, mask, coef, planes, start, bits, ring, sent, running, g_spikes,
    g_trace, g_x, carry, g_history, sums, g_coef, steps, batch, size, count, prefix, past, ring_mask,
    SIZE: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, DEEP: tl.constexpr, DOT: tl.constexpr,
    PRECISION: tl.constexpr, KIND: tl.constexpr, MASKED: tl.constexpr, ACROSS: tl.constexpr,
    ADJOINT: tl.constexpr,
    SPIKES_GIVEN: tl.constexpr, TRACE_GIVEN: tl.constexpr, TAPS: tl.constexpr, COEF: tl.constexpr,
    HISTORY: tl.constexpr,
):  # fmt: skip
    """The adjoint of `forward_scan`, from the last step to the first, then through the `past` given spikes.

    weight, KIND 2: edges too, `synaptic`'s triangles: [receiver, sender]. start: (states, B, N). g_spikes (T, B, N),
    g_trace (states, T, B, N): what comes in, where given. g_x: (T, B, N). carry: (states, B, N), the gradients of the
    states on their way to the step before, at first those of the final states. g_history, where
    HISTORY: (count, B, N). KIND 1: ring, running: see `axonal.returned`; sent: as z of `forward_scan`. KIND 2: see
    `synaptic`: sent: its lines, of all steps, silent at the end; running: its sums, zeros; ring_mask + 1: a block.
    sums: (programs, 3, N), g_coef: (programs, coefficients, N), in float64.
    """
    REAL: tl.constexpr = g_x.dtype.element_ty
    program = tl.program_id(0)
    rows = program * ROWS + tl.arange(0, ROWS)
    plane = batch * SIZE
    wide = tl.full((), 1, tl.int64) * plane
    kept = tl.full((), 1, tl.int64) * tl.num_programs(0) * ROWS * SIZE  # numbers of a plane of `running`
    block, end, length = ring_mask + 1, steps + past, steps + past + 2
    longest = tl.full((), 0, tl.int32)
    if KIND > 0:
        longest = tl.load(tables + (6 * SIZE if KIND == 1 else 0))
    for back in range(steps):
        t = steps - 1 - back
        for c in tl.range(0, SIZE, COLS):
            cols, inside, ok, at = tile(c, batch, size, SIZE, ROWS, COLS, KIND, DOT)
            g_spike = tl.zeros(at.shape, REAL)
            if SPIKES_GIVEN:
                g_spike += tl.load(g_spikes + t * wide + at, mask=ok, other=0, eviction_policy="evict_first")
            if KIND == 1:
                y, sides, total = returned(
                    t, ring, ring_mask, steps, running, kept, cols, inside, tables, edges, longest, SIZE, ROWS, TAPS,
                    REAL,
                )  # fmt: skip
                g_spike += y
                if TAPS:
                    mine = sums + program * 3 * SIZE
                    add_taps(t, bits, prefix, plane, at, ok, cols, inside, y, sides, total, mine, SIZE)
            if KIND == 2:
                g_spike += read(
                    t + past, sent, running, longest, end, -1, block, length, weight, edges, size, kept, cols, SIZE,
                    ROWS, DEEP, False, REAL,
                )  # fmt: skip
            g_current = ADJOINT(
                planes + (t - 1) * wide, planes + t * wide, steps * wide, start, wide, t, at, ok, g_spike, carry,
                g_trace + t * wide, coef, g_coef, cols, inside, SIZE, ACROSS, TRACE_GIVEN,
                COEF,
            )  # fmt: skip
            tl.store(g_x + t * wide + at, g_current, mask=ok)
            if KIND == 1:
                g_sent = masked(g_current, mask, t, wide, at, ok, MASKED)
                if DOT:
                    tl.store(sent + at, g_sent, mask=ok)
                else:
                    tl.store(sent + own(cols, SIZE + DEEP, ROWS), g_sent, mask=inside[None, :])
            if KIND == 2:
                g_sent = masked(g_current, mask, t, wide, at, ok, MASKED)
                keep(t + past, g_sent, sent, running, longest, -1, block, length, kept, cols, ok, SIZE, ROWS)
        tl.debug_barrier()
        if KIND == 1:
            for c in tl.range(0, SIZE, COLS):
                cols, inside, ok, at = tile(c, batch, size, SIZE, ROWS, COLS, KIND, DOT)
                if DOT:
                    gz = product(sent, weight, size, rows, rows < batch, cols, inside, SIZE, DEEP, PRECISION, REAL)
                else:
                    gz = product_of_live(sent, weight, sent, SIZE, cols, SIZE, ROWS, False, DEEP, REAL)
                to = lines(ring, ring_mask + 1, cols, SIZE, ROWS) + (t & ring_mask) * ROWS
                tl.store(to, gz, mask=inside[None, :])
            tl.debug_barrier()
    if KIND > 0:
        for back in range(past):
            for c in tl.range(0, SIZE, COLS):
                cols, inside, ok, at = tile(c, batch, size, SIZE, ROWS, COLS, KIND, DOT)
                t = -1 - back
                if KIND == 2:
                    y = read(
                        t + past, sent, running, longest, end, -1, block, length, weight, edges, size, kept, cols, SIZE,
                        ROWS, DEEP, False, REAL,
                    )  # fmt: skip
                    silence = tl.zeros_like(y)
                    keep(t + past, silence, sent, running, longest, -1, block, length, kept, cols, ok, SIZE, ROWS)
                else:
                    y, sides, total = returned(
                        t, ring, ring_mask, steps, running, kept, cols, inside, tables, edges, longest, SIZE, ROWS,
                        TAPS, REAL,
                    )  # fmt: skip
                    if TAPS:
                        mine = sums + program * 3 * SIZE
                        add_taps(t, bits, prefix, plane, at, ok, cols, inside, y, sides, total, mine, SIZE)
                if HISTORY:
                    tl.store(g_history + (count - 1 - back) * wide + at, y, mask=ok)
            tl.debug_barrier()


@triton.jit(do_not_specialize=["steps", "batch", "prefix", "share"])
def weight_gradient(
    g_x, mask, tables, edges, bits, out, steps, batch, prefix, share,
    SIZE: tl.constexpr, EDGE: tl.constexpr, DEEP: tl.constexpr, PRECISION: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """dW[i, o] = sum_{t, b} gI[t, b, i] z[t, b, o] of a tile of connections and `share` steps; out: (parts, N, N).

    z is read from the bits again: keeping it would cost (T, B, N) numbers for 1 / 32 of that in bits.
    """
    REAL: tl.constexpr = g_x.dtype.element_ty
    receivers = tl.program_id(0) * EDGE + tl.arange(0, EDGE)
    senders = tl.program_id(1) * EDGE + tl.arange(0, EDGE)
    part = tl.program_id(2)
    inside = senders < SIZE
    plane = batch * SIZE
    wide = tl.full((), 1, tl.int64) * plane
    chunks = tl.load(tables + 6 * SIZE + 1)
    total = tl.zeros((EDGE, EDGE), REAL)
    for t in range(part * share, tl.minimum(part * share + share, steps)):
        for b in range(0, batch, DEEP):
            rows = b + tl.arange(0, DEEP)
            ok = (rows < batch)[:, None] & inside[None, :]
            at = rows[:, None] * SIZE + senders[None, :]
            arrived = delayed(
                t, bits, prefix, prefix + (steps + 31) // 32, plane, at, ok, senders, inside, tables, edges, SIZE,
                chunks, REAL,
            )  # fmt: skip
            # (EDGE, DEEP), as the product takes it
            from_ok = (receivers < SIZE)[:, None] & (rows < batch)[None, :]
            from_at = receivers[:, None] + rows[None, :] * SIZE
            g = tl.load(g_x + t * wide + from_at, mask=from_ok, other=0)
            g = masked(g, mask, t, wide, from_at, from_ok, MASKED)
            total = multiply(g, arrived, total, PRECISION)
    ok = (receivers < SIZE)[:, None] & inside[None, :]
    to = out + part.to(tl.int64) * SIZE * SIZE + receivers[:, None] * SIZE + senders[None, :]
    tl.store(to, total, mask=ok)
