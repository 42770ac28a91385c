"""State from call to call, lengths, layouts: explicit in every layer, carried by Stateful."""

import copy
from itertools import product

import pytest
import torch
from delrec import LIF, ATan, DelayInit, FeedforwardDelays, RecurrentDelays, SpikingLayer, State, Stateful
from problems import ENGINES, F64, SLOWLY, current, gradients, layer
from torch import nn
from torch.utils.checkpoint import checkpoint

FORMS = ["axonal", "synaptic", "shared", "none"]
HARD = {"neuron": LIF(reset="hard", surrogate=ATan(5.0)), "learn_spread": True}


@pytest.mark.parametrize(
    ("engine", "delays", "options"),
    [
        *product(["reference", "cpu"], FORMS, [{}, {"max_delay": 5}, {"batch_first": True}, HARD]),
        pytest.param("triton", "axonal", {"max_delay": 5, "batch_first": True}, marks=SLOWLY),
    ],
)
def test_calls_that_hand_the_state_on_equal_one_call(delays, engine, options):
    options = options | ({"learn_spread": False} if delays == "none" else {})
    made, x = layer(delays, engine, **options), current().requires_grad_()
    axis = 1 if made.batch_first else 0
    x = x.transpose(0, axis)
    whole = made(x, return_state=True, return_membrane=True)
    parts, membranes, state = [], [], None
    for part in x.split([5, 1, 9, 9], dim=axis):
        out = made(part, state, return_state=True, return_membrane=True)
        state = out.state
        parts.append(out.spikes)
        membranes.append(out.membrane)
    spikes, membrane = torch.cat(parts, axis), torch.cat(membranes, axis)
    assert torch.equal(spikes, whole.spikes) and 0.05 < spikes.mean() < 0.9
    torch.testing.assert_close(membrane, whole.membrane)
    assert torch.equal(state.history[-1], whole.state.history[-1])
    torch.testing.assert_close(gradients(made, spikes, x), gradients(made, whole.spikes, x), rtol=1e-9, atol=1e-9)


def test_what_was_not_asked_for_is_none():
    made, x = layer(), current()
    assert isinstance(made(x), torch.Tensor)
    assert made(x, return_state=True).membrane is None and made(x, return_membrane=True).state is None


@pytest.mark.parametrize(
    ("engine", "delays"),
    [*product(["reference", "cpu"], FORMS), pytest.param("triton", "synaptic", marks=SLOWLY)],
)
def test_after_its_end_a_sample_is_held_and_silent(delays, engine):
    made, x, lengths = layer(delays, engine), current(batch=4), [24, 0, 7, 1]
    out = made(x, lengths=torch.tensor(lengths, dtype=torch.uint16), return_state=True, return_membrane=True)
    going = made(current(5, 4, seed=5), out.state)
    for b, n in enumerate(lengths):
        alone = made(x[:n, b : b + 1], return_state=True, return_membrane=True)
        assert torch.equal(out.spikes[:n, b : b + 1], alone.spikes) and not out.spikes[n:, b].any()
        for held, own in zip(out.state.states, alone.state.states, strict=True):
            torch.testing.assert_close(held[b : b + 1], own)
        rest = alone.membrane[-1] if n else torch.zeros(1, 6, dtype=F64)
        torch.testing.assert_close(out.membrane[n:, b], rest.expand(24 - n, 6))
        assert torch.equal(going[:, b : b + 1], made(current(5, 4, seed=5)[:, b : b + 1], alone.state))


def test_lengths_pass_gradients_of_own_steps_only():
    made, x = layer(), current().requires_grad_()
    made(x, lengths=[24, 7, 3]).sum().backward()
    assert not x.grad[7:, 1].any() and not x.grad[3:, 2].any() and x.grad[:7, 1].any()


@pytest.mark.parametrize(
    "lengths, said",
    [
        ([1, 2], r"\(2,\) .*3 whole numbers"),
        ([1.0, 2.0, 3.0], "float32: .*whole"),
        ([1, 2, 25], "25: .*0 to 24"),
        ([-1, 2, 3], "-1: .*0 to 24"),
    ],
)
def test_bad_lengths_are_named(lengths, said):
    with pytest.raises(ValueError, match=said):
        layer()(current(), lengths=lengths)


def fitting(made, batch=3):
    return made(current(batch=batch), return_state=True).state


