"""Manners: what torch does to any module, it may do to every layer, on every engine."""

import copy
import pickle
from functools import partial

import pytest
import torch
from delrec import LIF, DelayInit, FeedforwardDelays, Neuron, RecurrentDelays, SpikeLinear, SpikingLayer, Triangle
from problems import F64, SLOWLY, SmoothATan, gradients, pulled
from torch import nn
from torch.func import functional_call
from torch.optim.swa_utils import AveragedModel
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

N = 6


class Adaptive(Neuron):
    """Two states; the decay of the second is learned."""

    states = ("v", "a")

    def make_parameters(self, size):
        self.fade = nn.Parameter(torch.linspace(0.5, 0.9, size))

    def coefficients(self):
        return 0.7, self.fade

    def step(self, current, state, coefficients):
        (v, a), (leak, fade) = state, coefficients
        v = leak * v + current
        spike = self.spike(v - 1 - a)
        return spike, (v - self.resetting(spike), fade * a + 0.3 * spike)


NEURONS = {
    "soft": lambda: LIF(),
    "learned": lambda: LIF(tau=2.5, learn_tau="neuron"),
    "two states": lambda: Adaptive(Triangle()),
}
START = DelayInit("uniform", low=0, high=5)
TRIANGLE = Triangle()  # made outside of the cell: torch 2.5 cannot trace its construction


def plain_cell(current, state):
    v = torch.zeros_like(current) if state is None else state
    v = 0.5 * v + current
    spike = TRIANGLE.spike(v - 1)
    return spike, v - spike


def recurrent(engine, neuron="soft", **options):
    options = dict(sigma=1.0, delay_init=START) | options
    return RecurrentDelays(N, neuron=NEURONS[neuron](), engine=engine, **options)


LAYERS = {
    "spiking": lambda e: SpikingLayer(N, neuron=LIF(), engine=e),
    **{f"axonal {n}": (lambda e, n=n: recurrent(e, n, learn_spread=True)) for n in NEURONS},
    "synaptic": lambda e: recurrent(e, delays="synaptic"),
    "shared": lambda e: recurrent(e, delays="shared", max_delay=4),
    "none": lambda e: recurrent(e, delays="none"),
    "batch first": lambda e: recurrent(e, batch_first=True),
    "feedforward v1": lambda e: FeedforwardDelays(N, N, window=5, engine=e),
    "feedforward gauss": lambda e: FeedforwardDelays(N, N, window=5, kernel="gauss", spread=1.0, engine=e),
    "linear": lambda e: SpikeLinear(N, N, engine=e),
    "stack": lambda e: nn.Sequential(
        FeedforwardDelays(N, 5, window=5, engine=e),
        RecurrentDelays(5, delay_init=START, engine=e),
        SpikeLinear(5, N, engine=e),
        recurrent(e),
        SpikeLinear(N, N, engine=e),
    ),
}
# of each way through the triton engine one
WAYS = ("axonal two states", "spiking", "feedforward v1", "stack")
ON_TRITON = [pytest.param(n, "triton", marks=SLOWLY) for n in WAYS]
EVERY = pytest.mark.parametrize("name, engine", [(n, e) for n in LAYERS for e in ("reference", "cpu")] + ON_TRITON)
ON_REFERENCE = ("axonal learned", "synaptic", "batch first", "feedforward gauss")
COMPILED = [(n, "cpu") for n in LAYERS if n not in ("stack", "batch first")] + [(n, "reference") for n in ON_REFERENCE]
COMPILED += [*ON_TRITON, *(pytest.param(n, "triton", marks=SLOWLY) for n in ("synaptic", "shared"))]


def made(name, engine="reference", dtype=F64):
    torch.manual_seed(0)
    return LAYERS[name](engine).to(dtype)


def sequence(steps=7, batch=3, dtype=F64):
    x = torch.rand(steps, batch, N, generator=torch.Generator().manual_seed(1), dtype=F64)
    return (x * 2 * (x > 0.4)).to(dtype)


