"""A compiled engine is never silently wrong: each fault once seen, by name."""

import pytest
import torch
from delrec import LIF, FeedforwardDelays
from delrec.delays import kernel_length
from delrec.engines import EngineError, Request, State, interface, scan
from delrec.foreign import as_neuron
from delrec.linear import SpikeLinear
from problems import COMPILED_ON, F64

COMPILED = pytest.mark.parametrize(("engine", "device"), COMPILED_ON)
MAPS = pytest.mark.parametrize("make", [SpikeLinear, lambda i, o, **k: FeedforwardDelays(i, o, window=5, **k)])
WIDE = 36  # inputs: of fewer than 32 the triton engine leaves a map to torch


def recurrent(device, form="axonal", steps=12, batch=3, size=6, dtype=F64, **more):
    draw = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=draw, dtype=F64).to(device, dtype)

    shape = (size, size) if form == "synaptic" else (size,)
    delay = torch.rand(shape, generator=draw, dtype=F64).to(device, dtype) * 4
    return {
        "current": (normal(steps, batch, size) + 0.8).requires_grad_(),
        "neuron": LIF().attach(size).to(device),
        "weight": (normal(size, size) * 0.6).requires_grad_(),
        "delay": delay.requires_grad_(),
        "width": torch.full((), 1.5, dtype=dtype, device=device).requires_grad_(),
    } | more


def run(engine, **arguments):
    return scan(engine, Request(**arguments))


@COMPILED
@pytest.mark.parametrize("form", ["axonal", "synaptic"])
@pytest.mark.parametrize("name", ["weight", "delay", "width"])
def test_a_tensor_scaled_in_place_between_forward_and_backward_is_an_error(engine, device, form, name):
    arguments = recurrent(device, form)
    for which in (engine, *(["reference"] if name == "weight" else [])):
        out = run(which, **arguments)
        with torch.no_grad():
            arguments[name].mul_(0.5)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            out.spikes.sum().backward()


def sparse(device, *shape):
    drawn = torch.rand(shape, generator=torch.Generator().manual_seed(1)) < 0.1
    return drawn.to(device, F64).requires_grad_()


@MAPS
@COMPILED
def test_a_linear_maps_weight_scaled_in_place_is_an_error(make, engine, device):
    layer = make(WIDE, 9, engine=engine).to(device, F64)
    out = layer(sparse(device, 6, 4, WIDE))
    with torch.no_grad():
        layer.weight.mul_(0.5)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


@MAPS
@COMPILED
def test_an_input_edited_in_place_changes_no_gradient_in_silence(make, engine, device):
    layer, gradients = make(WIDE, 9, engine=engine).to(device, F64), []
    for edit in (False, True):
        x = sparse(device, 6, 4, WIDE).detach()
        out = layer(x)
        if edit:
            x.zero_()
        try:
            gradients += torch.autograd.grad(out.sum(), layer.weight)
        except RuntimeError as error:  # of an engine that keeps the input itself
            assert edit and "modified by an inplace operation" in str(error)
            return
    assert torch.equal(*gradients)


@COMPILED
@pytest.mark.parametrize("kind", ["scan", "linear", "delays"])
def test_double_backward_is_refused_by_name(kind, engine, device):
    if (kind, engine) == ("linear", "triton"):
        pytest.skip("torch's product, which has second gradients")
    if kind == "scan":
        arguments = recurrent(device)
        leaf, out = arguments["weight"], run(engine, **arguments).spikes
    else:
        make = SpikeLinear if kind == "linear" else lambda i, o, **k: FeedforwardDelays(i, o, window=5, **k)
        layer = make(WIDE, 9, engine=engine).to(device, F64)
        leaf, out = layer.weight, layer(sparse(device, 6, 4, WIDE))
    with pytest.raises(RuntimeError, match=f"{engine} engine gives first gradients only.*engine='reference'"):
        torch.autograd.grad(out.sum(), leaf, create_graph=True)


@COMPILED
def test_two_forwards_before_one_backward_and_a_retained_graph(engine, device):
    arguments = recurrent(device)
    first, second = run(engine, **arguments), run(engine, **arguments)
    once = torch.autograd.grad(first.spikes.sum(), arguments["weight"], retain_graph=True)[0]
    again = torch.autograd.grad(first.spikes.sum() + second.spikes.sum(), arguments["weight"])[0]
    assert torch.equal(again, 2 * once) and once.abs().max() > 0


