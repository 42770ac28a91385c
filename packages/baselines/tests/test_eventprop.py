"""EventProp: what its layers and its network do."""

import math

import pytest
import torch
from delrec import NotFiniteError, count_parameters
from delrec.training import grouped
from delrec_baselines.eventprop import EventPropConfig, EventPropNetwork
from delrec_baselines.eventprop_layer import (
    Connection,
    EventPropLayer,
    EventPropNeuron,
    EventPropReadout,
    first_spike_steps,
)
from torch import Tensor

F64 = torch.float64


# --- layers


def busy_input(steps: int = 80, batch: int = 3, channels: int = 5) -> Tensor:
    return (torch.rand(steps, batch, channels, generator=torch.Generator().manual_seed(1)) < 0.1).float()


def network(**changes: object) -> EventPropNetwork:
    settings = {"hidden": (7, 6), "weight_mean": (0.6, 0.6), "weight_std": (0.2, 0.2), "readout_std": 0.5, **changes}
    torch.manual_seed(0)
    return EventPropNetwork(EventPropConfig(5, 3, **settings))  # type: ignore[arg-type]


@pytest.mark.parametrize("recurrent", [False, True])
def test_delays_of_zero_are_no_delays(recurrent: bool) -> None:
    plain = network(delays=False, recurrent=recurrent, recurrent_delays=False, recurrent_std=0.3)
    delayed = network(delays=True, recurrent=recurrent, readout_delays=True)
    delayed.load_state_dict(plain.state_dict(), strict=False)
    assert delayed.delays() and not plain.delays()
    x = busy_input()
    target = torch.tensor([0, 1, 2])
    for model in (plain, delayed):
        model.loss(model.classify(x), target).backward()
    assert torch.equal(plain(x), delayed(x))
    for name, parameter in plain.named_parameters():
        assert parameter.grad.any()
        assert torch.equal(parameter.grad, dict(delayed.named_parameters())[name].grad)


def test_a_delay_is_the_input_that_much_later() -> None:
    torch.manual_seed(0)
    layer = EventPropLayer(Connection(5, 6, mean=0.6, std=0.3, delays=True))
    x = busy_input()
    early = layer(x)
    with torch.no_grad():
        layer.inward.delay.fill_(7.4)  # acts as 7
    late = layer(x)
    assert early.sum() > 20
    assert torch.equal(late[7:], early[:-7]) and not late[:7].any()


def test_a_recurrent_spike_acts_its_delay_later() -> None:
    torch.manual_seed(0)
    inward, back = Connection(1, 2, mean=0, std=0), Connection(2, 2, mean=0, std=0, delays=True)
    with torch.no_grad():
        inward.weight[0] = 10  # neuron 0 hears the input, neuron 1 hears neuron 0
        back.weight[1, 0] = 50
        back.delay.fill_(12)
    layer, x = EventPropLayer(inward, back), torch.zeros(40, 1, 1)
    x[3] = 1
    spikes = layer(x)[:, 0]
    first = [int(spikes[:, j].argmax()) for j in (0, 1)]
    assert spikes[:, 1].any()
    assert first[1] == first[0] + 12 + 1  # a current acts on V one step later


def test_membrane_of_the_readout_is_the_closed_form() -> None:
    for tau_s in (5.0, 20.0):  # the second equals tau_m
        readout = EventPropReadout(Connection(1, 1, mean=2, std=0).double(), EventPropNeuron(20.0, tau_s))
        x = torch.zeros(50, 1, 1, dtype=F64)
        x[4] = 3
        since = (torch.arange(50, dtype=F64) - 4).clamp_min(0)
        if tau_s == 20.0:
            response = since / 20 * torch.exp(-since / 20)
        else:
            response = (torch.exp(-since / 20) - torch.exp(-since / tau_s)) * tau_s / (20 - tau_s)
        torch.testing.assert_close(readout(x)[:, 0, 0], 6 * response)


def test_a_spike_is_worth_the_same_wherever_it_is_until_the_end() -> None:
    """On a coarse grid too: the mean of V over a long time does not depend on when a spike comes.

    An error of first order in the step, small as it is, is the same for all spikes and outweighs what is left.
    """
    readout = EventPropReadout(Connection(1, 1, mean=2, std=0).double(), EventPropNeuron(20.0, 5.0))
    x = torch.zeros(600, 1, 1, dtype=F64)
    x[[50, 100, 590]] = 1
    x.requires_grad_()
    readout(x).mean().backward()
    early, late = x.grad[[50, 100], 0, 0], x.grad[590, 0, 0]
    assert late < 0, "near the end a later spike has less time to count"
    assert bool((early.abs() < 1e-3 * late.abs()).all())


