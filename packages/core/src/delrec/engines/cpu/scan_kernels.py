# ruff: noqa: F821
# mypy: disable-error-code="name-defined"
"""The scan of one tile of the batch through time, and its adjoint: a template completed by `codegen`.

`codegen` prepends, for each neuron, the names that are not defined here: BLOCK and other constants, the neuron's step
on a block of neurons, and the functions of `axonal_kernels` or `synaptic_kernels`. For the arguments see `scan` and
`recurrence`. Loops over neurons load BLOCK values into `work`, run the neuron, and store.

Python allocates the scratch of a tile, as zeros: kernels with arrays of their own would count references. `work` is
(ROWS, BLOCK); `carry`, the gradients of states on their way to the step before, (states, LANES, N). Of `room`, room.y
is the recurrent current of a step in the forward pass (`receive`), and the gradient of its spikes in the backward pass
(`receive_gradient`, which also adds to the delays'). `send` takes a step's spikes; `send_gradient` the gradient of the
current, rows of room.g from g_row(room) on, and adds to the weight's; `send_silence` is a step before the first.
"""

import numpy as np

from delrec.engines.cpu.cache import scan_entry
from delrec.engines.cpu.common import add, load, store
from delrec.engines.cpu.vector import LANES, get, prefetch, put


@scan_entry
def forward_tile(tile, shape, given, tables, room, work, words, x, planes, bits):
    """Fill spikes, states and spike bits of the LANES rows of a tile."""
    size, row = shape.size, shape.row
    first_row = tile * LANES
    rows = min(LANES, shape.batch - first_row)
    length = shape.prefix + shape.steps
    bits_at = tile * size * length + shape.prefix
    plane = shape.batch * size
    for t in range(shape.steps):
        if shape.recurrent:
            receive(t, shape, tables, room, bits, bits_at)
        for c in range(0, size, BLOCK):
            m = min(BLOCK, size - c)
            for j in range(COEFS):
                load(work, COEF + j * BLOCK, given.coef, j * size + c, m)
            words[:] = 0
            for b in range(rows):
                at = (first_row + b) * size + c
                now = t * plane + at
                prefetch(x, now + plane, m)  # of the next step, too far away for the hardware to prefetch
                prefetch(planes.spikes, now + plane, m)
                if shape.keep:
                    for j in range(PLANES):
                        prefetch(planes.kept, j * shape.steps * plane + now + plane, m)
                if not shape.recurrent:
                    load(work, CURRENT, x, now, m)
                elif len(given.mask):
                    mask_at = t * given.mask_step + at
                    for n in range(m):
                        v = get(room.y, b * row + c + n) * get(given.mask, mask_at + n)
                        put(work, CURRENT + n, get(x, now + n) + v)
                else:
                    for n in range(m):
                        put(work, CURRENT + n, get(x, now + n) + get(room.y, b * row + c + n))
                for j in range(STATES):
                    load(work, OLD + j * BLOCK, planes.states, j * plane + at, m)
                step_block(work, given.numbers)
                store(work, SPIKE, planes.spikes, now, m)
                for j in range(STATES):
                    store(work, NEW + j * BLOCK, planes.states, j * plane + at, m)
                if shape.traced:
                    for j in range(STATES):
                        store(work, NEW + j * BLOCK, planes.trace, j * shape.steps * plane + now, m)
                if shape.keep:
                    for j in range(PLANES):
                        store(work, KEPT + j * BLOCK, planes.kept, j * shape.steps * plane + now, m)
                if shape.recurrent:
                    bit = np.uint16(1 << b)
                    for n in range(BLOCK):
                        words[n] |= bit if work[SPIKE + n] > ZERO else np.uint16(0)
            if shape.recurrent:
                for n in range(m):
                    put(bits, bits_at + (c + n) * length + t, words[n])
        if shape.recurrent:
            send(t, shape, tables, room, bits, bits_at)


@scan_entry
def backward_tile(tile, shape, given, tables, room, work, carry, kept, bits, incoming, sums):
    """Run the adjoint of `forward_tile`, step by step from the last."""
    size, row = shape.size, shape.row
    first_row = tile * LANES
    rows = min(LANES, shape.batch - first_row)
    length = shape.prefix + shape.steps
    bits_at = tile * size * length + shape.prefix
    plane = shape.batch * size
    read_old = READS_OLD or (COEFFICIENTS_READ_OLD and len(sums.coef) > 0)
    ahead = 2 * plane if read_old else plane
    if len(incoming.final):
        for j in range(STATES):
            load(carry, j * LANES * size, incoming.final, j * plane + first_row * size, rows * size)
    for t in range(shape.steps - 1, -1 - shape.past, -1):
        if shape.recurrent:
            receive_gradient(t, shape, tables, room, bits, bits_at, sums)
        if t < 0:
            for b in range(rows):
                load(sums.past, ((shape.past + t) * shape.batch + first_row + b) * size, room.y, b * row, size)
            send_silence(shape, tables, room)
            continue
        for c in range(0, size, BLOCK):
            m = min(BLOCK, size - c)
            for j in range(COEFS):
                load(work, COEF + j * BLOCK, given.coef, j * size + c, m)
            for b in range(rows):
                at = (first_row + b) * size + c
                now = t * plane + at
                held = b * size + c
                prefetch(sums.current, now - plane, m)
                for j in range(PLANES):
                    prefetch(kept, j * shape.steps * plane + now - ahead, m)
                if len(incoming.spikes):
                    prefetch(incoming.spikes, now - plane, m)
                    load(work, G_SPIKE, incoming.spikes, now, m)
                else:
                    work[G_SPIKE : G_SPIKE + BLOCK] = ZERO
                if shape.recurrent:
                    add(work, G_SPIKE, room.y, b * row + c, m)
                for j in range(STATES):
                    load(work, G_NEW + j * BLOCK, carry, j * LANES * size + held, m)
                    if len(incoming.trace):
                        add(work, G_NEW + j * BLOCK, incoming.trace, j * shape.steps * plane + now, m)
                if read_old and t == 0:
                    for j in range(STATES):
                        load(work, OLD + j * BLOCK, given.start, j * plane + at, m)
                elif read_old:
                    for j in range(PLANES):
                        load(work, KEPT + j * BLOCK, kept, j * shape.steps * plane + now - plane, m)
                    restore_block(work, given.numbers)
                for j in range(PLANES):
                    load(work, KEPT + j * BLOCK, kept, j * shape.steps * plane + now, m)
                adjoint_block(work, given.numbers)
                for j in range(STATES):
                    store(work, G_NEW + j * BLOCK, carry, j * LANES * size + held, m)
                store(work, CURRENT, sums.current, now, m)
                if len(sums.coef):
                    for j in range(COEFS):
                        for n in range(m):
                            to = j * size + c + n
                            put(sums.coef, to, get(sums.coef, to) + np.float64(get(work, G_COEF + j * BLOCK + n)))
                if shape.recurrent:
                    to = (g_row(room) + b) * row + c
                    if len(given.mask):
                        mask_at = t * given.mask_step + at
                        for n in range(m):
                            put(room.g, to + n, get(work, CURRENT + n) * get(given.mask, mask_at + n))
                    else:
                        store(work, CURRENT, room.g, to, m)
        if shape.recurrent:
            send_gradient(t, shape, tables, room, bits, bits_at, sums)
    if len(sums.start):
        for j in range(STATES):
            load(sums.start, (j * shape.batch + first_row) * size, carry, j * LANES * size, rows * size)
