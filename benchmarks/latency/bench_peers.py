"""Layers of other libraries beside ours, training step and forward: `nox -s bench-peers` (an environment of its own).

Feedforward LIF neurons alone, T 100, batch 256, N 256: spikingjelly, snntorch and norse. Feedforward delays 256 to 256,
window 25, on spikes at 5 percent: DCLS. A library that is not installed is skipped. Neuron models differ in detail
(resets, surrogates): what is compared is the cost of a layer of this size, not its result.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from delrec import FeedforwardDelays, SpikingLayer
from delrec.neurons import LIF
from torch import Tensor, nn

from benchmarks.latency.contenders import layer_work

STEPS, BATCH, SIZE, WINDOW = 100, 256, 256, 25
SPREAD = 3.0  # of gauss and max kernels, in steps

Layer = Callable[[Tensor], Tensor]


def spikingjelly() -> Layer:
    pytest.importorskip("spikingjelly.activation_based")
    from spikingjelly.activation_based import functional, neuron

    node = neuron.LIFNode(tau=2.0, decay_input=False, v_reset=None, step_mode="m")

    def run(x: Tensor) -> Tensor:
        functional.reset_net(node)
        return node(x)

    return run


def snntorch() -> Layer:
    node = pytest.importorskip("snntorch").Leaky(beta=0.5)

    def run(x: Tensor) -> Tensor:
        membrane, spikes = node.init_leaky(), []
        for current in x:
            spike, membrane = node(current, membrane)
            spikes.append(spike)
        return torch.stack(spikes)

    return run


def norse() -> Layer:
    layer = pytest.importorskip("norse.torch").LIF()
    return lambda x: layer(x)[0]


@pytest.mark.parametrize("mode", ["train", "forward"])
@pytest.mark.parametrize("peer", [spikingjelly, snntorch, norse])
def test_neurons(timed: Any, peer: Callable[[], Layer], mode: str) -> None:
    """A layer of LIF neurons without connections."""
    x = 0.62 * torch.rand((STEPS, BATCH, SIZE), generator=torch.Generator().manual_seed(0))
    theirs, ours = layer_work(peer(), x, mode), layer_work(SpikingLayer(SIZE, neuron=LIF()), x, mode)
    timed("peers", f"T {STEPS}, batch {BATCH}, N {SIZE}", mode, peer.__name__, theirs, {"ours": ours})


class Dcls(nn.Module):
    """PyPI's layer, as a function of (T, B, N)."""

    def __init__(self, kernel: str, count: int) -> None:
        super().__init__()
        dcls = pytest.importorskip("DCLS.construct.modules")
        self.layer = dcls.Dcls1d(SIZE, SIZE, kernel_count=count, dilated_kernel_size=WINDOW, version=kernel)
        with torch.no_grad():
            nn.init.uniform_(self.layer.P, -(WINDOW // 2), WINDOW // 2)
            if kernel != "v1":
                self.layer.SIG.fill_(SPREAD)

    def forward(self, values: Tensor) -> Tensor:
        out: Tensor = self.layer(nn.functional.pad(values.permute(1, 2, 0), (WINDOW - 1, 0)))
        return out.permute(2, 0, 1)


def pair(kernel: str, count: int) -> tuple[Dcls, FeedforwardDelays]:
    """PyPI's layer, and ours with its weights, positions and spread."""
    theirs = Dcls(kernel, count)
    spread = 0.0 if kernel == "v1" else SPREAD
    ours = FeedforwardDelays(SIZE, SIZE, window=WINDOW, kernel=kernel, kernel_count=count, spread=spread)  # type: ignore[arg-type]
    values = {"weight": theirs.layer.weight, "position": theirs.layer.P[0].permute(2, 0, 1), "bias": theirs.layer.bias}
    ours.load_state_dict(values, strict=False)
    return theirs, ours


def spikes(batch: int) -> Tensor:
    return (torch.rand((STEPS, batch, SIZE), generator=torch.Generator().manual_seed(0)) < 0.05).float()


@pytest.mark.parametrize("mode", ["train", "forward"])
def test_feedforward_delays(timed: Any, mode: str) -> None:
    """Dcls1d against `FeedforwardDelays`, the same weights and positions."""
    theirs, ours = (layer_work(layer, spikes(BATCH), mode) for layer in pair("v1", 1))
    shape = f"T {STEPS}, batch {BATCH}, {SIZE} to {SIZE}, window {WINDOW}"
    timed("peers", shape, mode, "DCLS Dcls1d v1", theirs, {"ours": ours})