def test_the_rate_term_pushes_neurons_to_the_target() -> None:
    x = busy_input()
    torch.manual_seed(0)
    layer = EventPropLayer(Connection(5, 6, mean=0.6, std=0.3))
    rate = layer(x).sum(0).mean(0)
    for target, sign in ((0.0, 1), (1000.0, -1)):
        layer.inward.weight.grad = None
        (layer(x, target, 1.0) * 0).sum().backward()
        assert (sign * layer.inward.weight.grad[rate > 0].sum(1) > 0).all()


@pytest.mark.parametrize("temperature", [5.0, 0.3, 3.7])
def test_a_first_spike_that_never_came_is_called_for(temperature: float) -> None:
    """Of the true class alone; its gradient is that of a spike at the end, tau_m V' = 1 there."""
    model = network(
        output="first-spike", readout_mean=0.01, readout_std=0.0, temperature=temperature, early=1.0
    ).double()
    x, target = busy_input().double(), torch.tensor([1, 1, 1])
    outputs = model(x)
    assert not outputs.any()
    torch.testing.assert_close(first_spike_steps(outputs), torch.full((3, 3), 80.0, dtype=F64))
    scores = model.classify(x)
    assert model.predict(scores).tolist() == [-1, -1, -1], "no spike is no class"
    model.loss(scores, target).backward()
    by_class = model.readout.inward.weight.grad
    assert not by_class[[0, 2]].any()
    assert (by_class[1] <= 0).all() and by_class[1].any()
    spikes = model.stack[1](model.stack[0](x)).detach()
    at, _, sender = spikes.nonzero().T
    neuron = model.config.neuron()
    left = (80 - at).double()  # V at the end, of an arrival so long before: what a unit of weight is worth
    worth = (
        neuron.tau_s
        / (neuron.tau_m - neuron.tau_s)
        * (torch.exp(-left / neuron.tau_m) - torch.exp(-left / neuron.tau_s))
    )
    early = 1 / (0.01 * 80) ** 2  # d early / (1.01 T - t)
    by_spike = -neuron.tau_m * worth * early / 3
    wanted = torch.zeros(6, dtype=F64).index_add_(0, sender, by_spike)
    torch.testing.assert_close(by_class[1], wanted)


# --- network


def test_parameter_counts_and_groups() -> None:
    counts = count_parameters(network(delays=False))
    assert [counts[k] for k in ("weights", "delays", "neuron", "frozen")] == [5 * 7 + 7 * 6 + 6 * 3, 0, 0, 0]
    model = network(recurrent=True, readout_delays=True)
    counts = count_parameters(model)
    assert counts["weights"] == counts["delays"] == 5 * 7 + 7 * 7 + 7 * 6 + 6 * 6 + 6 * 3
    names = [f"layers.{i}.{kind}" for i in (0, 1) for kind in ("inward", "recurrent")]
    assert sorted(model.delays()) == [*names, "readout.inward"]
    fixed = count_parameters(network(learn_delays=False))
    assert fixed["frozen"] == fixed["delays"] == 5 * 7 + 7 * 6


def test_delays_stay_in_range() -> None:
    model = network(delay_high=10.0, max_delay=20)
    delay = model.stack[0].inward.delay
    assert 0 <= delay.min() and 5 < delay.max() <= 10
    with torch.no_grad():
        delay[0] = -3
        delay[1] = 30
    model.after_step()
    assert (delay[0] == 0).all() and (delay[1] == 20).all()


def test_silent_neurons_are_raised_after_an_epoch() -> None:
    model = network(weight_mean=(-1.0, 0.5), raise_silent=0.25)
    before = [layer.inward.weight.detach().clone() for layer in model.stack]
    model.train()
    model.begin_epoch(0, 1)
    model(busy_input())
    model.end_epoch()
    for layer, weight in zip(model.stack, before, strict=True):
        torch.testing.assert_close(layer.inward.weight.detach(), weight + 0.25)  # nothing spiked at all
    model.eval()
    model(busy_input())
    model.end_epoch()
    torch.testing.assert_close(model.stack[0].inward.weight.detach(), before[0] + 0.25)


def test_scores_weigh_early_steps_more() -> None:
    outputs = torch.ones(4, 2, 3)
    assert network(average="mean", gain=2.0).scores(outputs)[0, 0].item() == pytest.approx(2.0)
    expected = sum(math.exp(-t / 4) for t in range(4)) / 4
    assert network().scores(outputs)[0, 0].item() == pytest.approx(expected)


def test_activity_counts_spikes_and_operations() -> None:
    model = network(hidden=(7,), delays=False).eval()
    model.start_recording()
    x = busy_input()
    model(x)
    seen, spikes = model.activity(), model.stack[0](x).sum().item()
    assert spikes > 0
    assert seen["spikes_per_neuron_step"] == pytest.approx(spikes / (80 * 3 * 7))
    assert seen["synaptic_operations"]["effective_acs"] == pytest.approx((float(x.sum()) * 7 + spikes * 3) / 3)
    assert seen["synaptic_operations"]["dense"] == 80 * (5 * 7 + 7 * 3)
    model.stop_recording()
    assert model.activity() == {}


