"""Use the layers in your own model, with batch-first input and samples of different lengths."""

import torch
from delrec import LIF, DelayInit, RecurrentDelays, SigmaSchedule, deployed, parameter_groups
from torch import nn


class Echo(nn.Module):
    """Classify which of four inputs fired first."""

    def __init__(self) -> None:
        super().__init__()
        start = DelayInit("uniform", low=2, high=12)
        self.embed, self.readout = nn.Linear(4, 32), nn.Linear(32, 4)
        self.spiking = RecurrentDelays(32, neuron=LIF(tau=2.0), delay_init=start, max_delay=15, batch_first=True)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:  # (B, T, 4), (B,) -> (B, 4)
        return self.readout(self.spiking(self.embed(x), lengths=lengths).sum(1) / lengths.unsqueeze(1))


def batch(size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    label, lengths = torch.randint(4, (size,)), torch.randint(12, 21, (size,))
    x = torch.zeros(size, 20, 4)
    x[torch.arange(size), :2, label] = 8.0
    return x, lengths, label


torch.manual_seed(0)
model, epochs = Echo(), 6
optimiser = torch.optim.Adam(parameter_groups(model, lr=5e-3, delay_lr=5e-2, weight_decay=1e-5))
schedule = SigmaSchedule(2.0, decay=0.95, epochs=epochs)
for _ in range(epochs):
    schedule.step(model)
    for _ in range(25):
        x, lengths, label = batch(128)
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x, lengths), label).backward()
        optimiser.step()

with deployed(model), torch.no_grad():  # delays rounded, sigma 0, evaluation mode; all restored on exit
    x, lengths, label = batch(1000)
    accuracy = (model(x, lengths).argmax(1) == label).float().mean().item()
print(f"accuracy with deployed delays: {accuracy:.3f} (chance 0.250)")
