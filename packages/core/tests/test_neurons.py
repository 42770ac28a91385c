"""A neuron's hand-written adjoints are its autograd gradients, and the check that says so can say no."""

import pytest
import torch
from delrec import LIF, Neuron, RecurrentDelays, Triangle
from delrec.testing import check_adjoints


@pytest.mark.parametrize("learn_tau", ["no", "shared", "neuron"])
@pytest.mark.parametrize(
    "settings",
    [
        {"reset": "soft"},
        {"reset": "soft", "threshold": 0.7, "tau": 5.0},
        {"reset": "hard"},
        {"reset": "hard", "v_reset": -0.4, "tau": 3.0},
    ],
)
def test_adjoints_of_lif_agree_with_autograd(settings, learn_tau):
    check_adjoints(LIF(**settings, learn_tau=learn_tau))


class _Wrong(LIF):
    """A LIF with one gradient halved."""

    def __init__(self, rule: str, index: int) -> None:
        super().__init__()
        right = getattr(self, rule)

        def wrong(*arguments):
            values = list(right(*arguments))
            values[index] = 0.5 * values[index]
            return tuple(values)

        setattr(self, rule, wrong)


@pytest.mark.parametrize(
    ("rule", "index", "name"),
    [
        ("step_adjoint", 1, "reset"),
        ("step_adjoint", 2, "membrane"),
        ("step_adjoint", 3, "current"),
        ("step_adjoint", 4, "coefficient 0"),
        ("drive_adjoint", 0, "membrane"),
        ("drive_adjoint", 2, "coefficient 1"),
    ],
)
def test_a_wrong_adjoint_is_found_and_named(rule, index, name):
    with pytest.raises(AssertionError, match=f"{rule}: the gradient to {name} differs"):
        check_adjoints(_Wrong(rule, index))


def test_a_rule_that_needs_tensors_is_found():
    class OnTensors(LIF):
        def __init__(self) -> None:
            super().__init__()
            self.drive = lambda h, decay, threshold, rest: (h - threshold).clone()

    with pytest.raises(AssertionError, match="drive does not run on plain floats"):
        check_adjoints(OnTensors())


def test_a_missing_gradient_is_found():
    class Short(LIF):
        def __init__(self) -> None:
            super().__init__()
            right = self.drive_adjoint
            self.drive_adjoint = lambda *a: right(*a)[:-1]

    with pytest.raises(AssertionError, match="drive_adjoint returns 3 values, expected 4"):
        check_adjoints(Short())


def test_a_neuron_with_parameters_belongs_to_one_layer():
    neuron = LIF(learn_tau="neuron")
    RecurrentDelays(4, neuron=neuron)
    with pytest.raises(ValueError, match="one neuron a layer"):
        RecurrentDelays(4, neuron=neuron)
    plain = LIF(surrogate=Triangle(2.0))
    RecurrentDelays(4, neuron=plain)
    RecurrentDelays(5, neuron=plain)  # nothing of a layer's own is in it


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"tau": 0.5}, "tau"),
        ({"reset": "none"}, "reset"),
        ({"v_reset": -1.0}, "v_reset"),
        ({"reset": "hard", "v_reset": 1.0}, "v_reset"),
        ({"threshold": float("nan")}, "threshold"),
        ({"learn_tau": "yes"}, "learn_tau"),
        ({"tau": 1.0, "learn_tau": "neuron"}, "tau"),
    ],
)
def test_a_bad_setting_of_lif_is_named(settings, field):
    with pytest.raises(ValueError, match=field):
        LIF(**settings)


def test_a_neuron_without_rules_says_what_is_missing():
    class Empty(Neuron):
        states = ("membrane",)

    empty = Empty(Triangle(), False)
    with pytest.raises(NotImplementedError, match=r"Empty must define coefficients"):
        empty.coefficients()
    with pytest.raises(NotImplementedError, match=r"Empty must define initial"):
        empty.start_states(torch.zeros(1, 1))
