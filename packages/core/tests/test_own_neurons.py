"""Neurons and surrogates as users write them: on the compiled engine as on the reference."""

import copy
import pickle
import subprocess
import sys
from dataclasses import dataclass

import pytest
import torch
from delrec import LIF, EventNetwork, Neuron, RecurrentDelays, SpikingLayer, Stateful, Surrogate
from delrec.engines import EngineError
from delrec.engines.cpu.codegen import NUMBA
from delrec.engines.cpu.scan_kernels import SCANS
from delrec.testing import check_rules
from problems import TRITON, assert_equal, driven, problem, run
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

pytestmark = pytest.mark.usefixtures("no_fallback")
T, B, N = 25, 3, 7


def test_a_neuron_is_compiled_while_torch_looks_for_anomalies():
    layer = RecurrentDelays(N, neuron=LIF(tau=2.345), engine="cpu")
    with torch.autograd.detect_anomaly():
        layer(torch.rand(T, B, N)).sum().backward()
        assert torch.is_anomaly_enabled()
    layer(torch.rand(T, B, N))


@pytest.fixture(params=["cpu", TRITON])
def compiled(request):
    """An engine that compiles a neuron's step."""
    return request.param


def assert_engines_agree(compiled, neuron, form="axonal"):
    arguments = problem(neuron.attach(N), form, T, B, N, 1.0)
    assert 0.02 < float(run("reference", **arguments).spikes.mean()) < 0.95
    assert_equal(arguments, engine=compiled)


class Tired(Neuron):
    """Two states, conditions, and most of what torch has for single numbers."""

    states = ("membrane", "fatigue")
    rate = 0.3

    def make_parameters(self, size):
        self.log_tau = nn.Parameter(torch.linspace(0.5, 2.0, size))

    def coefficients(self):
        return torch.exp(-1 / torch.exp(self.log_tau)), 0.8

    def step(self, current, state, coefficients):
        (v, w), (decay, gain) = state, coefficients
        tired = torch.where((w > 0.5) & (v > 0), w, w * self.rate)
        h = decay * v + gain * F.softplus(current) - torch.sigmoid(tired)
        h = torch.maximum(h, torch.full_like(h, -1.0)) + 0.1 * torch.clamp(v, -0.5, 0.5)
        h = h + 0.01 * (
            torch.sqrt(1 + v * v) + torch.log(2 + v**2) ** -2 + (1 + v**2) ** 1.5 + torch.where(~(w > 0), v, w)
        )
        spike = self.spike(h - 1 - 0.1 * w.abs())
        w = 0.25 * w + torch.where(v > 0.2, 1.5, 1.25) * spike + torch.where(v > 1, torch.exp(-v), torch.tanh(v) ** 3)
        return spike, (h * (1 - self.resetting(spike)), w + torch.minimum(current, v) * 0.01)


class Quadratic(Neuron):
    """Not affine in the current, and without coefficients."""

    states = ("membrane",)

    def step(self, current, state, coefficients):
        h = 0.5 * state[0] + 0.4 * current + 0.1 * current**2
        spike = self.spike(h - 1)
        return spike, (h - spike,)


class Leak(Neuron):
    """One coefficient on the current, which the adjoint therefore reads."""

    states = ("membrane",)

    def make_parameters(self, size):
        self.alpha = nn.Parameter(torch.linspace(0.5, 1.0, size))

    def coefficients(self):
        return (self.alpha,)

    def step(self, current, state, coefficients):
        h = coefficients[0] * state[0] + (1 - coefficients[0]) * current
        spike = self.spike(h - 0.2)
        return spike, (h - self.resetting(spike),)


class Silent(Neuron):
    """Its state is the current, its spike no number of its own."""

    states = ("membrane",)

    def step(self, current, state, coefficients):
        return self.spike(state[0] - 1), (current,)


