"""The interpolation kernel, its schedule, and how delays start and are rounded."""

import numpy as np
import pytest
import torch
from delrec.delays import DelayInit, kernel_length, project, round_delays, round_while_training, triangle_kernel
from hypothesis import given
from hypothesis import strategies as st

F64 = torch.float64


@given(st.floats(0, 40), st.floats(0, 12))
def test_kernel_is_the_equation(delay, sigma):
    d, s = torch.tensor([delay], dtype=F64), torch.tensor(1 + sigma, dtype=F64)
    length = kernel_length(d, s)
    taps = triangle_kernel(d, s, length)[0].numpy()
    k = np.arange(length)
    np.testing.assert_allclose(taps, np.maximum(0, 1 + sigma - np.abs(k - (1 + delay))) / (1 + sigma) ** 2, atol=1e-15)
    assert 1 + delay + 1 + sigma <= length - 1 + 1e-9  # the whole triangle fits


def test_gradient_passes_the_clamp_at_its_corner_and_stops_at_the_tip():
    """Integer delay, sigma 0: taps d and d+2 lie exactly on the corner and count as inside; sign(0) is 0."""
    delay = torch.tensor([3.0], dtype=F64, requires_grad=True)
    taps = triangle_kernel(delay, torch.tensor(1.0, dtype=F64), 7)[0]
    slopes = [torch.autograd.grad(taps[k], delay, retain_graph=True)[0].item() for k in range(7)]
    assert slopes == [0, 0, 0, -1, 0, 1, 0]


def test_a_delay_is_projected_and_only_a_gradient_that_leads_back_passes():
    delay = torch.tensor([-2.0, -2.0, 0.0, 3.0, 9.0, 9.0], requires_grad=True)
    used = project(delay, 5)
    assert used.tolist() == [0, 0, 0, 3, 5, 5]
    (grad,) = torch.autograd.grad((used * torch.tensor([1.0, -1, 1, 1, 1, -1])).sum(), delay)
    assert grad.tolist() == [0, -1, 1, 1, 1, 0], "below 0 a descent may raise, at 0 all passes, above it may lower"
    assert project(torch.tensor([1e6])).item() == 1e6 and project(torch.tensor([float("nan")])).isnan()


def test_initial_delays():
    torch.manual_seed(0)
    half_normal = DelayInit("half-normal", std=12).fill_(torch.empty(20_000))
    mean = pytest.approx(12 * (2 / np.pi) ** 0.5, rel=0.03)
    assert float(half_normal.min()) >= 0 and float(half_normal.mean()) == mean
    uniform = DelayInit("uniform", low=10, high=30).fill_(torch.empty(20_000))
    assert 10 <= float(uniform.min()) and float(uniform.max()) <= 30
    assert torch.equal(DelayInit("constant", low=3).fill_(torch.empty(4)), torch.full((4,), 3.0))


def test_rounding():
    delay = torch.tensor([0.5, 1.5, 2.49, -0.2, -3.0, 7.51], dtype=F64, requires_grad=True)
    assert round_delays(delay).tolist() == [0, 2, 2, 0, 0, 8]  # half to even, at least 0
    straight = round_while_training(delay)
    assert torch.equal(straight.detach(), round_delays(delay))
    straight.sum().backward()
    assert torch.equal(delay.grad, torch.ones(6, dtype=F64))


def test_stochastic_rounding_is_right_on_average():
    torch.manual_seed(0)
    delay = torch.full((40_000,), 2.3, dtype=F64, requires_grad=True)
    rounded = round_while_training(delay, stochastic=True)
    assert set(rounded.tolist()) == {2.0, 3.0}
    assert rounded.mean().item() == pytest.approx(2.3, abs=0.02)
    rounded.sum().backward()
    assert torch.equal(delay.grad, torch.ones_like(delay))
