"""Neurons that are not compiled, or refused when a layer is built, each with the reason by name."""

import threading
import warnings
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from delrec import LIF, Neuron, SpikingLayer, Surrogate
from delrec import engines as interface
from delrec.engines import EngineError
from delrec.rules import RuleError
from problems import driven
from torch import nn

pytestmark = pytest.mark.usefixtures("no_fallback")


class Stateless(Neuron):
    states = ()

    def step(self, current, state, coefficients):
        return self.spike(current - 0.5), ()


class Ternary(Neuron):
    """Its spikes are -1, 0 and 1: engines that keep them as bits took -1 for 1."""

    states = ("membrane",)

    def step(self, current, state, coefficients):
        h = 0.8 * state[0] + current
        spike = self.spike(h - 1) - self.spike(-h - 1)
        return spike, (h - spike,)


class Part(nn.Module):
    def forward(self, x):
        return x if self.training else 0.5 * x


class Inside(LIF):
    """It trained as it was first evaluated."""

    def __init__(self):
        super().__init__()
        self.part = Part()

    def step(self, current, state, coefficients):
        return super().step(self.part(current), state, coefficients)


class Bound(LIF):
    """The method that it keeps is one of this neuron, not of a copy."""

    def __init__(self):
        super().__init__()
        self.drive = self.scaled

    def scaled(self, current):
        return current if getattr(self, "training", False) else 2 * current

    def step(self, current, state, coefficients):
        return super().step(self.drive(current), state, coefficients)


class Listed(LIF):
    def __init__(self):
        super().__init__()
        self.parts = [Part()]

    def step(self, current, state, coefficients):
        return super().step(self.parts[0](current), state, coefficients)


class Growing(LIF):
    """It changes an object that is neither a list nor a dictionary."""

    def __init__(self):
        super().__init__()
        self.seen = SimpleNamespace(steps=0)

    def step(self, current, state, coefficients):
        self.seen.steps += 1
        return super().step(current + 1e-9 * self.seen.steps, state, coefficients)


class Uncopied(LIF):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


class Looped(LIF):
    def __init__(self):
        super().__init__()
        self.notes = {}
        self.notes["notes"] = self.notes


class Unnamed(driven(lambda neuron, current: neuron.gain * current)):
    def make_parameters(self, size):
        self.gain = nn.Parameter(torch.ones(size))


class Buffered(LIF):
    """It went on with its first gain after another state was loaded."""

    def __init__(self):
        super().__init__()
        self.register_buffer("gain", torch.tensor(1.0))

    def step(self, current, state, coefficients):
        return super().step(float(self.gain) * current, state, coefficients)


class Counting(LIF):
    count = 0.0

    def step(self, current, state, coefficients):
        self.count += 1e-9
        return super().step(current + self.count, state, coefficients)


SLOPE = torch.ones(1)


class Annealed(Surrogate):
    """Its gradients stayed those of the first slope."""

    def derivative(self, u):
        return 1 / (1 + float(SLOPE) * u.abs())


def remembering(remember):
    """A LIF which keeps its membrane: it was left with a tensor of the trace, and not renewed by later steps."""

    class Remembering(LIF):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.tensor(0.0))
            self.seen, self.inner = {"last": [0.0]}, nn.Identity()
            self.gain = nn.Parameter(torch.tensor(0.0))

        def step(self, current, state, coefficients):
            remember(self, state[0].mean().detach())
            return super().step(current, state, coefficients)

    return Remembering


@pytest.mark.parametrize(
    ("neuron", "why"),
    [
        (driven(lambda n, x: x + x.cumsum(-1) * 0.1), "uses the operator cumsum, which this engine does not support"),
        (driven(lambda n, x: x if bool((x > 0).any()) else -x), "branches on the value of a tensor: use torch.where"),
        (driven(lambda n, x: x if n.training else 2 * x), "its step reads self.training, which a trace would freeze"),
        (driven(lambda n, x: x if getattr(n, "training", False) else 2 * x), "its step reads self.training"),
        (Inside, "its step reads self.training, which a trace would freeze"),
        (Bound, "its step reads self.training"),
        (Listed, "its step reads self.training"),
        (driven(lambda n, x: x * (2 / len(x))), "its step reads the size of the batch, which a trace would freeze"),
        (Buffered, "its step reads a tensor's value, which a trace would freeze"),
        (driven(lambda n, x: x * SLOPE.tolist()[0]), "its step reads a tensor's value"),
        (driven(lambda n, x: x * torch.tensor([SLOPE])), "its step reads a tensor's value"),
        (driven(lambda n, x: x * torch.tensor(SLOPE)), "its step reads a tensor's value"),
        (driven(lambda n, x: x * torch.tensor(data=[SLOPE])), "its step reads a tensor's value"),
        (driven(lambda n, x: x * torch.as_tensor([SLOPE])), "its step reads a tensor's value"),
        (driven(lambda n, x: x if torch.equal(SLOPE, torch.ones(1)) else 2 * x), "on the value of a tensor"),
        (partial(LIF, surrogate=Annealed()), "its step reads a tensor's value, which a trace would freeze"),
        (Counting, "its step changes self.count, which a trace would freeze: make it a state"),
        (Growing, "its step changes what it reads, which a trace would freeze"),
        (Uncopied, r"its step cannot be traced \(TypeError: cannot pickle"),
        (Looped, r"its step cannot be traced \(RecursionError"),
        (remembering(lambda n, u: setattr(n, "mean", u)), "its step changes self.mean, which a trace would freeze"),
        (remembering(lambda n, u: setattr(n, "gain", nn.Parameter(u))), "its step changes self.gain"),
        (remembering(lambda n, u: setattr(n.inner, "last", u)), "its step changes self.inner.last"),
        (remembering(lambda n, u: n.register_buffer("last", u)), "its step changes self.last"),
        (remembering(lambda n, u: n.seen["last"].__setitem__(0, u)), "its step changes self.seen"),
        (remembering(lambda n, u: n.seen.__setitem__("now", u)), "its step changes self.seen"),
        (remembering(lambda n, u: n.seen["last"].append([])), "its step changes self.seen"),
        (remembering(lambda n, u: setattr(n, "detach_reset", not n.detach_reset)), "its step changes self.detach"),
        (Stateless, "it has no states"),
        (Ternary, "its step returns spikes other than 0 and 1"),
        (Unnamed, r"reads a tensor \(2,\) from outside: return it from coefficients\(\)"),
    ],
)
def test_what_cannot_be_compiled_runs_on_the_reference_with_one_warning(monkeypatch, neuron, why):
    monkeypatch.setattr(interface, "_warned", set())
    layer = SpikingLayer(2, neuron=neuron())
    name = type(layer.neuron).__name__
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        spikes = [layer(torch.full((3, 1, 2), 0.6)) for _ in range(2)]
    assert layer.engine_used == "reference" and torch.equal(spikes[0], spikes[1]) and spikes[0].sum() > 0
    (told,) = [str(w.message) for w in seen if w.category is RuntimeWarning]
    layer.engine = "cpu"
    with pytest.raises(EngineError, match=f"cannot compile {name}: .*{why}.*engine='auto' or 'reference'"):
        layer(torch.ones(3, 1, 2))
    assert f"cannot compile {name}" in told