@pytest.mark.parametrize(
    "change, error, said",
    [
        (lambda s: True, TypeError, "bool: .*return_state"),
        (lambda s: s.states[0], TypeError, "Tensor: .*return_state"),
        (lambda s: tuple(s), TypeError, "tuple: .*return_state"),
        (lambda s: s._replace(states=()), ValueError, "0 states; .*1"),
        (lambda s: s.map(lambda t: t[..., :2, :]), ValueError, r"batch 3 .*reset\(\)"),
        (lambda s: s.map(lambda t: t[..., :4]), ValueError, "6 neurons"),
        (lambda s: s.to(torch.float32), ValueError, "float32 .*float64 .*state.to"),
        (lambda s: s._replace(history=s.history[:0]), ValueError, "0 steps"),
        (lambda s: s.map(lambda t: t.to("meta")), ValueError, "meta, .*cpu"),
    ],
)
def test_a_state_that_does_not_fit_is_named(change, error, said):
    made = layer()
    with pytest.raises(error, match=said):
        made(current(), change(fitting(made)))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_state_keeps_enough_for_delays_that_grow(engine):
    short, x = DelayInit("constant", low=2), current(140)
    made = layer(engine=engine, delay_init=short)
    spikes, state, _ = made(x[:100], return_state=True)
    assert state.cut
    made.delay.data.fill_(20)
    grown = layer("axonal", "reference", delay_init=DelayInit("constant", low=20))
    whole = State(state.states, torch.cat([x.new_zeros(1, 3, 6), spikes]))
    assert torch.equal(made(x[100:], state), grown(x[100:], whole))
    made.delay.data.fill_(60)
    with pytest.raises(ValueError, match="max_delay"):
        made(x[100:], state)


@pytest.mark.parametrize("engine", ENGINES)
def test_max_delay_caps_and_its_state_is_always_enough(engine):
    made, x = layer(engine=engine, max_delay=8, delay_init=DelayInit("uniform", low=0, high=30)), current(60)
    assert made.delay.max() <= 8
    made.delay.data.fill_(2)
    state = made(x[:40], return_state=True).state
    made.delay.data.fill_(30)
    assert made.delays().max() == 8
    eight = layer("axonal", "reference", delay_init=DelayInit("constant", low=8))
    assert torch.equal(made(x[40:], state), eight(x[40:], state._replace(cut=False)))


def delayed(**options):
    torch.manual_seed(0)
    return FeedforwardDelays(6, 4, window=7, **options).double()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("batch_first", [False, True])
def test_feedforward_delays_stream(engine, batch_first):
    made, axis = delayed(engine=engine, batch_first=batch_first), int(batch_first)
    x = (current(40) > 1.4).to(F64).transpose(0, axis).requires_grad_()
    whole, parts, state = made(x), [], None
    for part in x.split([3, 1, 20, 16], dim=axis):
        out, state = made(part, state, return_state=True)
        parts.append(out)
    parts = torch.cat(parts, axis)
    torch.testing.assert_close(parts, whole)
    torch.testing.assert_close(gradients(made, parts, x), gradients(made, whole, x))


@pytest.mark.parametrize("right", [0, 3])
def test_feedforward_delays_hear_a_samples_own_steps_only(right):
    made, x = delayed(right_padding=right), current()
    lengths = [24, 9, 0]
    out = made(x, lengths=lengths)
    for b, n in enumerate(lengths):
        alone = made(x[:n, b : b + 1])
        torch.testing.assert_close(out[: n + right, b : b + 1], alone)
        assert not out[n + right :, b].any()
    if right == 0:
        state = made(x, lengths=lengths, return_state=True).state
        for b, n in enumerate(lengths):
            assert torch.equal(state[:, b : b + 1], made(x[:n, b : b + 1], return_state=True).state)


def test_a_feedforward_state_that_does_not_fit_is_named():
    made, x = delayed(), current()
    state = made(x, return_state=True).state
    with pytest.raises(ValueError, match=r"(?s)\(6, 3, 6\).*\(6, 2, 6\)"):
        made(x[:, :2], state)
    with pytest.raises(TypeError, match="bool"):
        made(x, True)
    with pytest.raises(ValueError, match="right_padding = 2"):
        delayed(right_padding=2)(x, return_state=True)


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.delayed = FeedforwardDelays(6, 6, window=4)
        self.first = RecurrentDelays(6, sigma=1.0, delay_init=DelayInit("uniform", low=0, high=6))
        self.second = SpikingLayer(6, neuron=LIF(tau=5.0))

    def forward(self, x):
        return self.second(2 * self.first(3 * self.delayed(x)))


