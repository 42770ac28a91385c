"""Feedforward delays on the triton engine, on a GPU or in Triton's interpreter; test_engine_maps has the rest."""

import pytest
import torch
from delrec.feedforward import FeedforwardDelays
from problems import CARD, delays_agree, drawn

pytest.importorskip("triton", "3.4")
from delrec.engines.triton import ENGINE, delays

delayed_linear = ENGINE.delayed_linear
F32 = torch.float32


def test_the_gradient_of_a_kernel_is_summed_in_groups_of_rows(monkeypatch):
    for programs in (1, 6, 10_000):  # one group, three rows a group, a row a group
        monkeypatch.setattr(delays, "_PROGRAMS", programs)
        delays_agree((5, 7, 2, 3, 4, 3, 0, "synaptic"), "triton", CARD)


def test_two_runs_give_the_same_bits():
    def run():
        x = drawn(6, 3, 32, dtype=F32, zeros=0.9).to(CARD).requires_grad_()
        weight, position = (drawn(17, 32, dtype=F32, seed=k).to(CARD).requires_grad_() for k in (1, 2))
        total = delayed_linear(x, weight, position, None, 5, 4, 0)
        return [total, *torch.autograd.grad(total.square().sum(), (x, weight, position))]

    assert all(torch.equal(a, b) for a, b in zip(run(), run(), strict=True))


def test_layers_take_the_kernels():
    x = drawn(4, 2, 32, dtype=F32, zeros=0.8).to(CARD)
    delayed = FeedforwardDelays(32, 3, window=4, engine="triton", device=CARD)(x)
    assert "delayed_linear" in delayed.grad_fn.name()
    half = FeedforwardDelays(3, 4, window=3, engine="triton", device=CARD, dtype=torch.bfloat16)
    assert half(torch.ones(2, 2, 3, dtype=torch.bfloat16, device=CARD)).dtype == torch.bfloat16


def test_weights_that_32_bits_do_not_number_are_left_to_torch():
    """The number of a weight overflowed, and another was read. No memory: the weight is one number, seen often."""
    x = torch.zeros(1, 1, 46_341, device=CARD)
    weight = torch.zeros(1, device=CARD).expand(32_768, 46_341)
    assert delayed_linear(x, weight[:, :32_768], weight[:1, :1], None, 5, 4, 0) is None
