"""The loops of EventProp, compiled: spikes to currents, the forward pass, and the adjoint pass backward in time.

Time is in steps. Between two steps V and I decay exactly,

    V <- alpha V + couple I,   I <- beta I,   alpha = exp(-1/tau_m), beta = exp(-1/tau_s),
    couple = tau_s (alpha - beta) / (tau_m - tau_s)

and within a step come, in this order, the threshold and reset, then the arrivals of that step. Senders come first
in `weight` and `delay` (C, N), and samples in all sequences (B, T, N), so that a sample is contiguous in memory.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

__all__ = ["adjoint", "adjoint_readout", "collect", "deliver", "integrate", "simulate"]


@njit(error_model="numpy", nogil=True, cache=True)
def deliver(spikes, weight, delay, current):
    """Add weight * count of every spike of `spikes` (B, T, C) to `current` (B, T, N), `delay` steps later."""
    batch, steps, senders = spikes.shape
    receivers = weight.shape[1]
    for b in range(batch):
        for t in range(steps):
            for c in range(senders):
                count = spikes[b, t, c]
                if count != 0:
                    for j in range(receivers):
                        at = t + delay[c, j]
                        if at < steps:
                            current[b, at, j] += count * weight[c, j]


@njit(error_model="numpy", nogil=True, cache=True)
def _at_crossing(v, i, tau_m, tau_s, threshold):
    """Return I where V, now v, reaches the threshold within a step.

    V is concave until it gets there, so that Newton's iterations from the left never step over the crossing.
    """
    gap, time = 1 / tau_s - 1 / tau_m, 0.0
    for _ in range(8):
        passed = math.exp(-time / tau_m)
        share = -math.expm1(-gap * time) / gap if gap != 0 else time
        here = passed * (v + share / tau_m * i)
        now = i * math.exp(-time / tau_s)
        if threshold - here < 1e-12 * threshold or now <= here:
            break
        time = min(1.0, time + tau_m * (threshold - here) / (now - here))
    return i * math.exp(-time / tau_s)


@njit(error_model="numpy", nogil=True, cache=True)
def simulate(current, weight, delay, alpha, beta, couple, tau_m, tau_s, threshold, spikes, drive, busy):
    """Run LIF neurons on arrivals `current` (B, T, N), to which their own delayed spikes are added.

    Writes `spikes` (B, T, N); in `drive` (B, T, N) the current I at the crossing of each spike, within the step; in
    `busy` (B, T) whether a step has spikes. `weight` (N, N) and `delay` are of the recurrence, (0, 0) for none.
    """
    batch, steps, size = current.shape
    recurrent = weight.shape[0] > 0
    for b in range(batch):
        v = np.zeros(size, current.dtype)
        i, new = v.copy(), v.copy()
        for t in range(steps):
            reached = 0
            for j in range(size):
                new[j] = alpha * v[j] + couple * i[j]
                reached += new[j] >= threshold
            if reached > 0:
                busy[b, t] = True
                for j in range(size):
                    if new[j] >= threshold:
                        drive[b, t, j] = _at_crossing(v[j], i[j], tau_m, tau_s, threshold)
                        spikes[b, t, j] = 1
                        new[j] = 0
                        if recurrent:
                            for k in range(size):
                                at = t + delay[j, k]
                                if at < steps:
                                    current[b, at, k] += weight[j, k]
            for j in range(size):
                v[j] = new[j]
                i[j] = beta * i[j] + current[b, t, j]


@njit(error_model="numpy", nogil=True, cache=True)
def integrate(current, alpha, beta, couple, membrane):
    """Run neurons without threshold on arrivals `current` (B, T, N); writes V, `membrane` (B, T, N)."""
    batch, steps, size = current.shape
    for b in range(batch):
        v = np.zeros(size, current.dtype)
        i = v.copy()
        for t in range(steps):
            for j in range(size):
                v[j] = alpha * v[j] + couple * i[j]
                i[j] = beta * i[j] + current[b, t, j]
                membrane[b, t, j] = v[j]


@njit(error_model="numpy", nogil=True, cache=True)
def adjoint(
    by_time, push, spikes, drive, busy, weight, delay, alpha, beta, couple, tau_m, threshold, floor, lambda_i, lag
):
    """Run the adjoint of `simulate` backward; writes lambda_I and lag = lambda_V - lambda_I, both (B, T, N).

    `by_time` (B, T, N): dL/dt of each spike through what it reaches outside this layer; in the last step also of
    spikes that never came, as if V were crossing there at tau_m V' = 1. `push` (N,): added to dL/dV at each spike.
    `couple` is that of the adjoint, tau_m / tau_s times that of `simulate`.
    """
    batch, steps, size = lambda_i.shape
    recurrent = weight.shape[0] > 0
    for b in range(batch):
        i = np.zeros(size, lambda_i.dtype)
        v = np.where(spikes[b, -1] == 0, by_time[b, -1], i)
        for t in range(steps - 1, -1, -1):
            for j in range(size):
                i[j] = beta * i[j] + couple * v[j]
                v[j] = alpha * v[j]
                lambda_i[b, t, j] = i[j]
                lag[b, t, j] = v[j] - i[j]
            if busy[b, t]:
                for j in range(size):
                    if spikes[b, t, j] != 0:
                        shift = by_time[b, t, j]
                        if recurrent:
                            for k in range(size):
                                at = t + delay[j, k]
                                if at < steps:
                                    shift += weight[j, k] * lag[b, at, k]
                        slope = max(drive[b, t, j] - threshold, floor)
                        v[j] = (drive[b, t, j] * v[j] + shift) / slope - push[j] / tau_m


@njit(error_model="numpy", nogil=True, cache=True)
def adjoint_readout(by_membrane, alpha, beta, couple, tau_m, lambda_i, lag):
    """Run the adjoint of `integrate` backward, from `by_membrane` = dL/dV (B, T, N); writes as `adjoint` does.

    Arrivals of a step lie between the V that comes before them and the next: `lag` has a `share` of that step's dL/dV,
    about half, so that lag is 0 where dL/dV does not change in time. All or nothing of it would be off by the same
    small amount for every spike, which does not cancel over a sample.
    """
    batch, steps, size = lambda_i.shape
    share = (couple / (1 - beta) - alpha) / (1 - alpha)
    for b in range(batch):
        v = np.zeros(size, lambda_i.dtype)
        i = v.copy()
        for t in range(steps - 1, -1, -1):
            for j in range(size):
                push = by_membrane[b, t, j] / tau_m
                i[j] = beta * i[j] + couple * v[j]
                v[j] = alpha * v[j]
                lambda_i[b, t, j] = i[j]
                lag[b, t, j] = v[j] - i[j] - share * push
                v[j] -= push


@njit(error_model="numpy", nogil=True, cache=True)
def collect(spikes, weight, delay, lambda_i, lag, tau_s, to_weight, to_delay, to_time):
    """Gather the gradients of the connections that `deliver` ran, from adjoints at the arrivals.

        dL/dw = - tau_s sum lambda_I        dL/dd = dL/dt = sum w (lambda_V - lambda_I)

    Adds to `to_weight`, `to_delay` (C, N) and `to_time` (B, T, C); the last two may be empty: not wanted.
    """
    batch, steps, senders = spikes.shape
    receivers = weight.shape[1]
    with_delay, with_time = to_delay.size > 0, to_time.size > 0
    for b in range(batch):
        for t in range(steps):
            for c in range(senders):
                count = spikes[b, t, c]
                if count != 0:
                    total = count * 0
                    for j in range(receivers):
                        at = t + delay[c, j]
                        if at < steps:
                            to_weight[c, j] -= tau_s * count * lambda_i[b, at, j]
                            moved = count * weight[c, j] * lag[b, at, j]
                            total += moved
                            if with_delay:
                                to_delay[c, j] += moved
                    if with_time:
                        to_time[b, t, c] += total
