"""What a sparing engine keeps for the backward pass is less, and its numbers are the same to the bit."""

import itertools

import pytest
import torch
from delrec import Network, NetworkConfig
from delrec.engines import engine_for
from delrec.sparing import Bits
from problems import COMPILED_ON, F64
from torch.profiler import ProfilerActivity, profile

COMPILED = pytest.mark.parametrize(("engine", "device"), COMPILED_ON)


def network(engine, device, **changes):
    torch.manual_seed(0)
    chosen = dict(
        hidden=(37, 41), recurrent="axonal", batch_norm=True, dropout=0.4, delay_init="uniform", delay_high=3.0
    )
    config = NetworkConfig(inputs=33, classes=5, engine=engine, **(chosen | changes))
    return Network(config).to(device, F64)


def batch(device, steps=7):
    drawn = torch.rand(steps, 4, 33, generator=torch.Generator().manual_seed(1), dtype=F64)
    return (drawn * 3 * (drawn > 0.5)).to(device), torch.tensor([0, 1, 4, 2], device=device)


def trained(made, inputs, target, spares, lengths=None):
    """The loss and the gradients of a step."""
    torch.manual_seed(2)
    made.zero_grad()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(engine_for(made.config.engine, inputs.device.type)[0]), "sparing", spares)
        loss = made.loss(made.classify(inputs, lengths), target) + made.penalty()
        loss.backward()
    return [loss.detach(), *(p.grad.clone() for p in made.parameters() if p.grad is not None)]


@pytest.mark.parametrize(("size", "steps"), [(1, 1), (8, 3), (37, 5)])
def test_spikes_come_back_from_their_bits(size, steps):
    draw = torch.Generator().manual_seed(size)
    spikes = (torch.rand(steps, 3, size, generator=draw) < 0.4).float()
    for factor in (1.0, (torch.rand(3, size, generator=draw) < 0.7) / 0.7):
        packed = Bits.of(spikes * factor)
        assert torch.equal(packed.spikes(), spikes * factor)
        assert packed.bits.numel() == steps * 3 * -(-size // 8)


@COMPILED
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"dropout_mask": "step", "readout_norm": True, "readout": "leaky"},
        {"dropout": 0.0, "batch_norm": False, "spike_penalty": 0.1},
        {"order": "dropout-spike", "recurrent": "none"},
    ],
)
def test_a_step_is_the_same_to_the_bit(changes, engine, device):
    made, (inputs, target) = network(engine, device, **changes), batch(device)
    for lengths in (None, [7, 3, 5, 7]):
        ours, theirs = (trained(made, inputs, target, spares, lengths) for spares in (True, False))
        assert len(ours) == len(theirs) > 8
        assert all(map(torch.equal, ours, theirs))
        assert any(g.abs().max() > 0 for g in ours[1:])


def held(step):
    """Bytes that a call leaves behind, by torch's own account of the memory of this machine."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        kept = step()
    return sum(e.nbytes() for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"), kept


def test_it_keeps_a_third(monkeypatch):
    """Of three arrays of numbers a layer (inputs of the map and of the norm, trace) the trace is left."""
    found = {}
    for spares, steps in itertools.product((False, True), (20, 60)):
        monkeypatch.setattr(type(engine_for("cpu", "cpu")[0]), "sparing", spares)
        made = network("cpu", "cpu", hidden=(64, 64, 64))
        inputs, target = batch("cpu", steps)
        made.loss(made.classify(inputs), target)
        found[spares, steps] = held(lambda made=made, x=inputs, y=target: made.loss(made.classify(x), y))[0]
    plain, less = (found[spares, 60] - found[spares, 20] for spares in (False, True))
    array = 40 * 4 * 64 * 8
    assert 5.5 * array < plain < 9.5 * array
    assert 2.9 * array < less < 4 * array


@COMPILED
def test_an_edit_before_the_backward_pass_is_an_error(engine, device, monkeypatch):
    monkeypatch.setattr(type(engine_for(engine, device)[0]), "sparing", True)
    made, (inputs, target) = network(engine, device), batch(device)
    one, two = (block.connection.weight for block in made.blocks)
    for edited in (two, made.blocks[1].norm.weight, one, inputs):
        loss = made.loss(made.classify(inputs), target)
        with torch.no_grad():
            edited.mul_(0.5)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()
    loss = made.loss(made.classify(inputs), target)
    wanted = list(made.parameters())
    once, again = (torch.autograd.grad(loss, wanted, retain_graph=True, allow_unused=True) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True) if a is not None)


@COMPILED
def test_what_a_hook_makes_of_spikes_is_kept_as_it_is(engine, device):
    made, (inputs, target) = network(engine, device), batch(device)
    made.blocks[0].register_forward_hook(
        lambda module, given, out: out * (1 + torch.arange(37, device=device) % 3) - 0.5
    )
    assert all(map(torch.equal, *(trained(made, inputs, target, spares) for spares in (True, False))))
