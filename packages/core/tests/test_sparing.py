"""What a sparing engine keeps for the backward pass is less, and its numbers are the same to the bit."""

import itertools
from contextlib import nullcontext
from typing import ClassVar

import pytest
import torch
from delrec import Network, NetworkConfig, RecurrentDelays
from delrec.engines import engine_for
from delrec.sparing import Bits
from problems import COMPILED_ON, F64
from torch import nn
from torch.func import functional_call
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

COMPILED = pytest.mark.parametrize(("engine", "device"), COMPILED_ON)


def network(engine, device, kind=Network, recurrence=RecurrentDelays, **changes):
    torch.manual_seed(0)
    chosen = dict(
        hidden=(37, 41),
        classes=5,
        recurrent="axonal",
        batch_norm=True,
        dropout=0.4,
        delay_init="uniform",
        delay_high=3.0,
    )
    config = NetworkConfig(inputs=33, engine=engine, **(chosen | changes))
    return kind(config, recurrence=recurrence).to(device, F64)


def batch(device, steps=5):
    drawn = torch.rand(steps, 4, 33, generator=torch.Generator().manual_seed(1), dtype=F64)
    return (drawn * 3 * (drawn > 0.5)).to(device), torch.tensor([0, 1, 4, 2], device=device)


def trained(made, inputs, target, spares, lengths=None):
    """The loss and the gradients of a step."""
    torch.manual_seed(2)
    made.zero_grad()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(engine_for(made.config.engine, inputs.device.type)[0]), "sparing", spares)
        loss = made.loss(made.classify(inputs, lengths), target) + made.penalty()
        loss.backward()
    return [loss.detach(), *(p.grad.clone() for p in made.parameters() if p.grad is not None)]


@pytest.mark.parametrize(("size", "steps"), [(1, 1), (8, 3), (37, 5)])
def test_spikes_come_back_from_their_bits(size, steps):
    draw = torch.Generator().manual_seed(size)
    spikes = (torch.rand(steps, 3, size, generator=draw) < 0.4).float()
    for factor in (1.0, (torch.rand(3, size, generator=draw) < 0.7) / 0.7):
        packed = Bits.of(spikes * factor)
        assert torch.equal(packed.spikes(), spikes * factor)
        assert packed.bits.numel() == steps * 3 * -(-size // 8)


@COMPILED
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"dropout_mask": "step", "readout_norm": True, "readout": "leaky"},
        {"dropout": 0.0, "batch_norm": False, "spike_penalty": 0.1},
        {"order": "dropout-spike", "recurrent": "none"},
    ],
)
def test_a_step_is_the_same_to_the_bit(changes, engine, device):
    made, (inputs, target) = network(engine, device, **changes), batch(device)
    for lengths in (None, [5, 2, 4, 5]):
        ours, theirs = (trained(made, inputs, target, spares, lengths) for spares in (True, False))
        assert len(ours) == len(theirs) > 8
        assert all(map(torch.equal, ours, theirs))
        assert any(g.abs().max() > 0 for g in ours[1:])


def held(step):
    """Bytes that a call leaves behind, by torch's own account of the memory of this machine."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        kept = step()
    return sum(e.nbytes() for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"), kept


@pytest.mark.parametrize("whole", [True, False])
def test_it_keeps_a_third(whole, monkeypatch):
    """Of three arrays of numbers a layer (inputs of the map and of the norm, trace) the trace is left."""
    found = {}
    for spares, steps in itertools.product((False, True), (20, 60)):
        monkeypatch.setattr(type(engine_for("cpu", "cpu")[0]), "sparing", spares)
        made = network("cpu", "cpu", hidden=(64, 64, 64))
        inputs, target = batch("cpu", steps)
        lengths = None if whole else [steps, steps - 3, steps, steps - 1]
        made.loss(made.classify(inputs), target)
        found[spares, steps] = held(lambda m=made, x=inputs, y=target, own=lengths: m.loss(m.classify(x, own), y))[0]
    plain, less = (found[spares, 60] - found[spares, 20] for spares in (False, True))
    array = 40 * 4 * 64 * 8
    assert 5.5 * array < plain < 9.5 * array
    assert 2.9 * array < less < 4 * array


@COMPILED
def test_an_edit_before_the_backward_pass_is_an_error(engine, device, monkeypatch):
    monkeypatch.setattr(type(engine_for(engine, device)[0]), "sparing", True)
    made, (inputs, target) = network(engine, device), batch(device)
    one, two = (block.connection.weight for block in made.blocks)
    for edited in (two, made.blocks[1].norm.weight, one, inputs):
        loss = made.loss(made.classify(inputs), target)
        with torch.no_grad():
            edited.mul_(0.5)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()
    loss = made.loss(made.classify(inputs), target)
    wanted = list(made.parameters())
    once, again = (torch.autograd.grad(loss, wanted, retain_graph=True, allow_unused=True) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True) if a is not None)


def scaled(module, given, out=None):
    """A hook that changes what passes, more at later steps: before a module, or after it."""
    values = given[0] if out is None else out
    made = values * torch.arange(1, len(values) + 1, device=values.device, dtype=values.dtype).view(-1, 1, 1)
    return (made, *given[1:]) if out is None else made


class Graded(RecurrentDelays):
    def forward(self, current, *given, **more):
        return super().forward(current, *given, **more) * current.detach().abs()


class Summed(Network):
    def hidden_spikes(self, inputs, lengths=None):
        spikes, own = super().hidden_spikes(inputs, lengths)
        return spikes.cumsum(0), own


def changed(what, made):
    """Networks of somebody's own, in which spikes are none any more, or a product is not what it was."""
    block = made.blocks[1]
    if what == "hooks":
        made.blocks[0].register_forward_hook(scaled)
        block.register_forward_pre_hook(scaled)
    elif what == "of the parts":
        made.blocks[0].spiking.register_forward_hook(scaled)
        block.connection.register_forward_hook(lambda module, given, out: out + torch.randn_like(out))
    elif what == "spectral norm":
        nn.utils.parametrizations.spectral_norm(block.connection)
        nn.utils.spectral_norm(made.readout)
    elif what == "dropout":
        block.dropped = lambda values: values * torch.randn_like(values)
        made.blocks[0].dropped = block.dropped
    elif what == "a norm":
        block.norm = nn.Sequential(nn.Hardtanh(inplace=True), nn.BatchNorm1d(41)).to(block.norm.weight)
    elif what == "a forward of its own":
        for one in made.blocks:
            one.connection.forward = lambda x, usual=one.connection.forward: (
                usual(x) * torch.linspace(1, 2, 5)[:, None, None].to(x)
            )
    elif what == "other numbers":
        made.blocks[0].spiking.register_forward_hook(
            lambda module, given, out: setattr(out, "data", out.data * 0.5 + 0.1)
        )
    elif what == "a wrapped layer":
        block.spiking = Wrapped(block.spiking)
    return made