class Either(Neuron):
    """Adds conditions, products and choices of conditions, which in torch is "or"; silent while it is refractory."""

    states = ("membrane", "fatigue")

    def step(self, current, state, coefficients):
        v, w = state
        h = 0.8 * v + current * ((v < 0) + (w < 0.5) * (v < 1)) * (torch.where(v < 0.5, w < 1, v < 2) + (v < 3))
        spike = self.spike(h - 1) * (w < 0.5)
        return spike, (h - spike, 0.5 * w + spike)


@pytest.mark.parametrize("neuron", [Tired, Quadratic, Leak, Silent, Either])
def test_a_step_in_plain_torch_runs_compiled(compiled, neuron):
    assert_engines_agree(compiled, neuron())


class Hard(Neuron):
    states = ("membrane",)

    def step(self, current, state, coefficients):
        spike = (state[0] + current > self.threshold(state[0])).to(current.dtype)
        return spike, (state[0] + current - spike,)

    def threshold(self, v):
        return 1


class Refractory(Hard):
    def threshold(self, v):
        return torch.where(v > 0.5, torch.inf, 1.0)


class Always(Hard):
    def step(self, current, state, coefficients):
        return (state[0] < torch.inf).to(current.dtype), (current,)


@pytest.mark.parametrize("neuron", [Hard, Refractory, Always])
def test_a_spike_that_has_no_gradient_is_told(neuron):
    """It trained in silence: the gradient of every weight was 0."""
    with pytest.warns(RuntimeWarning, match=r"the spike of a neuron has no gradient: make it with self.spike\(u\)"):
        neuron().attach(3).rules(torch.float32)


def test_a_readout_that_never_spikes_is_no_fault():
    class Readout(Hard):
        def step(self, current, state, coefficients):
            v = 0.9 * state[0] + current
            return (v > torch.inf).to(v.dtype), (v,)

    out = SpikingLayer(3, neuron=Readout(), engine="cpu")(torch.rand(4, 2, 3), return_membrane=True)
    assert not out.spikes.any() and out.membrane.all()


def test_the_scan_is_compiled_once_for_all_neurons():
    def seen():
        return [kernel.signatures for passes in SCANS.values() for _, kernel in passes]

    for neuron in (LIF(), Leak()):
        before = seen()
        RecurrentDelays(N, neuron=neuron, engine="cpu")(torch.rand(T, B, N, requires_grad=True)).sum().backward()
    assert seen() == before and before[0] and before[1]


def test_what_the_backward_pass_keeps():
    def kept(neuron):
        return len(neuron.attach(3).rules(torch.float32).kept)

    assert kept(LIF()) == kept(LIF(reset="hard", learn_tau="neuron")) == 1
    assert kept(Leak()) == kept(Quadratic()) == 2, "and the current"
    assert kept(Silent()) == 1


def test_a_trace_is_the_same_text_in_every_process():
    program = (
        "import torch; from delrec import LIF; from delrec.engines.cpu.codegen import NUMBA\n"
        "print(LIF(reset='hard').attach(3).rules(torch.float64).text(NUMBA))"
    )
    there = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    here = LIF(reset="hard").attach(3).rules(torch.float64).text(NUMBA)
    assert there == f"{here}\n" and "def adjoint" in here


def test_a_trace_knows_neither_batch_nor_values(compiled):
    layer = SpikingLayer(N, neuron=Leak(), engine=compiled).double()
    for batch, alpha in ((1, 0.5), (4, 0.9)):
        with torch.no_grad():
            layer.neuron.alpha.fill_(alpha)
        x = torch.randn(T, batch, N, dtype=torch.float64, generator=torch.Generator().manual_seed(batch))
        layer.engine = "reference"
        wanted = layer(x, return_membrane=True)
        layer.engine = compiled
        found = layer(x, return_membrane=True)
        assert torch.equal(found.spikes, wanted.spikes) and torch.equal(found.membrane, wanted.membrane)


