"""Neurons that are not ours: any callable (current, state) -> (spike, state), its state carried by the layer."""

import copy
import io
from typing import NamedTuple

import pytest
import torch
from delrec import LIF, RecurrentDelays, SpikingLayer, State, Triangle, parameter_groups
from torch import nn


class Memory(NamedTuple):
    v: torch.Tensor
    i: torch.Tensor


class Cell(nn.Module):
    """A current-based LIF as other libraries write it: a named tuple, made by the cell where there is none."""

    def __init__(self):
        super().__init__()
        self.decay = nn.Parameter(torch.tensor(0.5))

    def forward(self, current, state=None):
        v, i = Memory(torch.zeros_like(current), torch.zeros_like(current)) if state is None else state
        i = 0.25 * i + current
        v = self.decay * v + i
        spike = Triangle().spike(v - 1)
        return spike, Memory(v - spike, i)


class Rested(Cell):
    """One that says what it starts from, as norse's do: a scalar, which wants a gradient."""

    def initial_state(self, current):
        return Memory(torch.zeros((), requires_grad=True), torch.zeros_like(current))


def plain(current, state):
    """Our LIF as a function, its state in a dictionary."""
    v = torch.zeros_like(current) if state is None else state["v"]
    h = 0.5 * v + current
    spike = Triangle(1.0).spike(h - 1)
    return spike, {"v": h - spike}


def layer(neuron, **options):
    torch.manual_seed(0)
    return RecurrentDelays(6, neuron=neuron, sigma=1.0, engine="reference", **options).double()


X = (torch.rand(12, 3, 6, generator=torch.Generator().manual_seed(1)) * 2).double()


def test_a_function_is_the_neuron_it_computes():
    ours, theirs = layer(LIF()), layer(plain)
    theirs.load_state_dict(ours.state_dict())
    assert torch.equal(ours(X), theirs(X)) and ours(X).any()
    for one in (ours, theirs):
        (one(X) * torch.arange(6)).sum().backward()
    torch.testing.assert_close(ours.delay.grad, theirs.delay.grad)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)


@pytest.mark.parametrize("cell", [Cell, Rested])
def test_their_state_is_carried_flat_and_their_parameters_train(cell):
    made = layer(cell(), learn_spread=True)
    whole = made(X)
    first = made(X[:5], return_state=True)
    assert isinstance(first.state, State) and [s.shape for s in first.state.states] == [(3, 6)] * 2
    assert torch.equal(torch.cat([first.spikes, made(X[5:], first.state)]), whole)
    assert torch.equal(made(X, return_membrane=True).membrane[4], first.state.states[0]), "v is the membrane"
    whole.sum().backward()
    assert made.neuron.cell.decay.grad != 0
    assert [g["name"] for g in parameter_groups(made)] == ["weights", "delays", "neuron"]


@pytest.mark.parametrize("kind", ["dict", "nested"])
def test_the_membrane_is_found_by_name_wherever_it_stands(kind):
    def cell(current, state):
        last = torch.zeros_like(current) if state is None else (state["v"] if kind == "dict" else state[1].v)
        v = 0.5 * last + current
        return (v > 1).to(v), {"i": current, "v": v} if kind == "dict" else (current, Memory(v, current))

    membrane = layer(cell)(X, return_membrane=True).membrane
    assert torch.equal(membrane[0], layer(cell)(X[:1], return_state=True).state.states[1])


def test_a_state_of_another_number_of_tensors_is_told():
    def cell(current, state):
        v = current if state is None else state[0] + current
        return (v > 1).to(v), (v,) if state is None else (v, current)

    with pytest.raises(ValueError, match="the state of cell is of 1 tensors, and then of 2"):
        layer(cell)(X, return_membrane=True)


def test_a_state_goes_on_in_a_new_process():
    made = layer(Cell())
    state = made(X[:5], return_state=True).state
    held = io.BytesIO()
    torch.save(made.state_dict(), held)
    held.seek(0)
    other = layer(Cell())
    other.load_state_dict(torch.load(held, weights_only=True))
    assert torch.equal(other(X[5:], state), made(X[5:], state))
    assert torch.equal(copy.deepcopy(made)(X), made(X))


