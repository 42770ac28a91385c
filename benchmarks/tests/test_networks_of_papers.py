"""Networks of the baselines' papers: their parameter counts, and their readouts."""

import math
from functools import partial

import pytest
import torch
from delrec_baselines import AdLIF, ConvolutionalRecurrence, LearnedLeak, SEAdLIF, SoftmaxRecurrence
from delrec_bench.networks import Network, NetworkConfig

SE_READOUT = {"readout": "leaky", "readout_tau": 1 / (1 - math.exp(-1 / 15)), "readout_gain": "complement"}


def test_the_leak_of_se_adlif_decays_by_its_time_constant():
    torch.manual_seed(0)
    config = NetworkConfig(5, 3, (8,), recurrent="plain", zero_bias=True, engine="reference", **SE_READOUT)
    network = Network(config, SEAdLIF).double().eval()
    x = 8 * torch.rand(30, 2, 5, dtype=torch.float64)
    current = network.readout(network.hidden_spikes(x))
    alpha = math.exp(-1 / 15)
    u = torch.zeros(2, 3, dtype=torch.float64)
    expected = []
    for i in current:
        u = alpha * u + (1 - alpha) * i
        expected.append(u)
    torch.testing.assert_close(network(x), torch.stack(expected))
    assert float(network.blocks[0].connection.bias.abs().max()) == 0


def readout_network(**settings) -> Network:
    torch.manual_seed(0)
    settings |= {"bias": False, "batch_norm": True, "readout": "leaky", "readout_norm": True, "engine": "reference"}
    config = NetworkConfig(5, 3, (8,), aggregate="softmax-sum", **settings)
    return Network(config, AdLIF, leak=LearnedLeak)


def test_the_readout_of_adlif_is_batch_norm_a_learned_leak_and_summed_softmax():
    network = readout_network(norm_momentum=0.05).double()
    x = 8 * torch.rand(30, 2, 5, dtype=torch.float64)
    network(x)  # moves the running statistics
    network.eval()
    norm = network.readout_norm
    current = network.readout(network.hidden_spikes(x))
    current = (current - norm.running_mean) / torch.sqrt(norm.running_var + norm.eps)
    alpha = network.leak.alpha
    u, total = torch.zeros(2, 3, dtype=torch.float64), 0
    for i in current:
        u = alpha * u + (1 - alpha) * i
        total = total + torch.softmax(u, -1)
    torch.testing.assert_close(network.classify(x), total)


@pytest.mark.parametrize("skip", [0, 10])
def test_single_steps_equal_the_sequence_with_a_learned_leak(skip):
    network = readout_network(skip_steps=skip)
    x = 8 * torch.rand(30, 2, 5)
    network(x)
    network.eval()
    state = network.initial_state(2)
    outputs = []
    for t in range(30):
        output, state = network.step(x[t], state)
        outputs.append(output)
    torch.testing.assert_close(torch.stack(outputs), network(x))
    torch.testing.assert_close(network.classify(x), torch.softmax(torch.stack(outputs[skip:]), -1).sum(0))


def test_a_learned_leak_is_learned():
    network = readout_network()
    network.loss(network.classify(8 * torch.rand(30, 4, 5)), torch.tensor([0, 1, 2, 0])).backward()
    assert float(network.leak.alpha.grad.abs().max()) > 0
    assert any(p is network.leak.alpha for p in network.grouped()["neuron"])


def test_asrc_of_the_published_size_on_ssc():
    config = NetworkConfig(140, 35, (256, 256, 256), recurrent="shared", sigma=1.0, sigma_decay=0.96)
    network = Network(config, recurrence=partial(SoftmaxRecurrence, span=6))
    counts = network.count()
    assert (counts.delays, counts.frozen, counts.trainable) == (18, 0, 373_301)  # 0.37M as published
    network.begin_epoch(50, 100)
    temperature = float(next(m.sigma for m in network.modules() if isinstance(m, SoftmaxRecurrence)))
    assert temperature == pytest.approx(0.96**50)


def test_a_convolutional_layer_has_k_and_n_recurrent_parameters():
    config = NetworkConfig(140, 20, (256, 256), recurrent="axonal", recurrent_layers=(1,))
    network = Network(config, recurrence=ConvolutionalRecurrence)
    assert network.count().trainable == Network(config).count().trainable - 256 * 256 + 3
