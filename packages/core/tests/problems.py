"""Problems of a scan, and an engine held to the reference on them: what the tests of every fused engine share."""

import math

import numpy as np
import pytest
import torch
from delrec import LIF, ATan, DelayInit, FeedforwardDelays, RecurrentDelays, Triangle
from delrec import engines as interface
from delrec.engines import Request, State
from hypothesis import strategies as st

try:
    from delrec.engines.triton import INTERPRETED
except ImportError:
    INTERPRETED = False

F64 = torch.float64
ONLY_INTERPRETED = pytest.mark.skipif(not INTERPRETED, reason="triton takes CPU tensors if TRITON_INTERPRET=1 is set")
SLOWLY = (ONLY_INTERPRETED, pytest.mark.slow)  # `nox -s gpu-check` runs what is slow in the interpreter
TRITON = pytest.param("triton", marks=SLOWLY)
ENGINES = ["reference", "cpu", TRITON]
CARD = "cuda" if torch.cuda.is_available() else "cpu"
# of tests that take a device: on a card where there is one, else interpreted
COMPILED_ON = [("cpu", "cpu"), pytest.param("triton", CARD, marks=SLOWLY if CARD == "cpu" else ())]


def run(engine, trace=True, **arguments):
    return interface.run(engine, Request(trace=trace, **arguments))


class SmoothATan(ATan):
    """A spike whose derivative IS the surrogate, so that finite differences can judge the whole layer."""

    def spike(self, u, strict=False):
        return 0.5 + torch.atan(math.pi / 2 * self.alpha * u) / math.pi


NEURONS = {
    "soft": lambda: LIF(tau=2.0, surrogate=Triangle(1.0), learn_tau="neuron"),
    "hard": lambda: LIF(tau=1.5, reset="hard", v_reset=-0.2, detach_reset=True, surrogate=ATan(5.0)),
}


def layer(delays="axonal", engine="cpu", size=6, seed=0, dtype=F64, **options):
    """Make a recurrent layer whose spikes arrive within 8 steps, with weights that matter."""
    torch.manual_seed(seed)
    options = dict(sigma=1.0, delay_init=DelayInit("uniform", low=0, high=6)) | options
    made = RecurrentDelays(size, delays=delays, engine=engine, **options).to(dtype)
    with torch.no_grad():
        made.weight.mul_(1.5)
    return made


def current(steps=24, batch=3, size=6, seed=1, dtype=F64):
    draw = torch.Generator().manual_seed(seed)
    return (torch.rand(steps, batch, size, dtype=F64, generator=draw) * 1.6).to(dtype)


