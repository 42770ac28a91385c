"""The cpu engine's maps are torch's, summed in one order: linear, sparse or dense, and with delays."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from delrec import FeedforwardDelays, SpikeLinear
from delrec.engines.cpu import delays, linear
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import COMPILED_ON, delays_agree, delays_outcome, delays_problem, drawn, with_threads
from torch.nn import functional as F

F32, F64 = torch.float32, torch.float64
SHAPES = [(7, 13, 5), (300, 257, 20), (130, 1, 64), (1, 1, 1), (1000, 300, 97)]  # rows, inputs, outputs
DELAYS = [
    # steps, batch, inputs, outputs, window, left, right, form
    (20, 5, 12, 9, 7, 6, 0, "synaptic"),
    (11, 33, 30, 40, 25, 24, 12, "synaptic"),
    (9, 16, 5, 4, 8, 3, 2, "axonal"),
    (6, 2, 3, 3, 9, 12, 1, "dendritic"),
    (3, 1, 2, 2, 2, 1, 0, "synaptic"),
    (170, 2, 17, 18, 150, 140, 20, "synaptic"),  # more than a block in time, of cpu and triton, senders and receivers
]
COMPILED = pytest.mark.parametrize(("engine", "device"), COMPILED_ON)


def linear_problem(rows, inputs, outputs, dtype, zeros=0.8):
    x = drawn(rows, inputs, dtype=dtype, zeros=zeros)
    return x, drawn(outputs, inputs, dtype=dtype, seed=1), drawn(outputs, dtype=dtype, seed=2)


def linear_outcome(function, *tensors):
    leaves = [t.detach().requires_grad_() for t in tensors]
    y = function(*leaves)
    return [y.detach(), *torch.autograd.grad(y, leaves, drawn(*y.shape, dtype=y.dtype, seed=3))]


@pytest.fixture
def ways(monkeypatch):
    """Give a function that runs another with the sparse product, then with the dense one."""

    def run(function):
        found = []
        for share in (1.0, -1.0):
            monkeypatch.setattr(linear, "_SPARSE_SHARE", share)
            found.append(function())
        return found

    return run


class Cut(torch.autograd.Function):
    """Passes values on, and no gradient back."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return None


@pytest.mark.parametrize("kernel", ["v1", "gauss"])
def test_a_result_without_a_gradient_gives_none(kernel):
    """Torch then passes None, not zeros: the products failed on it."""
    x = drawn(6, 2, 5).requires_grad_()
    for module in (SpikeLinear(5, 3, dtype=F64), FeedforwardDelays(5, 3, window=4, kernel=kernel, dtype=F64)):
        Cut.apply(module(x)).sum().backward()
        assert x.grad is None and all(p.grad is None for p in module.parameters())


@pytest.mark.parametrize("needed", [(True, True), (True, False), (False, True)])
def test_a_backward_operator_gives_the_shapes_of_its_fake(needed):
    x, weight = drawn(7, 2, 5), drawn(3, 5, seed=1)
    factor, place, needs = torch.stack([weight, weight], -1), torch.ones(3, 5, dtype=torch.int32), list(needed)
    for back, arguments in (
        (delays.convolution.operator_back, (x, factor, None, [], [drawn(6, 2, 3)], [*needs, False])),
        (delays.delayed.operator_back, (x, factor, place, None, 4, 3, 0, [], [drawn(7, 2, 3)], [*needs, False, False])),
    ):
        torch.library.opcheck(back.default, arguments, test_utils="test_faketensor")


def assert_same_bits(ours, theirs):
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_linear_map_is_torchs_and_sparse_and_dense_give_the_same_bits(dtype, shape, ways):
    problem = linear_problem(*shape, dtype)
    sparse, dense = ways(lambda: linear_outcome(linear.linear, *problem))
    assert_same_bits(sparse, dense)
    wanted = linear_outcome(F.linear, *(t.double() for t in problem))
    torch.testing.assert_close([a.double() for a in sparse], wanted, rtol=0, atol=2e-4 if dtype == F32 else 1e-11)


def test_an_element_is_one_chain_of_fused_multiply_adds():
    x, weight, bias = linear_problem(3, 700, 4, F32, zeros=0.0)
    chain = bias.numpy().astype(np.float32) + np.zeros((3, 1), np.float32)
    for k in range(700):  # 64 bits hold the product of two float32, and the sum before it is rounded once
        exact = x[:, k : k + 1].numpy().astype(np.longdouble) * weight[:, k].numpy().astype(np.longdouble)
        chain = (exact + chain.astype(np.longdouble)).astype(np.float32)
    assert np.array_equal(linear.multiply(x, weight, bias).numpy(), chain)


