"""Use your own neuron function, (current, state) -> (spike, state), or one of snntorch if it is installed."""

import importlib.util

import torch
from delrec import RecurrentDelays, Triangle, parameter_groups


def function(current, state):
    """A leaky neuron that resets to zero; the layer keeps its state."""
    v = 0.8 * (torch.zeros_like(current) if state is None else state) + current
    spike = Triangle(1.0).spike(v - 1.0)
    return spike, v * (1 - spike)


neurons = {"function": function}
if importlib.util.find_spec("snntorch"):
    import snntorch

    neurons["snntorch.Leaky"] = snntorch.Leaky(beta=0.8, learn_beta=True)

rates = {}
for name, neuron in neurons.items():
    torch.manual_seed(0)
    layer = RecurrentDelays(32, neuron=neuron, sigma=1.0, engine="reference")
    optimiser = torch.optim.Adam(parameter_groups(layer, lr=1e-2, delay_lr=1e-1))
    x = torch.rand(50, 16, 32)
    for _ in range(20):  # train the layer to fire at 10 percent
        loss = (layer(x).mean((0, 1)) - 0.1).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    rates[name] = layer(x).mean().item()
    print(f"{name}: {rates[name]:.3f} spikes per step")
