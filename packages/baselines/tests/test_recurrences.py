"""Recurrences other than DelRec's own: ASRC's softmax over delays, and one convolution for all connections."""

import pytest
import torch
from delrec import LIF, NotFiniteError, RecurrentDelays
from delrec_baselines import AdLIF, ConvolutionalRecurrence, SoftmaxRecurrence
from torch.nn import functional as F

N, B, T = 6, 3, 30


def current(seed: int = 0) -> torch.Tensor:
    return torch.randn(T, B, N, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def softmax_layer(span: int = 5, **settings) -> SoftmaxRecurrence:
    torch.manual_seed(0)
    layer = SoftmaxRecurrence(N, span=span, engine="reference", **settings).double()
    with torch.no_grad():
        layer.logits.normal_()
    return layer


def test_asrc_in_training_is_the_loop_of_its_paper():
    layer, x = softmax_layer(sigma=0.7), current()
    share = torch.softmax(layer.logits / 0.7, 0)
    past = torch.zeros(5, B, N, dtype=torch.float64)
    v = torch.zeros(B, N, dtype=torch.float64)
    expected = []
    for i in x:
        h = 0.5 * v + i + torch.einsum("k,kbn->bn", share, past) @ layer.weight.T
        s = (h >= 1).double()
        v = h - s
        past = torch.cat([s.unsqueeze(0), past[:-1]])
        expected.append(s)
    assert torch.equal(layer(x), torch.stack(expected))
    assert float(torch.stack(expected).mean()) > 0.02


def test_asrc_in_evaluation_takes_the_delay_of_the_largest_logit():
    layer, x = softmax_layer(), current()
    layer.eval()
    plain = RecurrentDelays(N, delays="shared", learn=False, engine="reference").double().eval()
    with torch.no_grad():
        plain.weight.copy_(layer.weight)
        plain.delay.fill_(float(layer.logits.argmax()))
    assert torch.equal(layer(x), plain(x))
    layer.train()
    with layer.deployed():
        assert torch.equal(layer(x), plain(x))


@pytest.mark.parametrize("largest", [0, -1])
def test_asrc_streams_what_it_evaluates(largest):
    layer, x = softmax_layer(), current()
    layer.eval().logits.data[largest] = 9
    state, spikes = None, []
    for t in range(T):
        spike, state, _ = layer(x[t : t + 1], state, return_state=True)
        spikes.append(spike)
    assert torch.equal(torch.cat(spikes), layer(x))


def test_asrc_is_made_where_and_as_it_is_asked():
    assert {p.device.type for p in SoftmaxRecurrence(4, device="meta").parameters()} == {"meta"}
    layer = SoftmaxRecurrence(4, dtype=torch.float64)
    assert layer.logits.dtype == torch.float64 and layer.half().logits.dtype == torch.float32
    assert layer.logits.requires_grad and not SoftmaxRecurrence(4, learn=False).logits.requires_grad


def test_asrc_learns_its_logits():
    layer, x = softmax_layer(), current()
    layer(x).sum().backward()
    assert float(layer.logits.grad.abs().min()) > 0
    assert layer.delay_parameters == ("logits",)
    with torch.no_grad():
        layer.logits.fill_(0)
        layer.logits[3] = 1
    layer.clamp_()
    assert float(layer.delays()) == 3


@pytest.mark.parametrize(
    ("settings", "field"),
    [({"span": 0}, "span"), ({"delays": "axonal"}, "delays"), ({"dropout": 1.0}, "drop"), ({"max_delay": 2}, "span")],
)
def test_a_bad_setting_of_asrc_is_named(settings, field):
    with pytest.raises(ValueError, match=field):
        SoftmaxRecurrence(N, **settings)


def test_asrc_refuses_to_train_without_a_temperature():
    layer = softmax_layer(sigma=0.0)
    with pytest.raises(ValueError, match="temperature"):
        layer(current())


def test_asrc_refuses_logits_that_diverged_also_in_evaluation():
    layer = SoftmaxRecurrence(N).eval()
    with torch.no_grad():
        layer.logits[0] = torch.nan
    with pytest.raises(NotFiniteError, match="logits hold NaN"):
        layer(current().float())


@pytest.mark.parametrize("kernel_size", [1, 3, 5, 2 * N + 1])
def test_the_banded_matrix_is_torchs_convolution(kernel_size):
    torch.manual_seed(0)
    layer = ConvolutionalRecurrence(N, kernel_size=kernel_size)
    spikes = torch.randn(B, N)
    expected = F.conv1d(spikes.unsqueeze(1), layer.weight.view(1, 1, -1), padding=kernel_size // 2).squeeze(1)
    torch.testing.assert_close(spikes @ layer.effective_weight().T, expected)


@pytest.mark.parametrize("delays", ["axonal", "shared", "none"])
@pytest.mark.parametrize("neuron", [LIF, AdLIF])
def test_convolutional_recurrence_equals_dense_with_that_matrix_and_learns_its_kernel(delays, neuron):
    torch.manual_seed(0)
    layer = ConvolutionalRecurrence(N, kernel_size=3, neuron=neuron(), delays=delays, engine="reference").double()
    dense = RecurrentDelays(N, neuron=neuron(), delays=delays, engine="reference").double()
    state = {**layer.state_dict(), "weight": layer.effective_weight()}
    dense.load_state_dict(state)
    x = 5 * current()
    spikes = layer(x)
    assert torch.equal(spikes, dense(x))
    spikes.mul(torch.arange(N)).sum().backward()
    dense(x).mul(torch.arange(N)).sum().backward()
    along = [dense.weight.grad.diagonal(j).sum() for j in (-1, 0, 1)]
    torch.testing.assert_close(layer.weight.grad, torch.stack(along))


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"kernel_size": 4}, "kernel_size"),
        ({"delays": "synaptic"}, "delays"),
        ({"self_connections": False}, "self_conn"),
    ],
)
def test_a_bad_setting_of_a_convolution_is_named(settings, field):
    with pytest.raises(ValueError, match=field):
        ConvolutionalRecurrence(N, **settings)
