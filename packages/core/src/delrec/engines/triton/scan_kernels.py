"""The scan through all T and its adjoint, each one launch, for any neuron, with or without recurrence.

A program owns ROWS rows of the batch and all N neurons, in tiles of COLS columns: programs never wait for each other.
Values passed from step to step lie in global memory, cached by the multiprocessor, with a barrier of the program's
threads between writing and reading. Sequences are (T, B, N), plane = B N.

STEP and ADJOINT are the neuron's, see `spellings.steps_of`. Whole numbers are not specialised, so another T, batch or
history does not recompile.
"""

import triton
import triton.language as tl

from delrec.engines.triton.axonal import LISTED_TERM, TERM, delayed, lines, multiply, own, product, returned
from delrec.engines.triton.spellings import add_rows
from delrec.engines.triton.synaptic import keep, read


@triton.jit
def tile(c, batch, size, SIZE: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, KIND: tl.constexpr):
    """Return the columns of the tile from c on, which of them exist, which elements exist, and their places.

    size equals SIZE, but is unknown to the compiler: a recurrence uses it to hide that columns are adjacent. Otherwise
    a thread would get several columns of one row, and reads of a connection or weight that serve all rows would be
    repeated by each row's threads.
    """
    rows, cols = tl.program_id(0) * ROWS + tl.arange(0, ROWS), c + tl.arange(0, COLS)
    if KIND > 0:
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
    history, bits, count, prefix, past, size, batch, SIZE: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr
):  # fmt: skip
    """Write the last `past` of `count` given steps in front of step 0 of the bits, and silence before them."""
    plane = batch * SIZE
    wide = tl.full((), 1, tl.int64) * plane
    for w in range(prefix):
        for c in tl.range(0, SIZE, COLS):
            _, _, ok, at = tile(c, batch, size, SIZE, ROWS, COLS, 1)
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
    SIZE: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, DEEP: tl.constexpr, PRECISION: tl.constexpr,
    KIND: tl.constexpr, MASKED: tl.constexpr, ACROSS: tl.constexpr, STEP: tl.constexpr, TRACED: tl.constexpr,
    KEEP: tl.constexpr,
):  # fmt: skip
    """Fill spikes (T, B, N) and bits, and turn the initial states (states, B, N) into the final ones.

    KIND, MASKED: see `scan.Plan`. trace (states, T, B, N) receives the states if TRACED, planes (.., T, B, N) the kept
    values if KEEP. history: (count, B, N), newest last. weight: [sender, receiver]. bits: (words, B, N); the first
    `prefix` hold the last `past` given steps. KIND 1: tables, edges: see `axonal.lay_out_senders`; z, live: operands of
    `axonal.product`, all terms and those listed. KIND 2: see `synaptic`: tables: its `longest`; edges: its triangles,
    [sender, receiver]; z: its lines, a ring of two blocks; running: its sums; both zeros.
    """
    REAL: tl.constexpr = x.dtype.element_ty
    program = tl.program_id(0)
    plane = batch * SIZE
    wide = tl.full((), 1, tl.int64) * plane
    kept = tl.full((), 1, tl.int64) * tl.num_programs(0) * ROWS * SIZE  # numbers of a plane of `running`
    block, end, length = (ring_mask + 1) // 2, steps + past, ring_mask + 2
    listed = live + program.to(tl.int64) * (SIZE + DEEP)
    apart = tl.full((), 1, tl.int64) * tl.num_programs(0) * (SIZE + DEEP) * ROWS
    if KIND > 0:
        widest = tl.load(tables + (6 * SIZE + 1 if KIND == 1 else 0))
        pack(history, bits, count, prefix, past, size, batch, SIZE, ROWS, COLS)
        tl.debug_barrier()
    if KIND == 2:
        for back in range(past):
            t = back - past
            for c in tl.range(0, SIZE, COLS):
                cols, inside, ok, at = tile(c, batch, size, SIZE, ROWS, COLS, KIND)
                given = tl.load(history + (count + t) * wide + at, mask=ok, other=0)
                keep(steps - 1 - t, given, z, running, widest, ring_mask, block, length, kept, cols, ok, SIZE, ROWS)
            tl.debug_barrier()
    for t in range(steps):
        if KIND == 1:
            alive = tl.full((), 0, tl.int32)
            for c in tl.range(0, SIZE, COLS):
                cols, inside, ok, at = tile(c, batch, size, SIZE, ROWS, COLS, KIND)
                arrived = delayed(
                    t, bits, prefix, prefix + (steps + 31) // 32, plane, at, ok, cols, inside, tables, edges, SIZE,
                    widest, REAL,
                )  # fmt: skip
                # list the senders that are not silent
                met = (tl.max(tl.abs(arrived), 0) > 0).to(tl.int32)
                place = alive + tl.cumsum(met, 0) - 1
                tl.store(listed + place, cols, mask=met > 0)
                tl.store(z + own(cols, SIZE + DEEP, ROWS), arrived, mask=inside[None, :])
                tl.store(z + apart + own(place, SIZE + DEEP, ROWS), arrived, mask=(met > 0)[None, :])
                alive += tl.sum(met, 0)
            behind = alive + tl.arange(0, DEEP)
            tl.store(listed + behind, tl.zeros_like(behind))
            tl.store(z + apart + own(behind, SIZE + DEEP, ROWS), tl.zeros((ROWS, DEEP), REAL))
            tl.debug_barrier()
        for c in tl.range(0, SIZE, COLS):
            cols, inside, ok, at = tile(c, batch, size, SIZE, ROWS, COLS, KIND)
            current = tl.load(x + t * wide + at, mask=ok, other=0, eviction_policy="evict_first")
            if KIND == 1:
                if alive * LISTED_TERM > SIZE * TERM:
                    sent = product(z, weight, listed, SIZE, cols, SIZE, ROWS, False, DEEP, PRECISION, REAL)
                else:
                    sent = product(z + apart, weight, listed, alive, cols, SIZE, ROWS, True, DEEP, PRECISION, REAL)
                current += masked(sent, mask, t, wide, at, ok, MASKED)
            if KIND == 2:
                arrived = read(
                    steps - 1 - t, z, running, widest, end, ring_mask, block, length, weight, edges, size, kept, cols,
                    SIZE, ROWS, DEEP, True, REAL,
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
                keep(steps - 1 - t, spike, z, running, widest, ring_mask, block, length, kept, cols, ok, SIZE, ROWS)
        tl.debug_barrier()


@triton.jit
def add_taps(t, bits, prefix, plane, at, ok, cols, inside, y, sides, total, sums, SIZE: tl.constexpr):
    """Add y, sides and total at the spikes of step t to the sums (3, N) in float64."""
    word = tl.load(bits + (prefix + (t >> 5)) * plane + at, mask=ok, other=0)
    fired = ((word >> (t & 31)) & 1) > 0
    add_rows(sums + cols, tl.where(fired, y, 0), inside)
    add_rows(sums + SIZE + cols, tl.where(fired, sides, 0), inside)
    add_rows(sums + 2 * SIZE + cols, tl.where(fired, total, 0), inside)


@triton.jit(do_not_specialize=["steps", "batch", "size", "count", "prefix", "past", "ring_mask"])
def backward_scan(
    weight, tables, edges, mask, coef, planes, start, bits, ring, sent, running, g_spikes, g_trace, g_x, carry,
    g_history, sums, g_coef, steps, batch, size, count, prefix, past, ring_mask,
    SIZE: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, DEEP: tl.constexpr, PRECISION: tl.constexpr,
    KIND: tl.constexpr, MASKED: tl.constexpr, ACROSS: tl.constexpr, ADJOINT: tl.constexpr, SPIKES_GIVEN: tl.constexpr,
    TRACE_GIVEN: tl.constexpr, TAPS: tl.constexpr, COEF: tl.constexpr, HISTORY: tl.constexpr,
):  # fmt: skip
    """Run the adjoint of `forward_scan` from the last step to the first, then through the `past` given spikes.

    weight, and for KIND 2 edges (`synaptic`'s triangles): [receiver, sender]. start: (states, B, N). g_spikes
    (T, B, N), g_trace (states, T, B, N): incoming gradients, where given. g_x: (T, B, N). carry: (states, B, N), the
    gradients of the states on their way to the step before, initially those of the final states. g_history: (count, B,
    N) if HISTORY. KIND 1: ring, running: see `axonal.returned`; sent: like z of `forward_scan`. KIND 2: see `synaptic`:
    sent: its lines, of all steps, silent at the end; running: its sums, zeros; ring_mask + 1: a block. sums: (programs,
    3, N), g_coef: (programs, coefficients, N), in float64.
    """
    REAL: tl.constexpr = g_x.dtype.element_ty
    program = tl.program_id(0)
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
            cols, inside, ok, at = tile(c, batch, size, SIZE, ROWS, COLS, KIND)
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
                g_trace + t * wide, coef, g_coef, cols, inside, SIZE, ACROSS, TRACE_GIVEN, COEF,
            )  # fmt: skip
            tl.store(g_x + t * wide + at, g_current, mask=ok)
            g_sent = masked(g_current, mask, t, wide, at, ok, MASKED)
            if KIND == 1:
                tl.store(sent + own(cols, SIZE + DEEP, ROWS), g_sent, mask=inside[None, :])
            if KIND == 2:
                keep(t + past, g_sent, sent, running, longest, -1, block, length, kept, cols, ok, SIZE, ROWS)
        tl.debug_barrier()
        if KIND == 1:
            for c in tl.range(0, SIZE, COLS):
                cols, inside, ok, at = tile(c, batch, size, SIZE, ROWS, COLS, KIND)
                gz = product(sent, weight, sent, SIZE, cols, SIZE, ROWS, False, DEEP, PRECISION, REAL)
                to = lines(ring, ring_mask + 1, cols, SIZE, ROWS) + (t & ring_mask) * ROWS
                tl.store(to, gz, mask=inside[None, :])
            tl.debug_barrier()
    if KIND > 0:
        for back in range(past):
            for c in tl.range(0, SIZE, COLS):
                cols, inside, ok, at = tile(c, batch, size, SIZE, ROWS, COLS, KIND)
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

    z is computed from the bits again: storing it would take 32 times their memory.
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
            from_ok = (receivers < SIZE)[:, None] & (rows < batch)[None, :]
            from_at = receivers[:, None] + rows[None, :] * SIZE
            g = tl.load(g_x + t * wide + from_at, mask=from_ok, other=0)
            g = masked(g, mask, t, wide, from_at, from_ok, MASKED)
            total = multiply(g, arrived, total, PRECISION)
    ok = (receivers < SIZE)[:, None] & inside[None, :]
    to = out + part.to(tl.int64) * SIZE * SIZE + receivers[:, None] * SIZE + senders[None, :]
    tl.store(to, total, mask=ok)
