"""Feedforward delays on the cpu engine are the dense convolution, at two taps a connection."""

import pytest
import torch
from delrec.engines.cpu import delays
from delrec.feedforward import FeedforwardDelays

F64 = torch.float64
CASES = [
    # steps, batch, inputs, outputs, window, left, right, form
    (20, 5, 12, 9, 7, 6, 0, "synaptic"),
    (11, 33, 30, 40, 25, 24, 12, "synaptic"),
    (9, 16, 5, 4, 8, 3, 2, "axonal"),
    (6, 2, 3, 3, 9, 12, 1, "dendritic"),
    (3, 1, 2, 2, 2, 1, 0, "synaptic"),
]


def layers(inputs, outputs, window, left, right, form):
    torch.manual_seed(0)
    made = FeedforwardDelays(inputs, outputs, window=window, left_padding=left, right_padding=right, delays=form).to(
        F64
    )
    made.engine = "cpu"
    return made


def sparse(*shape):
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(shape, generator=draw, dtype=F64) * (torch.rand(shape, generator=draw) < 0.2)
    return x.requires_grad_()


def outcome(layer, x, engine):
    layer.engine = engine
    y = layer(x)
    cotangent = torch.randn(y.shape, generator=torch.Generator().manual_seed(2), dtype=F64)
    return [y, *torch.autograd.grad(y, [x, *layer.parameters()], cotangent)]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("whole", [False, True])
def test_equals_the_convolution(case, whole):
    steps, batch, inputs, *rest = case
    layer, x = layers(inputs, *rest), sparse(steps, batch, inputs)
    if whole:
        layer.round_()
    assert delays.suits(x, layer.window)
    for a, b in zip(outcome(layer, x, "cpu"), outcome(layer, x, "reference"), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_positions_outside_the_window_are_normalised_as_dcls_does():
    layer, x = layers(4, 3, 5, 4, 0, "synaptic"), sparse(8, 2, 4)
    with torch.no_grad():
        layer.position.copy_(torch.linspace(-2.9, 2.9, layer.position.numel()).view_as(layer.position))
    for a, b in zip(outcome(layer, x, "cpu"), outcome(layer, x, "reference"), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_dense_input_and_other_kernels_take_the_convolution(monkeypatch):
    monkeypatch.setattr(delays, "forward", None)  # a call would fail
    layer = layers(4, 3, 5, 4, 0, "synaptic")
    layer(torch.ones(8, 2, 4, dtype=F64))
    torch.manual_seed(0)
    FeedforwardDelays(4, 3, window=5, kernel="gauss", spread=1.0, engine="cpu")(torch.zeros(8, 2, 4))


def test_results_do_not_depend_on_the_number_of_threads():
    layer, x = layers(9, 7, 6, 5, 0, "synaptic"), sparse(10, 70, 9)
    threads, seen = torch.get_num_threads(), []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            seen.append(outcome(layer, x, "cpu")[:4])  # the bias is summed by torch
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(*seen, strict=True))
