"""Denormal numbers are flushed where asked for, on every thread, and nowhere else."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from delrec import LIF, RecurrentDelays
from delrec.engines.cpu import linear
from delrec.engines.threads import flush_denormals, flushes_denormals, parallel, use_threads
from torch import nn

DENORMAL = torch.finfo(torch.float32).tiny  # below this


@pytest.fixture(params=[1, 3])
def threads(request):
    use_threads(request.param)
    yield request.param
    use_threads(None)


def flushed_on_threads():
    found = [False] * 64
    parallel(lambda j: found.__setitem__(j, flushes_denormals()), len(found))
    return set(found)


def test_flushed_inside_and_restored_after_also_an_error(threads):
    small, smaller = torch.full((700, 1), 1e-30), torch.full((1, 1), 1e-10)

    def products():
        return torch.cat([linear.multiply(small, smaller), small * smaller])

    assert not flushes_denormals() and flushed_on_threads() == {False} and products().min() > 0
    with pytest.raises(KeyError), flush_denormals():
        assert flushes_denormals() and flushed_on_threads() == {True} and products().max() == 0
        with flush_denormals():
            pass
        assert flushes_denormals(), "the inner one restores what the outer one set"
        raise KeyError
    assert not flushes_denormals() and flushed_on_threads() == {False} and products().min() > 0


def test_first_calls_from_several_threads():
    layers, current = [RecurrentDelays(6, max_delay=4) for _ in range(4)], torch.rand(20, 3, 6)
    call = nn.Module.__call__
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda layer: layer(current), layers * 2))
    assert {layer.engine_used for layer in layers} == {"cpu"}
    assert nn.Module.__call__ is call, "torch's tracer replaces it meanwhile"


def test_layers_that_share_a_neuron_keep_their_weights_apart():
    lif, current = LIF(), 2 * torch.rand(4, 2, 256)
    with torch.no_grad():
        layers = [RecurrentDelays(256, neuron=lif, delays="none") for _ in range(2)]
        right = [layer(current) for layer in layers]

        @torch.no_grad()
        def wrong(j):
            return sum(not torch.equal(layers[j](current), right[j]) for _ in range(400))

        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(wrong, range(2))) == [0, 0]


def test_a_training_step_has_the_same_bits_on_one_and_three_threads():
    layer, current = RecurrentDelays(6, max_delay=4), torch.rand(60, 40, 6, generator=torch.manual_seed(0))

    def gradients():
        x = current.clone().requires_grad_()
        return torch.autograd.grad(1e-33 * layer(x)[-1].sum(), [x, *layer.parameters()])

    def denormal(found):
        return ((found[0] != 0) & (found[0].abs() < DENORMAL)).any()

    found = []
    for count in (1, 3):
        use_threads(count)
        with flush_denormals():
            found.append(gradients())
    use_threads(None)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    assert denormal(gradients()) and not denormal(found[0]) and found[0][0].abs().max() > 0
