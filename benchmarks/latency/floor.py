"""The floor: the matrix products of a network and nothing else, forward, or forward and backward.

Feedforward connections are one product over all steps; recurrent ones a product a step, since a step needs the one
before. Backward: the gradient of the input (not of the network's own input) in the same pieces, and the gradient of
each weight as one product over all steps. Outputs are allocated beforehand.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from delrec_bench.networks import NetworkConfig
from torch import Tensor

__all__ = ["products"]


def products(config: NetworkConfig, steps: int, batch: int, *, train: bool, device: str = "cpu") -> Callable[[], None]:
    """Return a function that does the products of one pass of a batch (T, B) through the network."""
    widths = (config.inputs, *config.hidden, config.classes)
    generator = torch.Generator().manual_seed(0)

    def random(*size: int) -> Tensor:
        return torch.randn(size, generator=generator).to(device)

    work: list[Callable[[], None]] = []
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        x, y, weight = random(steps * batch, inputs), random(steps * batch, outputs), random(outputs, inputs)
        work.append(_dense(x, y, weight, train=train, first=layer == 0))
        if layer < len(config.hidden) and config.is_recurrent(layer):
            z, current, square = random(steps, batch, outputs), random(steps, batch, outputs), random(outputs, outputs)
            work.append(_stepwise(z, current, square, train=train))

    def run() -> None:
        for piece in work:
            piece()

    return run


def _dense(x: Tensor, y: Tensor, weight: Tensor, *, train: bool, first: bool) -> Callable[[], None]:
    y_out, x_grad, w_grad = torch.empty_like(y), torch.empty_like(x), torch.empty_like(weight)

    def run() -> None:
        torch.mm(x, weight.T, out=y_out)
        if train:
            torch.mm(y.T, x, out=w_grad)
            if not first:
                torch.mm(y, weight, out=x_grad)

    return run


def _stepwise(z: Tensor, current: Tensor, weight: Tensor, *, train: bool) -> Callable[[], None]:
    out, grad, w_grad = torch.empty_like(z), torch.empty_like(z), torch.empty_like(weight)
    flat = (current.flatten(0, 1).T, z.flatten(0, 1))

    def run() -> None:
        for t in range(len(z)):
            torch.mm(z[t], weight.T, out=out[t])
        if train:
            for t in reversed(range(len(z))):
                torch.mm(current[t], weight, out=grad[t])
            torch.mm(*flat, out=w_grad)

    return run
