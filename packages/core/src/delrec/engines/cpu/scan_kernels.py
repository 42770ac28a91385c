"""The scan of one tile of the batch through time, and its adjoint.

Loops over neurons load BLOCK values into `work`, call the neuron (see `codegen`; the spike is the first row of `work`),
and store. For the arguments see `scan` and `recurrence`.

Python allocates the scratch of a tile, as zeros: kernels with arrays of their own would count references. `work` is
(rows, BLOCK); `carry`, the gradients of states on their way to the step before, (states, LANES, N). Of `room`, room.y
is the recurrent current of a step in the forward pass (`receive`), and the gradient of its spikes in the backward pass
(`receive_gradient`, which also adds to the delays'). `send` takes a step's spikes; `send_gradient` the gradient of the
current, rows of room.g from g_row(room) on, and adds to the weight's; `send_silence` is a step before the first.
"""

from types import ModuleType
from typing import Any

import numpy as np

from delrec.engines.cpu import axonal_kernels, synaptic_kernels
from delrec.engines.cpu.cache import scan_entry
from delrec.engines.cpu.codegen import BLOCK, CURRENT, OLD
from delrec.engines.cpu.common import add, copy
from delrec.engines.cpu.vector import LANES, call_block, get, prefetch, put


def _scan(kernels: ModuleType) -> tuple[Any, Any]:
    """Make both passes, and what allocates their scratch, with `axonal_kernels` or `synaptic_kernels`."""

    @scan_entry
    def forward_tile(tile, shape, neuron, given, tables, room, work, words, x, planes, bits):
        """Fill spikes, states and spike bits of the LANES rows of a tile."""
        size, row = shape.size, shape.row
        first_row = tile * LANES
        rows = min(LANES, shape.batch - first_row)
        length = shape.prefix + shape.steps
        bits_at = tile * size * length + shape.prefix
        plane = shape.batch * size
        for t in range(shape.steps):
            if shape.recurrent:
                kernels.receive(t, shape, tables, room, bits, bits_at)
            for c in range(0, size, BLOCK):
                m = min(BLOCK, size - c)
                for j in range(neuron.coefs):
                    copy(work, neuron.coef + j * BLOCK, given.coef, j * size + c, m)
                words[:] = 0
                for b in range(rows):
                    at = (first_row + b) * size + c
                    now = t * plane + at
                    prefetch(x, now + plane, m)  # of the next step, too far away for the hardware to prefetch
                    prefetch(planes.spikes, now + plane, m)
                    if shape.keep:
                        for j in range(neuron.planes):
                            prefetch(planes.kept, j * shape.steps * plane + now + plane, m)
                    if not shape.recurrent:
                        copy(work, CURRENT, x, now, m)
                    elif len(given.mask):
                        mask_at = t * given.mask_step + at
                        for n in range(m):
                            v = get(room.y, b * row + c + n) * get(given.mask, mask_at + n)
                            put(work, CURRENT + n, get(x, now + n) + v)
                    else:
                        for n in range(m):
                            put(work, CURRENT + n, get(x, now + n) + get(room.y, b * row + c + n))
                    for j in range(neuron.states):
                        copy(work, OLD + j * BLOCK, planes.states, j * plane + at, m)
                    call_block(neuron.step, work, 0, given.numbers, 0)
                    copy(planes.spikes, now, work, 0, m)
                    for j in range(neuron.states):
                        copy(planes.states, j * plane + at, work, neuron.new + j * BLOCK, m)
                    if shape.traced:
                        for j in range(neuron.states):
                            copy(planes.trace, j * shape.steps * plane + now, work, neuron.new + j * BLOCK, m)
                    if shape.keep:
                        for j in range(neuron.planes):
                            copy(planes.kept, j * shape.steps * plane + now, work, neuron.kept + j * BLOCK, m)
                    if shape.recurrent:
                        bit = np.uint16(1 << b)
                        for n in range(BLOCK):
                            words[n] |= bit if get(work, n) > 0 else np.uint16(0)
                if shape.recurrent:
                    for n in range(m):
                        put(bits, bits_at + (c + n) * length + t, words[n])
            if shape.recurrent:
                kernels.send(t, shape, tables, room, bits, bits_at)

    @scan_entry
    def backward_tile(tile, shape, neuron, given, tables, room, work, carry, kept, bits, incoming, sums):
        """Run the adjoint of `forward_tile`, step by step from the last."""
        size, row = shape.size, shape.row
        first_row = tile * LANES
        rows = min(LANES, shape.batch - first_row)
        length = shape.prefix + shape.steps
        bits_at = tile * size * length + shape.prefix
        plane = shape.batch * size
        read_old = neuron.reads_old or (neuron.coefficients_read_old and len(sums.coef) > 0)
        ahead = 2 * plane if read_old else plane
        if len(incoming.final):
            for j in range(neuron.states):
                copy(carry, j * LANES * size, incoming.final, j * plane + first_row * size, rows * size)
        for t in range(shape.steps - 1, -1 - shape.past, -1):
            if shape.recurrent:
                kernels.receive_gradient(t, shape, tables, room, bits, bits_at, sums)
            if t < 0:
                for b in range(rows):
                    copy(sums.past, ((shape.past + t) * shape.batch + first_row + b) * size, room.y, b * row, size)
                kernels.send_silence(shape, tables, room)
                continue
            for c in range(0, size, BLOCK):
                m = min(BLOCK, size - c)
                for j in range(neuron.coefs):
                    copy(work, neuron.coef + j * BLOCK, given.coef, j * size + c, m)
                for b in range(rows):
                    at = (first_row + b) * size + c
                    now = t * plane + at
                    held = b * size + c
                    prefetch(sums.current, now - plane, m)
                    for j in range(neuron.planes):
                        prefetch(kept, j * shape.steps * plane + now - ahead, m)
                    if len(incoming.spikes):
                        prefetch(incoming.spikes, now - plane, m)
                        copy(work, neuron.g_spike, incoming.spikes, now, m)
                    else:
                        work[neuron.g_spike : neuron.g_spike + BLOCK] = 0
                    if shape.recurrent:
                        add(work, neuron.g_spike, room.y, b * row + c, m)
                    for j in range(neuron.states):
                        copy(work, neuron.g_new + j * BLOCK, carry, j * LANES * size + held, m)
                        if len(incoming.trace):
                            add(work, neuron.g_new + j * BLOCK, incoming.trace, j * shape.steps * plane + now, m)
                    if read_old and t == 0:
                        for j in range(neuron.states):
                            copy(work, OLD + j * BLOCK, given.start, j * plane + at, m)
                    elif read_old:
                        for j in range(neuron.planes):
                            copy(work, neuron.kept + j * BLOCK, kept, j * shape.steps * plane + now - plane, m)
                        call_block(neuron.restore, work, 0, given.numbers, 0)
                    for j in range(neuron.planes):
                        copy(work, neuron.kept + j * BLOCK, kept, j * shape.steps * plane + now, m)
                    call_block(neuron.adjoint, work, 0, given.numbers, 0)
                    for j in range(neuron.states):
                        copy(carry, j * LANES * size + held, work, neuron.g_new + j * BLOCK, m)
                    copy(sums.current, now, work, CURRENT, m)
                    if len(sums.coef):
                        for j in range(neuron.coefs):
                            for n in range(m):
                                to = j * size + c + n
                                more = np.float64(get(work, neuron.g_coef + j * BLOCK + n))
                                put(sums.coef, to, get(sums.coef, to) + more)
                    if shape.recurrent:
                        to = (kernels.g_row(room) + b) * row + c
                        if len(given.mask):
                            mask_at = t * given.mask_step + at
                            for n in range(m):
                                put(room.g, to + n, get(work, CURRENT + n) * get(given.mask, mask_at + n))
                        else:
                            copy(room.g, to, work, CURRENT, m)
            if shape.recurrent:
                kernels.send_gradient(t, shape, tables, room, bits, bits_at, sums)
        if len(sums.start):
            for j in range(neuron.states):
                copy(sums.start, (j * shape.batch + first_row) * size, carry, j * LANES * size, rows * size)

    return (kernels.forward_room, forward_tile), (kernels.backward_room, backward_tile)


SCANS = {"axonal": _scan(axonal_kernels), "synaptic": _scan(synaptic_kernels)}
