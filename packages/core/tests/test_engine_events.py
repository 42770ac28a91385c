"""The events engine gives what the deployed network gives, as a sequence and step by step."""

import copy
import pickle

import delrec
import pytest
import torch
from delrec import LIF, FeedforwardDelays, NotFiniteError, RecurrentDelays, SpikingLayer
from delrec.engines import EngineError, Request
from delrec.engines import run as run_engine
from delrec.engines.events.network import EventNetwork
from delrec.linear import SpikeLinear
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import F64, problem, run
from torch import nn
from torch.nn.utils import prune

INPUTS, SIZE = 30, 70  # more than a block of neurons


def recurrent(delays, **options):
    return RecurrentDelays(SIZE, delays=delays, sigma=2.0, engine="reference", **options)


def delayed(kernel, **options):
    return FeedforwardDelays(INPUTS, SIZE, window=7, kernel=kernel, engine="reference", **options)


MODELS = {
    "axonal": lambda: [SpikeLinear(INPUTS, SIZE), nn.BatchNorm1d(SIZE), recurrent("axonal")],
    "synaptic": lambda: [nn.Linear(INPUTS, SIZE), torch.tensor(0.9), recurrent("synaptic", learn_spread=True)],
    "shared": lambda: [nn.Linear(INPUTS, SIZE, bias=False), nn.Dropout(0.5), recurrent("shared", max_delay=5)],
    "plain": lambda: [nn.Linear(INPUTS, SIZE), recurrent("none", neuron=LIF(tau=1.5, reset="hard"))],
    "without recurrence": lambda: [nn.Linear(INPUTS, SIZE), SpikingLayer(SIZE, engine="reference")],
    "delays, v1": lambda: [delayed("v1"), nn.BatchNorm1d(SIZE, affine=False), recurrent("axonal")],
    "delays, gauss": lambda: [delayed("gauss", spread=1.0, kernel_count=2), recurrent("synaptic")],
    "delays, axonal": lambda: [delayed("max", delays="axonal", bias=False), recurrent("none")],
}


def made(name, *more):
    torch.manual_seed(0)
    layers = [*MODELS[name](), *more]
    for layer in layers:
        if isinstance(layer, nn.Module):
            layer.to(F64).eval()
        if isinstance(layer, nn.Linear | FeedforwardDelays):
            layer.weight.data.mul_(4)
        if isinstance(layer, nn.BatchNorm1d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.2, 0.6)
    return layers


def spikes(steps=40, batch=3):
    return (torch.rand(steps, batch, INPUTS, generator=torch.Generator().manual_seed(2)) < 0.15).to(F64)


@pytest.mark.parametrize("copied", [copy.deepcopy, pickle.dumps])
def test_it_belongs_to_its_process(copied):
    with pytest.raises(TypeError, match="make another from the layers"):  # it holds addresses of compiled code
        copied(EventNetwork(made("plain"), batch=1))


@torch.no_grad()
def deployed(layers, x):
    """Run the layers as deployed, one after the other; return the output, and how many of the neurons fired."""
    rate = 0.0
    with delrec.deployed(nn.ModuleList(layer for layer in layers if isinstance(layer, nn.Module))):
        for layer in layers:
            if isinstance(layer, torch.Tensor):
                x = x * layer
            elif isinstance(layer, nn.BatchNorm1d):
                x = layer(x.flatten(0, 1)).view(x.shape)
            elif isinstance(layer, LIF):
                x = run_engine("reference", Request(x, layer, trace=True)).states[0]
            else:
                x = layer(x)
            if isinstance(layer, SpikingLayer):
                rate = float(x.mean())
    return x, rate


@pytest.mark.parametrize("name", sorted(MODELS))
def test_equals_the_deployed_layers(name):
    layers, x = made(name, SpikeLinear(SIZE, 5), LIF(threshold=1e9).attach(5)), spikes()
    wanted, rate = deployed(layers, x)
    assert 0.02 < rate < 0.9, "silence would prove nothing"
    fast = EventNetwork(layers, batch=3, dtype=F64)
    out = fast.run(x)
    torch.testing.assert_close(out, wanted, rtol=1e-9, atol=1e-9)
    assert torch.equal(fast.run(x), out), "a second run starts from rest"
    fast.reset()
    steps = torch.stack([fast.step(x[t]).clone() for t in range(len(x))])
    assert torch.equal(steps, out)
    assert torch.equal(fast.classify(x), out.sum(0))


def test_a_sequential_ends_in_spikes():
    model, x = nn.Sequential(*made("plain")), spikes()
    assert torch.equal(EventNetwork(model, batch=3, dtype=F64).run(x), deployed(model, x)[0])


