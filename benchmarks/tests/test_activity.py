"""Activity of a network: spikes and operations, counted from outside."""

import pytest
import torch
from delrec import Trainable
from delrec_bench.networks import Network, NetworkConfig
from delrec_bench.training.activity import recording


def test_activity_counts_spikes_and_operations():
    torch.manual_seed(0)
    settings = dict(inputs=5, classes=3, hidden=(6, 7), recurrent="axonal", recurrent_layers=(1,), delay_low=2.0)
    network = Network(NetworkConfig(**settings, delay_init="constant")).eval()
    with torch.no_grad():
        for block in network.blocks:
            block.connection.weight.abs_().mul_(4)
    x = (torch.rand(20, 3, 5) < 0.5).float()
    with torch.no_grad(), recording(network) as activity:
        assert activity() == {}
        network.classify(x)
        seen = activity()
    operations = seen["synaptic_operations"]
    assert 0 < seen["spikes_per_neuron_step"] < 1 and len(seen["rates"]) == 2
    spikes = [rate * 20 * width for rate, width in zip(seen["rates"], (6, 7), strict=True)]
    expected = float(x.sum()) / 3 * 6 + spikes[0] * 7 + spikes[1] * (7 + 3)
    assert operations["effective_acs"] == pytest.approx(expected) and operations["effective_macs"] == 0
    assert operations["dense"] == 20 * (5 * 6 + 6 * 7 + 7 * 7 + 7 * 3)
    assert seen["delay_buffer"] == 7 * 3
    network(x)
    assert activity() == seen, "it counts inside only"
    with recording(network) as activity:
        network(2 * x)
        assert activity()["synaptic_operations"]["effective_macs"] == pytest.approx(float(x.sum()) / 3 * 6)


def test_a_model_without_spikes_has_no_activity():
    with recording(Trainable()) as activity:
        assert activity() == {}