def test_a_few_steps_of_training_lower_the_loss() -> None:
    model = network(recurrent=True, hidden=(12,), gain=10.0, readout_delays=True, delay_high=5.0)
    optimiser = torch.optim.Adam([{"params": g} for g in grouped(model, trainable=True).values() if g], lr=0.02)
    x, target = busy_input(), torch.tensor([0, 1, 2])
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = model.loss(model.classify(x), target)
        loss.backward()
        optimiser.step()
        model.after_step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden": ()}, "hidden = "),
        ({"hidden": 16}, "hidden = 16: give a tuple"),
        ({"hidden": (3, 0)}, "hidden = "),
        ({"tau_m": 0.0}, "tau_m = 0.0"),
        ({"tau_s": math.inf}, "tau_s = inf"),
        ({"slope_floor": 0.0}, "slope_floor = 0.0"),
        ({"weight_mean": ()}, "weight_mean is empty"),
        ({"average": "last"}, "average = 'last'"),
        ({"gain": -1.0}, "gain = -1.0"),
        ({"output": "spike"}, "output = 'spike'"),
        ({"temperature": 0.0}, "temperature = 0.0"),
        ({"early": -0.1}, "early = -0.1"),
        ({"rate_strength": -1.0}, "rate_strength = -1.0"),
        ({"delay_high": 30.0, "max_delay": 20}, "max_delay = 20"),
        ({"recurrent_std": -1.0}, "recurrent_std = -1.0"),
        ({"weight_std": (-1.0,)}, "weight_std = -1.0"),
        ({"gain": "x"}, "gain = 'x'"),
        ({"readout_mean": math.nan}, "readout_mean = nan"),
        ({"max_delay": 2.5}, "max_delay = 2.5"),
    ],
)
def test_a_wrong_setting_is_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(**changes)


def test_wrong_shapes_and_numbers_are_named() -> None:
    layer = EventPropLayer(Connection(5, 6, mean=0, std=1, delays=True))
    with pytest.raises(ValueError, match=r"spikes \(4, 2, 3\): must be \(T, B, 5\), T > 0"):
        layer(torch.zeros(4, 2, 3))
    with pytest.raises(ValueError, match="float32 or float64"):
        layer.half()(torch.zeros(4, 2, 5))
    layer.float()
    with torch.no_grad():
        layer.inward.delay[0, 0] = math.nan
    with pytest.raises(ValueError, match="a delay is not finite"):
        layer(torch.zeros(4, 2, 5))
    with pytest.raises(NotFiniteError, match="spikes or weights hold NaN"):
        layer(torch.full((4, 2, 5), math.nan))
    with pytest.raises(ValueError, match=r"recurrent weights \(5, 5\): must be \(6, 6\)"):
        EventPropLayer(Connection(5, 6, mean=0, std=1), Connection(5, 5, mean=0, std=1))


def test_an_input_or_output_changed_before_the_backward_pass_changes_no_gradient() -> None:
    """With one sample, the layer kept the memory of its input; its output was always that of the backward pass."""
    layer, x = EventPropLayer(Connection(5, 6, mean=1, std=1)), (torch.rand(30, 1, 5) < 0.3).float()
    gradients = []
    for change in (None, "input", "output"):
        given = x.clone()
        out = layer(given)
        loss = (out * torch.arange(6.0)).sum()
        with torch.no_grad():
            if change is not None:
                (given if change == "input" else out).zero_()
        gradients.append(torch.autograd.grad(loss, layer.inward.weight)[0])
    assert torch.equal(gradients[0], gradients[1]) and torch.equal(gradients[0], gradients[2])
    assert gradients[0].abs().sum() > 0


def test_recurrent_delays_learn_while_their_weights_are_frozen() -> None:
    x, gradients = (torch.rand(30, 4, 5) < 0.3).float(), []
    torch.manual_seed(0)
    layer = EventPropLayer(Connection(5, 6, mean=0.5, std=0.1), Connection(6, 6, mean=0.1, std=0.1, delays=True))
    for learn in (True, False):
        layer.recurrent.weight.requires_grad_(learn)
        loss = (layer(x) * torch.arange(6.0)).sum()
        gradients.append(torch.autograd.grad(loss, layer.recurrent.delay)[0])
    assert torch.equal(*gradients) and gradients[0].any()


def test_a_delay_beyond_every_sequence_never_arrives() -> None:
    layer = EventPropLayer(Connection(1, 2, mean=9, std=0, delays=True))
    with torch.no_grad():
        layer.inward.delay.fill_(2.0**31)
    assert layer(torch.ones(20, 1, 1)).sum() == 0
