"""torch.compile(fullgraph=True) through the fused engines: equal spikes and gradients."""

import subprocess
import sys

import pytest
import torch
from delrec import LIF, FeedforwardDelays, RecurrentDelays, SpikeLinear, SpikingLayer
from delrec import engines as interface
from delrec.engines import triton
from problems import gradients
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

ABSENT = pytest.mark.skipif(bool(triton.ENGINE.broken), reason="needs triton")
TRITON = pytest.param("triton", marks=(ABSENT, pytest.mark.slow))


class Own(nn.Module):
    def __init__(self, engine):
        super().__init__()
        self.spread = SpikeLinear(12, 16, engine=engine)
        self.axonal = RecurrentDelays(16, sigma=2.0, learn_spread=True, engine=engine)
        self.delayed = FeedforwardDelays(16, 9, window=6, engine=engine)
        self.plain = SpikingLayer(9, engine=engine)
        self.synaptic = RecurrentDelays(9, delays="synaptic", engine=engine)
        self.out = nn.Linear(9, 3)
        with torch.no_grad():
            self.spread.weight.mul_(4)

    def forward(self, x):
        return self.out(self.synaptic(self.plain(4 * self.delayed(self.axonal(self.spread(x)))))).sum(0)


def compiled(model):
    torch._dynamo.reset()
    return torch.compile(model, fullgraph=True, backend="aot_eager")


@pytest.mark.usefixtures("no_fallback")
@pytest.mark.parametrize("engine", ["cpu", TRITON])
def test_layers_and_a_whole_model(engine, monkeypatch):  # single layers are in test_manners
    """One that auto gives to it, one whose neuron changes, a state that is handed on, and one that lacks what was cut.

    Without a card the triton engine is in its interpreter, and "auto" takes it where it says so.
    """
    monkeypatch.setitem(interface._AUTO, "cpu", engine)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    device = "cuda" if engine == "triton" and torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    x = (torch.rand(10, 5, 12, device=device) < 0.3).float()
    for model, scale, least in ((RecurrentDelays(12, delays="synaptic", max_delay=20), 3, 2), (Own(engine), 1, 10)):
        model.to(device)
        plain = model(scale * x)
        with torch.profiler.profile() as seen:
            same = compiled(model)(scale * x)
            found = gradients(model, same)
        names = {event.name for event in seen.events()}
        assert {f"delrec::{engine}_scan", f"delrec::{engine}_scan_backward"} <= names, "not by the reference"
        assert plain.any() and len(found) >= least
        torch.testing.assert_close((plain, *gradients(model, plain)), (same, *found), rtol=1e-5, atol=1e-6)

    layer = SpikingLayer(12, engine=engine).to(device)
    call = compiled(layer)
    before = call(2 * x)
    layer.neuron = LIF(threshold=9.0).attach(12).to(device)
    assert torch.equal(call(2 * x), layer(2 * x)) and not torch.equal(before, layer(2 * x))

    layer = RecurrentDelays(12, max_delay=6, sigma=1.0, engine=engine).to(device)
    with torch.no_grad():
        layer.delay.copy_(torch.linspace(0, 5, 12))
    call = compiled(layer)
    whole = layer(3 * x)
    first = call(3 * x[:4], return_state=True)
    second = call(3 * x[4:], first.state)
    assert torch.equal(torch.cat([first.spikes, second]), whole) and whole.any()
    wrong = first.state.map(lambda t: t + 0.5)
    with pytest.raises(Exception, match="other values than 0 and 1"):
        call(3 * x[4:], wrong)


def test_an_exported_model_takes_any_batch():
    model = nn.Sequential(nn.Linear(5, 6), RecurrentDelays(6, sigma=1.0, engine="cpu"), SpikingLayer(6, engine="cpu"))
    batch = torch.export.Dim("batch", min=2, max=4096)
    exported = torch.export.export(model.eval(), (torch.rand(7, 4, 5),), dynamic_shapes=({1: batch},))
    assert "delrec.cpu_scan.default" in [str(node.target) for node in exported.graph.nodes]
    for count in (2, 16, 17, 40):
        x = 3 * torch.rand(7, count, 5, generator=torch.Generator().manual_seed(count))
        assert torch.equal(exported.module()(x), model(x)) and model(x).any()


def test_a_graph_of_another_process_is_refused(tmp_path):
    """It ran with whichever neuron had the same number."""
    layer, x, path = SpikingLayer(5, engine="cpu").requires_grad_(False), torch.rand(7, 3, 5), tmp_path / "layer.pt2"
    with torch.no_grad():
        torch.export.save(torch.export.export(layer, (x,)), path)
    program = f"""
import torch
from delrec import LIF, SpikingLayer
others = [SpikingLayer(5, neuron=LIF(reset="hard"), engine="cpu") for _ in range(30)]
torch.export.load({str(path)!r}).module()(torch.rand(7, 3, 5))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1 and "the graph is of another process" in done.stderr


@pytest.mark.parametrize("engine", ["cpu", "reference"])
@pytest.mark.parametrize("delays", ["axonal", "synaptic"])
def test_fake_tensors_go_through(delays, engine):
    layer = RecurrentDelays(6, delays=delays, sigma=1.0, engine=engine)
    with FakeTensorMode(allow_non_fake_inputs=True):
        out = layer(torch.rand(7, 4, 6), return_state=True)
    assert type(out.spikes) is FakeTensor and out.spikes.shape == (7, 4, 6) and out.state.states[0].shape == (4, 6)
