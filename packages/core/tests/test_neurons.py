"""A neuron: its settings, what a subclass must give, what it may leave out."""

import pytest
import torch
from delrec import LIF, Neuron, RecurrentDelays, Surrogate, Triangle


def test_a_neuron_with_parameters_belongs_to_one_layer():
    neuron = LIF(learn_tau="neuron")
    RecurrentDelays(4, neuron=neuron)
    with pytest.raises(ValueError, match="one neuron per layer"):
        RecurrentDelays(4, neuron=neuron)
    plain = LIF(surrogate=Triangle(2.0))
    RecurrentDelays(4, neuron=plain)
    RecurrentDelays(5, neuron=plain)  # nothing of a layer's own is in it


@pytest.mark.parametrize("name", ["tau", "threshold", "reset", "v_reset", "learn_tau"])
def test_a_setting_cannot_change_the_repr_alone(name):
    neuron = LIF()
    with pytest.raises(AttributeError, match=rf"{name} of LIF is fixed.*another LIF\({name}=0.1"):
        setattr(neuron, name, 0.1)
    assert repr(neuron) == repr(LIF())


class Bare(Neuron):
    """A whole neuron: its states and its step."""

    states = ("membrane",)

    def step(self, current, state, coefficients):
        """Leak by half, threshold 1, no reset."""
        v = 0.5 * state[0] + current
        return self.spike(v - 1), (v,)


def test_states_and_step_are_enough():
    layer = RecurrentDelays(4, neuron=Bare(), engine="reference").double()
    x = torch.rand(6, 2, 4, dtype=torch.float64)
    spikes, _, membrane = layer(x, return_membrane=True)
    assert torch.equal(membrane[0], x[0]) and torch.equal(spikes[0], (x[0] >= 1).double())


def test_what_a_neuron_or_surrogate_lacks_is_named():
    class Empty(Neuron):
        states = ("membrane",)

    class Flat(Surrogate):
        pass

    with pytest.raises(NotImplementedError, match=r"Empty must define step\(current, state, coefficients\)"):
        RecurrentDelays(3, neuron=Empty())
    with pytest.raises(NotImplementedError, match=r"Flat must define derivative\(self, u\)"):
        Flat()