@EVERY
def test_to_a_dtype(name, engine):
    single, x = made(name, engine, torch.float32), sequence(dtype=torch.float32)
    assert single(x).dtype == torch.float32
    assert single.double()(x.double()).dtype == F64
    assert_close(single(x.double()), copy.deepcopy(single)(x.double()))
    half = single.to(torch.bfloat16)
    assert half(x.bfloat16()).dtype == torch.bfloat16
    assert half(x.bfloat16()).isfinite().all()
    exact = [t for m in half.modules() if isinstance(m, Neuron) for t in (*m.parameters(), *m.buffers())]
    exact += [p for n, p in half.named_parameters() if n.endswith(("delay", "position", "spread"))]
    assert all(t.dtype == torch.float32 for t in exact)


def test_built_on_a_device_in_a_dtype():
    builds = [partial(RecurrentDelays, N), partial(FeedforwardDelays, N, N, window=5), partial(SpikeLinear, N, N)]
    for build in (*builds, partial(SpikingLayer, N, neuron=LIF(learn_tau="neuron"))):
        for name, value in build(device="meta", dtype=torch.bfloat16).named_parameters():
            exact = name in ("delay", "position", "neuron.log_tau")
            assert value.is_meta and value.dtype == (torch.float32 if exact else torch.bfloat16)


@EVERY
def test_autocast(name, engine):
    module, x = made(name, engine, torch.float32), sequence(dtype=torch.float32).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = module(x)
    assert out.isfinite().all()
    out.float().sum().backward()
    assert all(p.grad.isfinite().all() and p.grad.dtype == p.dtype for p in module.parameters() if p.grad is not None)


@EVERY
def test_copies_and_files(name, engine, tmp_path):
    module, x = made(name, engine), sequence().requires_grad_()
    module(x).sum().backward()  # whatever a call leaves behind must not be in the way
    expected = module(x)
    assert torch.equal(copy.deepcopy(module)(x), expected)
    assert torch.equal(pickle.loads(pickle.dumps(module))(x), expected)
    torch.save(module.state_dict(), tmp_path / "state.pt")
    torch.manual_seed(9)
    other = LAYERS[name](engine).double()
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(other(x), expected)


@pytest.mark.parametrize("name, engine", COMPILED)
def test_compiled_whole_with_equal_gradients(name, engine):
    torch._dynamo.reset()
    module, x = made(name, engine), sequence(5).requires_grad_()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    out, expected = compiled(x), module(x)
    assert_close(out, expected)
    assert_close(gradients(module, out, x), gradients(module, expected, x))


@EVERY
def test_checkpointing(name, engine):
    module, x = made(name, engine), sequence().requires_grad_()
    out = checkpoint(module, x, use_reentrant=False)
    assert_close(gradients(module, out, x), gradients(module, module(x), x))


@EVERY
def test_functional_call_and_averages(name, engine):
    module, x = made(name, engine), sequence()
    values = {n: (p * 0.9).detach().requires_grad_(p.requires_grad) for n, p in module.named_parameters()}
    other = copy.deepcopy(module)
    with torch.no_grad():
        for n, p in other.named_parameters():
            p.copy_(values[n])
    out = functional_call(module, values, (x,))
    assert torch.equal(out, other(x))
    wanted = [v for v in values.values() if v.requires_grad]
    if wanted:
        assert_close(torch.autograd.grad(pulled(out), wanted, allow_unused=True), gradients(other, other(x)))
    if not values:
        return
    averaged = AveragedModel(module)
    averaged.update_parameters(module)
    averaged.update_parameters(other)
    assert averaged(x).shape == out.shape


@EVERY
def test_replicas_share_nothing_that_a_call_changes(name, engine):
    module, x = made(name, engine), sequence()
    replica = module._replicate_for_data_parallel()
    for key, value in module._parameters.items():
        replica._parameters[key] = value
    assert torch.equal(replica(x), module(x))
    for part in module.modules():  # as nn.DataParallel does
        part._replicate_for_data_parallel()
    assert torch.equal(replica(x), module(x))


