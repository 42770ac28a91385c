"""An own neuron in ten lines, compiled into the fast engine: adaptive threshold, after any spike 0.3 higher."""

import torch
from delrec import Neuron, RecurrentDelays, Triangle


class Adaptive(Neuron):
    states = ("v", "a")

    def coefficients(self):
        return torch.tensor(0.8), torch.tensor(0.95)

    @staticmethod
    def step(spike, reset, v, a, current, leak, fade):
        return leak * (v - reset) + current, fade * a + 0.3 * spike

    @staticmethod
    def drive(v, a, leak, fade):
        return v - 1.0 - a


layer = RecurrentDelays(64, neuron=Adaptive(Triangle(1.0), False))
spikes = layer(torch.full((100, 8, 64), 0.5))
spikes.sum().backward()
print(
    f"engine {layer.engine_used}; spikes a neuron, first and last 20 steps: {spikes[:20].sum() / 512:.1f}, "
    f"{spikes[-20:].sum() / 512:.1f}; gradient to delays {layer.delay.grad.norm():.3f}"
)
