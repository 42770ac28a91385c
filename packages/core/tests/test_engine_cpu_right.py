"""The cpu engine is never silently wrong: each fault once seen, by name."""

import pytest
import torch
from delrec import LIF, FeedforwardDelays
from delrec.delays import kernel_length
from delrec.engines import EngineError, Request, State, interface, scan
from delrec.foreign import as_neuron
from delrec.linear import SpikeLinear

F64 = torch.float64


def recurrent(form="axonal", steps=12, batch=3, size=6, dtype=F64, **more):
    draw = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=draw, dtype=F64).to(dtype)

    delay = torch.rand((size, size) if form == "synaptic" else (size,), generator=draw, dtype=F64).to(dtype) * 4
    return {
        "current": (normal(steps, batch, size) + 0.8).requires_grad_(),
        "neuron": LIF().attach(size),
        "weight": (normal(size, size) * 0.6).requires_grad_(),
        "delay": delay.requires_grad_(),
        "width": torch.full((), 1.5, dtype=dtype).requires_grad_(),
    } | more


def run(engine="cpu", **arguments):
    return scan(engine, Request(**arguments))


@pytest.mark.parametrize("form", ["axonal", "synaptic"])
@pytest.mark.parametrize(
    ("engine", "name"), [("reference", "weight"), ("cpu", "weight"), ("cpu", "delay"), ("cpu", "width")]
)
def test_a_tensor_scaled_in_place_between_forward_and_backward_is_an_error(engine, form, name):
    arguments = recurrent(form)
    out = run(engine, **arguments)
    with torch.no_grad():
        arguments[name].mul_(0.5)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.spikes.sum().backward()


def sparse(*shape):
    return (torch.rand(shape, generator=torch.Generator().manual_seed(1)) < 0.1).to(F64).requires_grad_()


@pytest.mark.parametrize("make", [SpikeLinear, lambda i, o, **k: FeedforwardDelays(i, o, window=5, **k)])
def test_a_linear_maps_weight_scaled_in_place_is_an_error(make):
    layer = make(20, 9, engine="cpu").to(F64)
    out = layer(sparse(12, 4, 20))
    with torch.no_grad():
        layer.weight.mul_(0.5)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


@pytest.mark.parametrize("make", [SpikeLinear, lambda i, o, **k: FeedforwardDelays(i, o, window=5, **k)])
def test_an_input_edited_in_place_does_not_change_the_gradient(make):
    layer, gradients = make(20, 9, engine="cpu").to(F64), []
    for edit in (False, True):
        x = sparse(12, 4, 20).detach()
        out = layer(x)
        if edit:
            x.zero_()
        (g,) = torch.autograd.grad(out.sum(), layer.weight)
        gradients.append(g)
    assert torch.equal(*gradients)


@pytest.mark.parametrize("kind", ["scan", "linear", "delays"])
def test_double_backward_is_refused_by_name(kind):
    if kind == "scan":
        arguments = recurrent()
        leaf, out = arguments["weight"], run(**arguments).spikes
    else:
        layer = (
            SpikeLinear(20, 9, engine="cpu") if kind == "linear" else FeedforwardDelays(20, 9, window=5, engine="cpu")
        ).to(F64)
        leaf, out = layer.weight, layer(sparse(12, 4, 20))
    with pytest.raises(RuntimeError, match="cpu engine gives first gradients only.*engine='reference'"):
        torch.autograd.grad(out.sum(), leaf, create_graph=True)


def test_two_forwards_before_one_backward_and_a_retained_graph():
    arguments = recurrent()
    first, second = run(**arguments), run(**arguments)
    once = torch.autograd.grad(first.spikes.sum(), arguments["weight"], retain_graph=True)[0]
    again = torch.autograd.grad(first.spikes.sum() + second.spikes.sum(), arguments["weight"])[0]
    assert torch.equal(again, 2 * once) and once.abs().max() > 0


