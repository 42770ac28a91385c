"""Write your own neuron: each spike raises the threshold by 0.3, which then decays. The fast engine compiles it."""

import torch
from delrec import Neuron, RecurrentDelays, Triangle


class Adaptive(Neuron):
    states = ("v", "a")

    def step(self, current, state, coefficients):
        v, a = state
        v = 0.8 * v + current
        spike = self.spike(v - 1.0 - a)
        fired = self.resetting(spike)
        return spike, (v - fired, 0.95 * a + 0.3 * fired)


layer = RecurrentDelays(64, neuron=Adaptive(Triangle(1.0)))
spikes = layer(torch.full((100, 8, 64), 0.5))
spikes.sum().backward()
first, last = (part.sum() / 512 for part in (spikes[:20], spikes[-20:]))
print(f"engine {layer.engine_used}; spikes per neuron in the first and last 20 steps: {first:.1f}, {last:.1f}")