def problem(
    neuron, form, steps, batch, size, sigma, *, dtype=F64, seed=0, mask=None, spread=False, reach=8.0, past=0,
    device="cpu",
):  # fmt: skip
    """Make the arguments of `scan`, every differentiable one a leaf; neuron: of NEURONS, or one that is attached."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=draw, dtype=F64).to(device)

    def uniform(*shape):
        return torch.rand(shape, generator=draw, dtype=F64).to(device)

    made = (NEURONS[neuron]().attach(size) if isinstance(neuron, str) else neuron).to(device, dtype)
    current = (normal(steps, batch, size) + 0.5).to(dtype).requires_grad_()
    arguments = {"current": current, "neuron": made}
    if form != "none":
        shape = (size, size) if form == "synaptic" else (size,)
        arguments["weight"] = (1.5 * normal(size, size) / size**0.5).to(dtype).requires_grad_()
        arguments["delay"] = (uniform(*shape) * reach).to(dtype).requires_grad_()
        width = 1 + sigma * (uniform(size) if spread else torch.ones((), dtype=F64, device=device))
        arguments["width"] = width.to(dtype).requires_grad_()
    if mask and form != "none":
        shape = (batch, size) if mask == "sequence" else (steps, batch, size)
        arguments["mask"] = (torch.rand(shape, generator=draw).to(device) < 0.7).to(dtype) / 0.7
    if past:
        history = (torch.rand(past, batch, size, generator=draw).to(device) < 0.3).to(dtype).requires_grad_()
        arguments["state"] = State((normal(batch, size).to(dtype).requires_grad_(),), history)
    return arguments


def leaves(arguments):
    found = {name: arguments[name] for name in ("current", "weight", "delay", "width") if name in arguments}
    found |= dict(arguments["neuron"].named_parameters())
    if "state" in arguments:
        found |= {"history": arguments["state"].history, "start": arguments["state"].states[0]}
    return found


def result(engine, arguments, seed=5):
    """Run an engine; return its outputs and the gradients of a random functional of spikes and states."""
    out = run(engine, **arguments)
    draw = torch.Generator().manual_seed(seed)
    loss = sum((torch.randn(o.shape, generator=draw, dtype=F64).to(o) * o).sum() for o in (out.spikes, *out.states))
    wanted = leaves(arguments)
    grads = torch.autograd.grad(loss, list(wanted.values()), allow_unused=True)
    return out, dict(zip(wanted, grads, strict=True))


def pulled(out):
    """A loss whose gradient differs at every output."""
    return (out * torch.arange(1, out.numel() + 1, dtype=out.dtype).view_as(out).sin()).sum()


def gradients(module, out, *inputs):
    leaves = [*inputs, *(p for p in module.parameters() if p.requires_grad)]
    return torch.autograd.grad(pulled(out), leaves, allow_unused=True, retain_graph=True)


def any_problem(steps, batch, size, **choices):
    """Problems of up to so many steps, samples and neurons, for Hypothesis; choices: values of `sigma` and others."""
    choices |= {"mask": [None, "sequence", "step"], "spread": [False, True], "seed": range(11)}
    sizes = [st.integers(1, most) for most in (steps, batch, size)]
    forms = st.sampled_from(["none", "axonal", "synaptic"])
    drawn = {name: st.sampled_from(values) for name, values in choices.items()}
    return st.builds(problem, st.sampled_from(sorted(NEURONS)), forms, *sizes, **drawn)


def with_threads(count, function):
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(count)
        return function()
    finally:
        torch.set_num_threads(threads)


def difference(a, b):
    if a is None or b is None:
        return 0.0 if a is b or float((b if a is None else a).abs().max()) == 0 else float("inf")
    return float((a - b).detach().abs().max() / max(1.0, float(b.detach().abs().max())))


def assert_equal(arguments, tolerance=1e-9, engine="cpu"):
    """Hold an engine to the reference: spikes equal, states and every gradient to the tolerance."""
    ours, grads = result(engine, arguments)
    theirs, wanted = result("reference", arguments)
    assert ours.engine == engine
    assert torch.equal(ours.spikes, theirs.spikes)
    for mine, yours in zip(ours.states, theirs.states, strict=True):
        assert difference(mine, yours) < tolerance
    for name, gradient in wanted.items():
        assert difference(grads[name], gradient) < tolerance, name


def drawn(*shape, dtype=F64, zeros=0.0, seed=0):
    """Draw numbers of 24 bits that are the same wherever this runs."""
    draw = np.random.RandomState(seed)
    values = (draw.randint(-(2**23), 2**23, shape) / 2**22) * (draw.randint(0, 1000, shape) >= 1000 * zeros)
    return torch.from_numpy(values).to(dtype)


def delays_problem(case, dtype=F64, zeros=0.8, **options):
    """Make feedforward delays and their input; case: steps, batch, inputs, outputs, window, left, right, form."""
    steps, batch, inputs, outputs, window, left, right, form = case
    layer = FeedforwardDelays(
        inputs, outputs, window=window, left_padding=left, right_padding=right, delays=form, engine="cpu", dtype=dtype,
        **options,
    )  # fmt: skip
    with torch.no_grad():
        for seed, parameter in enumerate(layer.parameters(), 1):
            parameter.copy_(drawn(*parameter.shape, dtype=dtype, seed=seed))
    return layer, drawn(steps, batch, inputs, dtype=dtype, zeros=zeros)


def delays_outcome(layer, x, engine="cpu"):
    layer.engine = engine
    x = x.detach().requires_grad_()
    y = layer(x)
    return [y.detach(), *torch.autograd.grad(y, [x, *layer.parameters()], drawn(*y.shape, dtype=y.dtype, seed=3).to(y))]


def delays_agree(case, engine, device, whole=False, **options):
    """Hold feedforward delays on an engine to the reference."""
    layer, x = delays_problem(case, **options)
    layer, x = layer.to(device), x.to(device)
    if whole:
        layer.round_()
    found = [delays_outcome(layer, x, name) for name in (engine, "reference")]
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-9)


def driven(drive):
    """A LIF whose current is drive(neuron, current), which is not in its step's own code."""

    class Driven(LIF):
        def step(self, current, state, coefficients):
            return super().step(drive(self, current), state, coefficients)

    return Driven
