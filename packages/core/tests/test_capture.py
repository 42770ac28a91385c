"""A training step as a CUDA graph: the same numbers as step by step, on a card; elsewhere what leads up to it."""

import copy

import pytest
import torch
from delrec import Network, NetworkConfig
from delrec.capture import CapturedStep, restored
from torch.nn.functional import cross_entropy

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
on_a_card = pytest.mark.skipif(DEVICE == "cpu", reason="needs a CUDA device")


def made(rate=1e-2):
    torch.manual_seed(0)
    config = NetworkConfig(inputs=6, classes=3, hidden=(8, 8), recurrent="axonal", max_delay=9, dropout=0.0)
    network = Network(config).to(DEVICE)
    rates = torch.tensor(rate, device=DEVICE) if DEVICE == "cuda" else rate
    return network, torch.optim.Adam(network.parameters(), lr=rates, capturable=DEVICE == "cuda")


def batch(seed):
    draw = torch.Generator().manual_seed(seed)
    x = (torch.rand(12, 4, 6, generator=draw) < 0.3).float()
    return x.to(DEVICE), torch.randint(3, (4,), generator=draw).to(DEVICE)


def loss_of(network):
    return lambda outputs, targets: cross_entropy(network.scores(outputs), targets)


def stepwise(network, optimizer, x, targets):
    optimizer.zero_grad(set_to_none=True)
    loss = loss_of(network)(network(x), targets)
    loss.backward()
    optimizer.step()
    return loss.detach()


@pytest.mark.parametrize("begun", [False, True])
def test_warming_up_leaves_no_trace(begun):
    network, optimizer = made()
    other = copy.deepcopy(network)
    twin = type(optimizer)(other.parameters(), **optimizer.defaults)
    if begun:
        for model, its in ((network, optimizer), (other, twin)):
            stepwise(model, its, *batch(0))
    addresses = [p.data_ptr() for p in network.parameters()]
    with restored(network, optimizer):
        for _ in range(3):
            stepwise(network, optimizer, *batch(1))
        assert any(not torch.equal(a, b) for a, b in zip(network.parameters(), other.parameters(), strict=True))
    for a, b in zip(network.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert addresses == [p.data_ptr() for p in network.parameters()] and all(p.grad is None for p in optimizer.state)
    for _ in range(2):  # Adam goes on as if nothing had been
        assert torch.equal(stepwise(network, optimizer, *batch(2)), stepwise(other, twin, *batch(2)))


def test_a_step_reads_no_sigma_that_was_just_read(monkeypatch):
    """What a capture relies on: `number` waits for a device once after a change, and warming up changes buffers."""
    network, optimizer = made()
    with restored(network, optimizer):
        stepwise(network, optimizer, *batch(0))
    sigmas = [buffer for name, buffer in network.named_buffers() if name.endswith("sigma")]
    versions = [sigma._version for sigma in sigmas]
    stepwise(network, optimizer, *batch(0))
    assert len(sigmas) == 2 and versions == [sigma._version for sigma in sigmas]


@pytest.mark.skipif(DEVICE == "cuda", reason="there is a device")
def test_a_step_off_cuda_is_refused_by_name():
    network, optimizer = made()
    with pytest.raises(
        ValueError, match="a CUDA graph holds a step on one CUDA device; model and example are on .'cpu'"
    ):
        CapturedStep(network, loss_of(network), optimizer, *batch(0))


@on_a_card
def test_replays_equal_steps():
    network, optimizer = made()
    other = copy.deepcopy(network)
    twin = type(optimizer)(other.parameters(), **(optimizer.defaults | {"lr": torch.tensor(1e-2, device=DEVICE)}))
    step = CapturedStep(network, loss_of(network), optimizer, *batch(0))
    for seed in range(5):
        ours, theirs = step(*batch(seed)).clone(), stepwise(other, twin, *batch(seed))
        torch.testing.assert_close(ours, theirs)
    for a, b in zip(network.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    optimizer.param_groups[0]["lr"].fill_(0.0)
    before = [p.clone() for p in network.parameters()]
    step(*batch(0))
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


@on_a_card
def test_what_a_replay_would_not_know_is_refused():
    network, optimizer = made()
    with pytest.raises(ValueError, match="made with capturable=True"):
        CapturedStep(network, loss_of(network), torch.optim.SGD(network.parameters()), *batch(0))
    step = CapturedStep(network, loss_of(network), optimizer, *batch(0))
    x, targets = batch(0)
    with pytest.raises(ValueError, match="inputs are .*; the step was captured for"):
        step(x[:5], targets)
    network.blocks[0].spiking.sigma.fill_(5.0)
    with pytest.raises(ValueError, match="sigma rose from 0 to 5"):
        step(x, targets)
    network.blocks[0].spiking.sigma.zero_()
    optimizer.param_groups[0]["weight_decay"] = 0.1
    with pytest.raises(ValueError, match="weight_decay of group 0 changed since the capture"):
        step(x, targets)
