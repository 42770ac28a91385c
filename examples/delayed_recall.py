"""Train a spiking layer with learned recurrent delays in a plain PyTorch loop, on a toy task that needs memory.

One of four inputs fires at the start; 20 steps later, the network must say which one it was. Neurons forget within a
few steps (tau = 2), so the answer must travel through recurrent delays.
"""

import torch
from delrec import LIF, DelayInit, RecurrentDelays, deployed, parameter_groups
from torch import nn

torch.manual_seed(0)
embed, readout = nn.Linear(4, 32), nn.Linear(32, 4)
spiking = RecurrentDelays(32, neuron=LIF(tau=2.0), sigma=2.0, delay_init=DelayInit("uniform", low=5, high=15))
model = nn.ModuleList([embed, spiking, readout])
optimiser = torch.optim.Adam(parameter_groups(model, lr=5e-3, delay_lr=5e-2))  # separate learning rate for delays


def answer(batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return scores (B, 4) and labels (B,) of a new batch."""
    label = torch.randint(4, (batch,))
    x = torch.zeros(25, batch, 4)
    x[:2, torch.arange(batch), label] = 8.0
    return readout(spiking(embed(x))[20:].sum(0)), label


for _ in range(300):
    scores, label = answer(128)
    loss = nn.functional.cross_entropy(scores, label)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()

with deployed(model), torch.no_grad():  # integer delays, no spread
    scores, label = answer(1000)
accuracy = (scores.argmax(1) == label).float().mean().item()
print(f"accuracy with deployed delays: {accuracy:.3f} (chance 0.250); delays {spiking.delays().round().tolist()}")