@COMPILED
@pytest.mark.parametrize("form", ["axonal", "synaptic"])
@pytest.mark.parametrize("dtypes", [(torch.float32, F64), (F64, torch.float32), (torch.float32, torch.bfloat16)])
def test_delays_are_never_rounded_to_the_dtype_of_the_input(form, dtypes, engine, device):
    """In bfloat16 a delay of 300.4 had three taps of weight 1, and 20.3 was 20.25."""
    of_input, of_delay = dtypes
    arguments = {
        k: v.detach() if isinstance(v, torch.Tensor) else v for k, v in recurrent(device, form, dtype=of_input).items()
    }
    arguments["delay"] = (arguments["delay"] + 0.3).to(of_delay).requires_grad_()
    arguments["width"] = torch.tensor(1.0, dtype=of_delay, device=device)
    ours = run(engine, **arguments)
    precise = {k: v.to(F64) if isinstance(v, torch.Tensor) else v for k, v in arguments.items()}
    wanted = run("reference", **precise)
    assert torch.equal(ours.spikes.double(), wanted.spikes)
    (g,) = torch.autograd.grad((ours.spikes * ours.spikes.detach().cumsum(0)).sum(), arguments["delay"])
    assert g.dtype == of_delay and torch.isfinite(g).all()


@COMPILED
def test_a_graded_history_is_refused_not_made_binary(engine, device):
    """An engine keeps spikes as bits: values of 0.5 were taken for 1, 495 spikes for 480."""
    arguments = recurrent(device, steps=4)
    history = torch.full((9, 3, 6), 0.5, dtype=F64, device=device)
    state = State((history[0],), history)
    with pytest.raises(EngineError, match="history holds other values than 0 and 1"):
        run(engine, **arguments, state=state)
    interface._warned.clear()
    with pytest.warns(RuntimeWarning, match="history"):
        assert run("auto", **arguments, state=state).engine == "reference"


@COMPILED
@pytest.mark.parametrize("steps", [3, 12])
def test_the_state_is_no_view_of_the_output(steps, engine, device):
    out = run(engine, **recurrent(device, steps=steps), trace=True)
    kept = out.final.history.clone(), out.final.states[0].clone()
    with torch.no_grad():
        out.spikes.fill_(7)
        out.states[0].fill_(7)
    assert torch.equal(out.final.history, kept[0]) and torch.equal(out.final.states[0], kept[1])
    assert out.final.history.untyped_storage().nbytes() == out.final.history.numel() * 8


@COMPILED
@pytest.mark.parametrize("keep", [1, 4, 12, 40])
def test_keep_says_how_many_past_steps_the_state_holds(keep, engine, device):
    arguments = recurrent(device)
    ours, theirs = (run(e, **arguments, keep=keep).final for e in (engine, "reference"))
    assert ours.history.shape[0] == min(keep, 13) and ours.cut == theirs.cut
    assert torch.equal(ours.history, theirs.history)


@COMPILED
def test_the_history_reaches_as_far_as_the_longest_delay(engine, device):
    arguments = recurrent(device, steps=15)
    held = run(engine, **arguments).final.history.shape[0]
    assert held == kernel_length(arguments["delay"], arguments["width"]) - 1


@COMPILED
def test_a_gradient_through_the_final_state_equals_the_references(engine, device):
    found = []
    for name in (engine, "reference"):
        arguments = recurrent(device)
        end = run(name, **arguments).final
        loss = (end.states[0] * torch.arange(6, device=device)).sum() + (
            end.history * torch.arange(18.0, device=device).view(3, 6)
        ).sum()
        found.append(torch.autograd.grad(loss, [arguments["current"], arguments["weight"], arguments["delay"]]))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@COMPILED
def test_a_foreign_neuron_is_refused_with_a_reason(engine, device):
    foreign = as_neuron(lambda current, state: (current, current)).attach(6)
    with pytest.raises(EngineError, match="cannot compile ForeignNeuron: its step is code of another library"):
        run(engine, **recurrent(device, neuron=foreign))
