"""One layer by events."""

from typing import NamedTuple

import numpy as np
from numba.np.unsafe.ndarray import to_fixed_tuple

from delrec.engines.cpu.cache import entry, inlined
from delrec.engines.cpu.codegen import BLOCK, CURRENT, OLD
from delrec.engines.cpu.common import add_rows
from delrec.engines.cpu.linear import list_row
from delrec.engines.cpu.vector import LANES, call_block, get, next_bit, nonzero_bits, put


class Layout(NamedTuple):
    """Sizes of a layer, and where each of its arrays begins in `reals`, `longs` or `shorts`.

    padded: size rounded up to whole vectors. elements: weights per connection, 0 without a linear map. slots: length
    of the ring of future steps. delayed: 1 if the linear map has delays. recurrent: 0 none, 1 one delay per sender,
    2 one per connection. output: 0 spikes, 1 the first state, 2 the current, without neurons.

    With one delay per sender, a spike waits in the queue of the step when it arrives, and the rows of all senders that
    arrive at a step are added up at once. With other delays, its weights are added to the ring of future currents.
    """

    batch: int
    inputs: int
    size: int
    padded: int
    elements: int
    slots: int
    delayed: int
    recurrent: int
    output: int
    states: int  # of the neuron
    rows: int  # see `codegen.Places`
    step: int  # address of its step, see `codegen.places_of`
    numbers: int  # reals: its constants
    weight: int  # (elements, inputs, padded)
    bias: int  # (padded,)
    returning: int  # (size, padded), the recurrent weight by sender
    ring: int  # (batch, slots, padded), or empty
    ones: int  # (size,), the value of each spike
    work: int  # (batch, blocks, rows, BLOCK)
    values: int  # (batch, inputs), scratch
    current: int  # (batch, padded), scratch
    input_delay: int  # longs: (elements, inputs, padded)
    delay: int  # (size,) or (size, size), by sender
    clock: int  # (batch,), steps since rest
    waiting: int  # (batch, slots), length of each queue
    columns: int  # shorts: (batch, inputs), scratch
    queue: int  # (batch, slots, size), senders whose spikes arrive at a step, or empty


_COUNT = len(Layout._fields)


@entry
def event_rows(begin, end, layout, reals, longs, shorts, x, out):
    """Run rows begin to end of the batch through all steps of x (steps, B, inputs); out: (steps, B, size).

    Returns how many states are NaN or infinite afterwards. layout: the numbers of `Layout`. All arrays of one type are
    one argument, because streaming makes one call per step and layer, whose cost grows with the number of arguments.
    """
    layer = Layout(*to_fixed_tuple(layout, _COUNT))  # type: ignore[call-arg]
    steps, rings = len(x) // (layer.batch * layer.inputs), layer.delayed or layer.recurrent == 2
    index, value = shorts[layer.columns + begin * layer.inputs :], reals[layer.values + begin * layer.inputs :]
    current = reals[layer.current + begin * layer.padded :]
    wrong, real = 0, reals.dtype.type
    for b in range(begin, end):
        for t in range(steps):
            row = t * layer.batch + b
            slot = (longs[layer.clock + b] + t) % layer.slots
            count = 0
            if layer.elements > 0:
                count = list_row(x, row * layer.inputs, layer.inputs, index, value, 0)
            if layer.delayed:
                delay_inputs(layer, b, slot, reals, longs, index, value, count)
            arriving = layer.ring + (b * layer.slots + slot) * layer.padded
            for i in range(layer.padded):
                put(current, i, get(reals, layer.bias + i))
            if rings:
                for i in range(layer.padded):
                    put(current, i, get(current, i) + get(reals, arriving + i))
                    put(reals, arriving + i, real(0))
            if layer.recurrent == 1:
                at = b * layer.slots + slot
                queue, ones = shorts[layer.queue + at * layer.size :], reals[layer.ones :]
                arrived = longs[layer.waiting + at]
                add_rows(current, 0, layer.padded, queue, ones, 0, arrived, reals, layer.returning, layer.padded)
                longs[layer.waiting + at] = 0
            if layer.elements == 0:
                for i in range(layer.size):
                    put(current, i, get(current, i) + get(x, row * layer.inputs + i))
            elif not layer.delayed:
                add_rows(current, 0, layer.padded, index, value, 0, count, reals, layer.weight, layer.padded)
            if layer.output == 2:
                for i in range(layer.size):
                    put(out, row * layer.size + i, get(current, i))
            else:
                fire(layer, b, slot, reals, longs, shorts, current, out, row * layer.size)
        longs[layer.clock + b] += steps
        if layer.output < 2:
            wrong += not_finite(layer, b, reals)
    return wrong


