"""The scan of the cpu engine with holes where a neuron's rules go; `cpu_codegen` fills them and compiles the result.

`$name` and `$name{...}` are filled as `cpu_codegen` says. Each loop over a neuron works on BLOCK elements at constant
places of one small array `work`: the compiler then knows that nothing overlaps and makes vectors of any rule.
"""

HEAD = """import math

import numpy as np
from numba import njit

from delrec.engines.cpu_kernels import *
from delrec.engines.cpu_linear_kernels import list_row
from delrec.engines.cpu_synaptic_kernels import *
from delrec.engines.cpu_vector import *
"""

SCAN = """
BLOCK = 64


@njit(error_model="numpy", nogil=True)
def step_block(work, params):
    for n in range(BLOCK):
        spike = work[$spike + n]
        $unpack = step(spike, spike, ${old_at}work[$current + n], $coef_at)
        u = drive($new, $coef_at)
        work[$spike + n] = ONE if u $fires ZERO else ZERO
        $store_new


@njit(error_model="numpy", nogil=True)
def spike_block(work):
    for n in range(BLOCK):
        u = drive($old_at$coef_at)
        work[$spike + n] = ONE if u $fires ZERO else ZERO


@njit(error_model="numpy", nogil=True)
def adjoint_block(work, params):
    for n in range(BLOCK):
        $unpack = $new_at
        slope = surrogate(drive($new, $coef_at), $params)
        $g_drive = drive_adjoint($new, ${coef_at}slope * work[$g_spike + n])
        spike = work[$spike + n]
        $g_step = step_adjoint(spike, spike, $old_at$new, $kept_at$coef_at$g_new_total)
        work[$g_spike + n] = $g_spike_next
        work[$current + n] = g_current
        $store_g_old
        $store_g_coef


@njit(error_model="numpy", nogil=True, cache=True)
def forward_tile(
    tile, steps, batch, size, padded, x, recurrent, mask, mask_row, mask_step, coef, params, spike0, start0, spikes,
    $trace, kept, held, bits, prefix, $forward_arguments
):
    work = np.zeros($rows * BLOCK, REAL)
    words = np.zeros(BLOCK, np.uint16)
    rec = aligned(LANES * padded, REAL)
    first_row = tile * LANES
    rows = min(LANES, batch - first_row)
    length = prefix + steps
    bits_at = tile * size * length + prefix
    plane = batch * size
$forward_setup
    for t in range(steps):
$forward_receive
        for c in range(0, size, BLOCK):
            m = min(BLOCK, size - c)
            load_coefficients(work, coef, size, c, m)
            words[:] = 0
            for b in range(rows):
                at = (first_row + b) * size + c
                now = t * plane + at
                if recurrent:
                    if mask_row == 0:
                        for n in range(m):
                            put(work, $current + n, get(x, now + n) + get(rec, b * padded + c + n))
                    else:
                        mask_at = t * mask_step + at
                        for n in range(m):
                            v = get(rec, b * padded + c + n) * get(mask, mask_at + n)
                            put(work, $current + n, get(x, now + n) + v)
                else:
                    for n in range(m):
                        put(work, $current + n, get(x, now + n))
                if t == 0:
                    for n in range(m):
                        put(work, $spike + n, get(spike0, at + n))
                    $load_start
                else:
                    for n in range(m):
                        put(work, $spike + n, get(spikes, now - plane + n))
                    before = ((t - 1) % held) * plane + at
                    $load_before
                step_block(work, params)
                for n in range(m):
                    put(spikes, now + n, get(work, $spike + n))
                keep = (t % held) * plane + at
                $store_trace
                $store_current
                if recurrent:
                    bit = np.uint16(1 << b)
                    for n in range(BLOCK):
                        words[n] |= bit if work[$spike + n] > ZERO else np.uint16(0)
            if recurrent:
                for n in range(m):
                    put(bits, bits_at + (c + n) * length + t, words[n])
$forward_send


@njit(error_model="numpy", nogil=True)
def load_coefficients(work, coef, size, c, m):
    for j in range($coefs):
        for n in range(m):
            put(work, ($first_coef + j) * BLOCK + n, get(coef, j * size + c + n))


@njit(error_model="numpy", nogil=True, cache=True)
def backward_tile(
    tile, steps, batch, size, padded, recurrent, mask, mask_row, mask_step, coef, params, spike0, start0, $trace, kept,
    given_spikes, g_spikes, given_trace, $g_trace, g_x, bits, prefix, want_weight, want_delay, want_coef, want_start,
    g_wt, g_coef, g_start, g_past, past, $backward_arguments
):
    work = np.zeros($rows * BLOCK, REAL)
    carry = np.zeros($carried * LANES * size, REAL)
    y_lanes = aligned(padded * LANES, REAL)
    y = aligned(LANES * padded, REAL)
    g = aligned(SEGMENT * LANES * padded, REAL)
    g_lanes = aligned(padded * LANES, REAL)
    gz = aligned(padded * LANES, REAL)
    first_row = tile * LANES
    rows = min(LANES, batch - first_row)
    length = prefix + steps
    bits_at = tile * size * length + prefix
    plane = batch * size
$backward_setup
    for t in range(steps - 1, -1 - past, -1):
$backward_receive
        if t < 0:
            for b in range(rows):
                at = ((past + t) * batch + first_row + b) * size
                for n in range(size):
                    put(g_past, at + n, get(y, b * padded + n))
$backward_silent
            continue
        for c in range(0, size, BLOCK):
            m = min(BLOCK, size - c)
            load_coefficients(work, coef, size, c, m)
            for b in range(rows):
                at = (first_row + b) * size + c
                now = t * plane + at
                held = b * size + c
                for n in range(m):
                    put(work, $g_spike + n, get(carry, held + n))
                if given_spikes:
                    for n in range(m):
                        put(work, $g_spike + n, get(work, $g_spike + n) + get(g_spikes, now + n))
                if recurrent:
                    for n in range(m):
                        put(work, $g_spike + n, get(work, $g_spike + n) + get(y, b * padded + c + n))
                $load_g_new
                $load_new
                if t == 0:
                    $load_start
                    for n in range(m):
                        put(work, $spike + n, get(spike0, at + n))
                else:
                    before = now - plane
                    $load_before
                    spike_block(work)
                $load_current
                adjoint_block(work, params)
                for n in range(m):
                    put(carry, held + n, get(work, $g_spike + n))
                $store_carry
                for n in range(m):
                    put(g_x, now + n, get(work, $current + n))
                if want_coef:
                    add_coefficients(work, g_coef, size, c, m)
                if recurrent:
                    row = (segment * LANES + b) * padded + c
                    if mask_row == 0:
                        for n in range(m):
                            put(g, row + n, get(work, $current + n))
                    else:
                        mask_at = t * mask_step + at
                        for n in range(m):
                            put(g, row + n, get(work, $current + n) * get(mask, mask_at + n))
        if recurrent:
$backward_send
    if want_start:
        for j in range($carried):
            for b in range(rows):
                for n in range(size):
                    g_start[(j * batch + first_row + b) * size + n] = carry[(j * LANES + b) * size + n]


@njit(error_model="numpy", nogil=True)
def add_coefficients(work, g_coef, size, c, m):
    for j in range($coefs):
        for n in range(m):
            at = j * size + c + n
            put(g_coef, at, get(g_coef, at) + np.float64(get(work, ($first_g_coef + j) * BLOCK + n)))
"""

