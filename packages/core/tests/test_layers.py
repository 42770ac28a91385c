"""RecurrentDelays on the reference engine: properties that define it, gradients, and clear errors."""

from functools import partial
from itertools import product

import problems
import pytest
import torch
from delrec import LIF, BatchNorm, DelayInit, FeedforwardDelays, RecurrentDelays, SigmaSchedule, SpikingLayer, Triangle
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import ENGINES, F64, SmoothATan
from torch import nn
from torch.autograd import gradcheck

FORMS = ["axonal", "synaptic", "shared", "none"]
layer = partial(problems.layer, size=5, sigma=2.0, engine="reference")


def current(steps=16, batch=3, size=5, seed=1):
    return torch.randn(steps, batch, size, dtype=F64, generator=torch.Generator().manual_seed(seed)) + 0.4


def received(made, spikes):
    """The recurrent current, straight from the equation, step by step and tap by tap."""
    out, size = torch.zeros_like(spikes), spikes.shape[2]
    width, delay = made.half_width(), made.delays().to(F64).expand(size, size)  # the sender is the last axis
    for t in range(len(spikes)):
        for k in range(1, t + 1):
            m = (width - (k - (1 + delay)).abs()).clamp(min=0) / width**2
            out[t] += spikes[t - k] @ (made.weight * m).T
    return out


@pytest.mark.parametrize("delays", FORMS)
def test_the_layer_is_its_equation(delays):
    """The membrane obeys H = (1 - 1/tau) V + x + recurrent current, with the current written out as loops."""
    made = layer(delays=delays, learn_spread=delays != "none", neuron=LIF(tau=3.0))
    x = current()
    with torch.no_grad():
        spikes, _, membrane = made(x, return_membrane=True)
        total = x + received(made, spikes)
        before = torch.cat([torch.zeros_like(membrane[:1]), membrane[:-1]]) * (1 - 1 / 3) + total
    assert 0.05 < spikes.mean() < 0.9
    torch.testing.assert_close((before >= 1).to(F64), spikes)
    torch.testing.assert_close(before - spikes, membrane)


def test_without_delays_there_is_no_spread():
    layer, current = RecurrentDelays(5, delays="none"), 1.5 * torch.rand(10, 2, 5)
    before = layer(current)
    SigmaSchedule(5.0, epochs=10).step(layer)
    assert torch.equal(layer(current), before) and layer.half_width() == 1