@settings(max_examples=30, deadline=None)
@given(
    delays=st.sampled_from(["axonal", "synaptic", "shared", "none"]),
    rounding=st.sampled_from(["restore", "in-place", "straight-through", "stochastic", "none"]),
    positions=st.sampled_from(["restore", "in-place", "none"]),
    learn=st.booleans(),
    training=st.booleans(),
)
def test_delays_are_as_deployed_rounds_them_or_refused(delays, rounding, positions, learn, training):
    torch.manual_seed(0)
    layer = RecurrentDelays(SIZE, delays=delays, learn=learn, rounding=rounding, sigma=1.5, engine="reference").to(F64)
    layers = [delayed("v1", rounding=positions).to(F64), layer.train(training)]
    layers[0].weight.data.mul_(4)
    kept = None if layer.delay is None else layer.delay.detach().clone()
    if rounding == "none" and learn and delays != "none":
        with pytest.raises(ValueError, match=r"layer 1 .* keeps fractional delays \(rounding = 'none'\)"):
            EventNetwork(layers, batch=3, dtype=F64)
        return
    fast = EventNetwork(layers, batch=3, dtype=F64)
    assert kept is None or torch.equal(layer.delay, kept.round() if rounding == "in-place" else kept)
    wanted, rate = deployed(layers, spikes())
    assert rate > 0.02
    assert torch.equal(fast.run(spikes()), wanted)


def test_a_step_reuses_its_buffer_and_rows_of_a_batch_run_in_parts():
    fast, x = EventNetwork(made("axonal"), batch=35, dtype=F64), spikes(8, 35)
    assert fast.step(x[0]).data_ptr() == fast.step(x[1]).data_ptr()
    alone = EventNetwork(made("axonal"), batch=1, dtype=F64)
    assert torch.equal(fast.run(x)[:, 33:34], alone.run(x[:, 33:34]))


@pytest.mark.parametrize("form", ["none", "axonal", "synaptic"])
@pytest.mark.filterwarnings("error::RuntimeWarning")
@torch.no_grad()
def test_a_layer_equals_the_reference(form):
    arguments = problem("hard", form, 30, 4, 20, 0.0)
    if form != "none":
        arguments["delay"].round_()
    ours, theirs = (run(engine, trace=False, **arguments) for engine in ("events", "reference"))
    assert ours.engine == "events" and torch.equal(ours.spikes, theirs.spikes) and ours.spikes.any()
    torch.testing.assert_close(ours.final.states[0], theirs.final.states[0])


def test_what_events_cannot_do_is_an_error_that_says_so():
    current = torch.randn(5, 2, 3, requires_grad=True)
    with pytest.raises(EngineError, match="no gradients"):
        run_engine("events", Request(current, LIF().attach(3)))
    learned = LIF()
    learned.start = nn.Parameter(torch.zeros(()))
    learned.initial = lambda: (learned.start,)
    with pytest.raises(EngineError, match="no gradients"):
        run_engine("events", Request(current.detach(), learned.attach(3)))
    layer = SpikingLayer(3, engine="cpu")
    layer.neuron = LIF()
    with pytest.raises(EngineError, match=r"it belongs to no layer: call its attach\(N\) first"):
        layer(current.detach())
    with pytest.raises(ValueError, match=r"inputs on meta: .* give inputs.cpu\(\)"):
        EventNetwork([nn.Linear(4, 3)]).run(torch.zeros(5, 1, 4, device="meta"))


class Scaled(nn.Linear):
    def forward(self, x):
        return 3 * super().forward(x)


class Called(nn.Linear):
    def __call__(self, x):
        return 2 * super().__call__(x)


class Halved(nn.Identity):
    def forward(self, x):
        return x / 2


class Weighed(RecurrentDelays):
    def _connections(self, current):
        return super()._connections(current) | {"mask": None}