def test_another_setting_is_another_kernel(compiled):
    neuron = driven(lambda neuron, current: neuron.gain * current)(threshold=10.0)
    neuron.gain = 1.0
    layer = SpikingLayer(2, neuron=neuron)
    x = torch.full((1, 1, 2), 0.5)
    for value, seen in ((1.0, 0.5), (3.0, 1.5), (1.0, 0.5)):
        layer.neuron.gain = value
        for layer.engine in (compiled, "reference"):
            assert layer(x, return_membrane=True).membrane[0, 0, 0] == seen


@dataclass(frozen=True)
class Bump(Surrogate):
    """A surrogate as a user writes it."""

    width: float = 0.7

    def derivative(self, u):
        return torch.where(u < 2, torch.exp(-u.abs() / self.width), 0)


def test_a_surrogate_needs_only_its_derivative(compiled):
    assert_engines_agree(compiled, LIF(surrogate=Bump(0.7)), "none")
    assert Bump(0.5) == Bump(0.5) != Bump(0.7)


def test_a_number_of_coefficients_that_changes_is_an_error(compiled):
    """A kernel read beyond its table: other numbers on every call."""

    class Fewer(Leak):
        def coefficients(self):
            return (self.alpha,) * (3 if self.training else 1)

    layer = SpikingLayer(2, neuron=Fewer(), engine=compiled)
    layer(torch.ones(3, 1, 2))
    for other in (layer.eval(), lambda x: EventNetwork([layer], batch=1).run(x)):
        with pytest.raises(ValueError, match=r"coefficients\(\) .* returned 3 values when it was compiled, and now 1"):
            other(torch.ones(3, 1, 2))


class Copies(TorchDispatchMode):
    """Notes copies from one device or dtype to another."""

    seen = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.seen += function.overloadpacket.__name__ in ("_to_copy", "copy_", "lift_fresh_copy")
        return function(*args, **(kwargs or {}))


def test_plain_numbers_make_no_copy_from_the_host():
    neuron, like = LIF(reset="hard", v_reset=-0.2).attach(3), torch.ones(2, 3)
    with Copies() as mode:
        coefficients, start = neuron.coefficients_like(like), neuron.start_states(like)
    assert not mode.seen and [float(c) for c in coefficients] == pytest.approx([0.5, 1.0, -0.2])
    assert start[0].shape == (2, 3) and float(start[0].max()) == pytest.approx(-0.2)


def test_a_neuron_is_copied_and_pickled_and_traced_anew():
    neuron = Tired().attach(3)
    neuron.rules(torch.float32)
    for twin in (copy.deepcopy(neuron), pickle.loads(pickle.dumps(neuron))):
        assert twin.handle != neuron.handle and not twin.traced and twin.rules(torch.float32)
    nn.utils.parametrize.register_parametrization(neuron, "log_tau", nn.Identity())
    neuron.rules(torch.float32)
    twin = copy.deepcopy(neuron)
    assert twin.handle != neuron.handle and not twin.traced


def test_a_neuron_that_keeps_its_current_runs_without_gradients_and_in_pieces():
    layer = RecurrentDelays(N, neuron=Quadratic(), sigma=1.0, engine="cpu").double()
    x = torch.randn(T, B, N, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) + 1
    with torch.no_grad():
        whole = layer(x)
        pieces = Stateful(layer)
        assert torch.equal(torch.cat([pieces(x[:1]), pieces(x[1:9]), pieces(x[9:])]), whole)


def test_check_rules_tells_a_wrong_adjoint_and_what_cannot_be_compiled(monkeypatch):
    check_rules(LIF(learn_tau="neuron", reset="hard"))

    class Sorted(Neuron):
        states = ("membrane",)

        def step(self, current, state, coefficients):
            v = state[0] + current.sort(-1).values
            return self.spike(v - 1), (v,)

    with pytest.raises(EngineError, match="sort"):
        check_rules(Sorted())
    neuron = LIF().attach(3)
    neuron.surrogate.__dict__["gamma"] = 2.0  # behind the back of what was traced
    neuron.rules(torch.float64)
    neuron.surrogate.__dict__["gamma"] = 1.5
    with pytest.raises(AssertionError, match="the gradient to the current on the cpu engine differs"):
        check_rules(neuron)
