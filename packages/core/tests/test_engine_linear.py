"""The sparse linear map is torch's linear map."""

import pytest
import torch
from delrec.engines.cpu.linear import spike_linear
from delrec.linear import SpikeLinear
from torch.nn import functional as F


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("steps", "batch", "inputs", "outputs", "binary"),
    [(7, 5, 140, 20, False), (9, 33, 64, 96, True), (50, 16, 1, 64, False), (3, 200, 67, 35, True)],
)
def test_equals_the_dense_map(dtype, steps, batch, inputs, outputs, binary):
    draw = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=draw, dtype=torch.float64).to(dtype)

    x = (torch.rand(steps, batch, inputs, generator=draw) < 0.15).to(dtype)
    x = (x if binary else x * normal(steps, batch, inputs)).requires_grad_()
    weight, bias = normal(outputs, inputs).requires_grad_(), normal(outputs).requires_grad_()
    out = spike_linear(x, weight, bias)
    assert "SpikeLinear" in out.grad_fn.name()
    wanted = F.linear(x, weight, bias)
    cotangent = normal(*out.shape)
    tolerance = 1e-4 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(out, wanted, rtol=tolerance, atol=tolerance)
    ours = torch.autograd.grad(out, (x, weight, bias), cotangent)
    theirs = torch.autograd.grad(wanted, (x, weight, bias), cotangent)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * 10)


def test_dense_input_takes_the_dense_product():
    assert spike_linear(torch.ones(4, 2, 8), torch.ones(3, 8, requires_grad=True)) is None


def test_what_is_kept_follows_the_events():
    x = (torch.rand(100, 16, 256, generator=torch.Generator().manual_seed(0)) < 0.04).float()
    weight = torch.ones(64, 256, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        spike_linear(x, weight)
    bytes_kept = sum(t.numel() * t.element_size() for t in kept if t.data_ptr() != weight.data_ptr())
    assert bytes_kept < 0.1 * x.numel() * 4


def test_module_follows_the_engine():
    layer = SpikeLinear(8, 3, engine="reference")
    x = torch.zeros(5, 2, 8)
    assert "SpikeLinear" not in layer(x).grad_fn.name()
    layer.engine = "cpu"
    assert "SpikeLinear" in layer(x).grad_fn.name()