class Wrapped(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, current, lengths=None):
        return self.inner(current, lengths=lengths) - 0.25


@COMPILED
@pytest.mark.parametrize(
    "what",
    [
        "hooks",
        "of the parts",
        "spectral norm",
        "dropout",
        "a norm",
        "a wrapped layer",
        "a forward of its own",
        "other numbers",
        "recurrence",
        "network",
    ],
)
def test_networks_of_ones_own_have_their_own_gradients(what, engine, device):
    """Each was seen to have another gradient, in silence."""
    found = []
    for spares in (True, False):
        torch.manual_seed(0)
        kind, more = Summed if what == "network" else Network, {"recurrence": Graded} if what == "recurrence" else {}
        made = changed(what, network(engine, device, kind, **more))
        found.append(trained(made, *batch(device), spares))
    assert all(map(torch.equal, *found))


@COMPILED
def test_a_call_with_other_weights_has_their_gradients(engine, device, monkeypatch):
    """The backward pass multiplied by the module's own again."""
    made, (inputs, target) = network(engine, device), batch(device)
    values = {n: (p.detach() * 1.5).requires_grad_(p.requires_grad) for n, p in made.named_parameters()}
    found = []
    for spares in (True, False):
        monkeypatch.setattr(type(engine_for(engine, device)[0]), "sparing", spares)
        torch.manual_seed(2)
        loss = made.loss(functional_call(made, values, (inputs,)).sum(0), target)
        wanted = [v for v in values.values() if v.requires_grad]
        found.append([g for g in torch.autograd.grad(loss, wanted, allow_unused=True) if g is not None])
    assert len(found[0]) > 8 and all(map(torch.equal, *found))


def spent(kept, made, inputs, target):
    """Whether the scan of every block wrote over its current: `kept` is what `watch` saw of them."""
    kept.clear()
    made.loss(made.classify(inputs), target).backward()
    return [not torch.equal(current, before) for current, before in kept]


def watch(monkeypatch, kept):
    """See, beneath every layer, what an engine is given: the tensor, and its numbers as they were."""
    from delrec.engines import triton

    def seen(engine, request, usual=triton.Triton.scan):
        kept.append((request.current.detach(), request.current.detach().clone()))
        return usual(engine, request)

    monkeypatch.setattr(triton.Triton, "scan", seen)


ON_TRITON = pytest.mark.parametrize(("engine", "device"), COMPILED_ON[1:])
LAYOUTS = [
    {},
    {"batch_norm": False, "order": "dropout-spike"},
    {"order": "dropout-spike", "dropout_mask": "step", "recurrent": "none"},
]


@ON_TRITON
@pytest.mark.parametrize("changes", LAYOUTS)
def test_a_trace_lies_where_a_current_of_nobodys_was(changes, engine, device, monkeypatch):
    """An array less at the peak of a forward pass."""
    kept = []
    watch(monkeypatch, kept)
    made, (inputs, target) = network(engine, device, **changes), batch(device, steps=3)
    assert spent(kept, made, inputs, target) == [True, True]
    with torch.no_grad():
        made.classify(inputs)
    assert all(torch.equal(current, before) for current, before in kept[2:]), "no trace is kept"
    monkeypatch.setattr(type(engine_for(engine, device)[0]), "sparing", False)
    assert spent(kept, made, inputs, target) == [False, False]