@inlined
def not_finite(layer, b, reals):
    """Return how many states of row b are NaN or infinite."""
    wrong, blocks = 0, (layer.size + BLOCK - 1) // BLOCK
    for k in range(blocks):
        state = layer.work + (b * blocks + k) * layer.rows * BLOCK + OLD
        for j in range(layer.states):
            for i in range(min(BLOCK, layer.size - k * BLOCK)):
                value = get(reals, state + j * BLOCK + i)
                wrong += value - value != 0
    return wrong


@inlined
def later(layer, b, slot, delay):
    """Return where the currents of row b `delay` steps after `slot` begin; delay is below layer.slots."""
    slot += delay
    return layer.ring + (b * layer.slots + (slot - layer.slots if slot >= layer.slots else slot)) * layer.padded


@inlined
def delay_inputs(layer, b, slot, reals, longs, index, value, count):
    """Add the events of a step to the currents of the steps when they arrive."""
    for j in range(count):
        for e in range(layer.elements):
            row = (e * layer.inputs + index[j]) * layer.padded
            for i in range(layer.size):
                to = later(layer, b, slot, get(longs, layer.input_delay + row + i)) + i
                put(reals, to, get(reals, to) + value[j] * get(reals, layer.weight + row + i))


@inlined
def fire(layer, b, slot, reals, longs, shorts, current, out, to):
    """Take the neurons' step, store spikes or the first state in `out`, and send the spikes back."""
    blocks = (layer.size + BLOCK - 1) // BLOCK
    for k in range(blocks):
        first = k * BLOCK
        here = min(BLOCK, layer.size - first)
        work = reals[layer.work + (b * blocks + k) * layer.rows * BLOCK :]
        for i in range(here):
            put(work, CURRENT + i, get(current, first + i))
        call_block(layer.step, work, 0, reals, layer.numbers)
        for j in range(layer.states * BLOCK):
            put(work, OLD + j, get(work, OLD + layer.states * BLOCK + j))
        for i in range(here):
            put(out, to + first + i, get(work, (0 if layer.output == 0 else OLD) + i))
        for i0 in range(0, here if layer.recurrent > 0 else 0, LANES):
            word = nonzero_bits(work, i0)
            while word != 0:
                i = i0 + next_bit(word)
                word &= word - np.uint16(1)
                if i < here:
                    send(layer, b, slot, first + i, reals, longs, shorts)


@inlined
def send(layer, b, slot, sender, reals, longs, shorts):
    """Queue a spike, or add its weights to the currents of the steps when it arrives."""
    if layer.recurrent == 1:
        at = b * layer.slots + (slot + 1 + get(longs, layer.delay + sender)) % layer.slots
        shorts[layer.queue + at * layer.size + longs[layer.waiting + at]] = sender
        longs[layer.waiting + at] += 1
        return
    row = layer.returning + sender * layer.padded
    for i in range(layer.size):
        to = later(layer, b, slot, 1 + get(longs, layer.delay + sender * layer.size + i)) + i
        put(reals, to, get(reals, to) + get(reals, row + i))
