"""Neurons and surrogates as users write them: on the compiled engine as on the reference, or refused by name."""

import math
import warnings

import pytest
import torch
from delrec import LIF, Neuron, RecurrentDelays, SpikingLayer, Stateful, Surrogate
from delrec.engines import EngineError, engine_for, interface
from delrec.functions import exp, maximum, where
from delrec.rules import SMALLEST_GAIN, neuron_rules
from delrec.testing import check_rules
from problems import TRITON
from torch import nn

pytestmark = pytest.mark.skipif(
    engine_for("auto", "cpu")[0].name != "cpu", reason="the cpu engine is not what runs here"
)
T, B, N = 25, 3, 7
BLOCK, REAL, ONE, np, work, get = 0.5, 0.125, 1.5, 0.25, 2.0, 0.1  # names of the module that the rule is put in


@pytest.fixture(autouse=True)
def no_fallback():
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield


@pytest.fixture(params=["cpu", TRITON])
def compiled(request):
    """An engine that compiles a neuron's rules."""
    return request.param


def outcome(layer, scale, seed=1):
    draw = torch.Generator().manual_seed(seed)
    x = (scale * torch.randn(T, B, N, generator=draw, dtype=torch.float64) + scale / 2).requires_grad_()
    spikes, _, membrane = layer(x, return_membrane=True)
    weights = [torch.randn(T, B, N, generator=draw, dtype=torch.float64) for _ in range(2)]
    layer.zero_grad()
    (spikes * weights[0] + 0.1 * membrane * weights[1]).sum().backward()
    gradients = {name: p.grad for name, p in layer.named_parameters() if p.grad is not None}
    return spikes.detach(), membrane.detach(), gradients | {"current": x.grad}


def assert_engines_agree(compiled, neuron, scale=2.0, recurrent=True):
    torch.manual_seed(0)
    layer = RecurrentDelays(N, neuron=neuron, sigma=1.0) if recurrent else SpikingLayer(N, neuron=neuron)
    layer.double()
    results = []
    for layer.engine in ("reference", compiled):
        results.append(outcome(layer, scale))
        assert layer.engine_used == layer.engine
    (spikes, membrane, gradients), (fast_spikes, fast_membrane, fast_gradients) = results
    assert 0.02 < float(spikes.mean()) < 0.95
    assert torch.equal(fast_spikes, spikes)
    torch.testing.assert_close(fast_membrane, membrane, rtol=1e-10, atol=1e-10)
    assert gradients.keys() == fast_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(fast_gradients[name], gradient, rtol=1e-9, atol=1e-9, msg=name)
    return fast_spikes


def adaptive(gain):
    """Return a neuron whose rules use a closure, constants of the module, conditions and functions."""

    class Own(Neuron):
        states = ("membrane", "fatigue")
        RATE = 0.3

        def make_parameters(self, size):
            self.log_tau = nn.Parameter(torch.linspace(0.5, 2.0, size))

        def coefficients(self):
            return (torch.exp(-1 / torch.exp(self.log_tau)),)

        @staticmethod
        def step(spike, reset, v, w, current, decay):
            tired = w if w > BLOCK and v > 0 else w * Own.RATE
            v_new = decay * (v - reset) + gain * current - tired
            return maximum(v_new, -REAL * 8), w * np + spike * ONE + where(v > work, exp(-v), math.pi * get)

        @staticmethod
        def drive(v, w, decay):
            return v - 1 - get * w

        @staticmethod
        def membrane(spike, reset, v, w, decay):
            return 0 if reset > 0.5 else v

    return Own()


def test_a_neuron_without_an_adjoint_with_constants_closure_and_conditions(compiled):
    assert_engines_agree(compiled, adaptive(0.8))


def test_a_constant_named_as_the_kernels_name_theirs(compiled):
    class Named(LIF):
        @staticmethod
        def step_soft(spike, reset, h, current, decay, threshold, rest):
            n, u = BLOCK * current, decay * h
            return (REAL + u + n - threshold * reset * ONE + np * work * get,)

    assert_engines_agree(compiled, Named(), recurrent=False)


def test_another_constant_is_another_kernel(compiled):
    gain = 1.0

    class Scaled(LIF):
        @staticmethod
        def step_soft(spike, reset, h, current, decay, threshold, rest):
            return (decay * (h - threshold * reset) + gain * current,)

    layer = SpikingLayer(2, neuron=Scaled(threshold=10.0))
    x = torch.full((1, 1, 2), 0.5)
    for value, seen in ((1.0, 0.5), (3.0, 1.5), (1.0, 0.5)):
        gain = value
        for layer.engine in (compiled, "reference"):
            assert layer(x, return_membrane=True).membrane[0, 0, 0] == seen


class Quadratic(Neuron):
    """Not affine in the current, and without coefficients."""

    states = ("membrane",)

    @staticmethod
    def step(spike, reset, v, current):
        return (0.5 * (v - reset) + 0.4 * current + 0.1 * current * current,)

    @staticmethod
    def drive(v):
        return v - 1