def test_a_step_that_draws_goes_on_with_the_seed_that_it_was_given():
    layers = [SpikingLayer(4, neuron=driven(lambda n, x: x + torch.randn_like(x))()) for _ in range(2)]
    layers[1].engine = "reference"
    spikes = []
    for layer in layers:
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            spikes.append(layer(torch.ones(9, 2, 4)))
    assert torch.equal(*spikes) and layers[0].engine_used == "reference"
    with pytest.raises(RuleError, match="its step draws random numbers, which a trace would freeze"):
        layers[0].neuron.rules(torch.float32)


def returning(result):
    class Odd(Neuron):
        states = ("membrane", "fatigue")

        def step(self, current, state, coefficients):
            return result(self.spike(current), state)

    return Odd()


@pytest.mark.parametrize(
    ("result", "error", "words"),
    [
        (lambda spike, state: spike, TypeError, r"step of Odd returns a tensor \(2, 4\): .*\(membrane, fatigue,\)"),
        (lambda spike, state: (spike, state[0]), TypeError, r"returns \(a tensor \(2, 4\), a tensor \(2, 4\)\)"),
        (lambda spike, state: (spike, state[:1]), ValueError, "returns 1 states of 2: membrane, fatigue"),
        (lambda spike, state: (spike, (state[0], 0.0)), ValueError, "fatigue as a float: each is a tensor"),
        (lambda spike, state: (spike.sum(), state), ValueError, r"the spike as a tensor \(\): each is"),
        (lambda spike, state: (spike, (state[0], spike > 0)), ValueError, "fatigue as torch.bool: give floating"),
        (lambda spike, state: (spike > 0, state), ValueError, "the spike as torch.bool: give floating"),
    ],
)
def test_what_a_step_returns_is_checked_when_the_layer_is_built(result, error, words):
    with pytest.raises(error, match=words):
        SpikingLayer(4, neuron=returning(result))


@pytest.mark.parametrize(
    ("method", "returned", "error", "words"),
    [
        ("coefficients", (torch.full((3, 6), 0.5),) * 3, ValueError, r"returns \(3, 6\): each is a number"),
        ("coefficients", 0.5, TypeError, "returns a float: give a tuple"),
        ("initial", (0.3, 0.3), ValueError, r"gives \(.*\): give one value for each of \('membrane',\)"),
        ("initial", (), ValueError, r"gives \(\): give one value"),
        ("start_states", torch.zeros(2, 6), ValueError, r"initial\(\) of Odd gives a tensor \(2, 6\): give one value"),
    ],
)
def test_what_its_other_methods_return_is_checked_when_the_layer_is_built(method, returned, error, words):
    odd = type("Odd", (LIF,), {method: lambda *given: returned})
    with pytest.raises(error, match=words):
        SpikingLayer(6, neuron=odd())


def test_a_condition_times_a_number_is_computed_as_in_torch():
    """torch computes it in its default dtype: a kernel of a float64 layer differed in the ninth digit."""
    for factor in (
        lambda neuron, x: x + (x < 0.1) * 0.3,
        lambda neuron, x: x * (((x < 0.1) + 1) * 0.3),
        lambda neuron, x: x * torch.exp(x < 0.1),
        lambda neuron, x: x * torch.exp(torch.where(x < 0.1, 0.3, 0.1)),
    ):
        neuron = driven(factor)().attach(4)
        with pytest.raises(RuleError, match=r"computes in torch.float32 where the layer computes in torch.float64"):
            neuron.rules(torch.float64)
        assert neuron.rules(torch.float32)