def test_lengths_hold_their_state():
    made = layer(Rested())
    out = made(X, lengths=[0, 4, 12], return_state=True)
    assert not out.spikes[4:, 1].any() and not out.spikes[:, 0].any()
    for b, n in enumerate((0, 4, 12)):
        alone = made(X[:n, b : b + 1], return_state=True)
        for ours, theirs in zip(out.state.states, alone.state.states, strict=True):
            assert torch.equal(ours[b : b + 1], theirs)
    with pytest.raises(ValueError, match="initial_state"):
        layer(Cell())(X, lengths=[0, 4, 12])


def test_a_learned_initial_state_has_a_gradient():
    class Learned(Cell):
        def __init__(self):
            super().__init__()
            self.start = nn.Parameter(torch.tensor(0.3))

        def initial_state(self, current):
            return Memory(self.start.expand_as(current), torch.zeros_like(current))

    made = layer(Learned())
    made(X).sum().backward()
    assert float(made.neuron.cell.start.grad) != 0


@pytest.mark.parametrize(
    "neuron, error, said",
    [
        (type("LIFRecurrentCell", (Cell,), {})(), ValueError, "LIFRecurrentCell: .*recurrent connections.*LIFCell"),
        (Cell, TypeError, "class .*callable"),
        (lambda current, state: current, TypeError, r"Tensor: .*\(spike, state\)"),
        (lambda current, state: (current[:, :2], current), ValueError, r"\(3, 2\) .*\(3, 6\)"),
        (lambda current, state: (current, [current, 3.0]), ValueError, r"float; .*\(B, N\)"),
        (lambda current, state: (current, torch.zeros(4, 5)), ValueError, r"\(4, 5\); .*\(B, N\)"),
        (lambda current, state: (current, current > 0), ValueError, r"torch.bool \(3, 6\); give floats"),
        (torch.add, TypeError, "give a callable"),
    ],
)
def test_what_is_no_neuron_is_told(neuron, error, said):
    with pytest.raises(error, match=said):
        layer(neuron)(X)


def test_spikes_that_snntorch_makes_float32_are_of_the_layers_dtype():
    class Leaky(nn.Module):
        __module__ = "snntorch"

        def __init__(self):
            super().__init__()
            self.register_buffer("mem", torch.zeros(0))

        def forward(self, current, mem):
            return (current + mem > 1).float(), 0.5 * (current + mem)

    made = layer(Leaky())
    spikes, state = made.step(X[0])
    assert spikes.any() and made.step(X[1], state)[0].dtype == torch.float64


def test_a_cell_that_works_in_place_changes_no_given_input():
    layer = SpikingLayer(4, neuron=lambda current, _: ((current.add_(0.1) > 0.5).float(), current))
    x = torch.rand(6, 2, 4)
    before = x.clone()
    layer(x)
    assert torch.equal(x, before)


def test_a_cell_that_works_in_place_changes_no_given_state():
    def cell(current, v):
        v = torch.zeros_like(current) if v is None else v
        v.mul_(0.9).add_(current)
        spike = (v > 0.5).to(current)
        return spike, v.sub_(spike)

    def pure(current, v):
        return cell(current, v if v is None else v.clone())

    x = torch.rand(12, 3, 4, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    made = RecurrentDelays(4, neuron=cell)
    other = copy.deepcopy(made)
    other.neuron = type(made.neuron)(pure).attach(4)
    start = other(x, return_state=True).state
    given = start.map(torch.clone)
    got = made(x, start, lengths=[12, 5, 1], return_state=True, return_membrane=True)
    want = other(x, given, lengths=[12, 5, 1], return_state=True, return_membrane=True)
    assert torch.equal(start.states[0], given.states[0])  # a state can be gone on from twice
    torch.testing.assert_close(got.membrane, want.membrane)
    torch.testing.assert_close(got.state.states[0], want.state.states[0])