def hooked(module, kind):
    getattr(module, f"register_{kind}")(lambda *given: None)
    return module


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (lambda: [nn.Linear(30, 8), nn.ReLU()], r"layer 1 \(ReLU\) cannot run by events"),
        (lambda: [nn.BatchNorm1d(30)], r"layer 0 \(BatchNorm1d\) scales a current"),
        (lambda: [nn.Linear(30, 8), nn.BatchNorm1d(8, track_running_stats=False)], "keeps no running statistics"),
        (lambda: [FeedforwardDelays(30, 8, window=5, right_padding=2)], "right_padding = 2"),
        (lambda: [FeedforwardDelays(30, 8, window=5, left_padding=2)], "left_padding = 2"),
        (lambda: [nn.Linear(30, 8), SpikingLayer(9)], r"layer 1 \(SpikingLayer\) takes 9 values, but .* gives 8"),
        (lambda: [SpikingLayer(8), nn.Linear(9, 2)], r"layer 1 \(Linear\) takes 9 values, but the .* gives 8"),
        (lambda: [nn.Linear(30, 8), nn.BatchNorm1d(9)], r"layer 1 \(BatchNorm1d\) takes 9 values, but .* gives 8"),
        (lambda: [nn.Linear(30, 8), LIF().attach(8), nn.Linear(8, 2)], r"layer 1 \(LIF\) gives its membrane, .*last"),
        (lambda: [nn.Linear(30, 8), LIF()], r"layer 1 \(LIF\) belongs to no layer: call its attach\(N\)"),
        (lambda: [Scaled(30, 8), SpikingLayer(8)], r"layer 0 \(Scaled\) computes in a way of its own"),
        (lambda: [nn.Linear(30, 8), Weighed(8)], r"layer 1 \(Weighed\) computes in a way of its own"),
        (lambda: [nn.Linear(30, 8), Halved()], r"layer 1 \(Halved\) computes in a way of its own"),
        (lambda: [Called(30, 8)], r"layer 0 \(Called\) computes in a way of its own"),
        (lambda: [vars(made := nn.Linear(30, 8)).update(forward=nn.Linear(30, 8).forward) or made], "of its own"),
        (lambda: [hooked(nn.Linear(30, 8), "forward_hook")], "computes in a way of its own"),
        (lambda: [nn.Linear(30, 8), hooked(nn.Identity(), "forward_pre_hook")], "computes in a way of its own"),
        (list, "no layers"),
    ],
)
def test_a_list_that_cannot_run_names_the_layer(layers, message):
    with pytest.raises(ValueError, match=message):
        EventNetwork(layers())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_step_refuses_what_is_not_finite_and_keeps_its_state(value):
    """A neuron whose potential is NaN is silent for ever, without an error."""
    network = EventNetwork([SpikeLinear(3, 4), RecurrentDelays(4, max_delay=5)], batch=2)
    x, bad = 3 * torch.rand(6, 2, 3), torch.zeros(2, 3)
    bad[1, 2] = value
    want = network.run(x)
    with pytest.raises(NotFiniteError, match="inputs hold NaN"):
        network.run(x + bad)
    network.reset()
    for step, inputs in zip(want, x, strict=True):
        with pytest.raises(NotFiniteError, match="NaN or infinity"):
            network.step(bad)
        assert torch.equal(network.step(inputs), step)


class Divided(LIF):
    """Its step divides by a coefficient: infinite where a block of neurons is filled up with zeros."""

    def coefficients(self):
        return *super().coefficients(), torch.full((self.size,), 2.0)

    def step(self, current, state, coefficients):
        spike, (v,) = super().step(current, state, coefficients[:3])
        return spike, (v / coefficients[3],)


def test_a_state_that_overflows_is_an_error_until_the_reset():
    """A finite input of 3e38 made a neuron silent for ever, without an error."""
    embed = nn.Linear(3, 70, bias=False)
    embed.weight.data.fill_(1.0)
    network = EventNetwork([embed, SpikingLayer(70, neuron=Divided()), nn.Linear(70, 2)], batch=20)
    small, large = torch.ones(20, 3), torch.ones(20, 3)
    large[7] = 3e38
    want = network.step(small).clone()
    for inputs in (large, small):
        with pytest.raises(NotFiniteError, match=r"state of the neurons is NaN or infinite: .*reset\(\)"):
            network.step(inputs)
    with pytest.raises(NotFiniteError, match="state of the neurons"):
        network.run(torch.stack([small, large, small]))
    network.reset()
    assert torch.equal(network.step(small), want) and torch.equal(network.run(small[None])[0], want)


class Warm(LIF):
    """Its states start elsewhere than at `initial()`; below 0, they are drawn."""

    start = 0.9

    def start_states(self, like):
        return (torch.rand_like(like) if self.start < 0 else torch.full_like(like, self.start),)


def test_states_start_where_the_neuron_says():
    layer, current = SpikingLayer(3, neuron=Warm()), torch.full((2, 4, 3), 0.6)
    network = EventNetwork([layer], batch=4)
    with torch.no_grad():
        expected = layer(current)
        layer.engine = "events"
        assert expected[0].all()
        assert torch.equal(layer(current), expected) and torch.equal(network.run(current), expected)
    layer.neuron.start = -1.0
    network = EventNetwork([layer], batch=4)
    first, second = (network.run(0 * current) is None or network.layers[0].states()[0] for _ in range(2))
    assert first.unique().numel() > 1 and not torch.equal(first, second)


def test_pruned_weights_are_those_of_the_next_forward():
    layers = made("without recurrence")
    prune.l1_unstructured(layers[0], "weight", 0.5)
    layers[0].weight_orig.data.mul_(-3)  # as an optimiser would, after the last forward
    x = torch.rand(20, 1, INPUTS, dtype=F64)
    out = EventNetwork(layers, dtype=F64).run(x)
    with torch.no_grad():
        assert torch.equal(out, nn.Sequential(*layers)(x)) and out.any()
