"""Layers of other libraries beside ours, training step and forward: `nox -s bench-peers` (an environment of its own).

Feedforward LIF neurons alone, T 100, batch 256, N 256: spikingjelly, snntorch and norse. Feedforward delays 256 to 256,
window 25, on spikes at 5 percent: DCLS. A library that is not installed is skipped. Neuron models differ in detail
(resets, surrogates): what is compared is the cost of a layer of this size, not its result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from delrec import FeedforwardDelays, SpikingLayer
from delrec.neurons import LIF
from torch import Tensor, nn

from benchmarks.latency.pairing import Pairs

STEPS, BATCH, SIZE, WINDOW = 100, 256, 256, 25
SPREAD = 3.0  # of gauss and max kernels, in steps

Layer = Callable[[Tensor], Tensor]


def _spikingjelly() -> Layer:
    base = pytest.importorskip("spikingjelly.activation_based")
    from spikingjelly.activation_based import functional, neuron

    assert base is not None
    node = neuron.LIFNode(tau=2.0, decay_input=False, v_reset=None, step_mode="m")

    def run(x: Tensor) -> Tensor:
        functional.reset_net(node)
        spikes: Tensor = node(x)
        return spikes

    return run


def _snntorch() -> Layer:
    snn = pytest.importorskip("snntorch")
    node = snn.Leaky(beta=0.5)

    def run(x: Tensor) -> Tensor:
        membrane, spikes = node.init_leaky(), []
        for current in x:
            spike, membrane = node(current, membrane)
            spikes.append(spike)
        return torch.stack(spikes)

    return run


def _norse() -> Layer:
    norse = pytest.importorskip("norse.torch")
    layer = norse.LIFBox() if not hasattr(norse, "LIF") else norse.LIF()

    def run(x: Tensor) -> Tensor:
        spikes: Tensor = layer(x)[0]
        return spikes

    return run


PEERS = {"spikingjelly": _spikingjelly, "snntorch": _snntorch, "norse": _norse}


def _work(layer: Layer, x: Tensor, mode: str, parameters: list[nn.Parameter]) -> Callable[[], None]:
    def train() -> None:
        for p in parameters:
            p.grad = None
        x.grad = None
        layer(x.requires_grad_()).sum().backward()

    @torch.no_grad()
    def forward() -> None:
        layer(x)

    return train if mode == "train" else forward


@pytest.mark.parametrize("mode", ["train", "forward"])
@pytest.mark.parametrize("peer", PEERS)
def test_neurons(benchmark: Any, rows: list[dict[str, Any]], quick: bool, threads: int, peer: str, mode: str) -> None:
    """A layer of LIF neurons without connections."""
    x = 0.62 * torch.rand((STEPS, BATCH, SIZE), generator=torch.Generator().manual_seed(0))
    ours = SpikingLayer(SIZE, neuron=LIF())
    rate = float(ours(x).mean())  # type: ignore[union-attr]
    pairs = Pairs(_work(PEERS[peer](), x, mode, []), {"ours": _work(ours, x, mode, [])}, quick)
    info = {"section": "peers", "shape": f"T {STEPS}, batch {BATCH}, N {SIZE}", "mode": mode, "contender": peer}
    rows.append(pairs.run(benchmark, task="layer", device="cpu", threads=threads, rates=[rate], **info))


def _pair(kernel: str, count: int) -> tuple[nn.Module, FeedforwardDelays, Layer]:
    """PyPI's DCLS layer, ours with its weights, positions and spread, and theirs as a function of (T, B, N)."""
    dcls = pytest.importorskip("DCLS.construct.modules")
    theirs = dcls.Dcls1d(SIZE, SIZE, kernel_count=count, dilated_kernel_size=WINDOW, version=kernel)
    spread = 0.0 if kernel == "v1" else SPREAD
    ours = FeedforwardDelays(SIZE, SIZE, window=WINDOW, kernel=kernel, kernel_count=count, spread=spread)  # type: ignore[arg-type]
    with torch.no_grad():
        nn.init.uniform_(theirs.P, -(WINDOW // 2), WINDOW // 2)
        if kernel != "v1":
            theirs.SIG.fill_(spread)
        ours.weight.copy_(theirs.weight)
        ours.position.copy_(theirs.P[0].permute(2, 0, 1))
        assert ours.bias is not None
        ours.bias.copy_(theirs.bias)

    def run(values: Tensor) -> Tensor:
        padded = nn.functional.pad(values.permute(1, 2, 0), (WINDOW - 1, 0))
        out: Tensor = theirs(padded)
        return out.permute(2, 0, 1)

    return theirs, ours, run


def _spikes() -> Tensor:
    return (torch.rand((STEPS, BATCH, SIZE), generator=torch.Generator().manual_seed(0)) < 0.05).float()


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("kernel", ["v1", "gauss", "max"])
def test_feedforward_delays_agree(kernel: str, count: int) -> None:
    """Outputs and gradients of every kernel version are those of PyPI's DCLS."""
    theirs, ours, run = _pair(kernel, count)
    x = _spikes()[:, :4]
    weights = torch.randn(STEPS, 4, SIZE, generator=torch.Generator().manual_seed(1))
    for out in (run(x), ours(x)):
        (out * weights).sum().backward()
    with torch.no_grad():
        torch.testing.assert_close(ours(x), run(x), rtol=1e-4, atol=1e-4)
    assert ours.position.grad is not None and ours.weight.grad is not None
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(ours.position.grad, theirs.P.grad[0].permute(2, 0, 1), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("mode", ["train", "forward"])
def test_feedforward_delays(benchmark: Any, rows: list[dict[str, Any]], quick: bool, threads: int, mode: str) -> None:
    """Dcls1d against `FeedforwardDelays`, the same weights and positions."""
    theirs, ours, run = _pair("v1", 1)
    x = _spikes()
    works = (_work(run, x, mode, list(theirs.parameters())), _work(ours, x, mode, list(ours.parameters())))
    info = {"section": "peers", "shape": f"T {STEPS}, batch {BATCH}, {SIZE} to {SIZE}, window {WINDOW}", "mode": mode}
    info["contender"] = "DCLS Dcls1d v1"
    pairs = Pairs(works[0], {"ours": works[1]}, quick)
    rows.append(pairs.run(benchmark, task="layer", device="cpu", threads=threads, rates=[0.05], **info))
