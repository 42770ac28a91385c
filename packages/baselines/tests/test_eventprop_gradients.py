"""EventProp's gradients: the adjoint pass against finite differences of an event-exact simulation."""

import heapq
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from delrec_baselines.eventprop_layer import (
    Connection,
    EventPropLayer,
    EventPropNeuron,
    EventPropReadout,
    first_spike_steps,
)
from torch import Tensor

F64 = torch.float64
TAU_M, TAU_S, END = 20.0, 5.0, 60.0
INPUT = [(2.0, 0), (3.5, 1), (6.2, 2), (11.0, 0), (12.3, 1), (19.0, 2), (24.0, 1), (31.5, 0)]  # (time, channel)
SCORE = (1.0, -0.7)  # what is differentiated: this combination of the two outputs' mean V


# --- continuous time, spike by spike


def value_at(v: float, i: float, time: float) -> float:
    gain = TAU_S / (TAU_M - TAU_S)
    return v * math.exp(-time / TAU_M) + gain * i * (math.exp(-time / TAU_M) - math.exp(-time / TAU_S))


def next_crossing(v: float, i: float) -> float:
    """Time until V reaches 1, inf if it never does."""
    gain = TAU_S / (TAU_M - TAU_S)
    slow, fast = v + gain * i, gain * i  # V = slow exp(-t / tau_m) - fast exp(-t / tau_s)
    if slow <= 0 or fast <= 0:
        return math.inf
    peak = math.log(fast * TAU_M / (slow * TAU_S)) / (1 / TAU_S - 1 / TAU_M)
    if peak <= 0 or value_at(v, i, peak) < 1:
        return math.inf
    low, high = 0.0, peak
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if value_at(v, i, middle) < 1 else (low, middle)
    return high


def exact(weights: list[np.ndarray], delays: list[np.ndarray]) -> tuple[float, list[list[float]]]:
    """SCORE of inputs -> hidden (recurrent) -> readout, and the spike times of each hidden neuron.

    `weights`, `delays`: inward, recurrent, readout, each (receivers, senders).
    """
    inward, back, out = weights
    size = inward.shape[0]
    order = itertools.count()
    queue: list[tuple[float, int, int, float]] = []
    for time, channel in INPUT:
        for j in range(size):
            heapq.heappush(queue, (time + delays[0][j, channel], next(order), j, inward[j, channel]))
    v, i, now = np.zeros(size), np.zeros(size), 0.0
    total = 0.0
    spikes: list[list[float]] = [[] for _ in range(size)]
    while True:
        crossings = [now + next_crossing(v[j], i[j]) for j in range(size)]
        who = int(np.argmin(crossings))
        arrival = queue[0][0] if queue else math.inf
        time = min(crossings[who], arrival)
        if time >= END:
            return total, spikes
        v = np.array([value_at(v[j], i[j], time - now) for j in range(size)])
        i, now = i * math.exp(-(time - now) / TAU_S), time
        if crossings[who] <= arrival:
            v[who] = 0.0
            spikes[who].append(time)
            for j in range(size):
                heapq.heappush(queue, (time + delays[1][j, who], next(order), j, back[j, who]))
            for n, score in enumerate(SCORE):
                left = END - time - delays[2][n, who]
                if left > 0:  # the integral of the response to one arrival, over what is left
                    slow = TAU_M * (1 - math.exp(-left / TAU_M))
                    fast = TAU_S * (1 - math.exp(-left / TAU_S))
                    total += score * out[n, who] * TAU_S / (TAU_M - TAU_S) * (slow - fast) / END
        else:
            _, _, j, weight = heapq.heappop(queue)
            i[j] += weight


Arrays = list[np.ndarray]


def score_of(weights: Arrays, delays: Arrays) -> float:
    return exact(weights, delays)[0]


def differences(
    arrays: Arrays, which: int, weights: Arrays, delays: Arrays, of: Callable[[Arrays, Arrays], float] = score_of,
    part: Any = np.s_[:],
) -> Tensor:  # fmt: skip
    """d of/d(arrays[which][part]) by central differences; arrays is weights or delays."""
    used, eps = arrays[which][part], 1e-6  # a view
    found = np.zeros_like(used)
    for place in np.ndindex(*found.shape):
        kept, ends = used[place], []
        for sign in (1, -1):
            used[place] = kept + sign * eps
            ends.append(of(weights, delays))
        used[place] = kept
        found[place] = (ends[0] - ends[1]) / (2 * eps)
    return torch.from_numpy(found)


# --- the same network on a grid


def tiny(recurrent: bool) -> tuple[list[np.ndarray], list[np.ndarray]]:
    random = np.random.RandomState(4)
    weights = [random.normal(3.0, 1.2, (4, 3)), random.normal(0.0, 1.0, (4, 4)), random.normal(0.0, 1.0, (2, 4))]
    delays = [np.round(random.uniform(0.5, 8.0, w.shape) / 0.02) * 0.02 for w in weights]
    if not recurrent:
        weights[1][:] = 0
    return weights, delays


def connection(weight: np.ndarray, delay: np.ndarray | None = None) -> Connection:
    made = Connection(weight.shape[1], weight.shape[0], mean=0, std=0, delays=delay is not None, max_delay=10**6)
    made = made.double()
    with torch.no_grad():
        made.weight.copy_(torch.from_numpy(weight))
        if made.delay is not None:
            made.delay.copy_(torch.from_numpy(delay))
    return made


