"""The shapes that engines are compared on: the published networks, with weights and inputs that give realistic spikes.

SHD: T 100, 140-256-256-20, batch 256, recurrent in layer 2. SSC: T 250, 140-256-256-256-35, batch 128, recurrent in
all. PS-MNIST: T 784, 1-64-212-212-10, batch 32 or 256, recurrent in all. Settings are those of the suite's preset
`paper-2025`; delays are as initialised.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from delrec.networks import Network, NetworkConfig
from delrec_bench.config import profiles
from torch import Tensor, nn

__all__ = ["SHAPES", "Shape", "make_inputs", "make_network", "spike_rates"]

RATE = 0.05  # aimed at in every layer; the papers' trained networks fire at 2 to 10 percent
_SPREAD = 0.5  # standard deviation that a layer's feedforward current is scaled to, in thresholds


@dataclass(frozen=True)
class Shape:
    """A network's shape and batch.

    Attributes:
        name: As in tables.
        task: Task whose `paper-2025` preset gives the network.
        steps, batch, inputs, classes: T, B, C and classes.
        density: Share of inputs that are not 0.
    """

    name: str
    task: str
    steps: int
    batch: int
    inputs: int
    classes: int
    density: float

    def config(
        self, recurrent: str = "axonal", sigma: float = 10.0, engine: str = "auto", **more: Any
    ) -> NetworkConfig:
        """The configuration of a network of this shape."""
        network = profiles()["paper-2025"][self.task]["network"]
        known = {item.name for item in fields(NetworkConfig)}
        values = {name: value for name, value in network.items() if name in known}
        values |= {"recurrent": recurrent, "sigma": sigma, "engine": engine}
        if recurrent in ("none", "plain"):
            values |= {"learn_spread": False, "sigma": 0.0}
        return NetworkConfig(inputs=self.inputs, classes=self.classes, **(values | more))

    @property
    def optimiser(self) -> type[torch.optim.Optimizer]:
        """Adam or AdamW, as published."""
        training = profiles()["paper-2025"][self.task]["training"]
        return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[training["optimiser"]]


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("SHD", "shd", 100, 256, 140, 20, 0.3),
        Shape("SSC", "ssc", 250, 128, 140, 35, 0.15),
        Shape("PS-MNIST", "ps-mnist", 784, 32, 1, 10, 0.19),
        Shape("PS-MNIST-256", "ps-mnist", 784, 256, 1, 10, 0.19),
        Shape("tiny", "shd", 12, 4, 6, 3, 0.3),  # of the tests
    )
}


def make_inputs(shape: Shape, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw a batch: inputs (T, B, C), counts for spike tasks and grey values for pixels, and targets (B,)."""
    generator = torch.Generator().manual_seed(seed)
    size = (shape.steps, shape.batch, shape.inputs)
    present = torch.rand(size, generator=generator) < shape.density
    values = torch.rand(size, generator=generator) if shape.inputs == 1 else torch.ones(size)
    return values * present, torch.randint(shape.classes, (shape.batch,), generator=generator)


@torch.no_grad()
def make_network(config: NetworkConfig, inputs: Tensor, seed: int = 0) -> Network:
    """Build a network whose every layer fires at about `RATE` on `inputs`, whatever its recurrence.

    The feedforward currents are scaled to a standard deviation of half a threshold, then shifted by bisection on the
    layer's bias (or batch norm's), each layer in turn. Networks of one seed share what they have in common.
    """
    torch.manual_seed(seed)
    network = Network(config)
    few = inputs[:, : min(16, inputs.shape[1])]
    network.eval()
    values = few
    for block in network.blocks:
        shift = block.connection.bias if block.norm is None else block.norm.bias
        assert isinstance(shift, nn.Parameter)
        if block.norm is not None:  # evaluation's statistics are then those of this batch, as in training
            current = block.connection(values).flatten(0, 1)
            block.norm.running_mean.copy_(current.mean(0))
            block.norm.running_var.copy_(current.var(0))
            block.norm.weight.fill_(_SPREAD)
        else:
            block.connection.weight.mul_(_SPREAD / block.connection(values).std().clamp(min=1e-6))
            shift.sub_(block.connection(values).flatten(0, 1).mean(0))
        low, high, start = -4.0, 4.0, shift.clone()
        for _ in range(12):
            middle = (low + high) / 2
            shift.copy_(start + middle)
            if float(block(values).mean()) < RATE:
                low = middle
            else:
                high = middle
        values = block(values)
    return network.train()


@torch.no_grad()
def spike_rates(network: Network, inputs: Tensor) -> list[float]:
    """Spikes per neuron and step of each layer, in evaluation mode."""
    network.eval()
    rates, values = [], inputs[:, :32]
    for block in network.blocks:
        values = block(values)
        rates.append(float(values.mean()))
    network.train()
    return rates


def smaller(shape: Shape, steps: int, batch: int) -> Shape:
    """The same network on fewer steps and rows, for the correctness gate."""
    return replace(shape, steps=min(steps, shape.steps), batch=min(batch, shape.batch))
