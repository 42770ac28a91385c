"""Surrogate derivatives: their equations, stated once."""

import math

import pytest
import torch
from delrec import ATan, Boxcar, FastSigmoid, MultiGaussian, Slayer, Triangle

ALL = [Triangle(1.0), Triangle(0.4), ATan(5.0), FastSigmoid(10.0), Boxcar(), Slayer(5.0, 0.4), MultiGaussian()]
U = torch.cat([torch.linspace(-4, 4, 801), torch.tensor([-0.5, 0.5, 1.0, -1.0])]).double()


@pytest.mark.parametrize("surrogate", ALL, ids=repr)
def test_backward_uses_the_derivative(surrogate):
    u = U.clone().requires_grad_()
    spikes = surrogate.spike(u)
    assert set(spikes.tolist()) == {0.0, 1.0} and torch.equal(spikes.bool(), U >= 0)
    spikes.sum().backward()
    assert torch.equal(u.grad, surrogate.derivative(U))


def test_strict_comparison_is_the_neurons_choice():
    zero = torch.zeros(1)
    assert Triangle().spike(zero).item() == 1 and Triangle().spike(zero, strict=True).item() == 0


def test_values_of_the_papers():
    def at(surrogate, u):
        return surrogate.derivative(torch.tensor(u, dtype=torch.float64)).item()

    assert at(Triangle(2.0), 0.5) == pytest.approx(1.5 / 4)
    assert at(ATan(5.0), 0.2) == pytest.approx(2.5 / (1 + (math.pi / 2) ** 2))
    assert (at(Boxcar(), 0.5), at(Boxcar(), -0.5), at(Boxcar(), 0.51)) == (1, 0, 0)
    assert at(Slayer(5.0, 0.4), 0.0) == pytest.approx(1.0)
    assert at(MultiGaussian(), 1.5) < 0  # negative in its tails
    middle = 1.15 / 0.5 - 2 * 0.15 * math.exp(-0.5 * (0.5 / 3) ** 2) / 3
    assert at(MultiGaussian(), 0.0) == pytest.approx(0.5 * middle / math.sqrt(2 * math.pi))
