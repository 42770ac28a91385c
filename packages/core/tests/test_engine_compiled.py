"""torch.compile(fullgraph=True) through the cpu engine: equal spikes and gradients, in a fresh process."""

import subprocess
import sys

import pytest

HEAD = """
import warnings
import torch
from torch import nn
from delrec import FeedforwardDelays, LIF, RecurrentDelays, SpikingLayer
from delrec.linear import SpikeLinear
from delrec.networks import Network, NetworkConfig

warnings.simplefilter("error", RuntimeWarning)
torch.manual_seed(0)
torch.set_num_threads(1)
x = (torch.rand(10, 5, 12) < 0.3).float()


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.spread = SpikeLinear(12, 16, engine="cpu")
        self.axonal = RecurrentDelays(16, sigma=2.0, learn_spread=True, engine="cpu")
        self.delayed = FeedforwardDelays(16, 9, window=6, engine="cpu")
        self.plain = SpikingLayer(9, neuron=LIF(reset="hard", learn_tau="neuron"), engine="cpu")
        self.synaptic = RecurrentDelays(9, delays="synaptic", engine="cpu")
        self.out = nn.Linear(9, 3)
        with torch.no_grad():
            self.spread.weight.mul_(4)

    def forward(self, x):
        return self.out(self.synaptic(self.plain(4 * self.delayed(self.axonal(self.spread(x)))))).sum(0)


def compare(model, x):
    def run(call):
        model.zero_grad()
        y = call(x)
        (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum().backward()
        return [y.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]

    plain = run(model)
    compiled = run(torch.compile(model, fullgraph=True, backend=BACKEND))
    assert plain[0].abs().max() > 0 and len(plain) > LEAST
    for a, b in zip(plain, compiled, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
"""
CASES = {
    "a layer": ("compare(RecurrentDelays(12, sigma=1.0, engine='cpu'), 3 * x)", 2),
    "a layer that auto gives to the cpu engine": ("compare(RecurrentDelays(12, delays='synaptic'), 3 * x)", 2),
    "a network": (
        "compare(Network(NetworkConfig(inputs=12, hidden=(16, 9), classes=3, recurrent='axonal', batch_norm=True, "
        "readout='leaky')).eval(), x)",
        10,
    ),
    "a model of one's own": ("compare(Own(), x)", 10),
}


def program(case, backend):
    text, least = CASES[case]
    return f"BACKEND, LEAST = {backend!r}, {least}\n{HEAD}\n{text}\n"


@pytest.mark.parametrize("case", CASES)
def test_compiled_equals_eager(case):
    done = subprocess.run([sys.executable, "-c", program(case, "aot_eager")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_compiled_layer_whose_neuron_changes_is_compiled_again():
    text = (
        HEAD
        + """
layer = SpikingLayer(12, engine="cpu")
call = torch.compile(layer, fullgraph=True, backend="aot_eager")
before = call(2 * x)
layer.neuron = LIF(threshold=9.0).attach(12)
assert torch.equal(call(2 * x), layer(2 * x)) and not torch.equal(before, layer(2 * x))
"""
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