@pytest.mark.parametrize("module", [lambda: layer(), lambda: Own().double()])
@pytest.mark.parametrize("detach", [True, False])
def test_stateful_goes_on_from_call_to_call(module, detach):
    plain = module()
    carried, x = Stateful(copy.deepcopy(plain), detach=detach), current().requires_grad_()
    whole = plain(x)
    out = torch.cat([carried(part) for part in x.split([7, 1, 16])])
    assert torch.equal(out, whole) and out.any()
    pull = torch.arange(out.numel(), dtype=F64).view_as(out).sin()
    (mine,) = torch.autograd.grad((out[8:] * pull[8:]).sum(), x)
    (full,) = torch.autograd.grad((whole[8:] * pull[8:]).sum(), x)
    assert mine[:8].any() != detach
    assert torch.allclose(mine, full) != detach
    carried.reset()
    assert torch.equal(carried(x[:5]), whole[:5])
    assert torch.equal(carried.module(x[:5]), whole[:5]), "the module alone starts from rest"
    assert all("states" not in name for name in carried.state_dict())


def test_stateful_hands_out_what_its_module_is_asked_for():
    carried, x = Stateful(layer()), current()
    carried(x[:9])
    out = carried(x[9:], None, return_membrane=True, lengths=[15, 2, 3])
    assert out.state is None and out.membrane.shape == out.spikes.shape
    assert isinstance(carried(x, return_state=True).state, State)


def test_stateful_in_a_checkpoint_is_refused_and_an_explicit_state_is_right():
    class Inside(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer()

        def forward(self, x):
            return checkpoint(self.layer, 2 * x, use_reentrant=reentrant)

    x = current().requires_grad_()
    for reentrant in (False, True):
        with pytest.raises(RuntimeError, match="'layer' is in a checkpoint, .* pass its state"):
            Stateful(Inside())(x)  # gave the gradients of a run from rest
        with torch.no_grad():
            assert Stateful(Inside())(x).any()
        with pytest.raises(RuntimeError, match="is in a checkpoint"):
            checkpoint(Stateful(layer()), x, use_reentrant=reentrant).sum().backward()
    made, pull = layer(), torch.arange(24 * 18, dtype=F64).view(24, 3, 6).sin()

    def run(wrap):
        first = wrap(lambda x: made(x, return_state=True), x[:9])
        second = wrap(lambda x, s: made(x, s), x[9:], first.state)
        return torch.autograd.grad((torch.cat([first.spikes, second]) * pull).sum(), [x, made.delay, made.weight])

    kept = run(lambda f, *given: checkpoint(f, *given, use_reentrant=False))
    torch.testing.assert_close(kept, run(lambda f, *given: f(*given)))


def test_stateful_trains_after_inference_mode():
    carried, x = Stateful(Own().double()), current()
    expected = carried.module(x)
    with torch.inference_mode():
        first = carried(x[:9])
    second = carried(x[9:])
    assert torch.equal(torch.cat([first, second]), expected)
    second.sum().backward()
    assert carried.module.first.delay.grad.any()


def test_a_copy_of_a_stateful_goes_on_by_itself():
    carried, x = Stateful(layer(), detach=False), current()
    carried(x[:9])
    carried.compile(backend="eager")
    other = copy.deepcopy(carried)
    assert torch.equal(other(x[9:]), carried(x[9:])) and "_compiled_call_impl" not in vars(other)
    other.reset()
    assert carried.states and not other.states


def test_stateful_refuses_what_it_cannot_carry():
    with pytest.raises(ValueError, match="Linear holds no layer"):
        Stateful(nn.Linear(3, 3))
    with pytest.raises(ValueError, match="wrap only the outermost"):
        Stateful(nn.Sequential(Stateful(layer())))
    made = layer()
    twice = Stateful(nn.Sequential(made, made))
    with pytest.raises(RuntimeError, match="twice"):
        twice(current())
    with pytest.raises(RuntimeError, match="given a state"):
        Stateful(made)(current(), fitting(made))
    assert not made._forward_hooks and not made._forward_pre_hooks


def test_stateful_around_what_was_compiled_before_is_refused_or_right():
    torch._dynamo.reset()
    made, x = layer(engine="auto"), current()
    compiled = torch.compile(nn.Sequential(made), backend="eager")
    compiled(x)
    carried = Stateful(compiled)
    try:
        out = torch.cat([carried(x[:9]), carried(x[9:])])
    except RuntimeError as error:
        assert "wrap the module before" in str(error)
    else:
        assert torch.equal(out, made(x))
    right = torch.compile(Stateful(made), backend="eager")
    assert torch.equal(torch.cat([right(x[:9]), right(x[9:])]), made(x))