class Kept(RecurrentDelays):
    def forward(self, current, *given, **more):
        self.last = current
        return super().forward(current, *given, **more)


def dropping(values):
    dropping.last = values
    return values


class Watched(nn.Parameter):
    """Is shown all that is computed with it, and keeps it."""

    shown: ClassVar = []

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        with torch._C.DisableTorchFunctionSubclass():
            out = func(*args, **(kwargs or {}))
        cls.shown.append(out)
        return out


class Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


@ON_TRITON
@pytest.mark.parametrize(
    "what",
    [
        "a hook",
        "a hook of all",
        "a subclass",
        "an instance",
        "a class",
        "a wrapper",
        "a weight of one's own",
        "weights of a norm of one's own",
        "a compiled map",
        "a call",
        "torch's own",
        "a private method",
        "a norm",
        "a map",
        "dropout",
        "a mode",
    ],
)
def test_a_current_that_somebody_may_have_is_left_as_it_was(what, engine, device, monkeypatch):
    kept, mode, handle = [], nullcontext(), None
    watch(monkeypatch, kept)
    made = network(engine, device, recurrence=Kept if what == "a subclass" else RecurrentDelays, order="dropout-spike")
    for block in made.blocks:
        layer, norm = block.spiking, block.norm
        if what == "a hook":
            layer.register_forward_pre_hook(lambda module, given: None)
        elif what == "an instance":
            layer.forward = lambda current, lengths=None, usual=layer.forward: usual(current, lengths=lengths)
        elif what == "a weight of one's own":
            block.connection.weight = Watched(block.connection.weight.detach())
        elif what == "weights of a norm of one's own":
            norm.weight = Watched(norm.weight.detach())
        elif what == "a compiled map":
            block.connection.compile(backend=lambda graph, inputs: graph)
        elif what == "a private method":
            layer._scan = layer._scan
        elif what == "a wrapper":
            block.spiking = Wrapped(layer)
        elif what == "a norm":
            block.norm = nn.Sequential(norm, nn.Sigmoid())  # which keeps what it gives
        elif what == "a map":
            block.connection = nn.Sequential(block.connection)
        elif what == "dropout":
            block.dropped = dropping
    if what == "a hook of all":
        handle = nn.modules.module.register_module_forward_pre_hook(lambda module, given: None)
    elif what == "a class":
        usual = RecurrentDelays.forward
        monkeypatch.setattr(RecurrentDelays, "forward", lambda self, *given, **more: usual(self, *given, **more))
    elif what == "a call":
        usual = nn.Module.__call__
        monkeypatch.setattr(nn.Module, "__call__", lambda self, *given, **more: usual(self, *given, **more))
    elif what == "torch's own":
        usual = nn.functional.linear
        monkeypatch.setattr(nn.functional, "linear", lambda *given: usual(*given))
    elif what == "a mode":
        mode = Mode()
    inputs, target = batch(device, steps=2)
    with mode:
        found = spent(kept, made, inputs, target)
    if handle is not None:
        handle.remove()
    assert found == [False, False]


@ON_TRITON
def test_a_layer_that_is_called_by_hand_leaves_what_it_is_given(engine, device):
    """The output of one network is the current of another layer: it is somebody's."""
    made, (inputs, _) = network(engine, device, classes=41), batch(device)
    out = made(inputs)
    before = out.detach().clone()
    made.blocks[1].spiking(out).sum().backward()
    assert torch.equal(out, before)


@ON_TRITON
@pytest.mark.parametrize("lengths", [None, [5, 2, 4, 5]])
def test_what_is_read_again_is_left(lengths, engine, device, monkeypatch):
    """Segments read the current again in the backward pass; samples of their own lengths need the trace handed out."""
    kept = []
    watch(monkeypatch, kept)
    made, (inputs, target) = network(engine, device), batch(device)
    for block in made.blocks:
        block.spiking.segment = 2 if lengths is None else None
    plain, ours = (trained(made, inputs, target, spares, lengths) for spares in (False, True))
    assert all(torch.equal(current, before) for current, before in kept)
    assert all(map(torch.equal, ours, plain))


def test_it_leaves_alone_what_it_may_not_touch(monkeypatch):
    """Autocast around the backward pass, and where nobody may hook what autograd keeps."""
    monkeypatch.setattr(type(engine_for("cpu", "cpu")[0]), "sparing", True)
    made, (inputs, target) = network("cpu", "cpu").float(), batch("cpu")
    loss = made.loss(made.classify(inputs.float()), target)
    with torch.autocast("cpu", torch.bfloat16):
        loss.backward()
    seen = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: seen.append(t.shape) or t, lambda t: t):
        made.loss(made.classify(inputs.float()), target).backward()
    assert (20, 41) in seen, "what a norm is given, to hooks of one's own"
    with torch.autograd.graph.disable_saved_tensors_hooks("none here"):
        made.loss(made.classify(inputs.float()), target).backward()