@EVERY
def test_inference_mode_then_training(name, engine):
    module, x = made(name, engine), sequence().requires_grad_()
    expected = gradients(module, module(x), x)
    with torch.inference_mode():
        inside = module(x)
    out = module(x)
    assert torch.equal(inside, out)
    assert_close(gradients(module, out, x), expected)


@EVERY
def test_two_forwards_before_one_backward_and_a_graph_kept(name, engine):
    module, x, y = made(name, engine), sequence().requires_grad_(), sequence(7).requires_grad_()
    one, two = gradients(module, module(x), x), gradients(module, module(y), y)
    first, second = module(x), module(y)
    assert_close(gradients(module, second, y), two)
    for _ in range(2):
        assert_close(gradients(module, first, x), one)


@pytest.mark.parametrize("name", list(LAYERS))
def test_double_backward_is_right_on_the_reference(name):
    """Against finite differences of the gradient: with smooth spikes in place of steps, all is differentiable."""
    module, x = made(name), sequence(5, 2)
    for part in module.modules():
        if hasattr(part, "surrogate"):
            part.surrogate, part.detach_reset = SmoothATan(2.0), False  # a detached reset is no derivative of anything
    direction = torch.randn(x.shape, dtype=F64, generator=torch.Generator().manual_seed(2))

    def slope(at):
        at = at.requires_grad_()
        return torch.autograd.grad(pulled(module(at)), at, create_graph=True)[0], at

    first, at = slope(x.clone())
    if not first.requires_grad:
        assert name in ("linear", "feedforward v1", "feedforward gauss"), "linear in its input"
        return
    (second,) = torch.autograd.grad((first * direction).sum(), at, allow_unused=True)
    second = torch.zeros_like(x) if second is None else second
    step = 1e-6
    up, down = (slope(x + s * step * direction)[0].detach() for s in (1, -1))
    assert_close(second, (up - down) / (2 * step), atol=2e-4, rtol=2e-4)


@EVERY
def test_strided_and_expanded_inputs(name, engine):
    module, x = made(name, engine), sequence()
    expected = module(x)
    strided = torch.stack([x, x], -1)[..., 0]
    assert not strided.is_contiguous() and torch.equal(module(strided), expected)
    moved = x.transpose(0, 1).contiguous().transpose(0, 1)
    assert torch.equal(module(moved), expected)
    assert torch.equal(module(torch._neg_view(-x)), expected)  # as the imaginary part of a conjugate
    one = x[:, :1].expand(-1, 3, -1).detach().requires_grad_()
    assert_close(gradients(module, module(one), one), gradients(module, module(one.contiguous()), one))


@EVERY
@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (11, 0), (11, 1)])
def test_no_or_one_step_and_sample(name, engine, shape):
    module, x = made(name, engine), torch.rand(*shape, N, dtype=F64).requires_grad_()
    out = module(x)
    assert out.shape == (*shape, N)
    out.sum().backward()
    assert x.grad.shape == x.shape


def test_a_whole_model_compiles_with_a_state_and_lengths():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Linear(N, N)
            self.layer = RecurrentDelays(N, batch_first=True, max_delay=6, neuron=plain_cell, dropout=0.1)

        def forward(self, x, state, lengths):
            return self.layer(self.embed(x), state, lengths=lengths, return_state=True, return_membrane=True)

    torch._dynamo.reset()
    torch.manual_seed(0)
    model, x, lengths = Own().eval(), torch.rand(3, 5, N) * 3, torch.tensor([5, 3, 1])
    model.layer.engine = "reference"
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    expected = model(x, None, lengths)  # the eager call that a foreign neuron needs
    first = compiled(x, None, lengths)
    assert torch.equal(first.spikes, expected.spikes)
    assert_close(first.membrane, expected.membrane)
    assert_close(compiled(x, first.state, lengths).spikes, model(x, expected.state, lengths).spikes)
