"""The events engine gives what the deployed network gives, as a sequence and step by step."""

import itertools
import warnings

import pytest
import torch
from delrec import LIF, FeedforwardDelays, RecurrentDelays, SpikingLayer, deployed
from delrec.engines import EngineError, Request, scan
from delrec.engines.events import EventNetwork
from delrec.linear import SpikeLinear

F64 = torch.float64
LAYERS = {
    "axonal": lambda size: RecurrentDelays(size, engine="reference"),
    "synaptic": lambda size: RecurrentDelays(size, delays="synaptic", engine="reference"),
    "shared": lambda size: RecurrentDelays(size, delays="shared", engine="reference"),
    "plain": lambda size: RecurrentDelays(size, neuron=LIF(1.5, reset="hard"), delays="none", engine="reference"),
    "none": lambda size: SpikingLayer(size, engine="reference"),
}


def network(name, hidden=(40, 70), seed=0):
    torch.manual_seed(seed)
    widths = (30, *hidden)
    layers = [
        layer
        for inputs, size in itertools.pairwise(widths)
        for layer in (SpikeLinear(inputs, size), LAYERS[name](size))
    ]
    made = torch.nn.Sequential(*layers, SpikeLinear(widths[-1], 5)).to(F64)
    for module in made.modules():
        weight = getattr(module, "weight", None)
        if weight is not None and weight.dim() >= 2:
            weight.data.mul_(3)
    return made.eval()


def spikes(steps=40, batch=3):
    return (torch.rand(steps, batch, 30, generator=torch.Generator().manual_seed(2)) < 0.15).to(F64)


@pytest.mark.parametrize("name", LAYERS)
def test_equals_the_deployed_network(name):
    net, x = network(name), spikes()
    with deployed(net), torch.no_grad():
        wanted = net(x)
        assert net[:-1](x).any()  # silence would prove nothing
    fast = EventNetwork(net, batch=3, dtype=F64)
    out = fast.run(x)
    torch.testing.assert_close(out, wanted, rtol=1e-9, atol=1e-9)
    assert torch.equal(fast.run(x), out), "a second run starts from rest"
    fast.reset()
    steps = torch.stack([fast.step(x[t]).clone() for t in range(len(x))])
    torch.testing.assert_close(steps, wanted, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(fast.classify(x), wanted.sum(0), rtol=1e-9, atol=1e-9)


def test_a_step_reuses_its_buffer():
    fast = EventNetwork(network("axonal"), batch=3, dtype=F64)
    x = spikes()
    assert fast.step(x[0]).data_ptr() == fast.step(x[1]).data_ptr()


def test_names_a_wrong_shape():
    with pytest.raises(ValueError, match=r"\(2, 30\)"):
        EventNetwork(network("none"), batch=3, dtype=F64).step(torch.zeros(2, 30))


@pytest.mark.parametrize("form", ["none", "axonal", "synaptic"])
def test_a_layer_equals_the_reference(form):
    draw = torch.Generator().manual_seed(3)
    neuron = LIF().attach(20)
    arguments = {"current": torch.randn(30, 4, 20, generator=draw, dtype=F64) + 0.4, "neuron": neuron}
    if form != "none":
        shape = (20, 20) if form == "synaptic" else (20,)
        arguments["weight"] = torch.randn(20, 20, generator=draw, dtype=F64) * 0.4
        arguments["delay"] = torch.randint(0, 9, shape, generator=draw).to(F64)
        arguments["width"] = torch.ones((), dtype=F64)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        ours = scan("events", Request(**arguments))
    theirs = scan("reference", Request(**arguments))
    assert ours.engine == "events"
    assert torch.equal(ours.spikes, theirs.spikes)
    torch.testing.assert_close(ours.final.states[0], theirs.final.states[0])


def test_what_events_cannot_do_is_an_error_that_says_so():
    current = torch.randn(5, 2, 3, requires_grad=True)
    with pytest.raises(EngineError, match="no gradients"):
        scan("events", Request(current, LIF().attach(3)))


class Own(torch.nn.Module):
    """A model that no configuration made."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = torch.nn.Linear(30, 24), torch.nn.BatchNorm1d(24)
        self.recurrent = RecurrentDelays(24, sigma=2.0, engine="reference")
        self.delayed = FeedforwardDelays(24, 16, window=6, engine="reference")
        self.neurons = SpikingLayer(16, neuron=LIF(reset="hard"), engine="reference")
        self.out = SpikeLinear(16, 4)

    def layers(self):
        return [self.first, self.norm, self.recurrent, torch.nn.Dropout(0.5), self.delayed, self.neurons, self.out]

    def forward(self, x):
        current = self.norm(self.first(x).flatten(0, 1)).view(*x.shape[:2], 24)
        spikes = self.neurons(self.delayed(self.recurrent(current)))
        self.rates = float(spikes.mean())
        return self.out(spikes)


def own():
    torch.manual_seed(1)
    model = Own().to(F64)
    with torch.no_grad():
        model.norm.running_var.uniform_(0.05, 0.2)
        model.norm.running_mean.normal_(0, 0.1)
        model.norm.weight.uniform_(0.5, 1.5)
        model.delayed.weight.mul_(12)
    return model.eval()


def test_a_model_of_ones_own_runs_by_events():
    model, x = own(), spikes()
    with model.recurrent.deployed(), model.delayed.deployed(), torch.no_grad():
        wanted = model(x)
    assert 0.02 < model.rates < 0.9
    fast = EventNetwork(model.layers(), batch=3, dtype=F64)
    torch.testing.assert_close(fast.run(x), wanted, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(fast.classify(x), wanted.sum(0), rtol=1e-9, atol=1e-9)
    fast.reset()
    steps = torch.stack([fast.step(x[t]).clone() for t in range(len(x))])
    torch.testing.assert_close(steps, wanted, rtol=1e-9, atol=1e-9)


def test_a_sequential_ends_in_spikes_or_in_a_membrane():
    torch.manual_seed(2)
    x, neurons = spikes(), SpikingLayer(8, engine="reference")
    model = torch.nn.Sequential(torch.nn.Linear(30, 8), neurons).to(F64)
    with torch.no_grad():
        model[0].weight.mul_(4)
        wanted = model(x)
        assert wanted.mean() > 0.05
        assert torch.equal(EventNetwork(model, batch=3, dtype=F64).run(x), wanted)
        leak = LIF(threshold=1e9).attach(8)
        membrane = scan("reference", Request(model[0](x), leak, trace=True)).states[0]
        torch.testing.assert_close(EventNetwork([model[0], leak], batch=3, dtype=F64).run(x), membrane)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (lambda: [torch.nn.Linear(30, 8), torch.nn.ReLU()], r"layer 1 \(ReLU\) cannot run by events"),
        (lambda: [torch.nn.BatchNorm1d(30)], r"layer 0 \(BatchNorm1d\) scales a current"),
        (lambda: [FeedforwardDelays(30, 8, window=5, right_padding=2)], "right_padding = 2"),
        (lambda: [FeedforwardDelays(30, 8, window=5, left_padding=2)], "left_padding = 2"),
        (lambda: [torch.nn.Linear(30, 8), SpikingLayer(9)], "8 outputs meet 9 neurons"),
        (lambda: [torch.nn.Linear(30, 8), torch.nn.Linear(9, 2)], "8 outputs meet 9 inputs"),
        (own, "give a list"),
        (list, "no layers"),
    ],
)
def test_a_list_that_cannot_run_names_the_layer(layers, message):
    with pytest.raises(ValueError, match=message):
        EventNetwork(layers())
