"""FeedforwardDelays: kernels, paddings, forms, rounding; the golden dcls1d files are in test_verify."""

import pytest
import torch
from delrec import FeedforwardDelays
from delrec.feedforward import dense_kernel
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

F64 = torch.float64


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
    assert torch.equal(layer.delay(), torch.full((1, 3, 4), float(delay), dtype=F64))


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


def test_kernels_are_normalised_and_shaped():
    position, spread = torch.zeros(1, 1, 1, dtype=F64), torch.tensor(2.0, dtype=F64)
    weight = torch.ones(1, 1, 1, dtype=F64)
    for kernel in ("v1", "gauss", "max"):
        taps = dense_kernel(weight, position, spread, 9, kernel)[0, 0]
        assert float(taps.sum()) == pytest.approx(1, abs=1e-6) and int(taps.argmax()) == 4
        torch.testing.assert_close(taps, taps.flip(0))
    gauss = dense_kernel(weight, position, spread, 9, "gauss")[0, 0]
    assert float(gauss[5] / gauss[4]) == pytest.approx(torch.exp(torch.tensor(-0.5 / 2.27**2)).item())
    zero = torch.tensor(0.0, dtype=F64)
    assert torch.equal(dense_kernel(weight, position, zero, 9, "max"), dense_kernel(weight, position, zero, 9, "v1"))


@pytest.mark.parametrize("kernel", ["v1", "gauss", "max"])
def test_deployed_is_one_hot_and_restores(kernel):
    layer = made(kernel=kernel, spread=3.0)
    before = layer.position.detach().clone()
    with layer.deployed():
        taps = layer.dense_kernel()
        assert torch.equal((taps != 0).sum(-1), torch.ones(3, 4, dtype=torch.int64))
    assert torch.equal(layer.position, before) and layer.kernel == kernel and float(layer.spread) == 3.0


def test_rounding_in_place_is_left_behind():
    layer = made(rounding="in-place")
    before = layer.position.detach().clone()
    with layer.deployed():
        pass
    assert torch.equal(layer.position, before.round()) and not torch.equal(layer.position, before)


def test_single_steps_equal_the_sequence():
    layer = made(kernel="gauss", spread=2.0, kernel_count=2)
    x = torch.rand(12, 2, 4, dtype=F64)
    state, out = None, []
    for t in range(12):
        y, state = layer(x[t : t + 1], state, return_state=True)
        out.append(y)
    torch.testing.assert_close(torch.cat(out), layer(x))
    with pytest.raises(ValueError, match="left_padding"):
        made(left_padding=2)(x, return_state=True)


def test_published_start_and_clamp():
    layer = FeedforwardDelays(200, 50, window=25)
    assert layer.position.min().item() == -12 and layer.position.max().item() == pytest.approx(12, abs=0.01)
    fixed = FeedforwardDelays(20, 5, window=25, learn=False)
    assert torch.equal(fixed.position, fixed.position.round()) and not fixed.position.requires_grad
    even = FeedforwardDelays(50, 50, window=8)
    even.position.data.fill_(9)
    even.clamp_()
    assert even.position.max().item() == 3  # the last tap of an even window


@pytest.mark.parametrize(
    "build, words",
    [
        (lambda: FeedforwardDelays(4, 3, window=0), ("window", "0", "at least 1")),
        (lambda: FeedforwardDelays(4, 3, window=5, kernel="v2"), ("kernel", "v2", "gauss")),
        (lambda: FeedforwardDelays(4, 3, window=5, delays="both"), ("delays", "both", "axonal")),
        (lambda: FeedforwardDelays(4, 3, window=5, right_padding=-1), ("padding", "-1", "at least 0")),
        (lambda: FeedforwardDelays(4, 3, window=5, spread=-1.0), ("spread", "-1.0")),
        (lambda: FeedforwardDelays(4, 3, window=5)(torch.zeros(3, 2, 5)), ("(3, 2, 5)", "(T, B, 4)")),
        (lambda: FeedforwardDelays(4, 3, window=5, left_padding=0)(torch.zeros(3, 2, 4)), ("3 steps", "window 5")),
    ],
)
def test_a_bad_setting_names_the_field_the_value_and_the_remedy(build, words):
    with pytest.raises(ValueError) as caught:
        build()
    for word in words:
        assert word in str(caught.value)
