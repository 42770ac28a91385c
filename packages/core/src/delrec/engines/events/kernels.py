"""A layer by its events, for any neuron; `codegen` compiles a copy of this file for each, as of `scan_kernels`."""

from __future__ import annotations

import numpy as np

from delrec.engines.cpu.blocks import BLOCK, CURRENT, NEW, OLD, ROWS, SPIKE, STATES, ZERO, step_block
from delrec.engines.cpu.cache import entry
from delrec.engines.cpu.kernels import add_rows
from delrec.engines.cpu.linear_kernels import list_row
from delrec.engines.cpu.vector import LANES, get, next_bit, nonzero_bits, put

WORK = ROWS * BLOCK


@entry
def event_rows(shape, reals, longs, shorts, x, out):
    """Run some rows of a layer through steps of x; what is carried over lies in the work, queue and ring of the layer.

    shape: the numbers of `EventLayer`, then where each of its arrays begins and ends in reals, longs and shorts: a call
    with few arguments costs little, and streaming is a call a step and layer.
    form 0: x is the current; 1: a linear map; 2: one with whole delays. kind 0: no recurrence; 1: one delay a sender;
    2: one a connection. mode 0: out is spikes; 1: the first state; 2: the current, without neurons.
    """
    begin, end, steps, batch, inputs, size, padded, form, elements, kind, slots, clock, mode = (
        shape[0],
        shape[1],
        shape[2],
        shape[3],
        shape[4],
        shape[5],
        shape[6],
        shape[7],
        shape[8],
        shape[9],
        shape[10],
        shape[11],
        shape[12],
    )
    wt, bias = reals[shape[13] : shape[14]], reals[shape[15] : shape[16]]
    rwt, ring = reals[shape[17] : shape[18]], reals[shape[19] : shape[20]]
    work, value = reals[shape[21] : shape[22]], reals[shape[23] : shape[24]]
    ones, cur = reals[shape[25] : shape[26]], reals[shape[27] : shape[28]]
    ff_delay, delay = longs[shape[29] : shape[30]], longs[shape[31] : shape[32]]
    waiting = longs[shape[33] : shape[34]]
    queue, index = shorts[shape[35] : shape[36]], shorts[shape[37] : shape[38]]
    blocks = (size + BLOCK - 1) // BLOCK
    for b in range(begin, end):
        for t in range(steps):
            slot = (clock + t) % slots
            at = (t * batch + b) * inputs
            now = (b * slots + slot) * padded
            n = 0
            if form > 0:
                n, _ = list_row(x, at, inputs, index, value, 0)
            if form == 2:
                for j in range(n):
                    for c in range(elements):
                        row = (c * inputs + index[j]) * padded
                        for i in range(size):
                            s = slot + get(ff_delay, row + i)
                            s = s - slots if s >= slots else s
                            to = (b * slots + s) * padded + i
                            put(ring, to, get(ring, to) + value[j] * get(wt, row + i))
            if form == 2 or kind == 2:
                for i in range(padded):
                    put(cur, i, get(bias, i) + get(ring, now + i))
                    put(ring, now + i, ZERO)
            else:
                for i in range(padded):
                    put(cur, i, get(bias, i))
            if form == 1:
                add_rows(cur, 0, padded, index, value, 0, n, wt, 0, padded)
            elif form == 0:
                for i in range(size):
                    put(cur, i, get(cur, i) + get(x, at + i))
            if kind == 1:
                q = b * slots + slot
                add_rows(cur, 0, padded, queue[q * size : (q + 1) * size], ones, 0, waiting[q], rwt, 0, padded)
                waiting[q] = 0
            first = (t * batch + b) * size
            if mode == 2:
                for i in range(size):
                    put(out, first + i, get(cur, i))
                continue
            for k in range(blocks):
                c = k * BLOCK
                m = min(BLOCK, size - c)
                mine = work[(b * blocks + k) * WORK : (b * blocks + k + 1) * WORK]
                for i in range(m):
                    put(mine, CURRENT + i, get(cur, c + i))
                step_block(mine, mine)
                for j in range(STATES * BLOCK):
                    put(mine, OLD + j, get(mine, NEW + j))
                if mode == 1:
                    for i in range(m):
                        put(out, first + c + i, get(mine, NEW + i))
                    continue
                for i in range(m):
                    put(out, first + c + i, get(mine, SPIKE + i))
                if kind == 0:
                    continue
                for i0 in range(0, m, LANES):
                    word = nonzero_bits(mine, SPIKE + i0)
                    while word != 0:
                        i = i0 + next_bit(word)
                        word &= word - np.uint16(1)
                        if i >= m:
                            break
                        o = c + i
                        if kind == 1:
                            s = slot + 1 + delay[o]
                            q = b * slots + (s - slots if s >= slots else s)
                            queue[q * size + waiting[q]] = o
                            waiting[q] += 1
                        else:
                            for j in range(size):
                                s = slot + 1 + get(delay, o * size + j)
                                s = s - slots if s >= slots else s
                                to = (b * slots + s) * padded + j
                                put(ring, to, get(ring, to) + get(rwt, o * padded + j))