@pytest.mark.parametrize("form", ["axonal", "synaptic"])
@pytest.mark.parametrize("dtypes", [(torch.float32, F64), (F64, torch.float32), (torch.float32, torch.bfloat16)])
def test_delays_are_never_rounded_to_the_dtype_of_the_input(form, dtypes):
    """In bfloat16 a delay of 300.4 had three taps of weight 1, and 20.3 was 20.25."""
    of_input, of_delay = dtypes
    arguments = {
        k: v.detach() if isinstance(v, torch.Tensor) else v for k, v in recurrent(form, dtype=of_input).items()
    }
    arguments["delay"] = (arguments["delay"] + 0.3).to(of_delay).requires_grad_()
    arguments["width"] = torch.tensor(1.0, dtype=of_delay)
    ours = run(**arguments)
    precise = {k: v.to(F64) if isinstance(v, torch.Tensor) else v for k, v in arguments.items()}
    wanted = run("reference", **precise)
    assert torch.equal(ours.spikes.double(), wanted.spikes)
    (g,) = torch.autograd.grad((ours.spikes * ours.spikes.detach().cumsum(0)).sum(), arguments["delay"])
    assert g.dtype == of_delay and torch.isfinite(g).all()


def test_a_graded_history_is_refused_not_made_binary():
    """The engine keeps spikes as bits: values of 0.5 were taken for 1, 495 spikes for 480."""
    arguments = recurrent(steps=4)
    history = torch.full((9, 3, 6), 0.5, dtype=F64)
    state = State((torch.zeros(3, 6, dtype=F64),), history)
    with pytest.raises(EngineError, match="history holds other values than 0 and 1"):
        run(**arguments, state=state)
    interface._warned.clear()
    with pytest.warns(RuntimeWarning, match="history"):
        assert run("auto", **arguments, state=state).engine == "reference"


@pytest.mark.parametrize("steps", [3, 12])
def test_the_state_is_no_view_of_the_output(steps):
    out = run(**recurrent(steps=steps), trace=True)
    kept = out.final.history.clone(), out.final.states[0].clone()
    with torch.no_grad():
        out.spikes.fill_(7)
        out.states[0].fill_(7)
    assert torch.equal(out.final.history, kept[0]) and torch.equal(out.final.states[0], kept[1])
    assert out.final.history.untyped_storage().nbytes() == out.final.history.numel() * 8


@pytest.mark.parametrize("keep", [1, 4, 12, 40])
def test_keep_says_how_many_past_steps_the_state_holds(keep):
    arguments = recurrent()
    ours, theirs = (run(e, **arguments, keep=keep).final for e in ("cpu", "reference"))
    assert ours.history.shape[0] == min(keep, 13) and ours.cut == theirs.cut
    assert torch.equal(ours.history, theirs.history)


def test_the_history_reaches_as_far_as_the_longest_delay():
    arguments = recurrent(steps=30)
    held = run(**arguments).final.history.shape[0]
    assert held == kernel_length(arguments["delay"], arguments["width"]) - 1


def test_a_gradient_through_the_final_state_equals_the_references():
    found = []
    for engine in ("cpu", "reference"):
        arguments = recurrent()
        end = run(engine, **arguments).final
        loss = (end.states[0] * torch.arange(6)).sum() + (end.history * torch.arange(18.0).view(3, 6)).sum()
        found.append(torch.autograd.grad(loss, [arguments["current"], arguments["weight"], arguments["delay"]]))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_a_foreign_neuron_and_odd_coefficients_are_refused_with_a_reason():
    foreign = as_neuron(lambda current, state: (current, current)).attach(6)
    with pytest.raises(EngineError, match="cannot compile a foreign neuron"):
        run(**recurrent(neuron=foreign))

    class Other(LIF):
        def advance(self, spike, states, current, coefficients):
            return super().advance(spike, states, 2 * current, coefficients)

    with pytest.raises(EngineError, match="cannot compile Other, which takes its step by an `advance`"):
        run(**recurrent(neuron=Other().attach(6)))

    class PerRow(LIF):
        def coefficients(self):
            return tuple(c.expand(3, 6) for c in super().coefficients())

    with pytest.raises(EngineError, match=r"coefficients of shape \(\) or \(N,\), not \(3, 6\)"):
        run(**recurrent(neuron=PerRow().attach(6)))
