"""The compiled engines run every adaptive neuron as the reference engine does: spikes exact, gradients to rounding."""

import pytest
import torch
from delrec import RecurrentDelays, SpikingLayer
from delrec.engines import engine_for
from delrec_baselines import ALIF, AdLIF, CAdLIF, CSiLIF, LearnedLeak, SEAdLIF, SiLIF

try:
    from delrec.engines.triton.tiles import INTERPRETED
except ImportError:
    INTERPRETED = False

NEURONS = {"adlif": AdLIF, "cadlif": CAdLIF, "se-adlif": SEAdLIF, "alif": ALIF, "silif": SiLIF, "c-silif": CSiLIF}
N, B, T = 21, 5, 40


def outcome(engine, make_layer, scale, steps=T):
    torch.manual_seed(0)
    layer = make_layer(engine).double()
    draw = torch.Generator().manual_seed(1)
    x = (scale * torch.randn(steps, B, N, generator=draw, dtype=torch.float64) + scale / 4).requires_grad_()
    spikes, _, membrane = layer(x, return_membrane=True)
    weights = [torch.randn(steps, B, N, generator=draw, dtype=torch.float64) for _ in range(2)]
    (spikes * weights[0] + 0.1 * membrane * weights[1]).sum().backward()
    gradients = {name: p.grad for name, p in layer.named_parameters() if p.requires_grad} | {"current": x.grad}
    return spikes.detach(), membrane.detach(), gradients, layer.engine_used


@pytest.mark.skipif(engine_for("auto", "cpu")[0].name != "cpu", reason="the cpu engine is not what runs here")
@pytest.mark.parametrize("recurrent", [True, False], ids=["recurrent", "feedforward"])
@pytest.mark.parametrize("neuron", NEURONS)
def test_the_compiled_engine_agrees_with_the_reference(neuron, recurrent):
    def layer(engine):
        if recurrent:
            return RecurrentDelays(N, neuron=NEURONS[neuron](), sigma=3.0, engine=engine)
        return SpikingLayer(N, neuron=NEURONS[neuron](), engine=engine)

    assert_agrees("cpu", layer, T)


@pytest.mark.skipif(not INTERPRETED, reason="triton takes CPU tensors if TRITON_INTERPRET is set")
@pytest.mark.parametrize("neuron", NEURONS)
def test_the_triton_engine_agrees_with_the_reference(neuron):
    """A few steps: the interpreter is slow."""
    assert_agrees("triton", lambda engine: SpikingLayer(N, neuron=NEURONS[neuron](), engine=engine), 4)


def assert_agrees(name, layer, steps):
    spikes, membrane, gradients, _ = outcome("reference", layer, 12.0, steps)
    fast_spikes, fast_membrane, fast_gradients, engine = outcome(name, layer, 12.0, steps)
    assert engine == name
    assert 0.02 < float(spikes.mean()) < 0.9
    assert torch.equal(fast_spikes, spikes)
    torch.testing.assert_close(fast_membrane, membrane, rtol=1e-9, atol=1e-9)
    for name, gradient in gradients.items():
        allowed = 1e-9 * max(1.0, float(gradient.abs().max()))
        torch.testing.assert_close(fast_gradients[name], gradient, rtol=0, atol=allowed, msg=name)


@pytest.mark.skipif(engine_for("auto", "cpu")[0].name != "cpu", reason="the cpu engine is not what runs here")
def test_the_learned_leak_agrees_too():
    def layer(engine):
        return SpikingLayer(N, neuron=LearnedLeak(), engine=engine)

    spikes, membrane, gradients, _ = outcome("reference", layer, 3.0)
    _, fast_membrane, fast_gradients, engine = outcome("cpu", layer, 3.0)
    assert engine == "cpu"
    assert float(spikes.sum()) == 0
    torch.testing.assert_close(fast_membrane, membrane, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(fast_gradients, gradients, rtol=1e-9, atol=1e-9)