class Leak(Neuron):
    """One coefficient on the current."""

    states = ("membrane",)

    def make_parameters(self, size):
        self.alpha = nn.Parameter(torch.linspace(0.5, 0.9, size))

    def coefficients(self):
        return (self.alpha,)

    @staticmethod
    def step(spike, reset, v, current, alpha):
        return (alpha * (v - reset) + (1 - alpha) * current,)

    @staticmethod
    def drive(v, alpha):
        return v - 0.2


def test_a_rule_not_affine_in_the_current_keeps_it(compiled):
    rules = neuron_rules(Quadratic())
    assert rules.needs_current and not rules.solvable
    check_rules(Quadratic())
    assert_engines_agree(compiled, Quadratic())


def test_a_gain_near_zero_keeps_the_current(compiled):
    neuron = Leak()
    assert_engines_agree(compiled, neuron)
    assert not neuron_rules(neuron).keeps_current(neuron.coefficients())
    layer = SpikingLayer(N, neuron=Leak()).double()
    with torch.no_grad():
        layer.neuron.alpha[:2] = torch.tensor([1.0, 1 - SMALLEST_GAIN / 2])
    assert neuron_rules(layer.neuron).keeps_current(layer.neuron.coefficients())
    results = []
    for layer.engine in ("reference", compiled):
        results.append(outcome(layer, 2.0))
    (spikes, _, gradients), (fast_spikes, _, fast_gradients) = results
    assert torch.equal(fast_spikes, spikes)
    for name, gradient in gradients.items():
        torch.testing.assert_close(fast_gradients[name], gradient, rtol=1e-9, atol=1e-9, msg=name)


def test_what_the_adjoint_needs_is_known():
    assert not neuron_rules(LIF(learn_tau="neuron")).needs_current
    assert neuron_rules(Leak()).needs_current and neuron_rules(Leak()).solvable


class Bump(Surrogate):
    """A surrogate as a user writes it: one rule."""

    @staticmethod
    def derivative(u, width):
        return exp(-abs(u) / width) if u < 2 else 0


class Own(Surrogate):
    """One whose numbers are its own."""

    def __init__(self, width):
        super().__init__()
        self.width = width

    def derivative(self, u):
        return maximum(0, 1 - abs(u) * self.width)


@pytest.mark.parametrize("surrogate", [Bump(0.7), Own(0.4)], ids=["static", "method"])
def test_a_surrogate_needs_only_its_derivative(compiled, surrogate):
    assert_engines_agree(compiled, LIF(surrogate=surrogate), recurrent=False)


def helper(v):
    return 2 * v


class Helped(LIF):
    @staticmethod
    def drive(h, decay, threshold, rest):
        return helper(h) - threshold


def test_what_cannot_be_compiled_runs_on_the_reference_with_one_warning(monkeypatch):
    monkeypatch.setattr(interface, "_warned", set())
    layer = SpikingLayer(2, neuron=Helped())
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        spikes = [layer(torch.full((3, 1, 2), 0.6)) for _ in range(2)]
    assert layer.engine_used == "reference" and torch.equal(spikes[0], spikes[1]) and spikes[0].sum() > 0
    assert len(seen) == 1
    assert "the rule drive of Helped calls 'helper', which is" in str(seen[0].message)
    layer.engine = "cpu"
    with pytest.raises(EngineError, match="'helper'.*engine='auto' or 'reference'"):
        layer(torch.ones(3, 1, 2))


def test_arguments_that_do_not_fit_are_named():
    class Short(LIF):
        @staticmethod
        def drive(h, decay):
            return h - decay

    class Fewer(Leak):
        def coefficients(self):
            return ()

    class Unmarked(Leak):
        def drive(v, decay):  # noqa: N805
            return v - decay

    with pytest.raises(TypeError, match=r"drive of Short is given \(membrane, coefficient 0, .*\): too many"):
        SpikingLayer(2, neuron=Short())
    with pytest.raises(TypeError, match=r"step of Fewer is given \(.*, current\): missing"):
        SpikingLayer(2, neuron=Fewer())
    with pytest.raises(TypeError, match="drive of Unmarked .* a rule is a @staticmethod, or takes self first"):
        SpikingLayer(2, neuron=Unmarked())
    with pytest.raises(ValueError, match="drive of Short takes 2 arguments: it takes the 1 states and the 3 coeff"):
        neuron_rules(Short())


def test_a_compiler_traces_the_rules():
    neuron = adaptive(0.8).attach(N).double()
    x, zero = torch.randn(B, N, dtype=torch.float64), torch.zeros(B, N, dtype=torch.float64)

    def advance(x):
        return neuron.advance(zero, (zero, zero), x, neuron.coefficients())[1]

    compiled = torch.compile(advance, fullgraph=True, backend="aot_eager")
    for a, b in zip(compiled(x), advance(x), strict=True):
        assert torch.equal(a, b)


def test_a_neuron_that_keeps_its_current_runs_without_gradients_and_in_pieces():
    layer = RecurrentDelays(N, neuron=Quadratic(), sigma=1.0, engine="cpu").double()
    x = torch.randn(T, B, N, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) + 1
    with torch.no_grad():
        whole = layer(x)
        pieces = Stateful(layer)
        assert torch.equal(torch.cat([pieces(x[:1]), pieces(x[1:9]), pieces(x[9:])]), whole)