def events(step: float) -> Tensor:
    """INPUT as counts (T, 1, 3)."""
    x = torch.zeros(round(END / step), 1, 3, dtype=F64)
    for time, channel in INPUT:
        x[round(time / step), 0, channel] += 1
    return x


def on_grid(
    weights: list[np.ndarray], delays: list[np.ndarray], step: float
) -> tuple[list[Tensor], list[Tensor], float, list[int]]:
    """Gradients of weights and of delays by the adjoint pass, SCORE, and numbers of spikes, at steps of `step`."""
    neuron = EventPropNeuron(tau_m=TAU_M / step, tau_s=TAU_S / step, slope_floor=1e-9)
    inward, back, out = (connection(w, d / step) for w, d in zip(weights, delays, strict=True))
    layer, readout = EventPropLayer(inward, back, neuron), EventPropReadout(out, neuron)
    spikes = layer(events(step))
    score = (readout(spikes).mean(0)[0] * torch.tensor(SCORE, dtype=F64)).sum()
    score.backward()
    used = [inward, back, out]
    number = spikes.detach().sum(0)[0].int().tolist()
    return [c.weight.grad for c in used], [c.delay.grad / step for c in used], score.item(), number


def test_gradients_are_those_of_continuous_time() -> None:
    weights, delays = tiny(recurrent=True)
    score, times = exact(weights, delays)
    number = [len(of) for of in times]
    assert sum(number) >= 10 and max(number) >= 4
    wanted = [differences(arrays, k, weights, delays) for arrays in (weights, delays) for k in range(3)]
    errors = []
    for step in (0.02, 0.0025):
        to_weights, to_delays, seen, spikes = on_grid(weights, delays, step)
        assert spikes == number
        assert seen == pytest.approx(score, abs=0.05 * step)
        pairs = zip(to_weights + to_delays, wanted, strict=True)
        errors.append(max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs))
    assert errors[1] < 3e-3
    assert errors[1] < errors[0] / 4  # what is left is the grid's


def test_two_layers_pass_on_the_gradients_of_spike_times() -> None:
    """A later layer moved by a delay is the earlier one's spikes moved: the gradients of both must agree."""
    torch.manual_seed(0)
    neuron = EventPropNeuron(200.0, 50.0)
    first = EventPropLayer(Connection(3, 1, mean=4, std=0.5, delays=True).double(), None, neuron)
    second = EventPropLayer(Connection(1, 4, mean=6, std=1, delays=True).double(), None, neuron)
    readout = EventPropReadout(Connection(4, 2, mean=0, std=1).double(), neuron)
    hidden = first((torch.rand(300, 2, 3) < 0.02).double())
    hidden.retain_grad()
    readout(second(hidden))[..., 0].mean().backward()
    assert hidden.sum() >= 4
    assert not hidden.grad[hidden == 0].any(), "there is no gradient where there is no spike"
    torch.testing.assert_close(hidden.grad.sum(), second.inward.delay.grad.sum())
    assert first.inward.delay.grad.any()


def test_gradients_of_first_spikes_are_those_of_continuous_time() -> None:
    """The output neurons are two more of a recurrent layer, that nothing but the hidden ones reaches."""
    weights, delays = tiny(recurrent=False)
    random = np.random.RandomState(7)
    forward = [np.zeros((6, 3)), np.zeros((6, 6)), np.zeros((2, 6))]
    forward[0][:4], forward[1][4:, :4] = weights[0], random.normal(4.0, 1.0, (2, 4))
    lags = [np.zeros((6, 3)), np.zeros((6, 6)), np.zeros((2, 6))]
    lags[0][:4], lags[1][4:, :4] = delays[0], np.round(random.uniform(0.5, 8.0, (2, 4)) / 0.02) * 0.02

    def first(weights: Arrays, delays: Arrays) -> float:
        times = exact(weights, delays)[1]
        return sum(score * times[4 + n][0] for n, score in enumerate(SCORE))

    assert all(exact(forward, lags)[1][n] for n in range(6))
    parts = np.s_[:4], np.s_[4:, :4]
    wanted = [differences(of, k, forward, lags, first, parts[k]) for of in (forward, lags) for k in (0, 1)]
    errors = []
    for step in (0.02, 0.0025):
        neuron = EventPropNeuron(tau_m=TAU_M / step, tau_s=TAU_S / step, slope_floor=1e-9)
        inward, outward = (
            connection(weights[0], delays[0] / step),
            connection(forward[1][4:, :4], lags[1][4:, :4] / step),
        )
        hidden, readout = EventPropLayer(inward, None, neuron), EventPropLayer(outward, None, neuron)
        when = first_spike_steps(readout(hidden(events(step))))[0] * step
        (when * torch.tensor(SCORE, dtype=F64)).sum().backward()
        seen = [inward.weight.grad, outward.weight.grad, inward.delay.grad / step, outward.delay.grad / step]
        errors.append(max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(seen, wanted, strict=True)))
    assert errors[1] < 5e-3
    assert errors[1] < errors[0] / 4
