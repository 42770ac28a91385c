"""A neuron: its settings, and the layer that it belongs to."""

import pytest
from delrec import LIF, RecurrentDelays, Triangle


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
