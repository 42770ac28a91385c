"""What a card asks of core, as far as it can be seen without one."""

import pytest
import torch
from delrec import Neuron, NotFiniteError, RecurrentDelays, SpikingLayer, check_finite
from delrec.engines import operators
from torch.utils._python_dispatch import TorchDispatchMode


class Seen(TorchDispatchMode):
    """Notes which operations run."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.add(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


class Rests(Neuron):
    """Two states, which start at 0 as they do by default."""

    states = ("v", "w")

    @staticmethod
    def step(spike, reset, v, w, current):
        return v - reset + current - w, 0.5 * w + spike

    @staticmethod
    def drive(v, w):
        return v - 1


def test_states_start_where_they_are_wanted_and_are_not_copied_there():
    made = Rests().attach(3)
    with Seen() as seen:
        states = made.start_states(torch.ones(2, 3))
    assert all(s.shape == (2, 3) and not s.any() for s in states) and len(states) == len(made.states)
    assert not {"_to_copy", "copy_"} & seen.names, "a copy from main memory waits, and no CUDA graph may hold it"


class Arrived:
    """A flag's event: the flag is there."""

    @staticmethod
    def query():
        return False  # as long as nobody waits

    def synchronize(self):
        self.query = lambda: True


def test_what_the_last_batch_held_is_told_when_asked():
    layer = RecurrentDelays(3)
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), layer)
    check_finite(model)
    for finite in (True, False):
        layer._watch._pending.append((Arrived(), torch.tensor(finite), "current holds NaN"))
    layer._watch._read()
    with pytest.raises(NotFiniteError, match=r"current holds NaN \(found in an earlier call\)"):
        check_finite(model)
    check_finite(model)  # told once


@pytest.mark.skipif(not hasattr(torch.Tag, "cudagraph_unsafe"), reason="this torch has no such mark")
def test_operators_that_look_at_values_are_left_out_of_cuda_graphs():
    RecurrentDelays(3)  # operators are registered
    assert operators.scan is not None
    for operator in (torch.ops.delrec.scan, torch.ops.delrec.scan_backward):
        assert torch.Tag.cudagraph_unsafe in operator.default.tags


def test_triton_looks_at_no_coefficient(monkeypatch):
    """To look waits for the card, at every forward pass."""
    engine = pytest.importorskip("delrec.engines.triton").ENGINE
    if engine.takes("cpu", torch.float32):
        pytest.skip("Triton's interpreter is not on")
    from delrec.rules import NeuronRules

    class Leak(Neuron):
        states = ("v",)

        def make_parameters(self, size):
            self.alpha = torch.nn.Parameter(torch.linspace(0.5, 0.9, size))

        def coefficients(self):
            return (self.alpha,)

        @staticmethod
        def step(spike, reset, v, current, alpha):
            return (alpha * (v - reset) + (1 - alpha) * current,)

        @staticmethod
        def drive(v, alpha):
            return v - 1

    def found(engine):
        torch.manual_seed(0)
        layer = SpikingLayer(3, neuron=Leak(), engine=engine)
        x = (4 * torch.rand(5, 2, 3)).requires_grad_()
        layer(x).sum().backward()
        return x.grad, layer.neuron.alpha.grad

    wanted = found("reference")
    monkeypatch.setattr(NeuronRules, "keeps_current", lambda *of: pytest.fail("coefficients are looked at"))
    for ours, theirs in zip(found("triton"), wanted, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.skipif(not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="this torch has one name for it")
def test_products_are_as_either_of_torchs_names_for_it_says():
    tiles = pytest.importorskip("delrec.engines.triton.tiles")
    usual = torch.backends.cuda.matmul.fp32_precision
    try:
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        assert tiles.precision_of(torch.float32) == "tf32" and tiles.precision_of(torch.float64) == "ieee"
        torch.backends.cuda.matmul.fp32_precision = "ieee"
        assert tiles.precision_of(torch.float32) == "ieee"
    finally:
        torch.backends.cuda.matmul.fp32_precision = usual
    assert tiles.precision_of(torch.float32) == "ieee"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a device")
def test_where_triton_cannot_launch_the_engine_says_so_and_does_not_fail():
    engine = pytest.importorskip("delrec.engines.triton")
    assert "cannot be launched by triton" in engine._no_launch()