def test_bits_depend_on_neither_threads_nor_tiles_nor_alignment(ways):
    x, weight, bias = linear_problem(700, 300, 97, F32)

    def moved(tensor):
        room = torch.empty(tensor.numel() + 3, dtype=tensor.dtype)
        return room[3:].view_as(tensor).copy_(tensor)

    for whole in ways(lambda: linear_outcome(linear.linear, x, weight, bias)):
        more = with_threads(3, lambda: linear_outcome(linear.linear, x, weight, bias))
        assert_same_bits(whole, more)
        y = linear.linear(moved(x), moved(weight), moved(bias))
        assert torch.equal(y, whole[0])
        assert torch.equal(linear.linear(moved(x[40:53]), weight[7:9], bias[7:9]), whole[0][40:53, 7:9])


@pytest.mark.parametrize("shape", [(12,), (5, 12), (4, 3, 12), (2, 4, 3, 12)], ids=str)
def test_any_axes_go_before_the_inputs(shape):
    layer, x = SpikeLinear(12, 7, engine="cpu"), drawn(*shape, dtype=F32)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias))


def test_the_layer_follows_its_engine():
    layer, x = SpikeLinear(8, 3, engine="reference"), torch.zeros(5, 2, 8)
    assert "cpu_linear" not in layer(x).grad_fn.name()
    layer.engine = "cpu"
    assert "cpu_linear" in layer(x).grad_fn.name()


@COMPILED
@pytest.mark.parametrize("case", DELAYS, ids=str)
@pytest.mark.parametrize(
    "options", [{}, {"whole": True}, {"kernel": "gauss", "spread": 1.0}, {"kernel_count": 2}], ids=str
)
def test_delays_equal_the_convolution(case, options, engine, device):
    delays_agree(case, engine, device, **options)


@COMPILED
@given(
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 5), st.integers(1, 5), st.integers(1, 20)),
    window=st.integers(2, 9),
    left=st.integers(0, 10),
    right=st.integers(0, 10),
    form=st.sampled_from(["synaptic", "axonal", "dendritic"]),
    whole=st.booleans(),
)
@settings(max_examples=20, deadline=None)
def test_delays_of_any_shape(engine, device, sizes, window, left, right, form, whole):
    if sizes[0] + left + right >= window:
        delays_agree((*sizes, window, left, right, form), engine, device, whole=whole)


def permuted(tensor):
    return tensor.permute(2, 0, 1).contiguous().permute(1, 2, 0)


@pytest.mark.parametrize("kernel", ["v1", "max"])
def test_layout_in_memory_does_not_matter(kernel):
    layer, x = delays_problem(DELAYS[0], kernel=kernel)
    assert_same_bits(delays_outcome(layer, x), delays_outcome(layer, permuted(x)))
    x, weight, bias = drawn(5, 4, 12), drawn(7, 12, seed=1), drawn(7, seed=2)
    found = linear_outcome(linear.linear, permuted(x), weight.t().contiguous().t(), bias)
    assert_same_bits(found, linear_outcome(linear.linear, x, weight, bias))


@pytest.mark.parametrize("options", [{}, {"kernel": "gauss", "spread": 1.0}], ids=str)
def test_delays_do_not_depend_on_the_number_of_threads(options):
    layer, x = delays_problem((10, 70, 9, 7, 6, 5, 0, "synaptic"), F32, **options)
    assert_same_bits(*(with_threads(n, lambda: delays_outcome(layer, x)) for n in (1, 3)))


BITS = "206a64d78c84ccfd"


def bits():
    """Return a digest of what the maps give in float32."""
    found = []
    for zeros in (0.0, 0.8):
        found += linear_outcome(linear.linear, *linear_problem(400, 300, 97, F32, zeros))
    for kernel in ("v1", "max"):
        found += delays_outcome(*delays_problem((11, 33, 30, 20, 8, 7, 0, "synaptic"), F32, kernel=kernel))
    return hashlib.sha256(b"".join(t.contiguous().numpy().tobytes() for t in found)).hexdigest()[:16]


def test_bits_are_the_same_on_this_processor_and_on_an_older_one(tmp_path):
    assert bits() == BITS
    settings = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "", "DELREC_CACHE": str(tmp_path)}
    command = [sys.executable, "-c", f"import {Path(__file__).stem} as m; print(m.bits())"]
    ran = subprocess.run(command, cwd=Path(__file__).parent, env=os.environ | settings, capture_output=True, text=True)
    assert ran.stdout.strip() == BITS, ran.stderr
