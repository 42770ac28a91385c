"""FeedforwardDelays: kernels, paddings, forms, rounding; the golden dcls1d files are in test_verify."""

import numpy as np
import pytest
import torch
from delrec import FeedforwardDelays
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import ENGINES, F64
from torch.autograd import gradcheck


def made(window=7, **options):
    torch.manual_seed(0)
    return FeedforwardDelays(4, 3, window=window, engine="reference", **options).double()


@given(st.integers(0, 6))
@settings(max_examples=7, deadline=None)
def test_a_whole_position_is_a_delay_of_window_minus_one_minus_half_minus_position(delay):
    layer = made(bias=False)
    layer.position.data.fill_(6 - 3 - delay)
    x = torch.rand(20, 2, 4, dtype=F64)
    shifted = torch.cat([torch.zeros(delay, 2, 4, dtype=F64), x])[:20]
    torch.testing.assert_close(layer(x), shifted @ layer.weight[..., 0].T, rtol=1e-6, atol=1e-6)  # the 1e-7 of DCLS
    assert torch.equal(layer.delays(), torch.full((1, 3, 4), float(delay), dtype=F64))


@pytest.mark.parametrize("kernel", ["v1", "gauss", "max"])
@pytest.mark.parametrize("form", ["synaptic", "axonal", "dendritic"])
@pytest.mark.parametrize("count", [1, 2])
def test_gradcheck(kernel, form, count):
    layer = made(window=5, kernel=kernel, kernel_count=count, delays=form, spread=1.3, right_padding=2)
    layer.position.data.add_(0.137).clamp_(-1.9, 1.9)
    x = torch.randn(6, 2, 4, dtype=F64, requires_grad=True)
    rows, columns = {"synaptic": (3, 4), "axonal": (1, 4), "dendritic": (3, 1)}[form]
    assert layer.position.shape == (count, rows, columns) and layer.weight.shape == (3, 4, count)

    def run(x, weight, position, bias):
        return torch.func.functional_call(layer, {"weight": weight, "position": position, "bias": bias}, (x,))

    assert run(x, layer.weight, layer.position, layer.bias).shape == (6 + 4 + 2 - 4, 2, 3)
    assert gradcheck(run, (x, layer.weight, layer.position, layer.bias), atol=1e-6)


def test_the_forms_share_their_delays():
    layer = made(delays="axonal", bias=False)
    full = made(bias=False)
    full.weight.data.copy_(layer.weight)
    full.position.data.copy_(layer.position.expand(1, 3, 4))
    x = torch.rand(9, 2, 4, dtype=F64)
    torch.testing.assert_close(layer(x), full(x))


def published(weight, position, spread, window, kernel):
    """The kernel of DCLS 0.1.1 in numpy: positions are clamped to [-(K//2), K//2], for even K as well."""
    at = np.clip(position, -(window // 2), window // 2) + window // 2
    distance = np.arange(window) - at[..., None]
    if kernel == "gauss":
        taps = np.exp(-0.5 * (distance / (spread + 0.27)) ** 2)
    else:
        taps = np.maximum(0, (1 if kernel == "v1" else spread + 1) - np.abs(distance))
    return weight[..., None] * taps / (taps.sum(-1, keepdims=True) + 1e-7)


@pytest.mark.parametrize("window", [1, 2, 7, 8, 25, 30])
@pytest.mark.parametrize("kernel", ["v1", "gauss", "max"])
@pytest.mark.parametrize("engine", ENGINES)
def test_kernel_and_output_are_published_at_and_beyond_the_edges_of_the_window(engine, kernel, window):
    edge, nearly = window // 2, [1e-9, 1e-6, 1e-3, 0.3, 0.5, 0.999, 1.0, 1.3]
    position = np.array([0, edge, -edge, *(edge - n for n in nearly), *(n - edge for n in nearly), -edge - 0.4])
    if kernel == "gauss" or window % 2:  # beyond K//2 a triangle misses an even window: see the next test
        position = np.append(position, edge + np.array([1e-9, 0.4, 7.0]))
    position = np.clip(position, -edge - 0.5, None)
    weight = np.linspace(-1.5, 1.5, len(position))
    layer = FeedforwardDelays(1, len(position), window=window, kernel=kernel, spread=1.4, engine=engine).double()
    with torch.no_grad():
        layer.position.copy_(torch.from_numpy(position).view(1, -1, 1))
        layer.weight.copy_(torch.from_numpy(weight).view(-1, 1, 1))
        layer.spread.fill_(1.4)
    expected = published(weight, position, 1.4, window, kernel)
    np.testing.assert_allclose(layer.dense_kernel().detach().squeeze(1).numpy(), expected, rtol=0, atol=1e-14)
    x = np.zeros((40, 1, 1))
    x[[3, 20, 21]] = 1
    padded = np.concatenate([np.zeros(window - 1), x.ravel()])
    out = np.stack([np.convolve(padded, row[::-1], "valid") for row in expected], -1) + layer.bias.detach().numpy()
    np.testing.assert_allclose(layer(torch.from_numpy(x))[:, 0].detach().numpy(), out, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernel", ["v1", "max"])
def test_a_triangle_pushed_out_of_an_even_window_is_at_its_last_step(kernel):
    layer = made(window=8, kernel=kernel, bias=False)
    layer.position.data.fill_(4.2)
    with torch.no_grad():
        pushed = layer.dense_kernel()
        layer.position.fill_(3.0)
        assert torch.equal(pushed, layer.dense_kernel()) and (pushed[..., 7] != 0).all()
    assert torch.equal(layer.delays(), torch.zeros(1, 3, 4))


@pytest.mark.parametrize("kernel", ["v1", "gauss", "max"])
@pytest.mark.parametrize("rounding", ["restore", "in-place"])
def test_deployed_is_one_hot_and_restores_what_the_rounding_says(kernel, rounding):
    layer = made(kernel=kernel, spread=3.0, rounding=rounding)
    before = layer.position.detach().clone()
    with layer.deployed():
        taps = layer.dense_kernel()
        assert torch.equal((taps != 0).sum(-1), torch.ones(3, 4, dtype=torch.int64))
    assert torch.equal(layer.position, before if rounding == "restore" else before.round())
    assert layer.kernel == kernel and float(layer.spread) == 3.0


def test_published_start_and_clamp():
    layer = FeedforwardDelays(200, 50, window=25)
    assert layer.position.min().item() == -12 and layer.position.max().item() == pytest.approx(12, abs=0.01)
    fixed = FeedforwardDelays(20, 5, window=25, learn=False)
    assert torch.equal(fixed.position, fixed.position.round()) and not fixed.position.requires_grad
    even = FeedforwardDelays(50, 50, window=8)
    even.position.data.fill_(9)
    even.clamp_()
    assert even.position.max().item() == 3  # the last tap of an even window
