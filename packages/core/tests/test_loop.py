"""Helpers for training loops: deployed, parameter_groups, SigmaSchedule, for any module with layers of this package."""

import copy

import pytest
import torch
from delrec import LIF, DelayInit, FeedforwardDelays, RecurrentDelays, SigmaSchedule, SpikingLayer, Trainable, deployed
from delrec.training import count_parameters, parameter_groups
from problems import ENGINES
from torch import nn


class Own(nn.Module):
    """A user's model: one layer is held in a list, one part is in evaluation mode already."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(4, 6)
        self.norm = nn.LayerNorm(6)
        self.layers = nn.ModuleList([RecurrentDelays(6, neuron=LIF(learn_tau="neuron"), sigma=3.0, dropout=0.5)])
        self.drop = nn.Dropout(0.5)
        self.delayed = FeedforwardDelays(6, 3, window=5, kernel="gauss", spread=2.0)
        self.frozen = nn.BatchNorm1d(3).eval()

    def forward(self, x):
        spikes = self.layers[0](self.norm(self.embed(x)) * 3)
        return self.frozen(self.delayed(self.drop(spikes)).flatten(0, 1))


def made():
    torch.manual_seed(0)
    return Own()


def test_deployed_holds_any_module_as_on_hardware_and_restores_all():
    model, x = made(), torch.rand(9, 3, 4)
    before, modes = copy.deepcopy(model.state_dict()), {n: m.training for n, m in model.named_modules()}
    with pytest.raises(RuntimeError, match="inside"), deployed(model) as inside:
        assert inside is model and not any(m.training for m in model.modules())
        assert torch.equal(model.layers[0].delay, model.layers[0].delay.round()) and model.layers[0].sigma == 0
        assert ((model.delayed.dense_kernel() != 0).sum(-1) == 1).all()
        assert torch.equal(model(x), model(x)), "no dropout"
        raise RuntimeError("inside")
    assert {n: m.training for n, m in model.named_modules()} == modes and not model.frozen.training
    assert all(torch.equal(before[n], value) for n, value in model.state_dict().items())
    assert model.delayed.kernel == "gauss"
    with deployed(model):
        model.double()  # makes other buffers
    assert all(torch.equal(before[n], value.to(before[n].dtype)) for n, value in model.state_dict().items())


def test_what_is_loaded_inside_deployed_stays_the_callers():
    """Restoring delays and sigma wrote them into the tensors of the loaded state."""
    layer = RecurrentDelays(4, sigma=3.0, delay_init=DelayInit("uniform", high=9))
    before = copy.deepcopy(layer.state_dict())
    best = {name: value + 1 for name, value in before.items()}
    with deployed(layer):
        layer.load_state_dict(best, assign=True)
    assert all(torch.equal(best[name], value + 1) for name, value in before.items())
    assert torch.equal(layer.delay, before["delay"]) and layer.sigma == 3 and torch.equal(layer.weight, best["weight"])
    assert {"delay", "weight"} <= {name for name, p in layer.named_parameters() if p.requires_grad}
    with deployed(layer):
        layer.load_state_dict({name: value.bfloat16() for name, value in best.items()}, assign=True)
    assert torch.equal(layer.delay, before["delay"]), "as exact as before"


def test_parameter_groups_tell_delays_apart_and_spare_them_decay():
    model = made()
    groups = {g["name"]: g for g in parameter_groups(model, lr=1e-3, delay_lr=5e-2, weight_decay=1e-5)}
    names = {id(p): n for n, p in model.named_parameters()}
    told = {name: sorted(names[id(p)] for p in g["params"]) for name, g in groups.items()}
    assert told["delays"] == ["delayed.position", "layers.0.delay"]
    assert told["norm"] == ["frozen.bias", "frozen.weight", "norm.bias", "norm.weight"]
    assert told["neuron"] == ["layers.0.neuron.log_tau"]
    assert sum(map(len, told.values())) == len(names)
    assert groups["delays"]["lr"] == 5e-2 and groups["weights"]["lr"] == groups["neuron"]["lr"] == 1e-3
    assert [g["weight_decay"] for g in groups.values()] == [1e-5, 0, 0, 0]
    optimiser = torch.optim.AdamW(parameter_groups(model), lr=0.3, weight_decay=0.1)
    assert [(g["lr"], g["weight_decay"]) for g in optimiser.param_groups] == [(0.3, d) for d in (0.1, 0, 0, 0)]
    others = torch.nn.Sequential(RecurrentDelays(4, learn=False), torch.nn.RMSNorm(4))
    assert [g["name"] for g in parameter_groups(others)] == ["weights", "norm"]


@pytest.mark.parametrize("kind", ["axonal", "synaptic", "shared"])
@pytest.mark.parametrize("rounding", ["restore", "straight-through", "stochastic"])
def test_delays_are_those_in_use_whatever_an_optimiser_made_of_the_parameter(kind, rounding):
    model = RecurrentDelays(6, delays=kind, delay_init=DelayInit("uniform", high=3), max_delay=3, rounding=rounding)
    optimiser = torch.optim.SGD(parameter_groups(model, lr=1e-3, delay_lr=500.0))
    for _ in range(4):
        model(torch.rand(9, 2, 6) * 3).sum().backward()
        optimiser.step()
        used = model.delays()
        assert used.min() >= 0 and used.max() <= 3 and used.shape == model.delay.shape and not used.requires_grad
        assert rounding == "restore" or torch.equal(used, used.round())
        if rounding != "stochastic":
            assert torch.equal(used.expand(6, 6) if kind == "synaptic" else used.expand(6), model._delays_in_use())
    assert model.delay.min() < 0 or model.delay.max() > 3, "the parameter itself went astray"


@pytest.mark.parametrize("engine", ENGINES)
def test_the_longest_max_delay_costs_nothing(engine):
    layer, bounded = (RecurrentDelays(4, max_delay=bound, engine=engine) for bound in (None, 2**24))
    bounded.load_state_dict(layer.state_dict())
    x = torch.rand(20, 2, 4) * 3
    (one, state, _), (other, long, _) = layer(x, return_state=True), bounded(x, return_state=True)
    assert torch.equal(one, other) and len(long.history) <= 21
    assert torch.equal(layer(x, state), bounded(x, long))


def test_sigma_schedule_is_published():
    schedule = SigmaSchedule(10.0, 0.95, 150)
    assert schedule(0) == 10.0
    assert schedule(75) == pytest.approx(10 * 0.95**50)
    assert schedule(149) == pytest.approx(10 * 0.95 ** (14900 / 150))  # about 0.06, not 0
    with pytest.raises(ValueError, match="epoch"):
        schedule(-1)


def test_sigma_schedule_steps_a_model_and_resumes():
    model, schedule = made(), SigmaSchedule(10.0, 0.95, epochs=50)
    assert schedule.step(model) == 10 == model.layers[0].sigma
    schedule.step(model)
    assert float(model.layers[0].sigma) == pytest.approx(10 * 0.95**2)
    assert schedule.state_dict() == {"initial": 10.0, "decay": 0.95, "epochs": 50, "epoch": 2}
    resumed = SigmaSchedule()
    resumed.load_state_dict(copy.deepcopy(schedule.state_dict()))
    assert resumed.step(model) == pytest.approx(10 * 0.95**4) == schedule.step(made())
    assert schedule.step(SpikingLayer(3)) > 0, "a model without sigma has nothing to set"
    with pytest.raises(ValueError, match="epoch 0 of None"):
        SigmaSchedule(10.0).step(model)
    with pytest.raises(ValueError, match=r"state with foo: give what state_dict\(\) returned: initial, "):
        resumed.load_state_dict({"foo": 1})
    with pytest.raises(ValueError, match="sigma decay"):
        resumed.load_state_dict(schedule.state_dict() | {"decay": 2.0})
    assert resumed.decay == 0.95


def test_delays_of_a_modules_own_and_spreads_are_counted_apart():
    class Delayed(Trainable):
        delay_parameters = ("lag",)

        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 4)
            self.delay, self.lag = nn.Parameter(torch.zeros(5)), nn.Parameter(torch.zeros(2))
            self.fixed = RecurrentDelays(4, neuron=LIF(), learn=False, learn_spread=True)

    counts = count_parameters(Delayed())
    assert [counts[kind] for kind in ("weights", "delays", "neuron")] == [3 * 4 + 4 + 16, 5 + 2 + 4 + 4, 0]
    assert [counts[kind] for kind in ("spreads", "learned_delays", "frozen")] == [4, 7, 4]
    for wrong in (("lagg",), "lag", ("fixed",), ("loss",)):  # the second lists three letters, the others are no tensors
        Delayed.delay_parameters = wrong
        with pytest.raises(AttributeError, match=f"Delayed.delay_parameters lists '{wrong[0]}', which is no parameter"):
            count_parameters(Delayed())