AXONAL = {
    "forward_arguments": "first, count, taps, width, wt, dense_above",
    "forward_setup": """
    z = aligned(padded * LANES, REAL)
    live = np.zeros(padded, np.uint16)
    index = np.zeros(padded, np.int32)
    value = np.zeros(padded, REAL)
""",
    "forward_receive": """
        if recurrent:
            alive = delayed_spikes(t, size, bits, bits_at, length, first, count, taps, width, z, 0, LANES, live)
            if alive > dense_above:
                weigh_dense(size, padded, z, 0, LANES, wt, rec)
            else:
                weigh_sparse(size, padded, live, z, 0, LANES, wt, rec, index, value)
""",
    "forward_send": "",
    "backward_arguments": (
        "first, count, taps, width, left, middle, right, slope, reach, w, dense_above, g_delay, g_width"
    ),
    "backward_setup": """
    z = aligned(padded * LANES * SEGMENT, REAL)
    live = np.zeros(padded * SEGMENT, np.uint16)
    index = np.zeros(max(padded, LANES * SEGMENT), np.int32)
    value = np.zeros(max(padded, LANES * SEGMENT), REAL)
    start = np.zeros(size + 1, np.int64)
    for o in range(size):
        start[o + 1] = start[o] + reach[o] + SLACK
    ring = aligned(start[size] * LANES if recurrent else 0, REAL)
    position = SLACK
    alive = 0
    segment = 0
""",
    "backward_receive": """
        if recurrent:
            if position == 0:
                slide_ring(size, ring, start, reach, SLACK)
                position = SLACK
            position -= 1
            gather_gradient(size, ring, position, start, first, count, taps, width, y_lanes)
            if want_delay:
                delay_gradient(
                    size, bits, bits_at + t, length, ring, position, start, first, left, middle, right, y_lanes, slope,
                    g_delay, g_width
                )
            to_rows(padded, y_lanes, y)
""",
    "backward_silent": """
            gz[:] = 0
            push_ring(size, gz, ring, position, start)
""",
    "backward_send": """
            to_lanes(padded, g, segment * LANES * padded, g_lanes)
            send_back(size, padded, w, g_lanes, gz)
            push_ring(size, gz, ring, position, start)
            if want_weight:
                alive += delayed_spikes(
                    t, size, bits, bits_at, length, first, count, taps, width, z, segment * LANES, SEGMENT * LANES,
                    live[segment * padded :]
                )
                segment += 1
                if segment == SEGMENT or t == 0:
                    if alive > dense_above * segment:
                        weight_gradient(size, padded, z, SEGMENT * LANES, g, segment * LANES, g_wt)
                    else:
                        weight_gradient_sparse(
                            size, padded, live, padded, segment, z, SEGMENT * LANES, g, g_wt, index, value
                        )
                    segment = 0
                    alive = 0
""",
}