@given(st.integers(0, 9), st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_an_integer_delay_is_a_shift(delay, seed):
    """One neuron drives another, and neither has a memory: the second fires exactly 1 + d steps after the first."""
    made = layer(size=2, sigma=0.0, delay_init=DelayInit("constant", low=delay), neuron=LIF(tau=1.0))
    with torch.no_grad():
        made.weight.copy_(torch.tensor([[0.0, 0.0], [5.0, 0.0]]))
    x = torch.zeros(24, 1, 2, dtype=F64)
    x[:, 0, 0] = (torch.rand(24, generator=torch.Generator().manual_seed(seed)) < 0.3) * 5.0
    first, second = made(x)[:, 0].T
    assert torch.equal(second[1 + delay :], first[: 23 - delay]) and not second[: 1 + delay].any()


class Wide(RecurrentDelays):
    """Its triangle is wider than sigma says, as that of a subclass may be."""

    def half_width(self):
        return torch.full_like(self.sigma, 12.0)


def test_a_subclass_may_have_a_half_width_of_its_own():
    layer = Wide(8, neuron=LIF(), engine="reference", max_delay=5, delay_init=DelayInit("uniform", high=5)).double()
    current = 2 * torch.rand(40, 3, 8, dtype=F64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        layer.weight *= 3
        wanted = layer(current)
        layer.engine = "cpu"
        first, state, _ = layer(current[:15], return_state=True)
        assert torch.equal(layer(current), wanted)
        assert torch.equal(torch.cat([first, layer(current[15:], state)]), wanted)


@pytest.mark.parametrize("delays", FORMS)
@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_gradcheck_of_the_whole_layer(delays, reset):
    neuron = LIF(reset=reset, surrogate=SmoothATan(2.0))
    made = layer(size=3, delays=delays, learn_spread=delays != "none", sigma=1.3, neuron=neuron)
    x = current(steps=7, batch=2, size=3).requires_grad_()
    parameters = [p for p in made.parameters() if p.requires_grad]

    def run(x, *values):
        named = dict(zip((n for n, p in made.named_parameters() if p.requires_grad), values, strict=True))
        return torch.func.functional_call(made, named, (x,), {"return_membrane": True})[::2]

    assert gradcheck(run, (x, *parameters), atol=1e-6)


def test_learned_time_constants_get_gradients():
    for learn, shape in {"neuron": (5,), "shared": ()}.items():
        made = layer(neuron=LIF(tau=2.5, learn_tau=learn))
        made(current()).sum().backward()
        assert made.neuron.log_tau.shape == shape and bool((made.neuron.log_tau.grad != 0).any())


def test_dropout_masks():
    x = torch.full((6, 400, 5), 3.0, dtype=F64)
    for kind in ("sequence", "step"):
        made = layer(dropout=0.5, dropout_mask=kind, neuron=LIF(tau=1.0, threshold=1e3))
        mask = made._connections(x)["mask"]
        assert mask.shape == ((400, 5) if kind == "sequence" else (6, 400, 5))
        assert set(mask.unique().tolist()) == {0.0, 2.0}
        assert mask.mean().item() == pytest.approx(1, abs=0.1)
        assert made.eval()._connections(x)["mask"] is None


def test_fixed_delays_are_integers_from_the_start_and_untrained():
    made = layer(learn=False)
    assert torch.equal(made.delay, made.delay.round()) and not made.delay.requires_grad
    assert layer(delays="none").delay is None and not layer(delays="none").delays().any()
    assert layer(delays="none", dtype=F64).delays().dtype == F64


@pytest.mark.parametrize("rounding", ["restore", "in-place", "straight-through", "stochastic", "none"])
def test_rounding_choices(rounding):
    made = layer(rounding=rounding)
    start = made.delay.detach().clone()
    trained = made.delays()
    if rounding in ("straight-through", "stochastic"):
        assert torch.equal(trained, trained.round())
    else:
        assert torch.equal(trained, start)
    with made.deployed():
        assert not made.training
        expected = start if rounding == "none" else start.round()
        assert torch.equal(made.delays(), expected) and float(made.sigma) == 0
    assert torch.equal(made.delay, start.round() if rounding == "in-place" else start)
    assert float(made.sigma) == 2.0


def test_parameters_follow_the_contract():
    made = RecurrentDelays(8, neuron=LIF(), learn_spread=True)
    assert made.weight.shape == (8, 8) and made.delay.shape == (8,) and made.spread.shape == (8,)
    torch.testing.assert_close(made.weight @ made.weight.T, torch.eye(8), atol=1e-5, rtol=0)


def test_the_environment_overrides_auto_only(monkeypatch):
    monkeypatch.setenv("DELREC_ENGINE", "reference")
    made = RecurrentDelays(4)
    made(torch.zeros(3, 2, 4))
    assert made.engine_used == "reference"
    monkeypatch.setenv("DELREC_ENGINE", "abacus")
    with pytest.raises(ValueError, match="DELREC_ENGINE.*abacus"):
        made(torch.zeros(3, 2, 4))
    explicit = RecurrentDelays(4, engine="reference", neuron=LIF(surrogate=Triangle(1.0)))
    explicit(torch.zeros(3, 2, 4))
    assert explicit.engine_used == "reference"


@pytest.mark.parametrize("assign", [False, True])
def test_layers_from_the_meta_device_compute_what_their_state_dict_says(assign):
    def build():
        torch.manual_seed(0)
        kinds = [RecurrentDelays(6, delays=kind, learn_spread=kind != "none", sigma=2.0, max_delay=9) for kind in FORMS]
        return nn.ModuleList([*kinds, FeedforwardDelays(6, 4, window=8, kernel="gauss", spread=2.0), BatchNorm(6)])

    there = build()
    with torch.device("meta"):
        made = build()
    assert "delay_kind='axonal'" in repr(made)
    if not assign:
        made.to_empty(device="cpu")
        for tensor in (*made.parameters(), *made.buffers()):  # memory as it is found
            tensor.data.fill_(7)
    made.load_state_dict(there.state_dict(), assign=assign)
    for one, other in zip(there, made, strict=True):
        assert torch.equal(one(current(size=6).float()), other(current(size=6).float()))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("batch_first", [False, True])
def test_single_steps_equal_the_sequence(engine, batch_first):
    made, x = layer(size=6, engine=engine, batch_first=batch_first), current(size=6)
    plain = SpikingLayer(6, engine=engine, batch_first=batch_first).double()
    delayed = FeedforwardDelays(6, 6, window=4, engine=engine, batch_first=batch_first).double()
    for part in (made, plain, delayed):
        state, steps = None, []
        for now in x:
            out, state = part.step(now, state)
            steps.append(out)
        whole = part(x.transpose(0, 1)).transpose(0, 1) if batch_first else part(x)
        torch.testing.assert_close(torch.stack(steps), whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "changes", [{}, {"momentum": None}, {"track_running_stats": False}, {"weight": None, "bias": None}]
)
@pytest.mark.parametrize("batch_first", [False, True])
def test_batch_norm_is_torchs_over_time_and_batch(batch_first, changes):
    ours, theirs = BatchNorm(5, momentum=0.3, batch_first=batch_first), nn.BatchNorm1d(5, momentum=0.3)
    for norm, (name, value) in product((ours, theirs), changes.items()):
        setattr(norm, name, value)
    for _ in range(3):
        x = torch.randn(7, 3, 5) * 2 + 1
        given = (x.transpose(0, 1) if batch_first else x).requires_grad_()
        out, expected = ours(given), theirs(given.flatten(0, 1)).view_as(given)
        torch.testing.assert_close(out, expected)
        pull, leaves = torch.randn(out.shape), [given, *ours.parameters()]
        grads = torch.autograd.grad(out, leaves, pull)
        leaves[1:] = theirs.parameters()
        torch.testing.assert_close(grads, torch.autograd.grad(expected, leaves, pull))
    torch.testing.assert_close(dict(ours.state_dict()), dict(theirs.state_dict()))
    ours.eval(), theirs.eval()
    torch.testing.assert_close(ours(x[0]), theirs(x[0]))


def test_batch_norm_may_train_on_what_it_gave_in_evaluation_and_be_exported():
    norm, x = BatchNorm(5), torch.randn(8, 5, requires_grad=True)
    (norm.eval()(x) * norm.train()(x)).sum().backward()
    assert x.grad.abs().max() > 0
    exported = torch.export.export(norm, (x.detach(),)).module()
    torch.testing.assert_close(exported(x), norm(x))


def test_the_bits_of_a_channel_do_not_depend_on_how_many_there_are():
    # behind the last whole vector, torch's builds round the gradient with or without fused multiply-adds
    x, pull, results = torch.randn(3200, 16) + 1, torch.randn(3200, 16), []
    for size in (16, 13):
        norm, given = BatchNorm(size), x[:, :size].clone().requires_grad_()
        grads = torch.autograd.grad(out := norm(given), [given, norm.weight], pull[:, :size])
        results.append([out, *grads, norm.running_mean, norm.running_var])
    assert all(torch.equal(wide[..., :13], narrow) for wide, narrow in zip(*results, strict=True))


@pytest.mark.parametrize("batch_first", [False, True])
def test_batch_norm_sees_each_samples_own_steps(batch_first):
    x, lengths = torch.randn(7, 3, 5), [7, 2, 4]
    own = torch.cat([x[:n, b] for b, n in enumerate(lengths)])
    expected = nn.BatchNorm1d(5)(own)
    norm = BatchNorm(5, batch_first=batch_first)
    out = norm(x.transpose(0, 1) if batch_first else x, lengths)
    out = out.transpose(0, 1) if batch_first else out
    torch.testing.assert_close(torch.cat([out[:n, b] for b, n in enumerate(lengths)]), expected)
    assert not out[2:, 1].any() and not out[4:, 2].any()
    with pytest.raises(ValueError, match="lengths holds 8"):
        norm(x.transpose(0, 1) if batch_first else x, [8, 1, 1])


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
