"""Feedforward delays on the triton engine are torch's convolution: on a card, or in Triton's interpreter."""

import pytest
import torch
from delrec.feedforward import FeedforwardDelays
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("triton")
from delrec.engines.triton import ENGINE

delayed_linear = ENGINE.delayed_linear
F32, F64 = torch.float32, torch.float64
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TOLERANCE = {F64: 1e-9, F32: 1e-4}
CASES = [
    # steps, batch, inputs, outputs, window, left, right, form
    (20, 3, 6, 9, 7, 6, 0, "synaptic"),
    (70, 2, 5, 18, 25, 24, 12, "synaptic"),  # more than a tile of time and of receivers
    (9, 16, 5, 4, 8, 3, 2, "axonal"),
    (6, 2, 3, 3, 9, 12, 1, "dendritic"),
    (3, 1, 2, 2, 2, 1, 0, "synaptic"),
]


def normal(*shape, dtype=F64, seed=0, share=1.0):
    """Numbers of which `share` are not 0."""
    draw = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=draw, dtype=F64) * (torch.rand(shape, generator=draw) < share)
    return values.to(DEVICE, dtype)


def agree(ours, theirs, tensors, dtype):
    cotangent = normal(*theirs.shape, dtype=dtype, seed=7)
    found, wanted = (torch.autograd.grad(y, tensors, cotangent) for y in (ours, theirs))
    for a, b in zip([ours, *found], [theirs, *wanted], strict=True):
        assert a.dtype == dtype and a.shape == b.shape
        scale = max(1.0, float(b.detach().abs().max()))
        assert float((a - b).detach().abs().max()) <= TOLERANCE[dtype] * scale


def delays_agree(case, dtype, share=0.2, whole=False):
    steps, batch, inputs, outputs, window, left, right, form = case
    torch.manual_seed(0)
    layer = FeedforwardDelays(
        inputs, outputs, window=window, left_padding=left, right_padding=right, delays=form, engine="reference"
    ).to(DEVICE, dtype)
    if whole:
        layer.round_()
    x = normal(steps, batch, inputs, dtype=dtype, share=share).requires_grad_()
    parts = (layer.weight[..., 0], layer.effective_position()[0], layer.bias)
    ours = delayed_linear(x, *parts, window, left, right)
    agree(ours, layer(x), [x, *layer.parameters()], dtype)


@pytest.mark.parametrize("dtype", [F64, F32])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_delays_equal_the_convolution(case, dtype):
    delays_agree(case, dtype)


@given(
    st.tuples(st.integers(1, 9), st.integers(1, 5), st.integers(1, 5), st.integers(1, 20)),
    st.integers(2, 9),
    st.integers(0, 10),
    st.integers(0, 10),
    st.sampled_from(["synaptic", "axonal", "dendritic"]),
    st.sampled_from([F64, F32]),
    st.booleans(),
)
@settings(max_examples=20, deadline=None)
def test_delays_of_any_shape(sizes, window, left, right, form, dtype, whole):
    if sizes[0] + left + right >= window:
        delays_agree((*sizes, window, left, right, form), dtype, share=0.5, whole=whole)


def test_the_gradient_of_a_kernel_is_summed_in_groups_of_rows(monkeypatch):
    from delrec.engines.triton import delays

    for programs in (1, 6, 10_000):  # one group, three rows a group, a row a group
        monkeypatch.setattr(delays, "_PROGRAMS", programs)
        delays_agree((5, 7, 2, 3, 4, 3, 0, "synaptic"), F64)


def test_two_runs_give_the_same_bits():
    def run():
        x = normal(6, 3, 32, dtype=F32, share=0.1).requires_grad_()
        weight, position = normal(17, 32, dtype=F32).requires_grad_(), normal(17, 32, dtype=F32).requires_grad_()
        total = delayed_linear(x, weight, position, None, 5, 4, 0)
        return [total, *torch.autograd.grad(total.square().sum(), (x, weight, position))]

    assert all(torch.equal(a, b) for a, b in zip(run(), run(), strict=True))


def test_layers_take_the_kernels():
    x = normal(4, 2, 32, dtype=F32, share=0.2)
    delayed = FeedforwardDelays(32, 3, window=4, engine="triton", device=DEVICE)(x)
    assert "delayed_linear" in delayed.grad_fn.name()
    half = FeedforwardDelays(3, 4, window=3, engine="triton", device=DEVICE, dtype=torch.bfloat16)
    assert half(torch.ones(2, 2, 3, dtype=torch.bfloat16, device=DEVICE)).dtype == torch.bfloat16


def test_weights_that_32_bits_do_not_number_are_left_to_torch():
    """The number of a weight overflowed, and another was read. No memory: the weight is one number, seen often."""
    x = torch.zeros(1, 1, 46_341, device=DEVICE)
    weight = torch.zeros(1, device=DEVICE).expand(32_768, 46_341)
    assert delayed_linear(x, weight[:, :32_768], weight[:1, :1], None, 5, 4, 0) is None
