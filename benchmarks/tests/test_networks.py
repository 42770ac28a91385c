"""Networks: readouts, of papers too, streaming, activity, and clear errors for a bad configuration."""

import copy
from typing import get_args

import pytest
import torch
from delrec import Trainable
from delrec.engines.events.network import EventNetwork
from delrec_baselines import LearnedLeak
from delrec_bench.networks import Network, NetworkConfig
from delrec_bench.networks.configuration import Aggregate
from delrec_bench.training.activity import recording


def small(**changes):
    base = dict(inputs=5, classes=3, hidden=(6, 7), tau=2.0, sigma=3.0, learn_spread=False, delay_high=4.0)
    return NetworkConfig(**(base | dict(delay_init="uniform", engine="reference") | changes))


def plain_scores(outputs, aggregate, skipped):
    """A loop over steps, as the equations of `delrec_bench.networks.network` say."""
    steps = len(outputs)
    first = steps - 1 if aggregate == "last" else skipped
    total = 0
    for t in range(first, steps):
        total = total + (torch.softmax(outputs[t], -1) if aggregate == "softmax-sum" else outputs[t])
    return total / (steps - first) if aggregate == "mean" else total


def plain_outputs(network, spikes):
    """A loop over steps: the linear readout, behind it batch norm, and the leak of the configuration or of adLIF."""
    config, norm = network.config, network.readout_norm
    currents = spikes @ network.readout.weight.T + network.readout.bias
    if norm is not None:
        normed = (currents - norm.running_mean) / torch.sqrt(norm.running_var + norm.eps)
        currents = normed * norm.weight + norm.bias
    if config.readout == "linear":
        return currents
    decay, gain = 1 - 1 / config.readout_tau, 1 / config.readout_tau if config.readout_gain == "complement" else 1.0
    if isinstance(network.leak, LearnedLeak):
        decay, gain = network.leak.alpha, 1 - network.leak.alpha
    membrane, outputs = 0, []
    for current in currents:
        membrane = decay * membrane + gain * current
        outputs.append(membrane)
    return torch.stack(outputs)


READOUTS = {
    "linear": dict(readout="linear", readout_tau=1.0),
    "leaky": dict(readout="leaky", readout_tau=40.0),
    "leaky, complement": dict(readout="leaky", readout_tau=40.0, readout_gain="complement"),
    "adLIF": dict(readout="leaky", readout_tau=40.0, batch_norm=True, readout_norm=True),
}
STREAMS = {
    "SHD order": dict(recurrent="axonal", batch_norm=True, readout="leaky", aggregate="softmax-sum", dropout=0.4),
    "feedforward delays": dict(feedforward="v1", window=5, feedforward_readout=True),
    "complement": dict(recurrent="plain", aggregate="mean", **READOUTS["leaky, complement"]),
}


@pytest.mark.parametrize("aggregate", get_args(Aggregate))
@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("skipped", [0, 2])
def test_a_readout_is_the_plain_loop_of_its_equations_gradients_too(readout, aggregate, skipped):
    torch.manual_seed(1)
    config = small(aggregate=aggregate, skip_steps=skipped, recurrent="axonal", **READOUTS[readout])
    network = Network(config, leak=LearnedLeak if readout == "adLIF" else None).double()
    x = torch.rand(9, 4, 5, dtype=torch.float64) * 3
    network(x)  # moves the running statistics
    network.eval()
    wanted = plain_scores(plain_outputs(network, network.hidden_spikes(x)), aggregate, skipped)
    pull = torch.randn(4, 3, dtype=torch.float64)
    parameters = list(network.parameters())
    expected = torch.autograd.grad((wanted * pull).sum(), parameters)
    for scores in (network.classify(x), network.scores(network(x))):
        torch.testing.assert_close(scores, wanted)
        torch.testing.assert_close(torch.autograd.grad((scores * pull).sum(), parameters), expected)


@pytest.mark.parametrize("aggregate", get_args(Aggregate))
@pytest.mark.parametrize(("steps", "batch", "skipped"), [(4, 2, 9), (0, 3, 0), (4, 0, 0), (0, 0, 0)])
def test_a_sequence_without_a_step_that_counts_scores_0(aggregate, steps, batch, skipped):
    network = Network(small(aggregate=aggregate, skip_steps=skipped, recurrent="axonal"))
    x = torch.rand(steps, batch, 5)
    assert network(x).shape == (steps, batch, 3)
    assert torch.equal(network.classify(x), torch.zeros(batch, 3))
    assert torch.equal(network.scores(network(x)), torch.zeros(batch, 3))


def test_gauss_spread_is_annealed_over_a_quarter_then_held():
    network = Network(small(feedforward="gauss", window=25, feedforward_spread=12.0, anneal_spread=True))
    spreads = []
    for epoch in range(40):
        network.begin_epoch(epoch, 40)
        spreads.append(float(network.blocks[0].connection.spread))
    assert spreads[0] == 12.0 and spreads[5] == pytest.approx(12 * (0.23 / 12) ** 0.5)
    assert spreads[10:] == pytest.approx([0.23] * 30)


def test_spike_penalty_is_the_published_one_and_a_copy_after_a_forward_holds_no_graph():
    network = Network(small(recurrent="axonal", spike_penalty=2.0))
    x = torch.rand(20, 3, 5) * 4
    first = network.blocks[0](x)
    second = network.blocks[1](first)
    outputs = network(x)
    expected = 2.0 * torch.stack([0.5 * first.mean(), 0.5 * second.mean()]).mean()
    assert network.penalty().item() == pytest.approx(expected.item())
    assert network.penalty().requires_grad
    outputs.sum().backward()
    other = copy.deepcopy(network)
    assert other.penalty() == 0.0 and torch.is_tensor(network.penalty())
    assert torch.equal(other(x), network(x))


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_of_events_equals_the_deployed_network(name):
    torch.manual_seed(3)
    network = Network(small(**STREAMS[name])).double()
    with torch.no_grad():
        for parameter in (p for n, p in network.named_parameters() if n.endswith("weight") and p.dim() > 1):
            parameter.mul_(3)
    x = (torch.rand(40, 3, 5, dtype=torch.float64) < 0.3).double()
    network(x)  # batch norm statistics
    with network.deployed(), torch.no_grad():
        wanted = network(x)
        assert network.hidden_spikes(x).any()  # silence would prove nothing
    fast = EventNetwork(network.eval(), batch=3, dtype=torch.float64)
    torch.testing.assert_close(fast.run(x), wanted, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(fast.classify(x), network.scores(wanted), rtol=1e-9, atol=1e-9)


def test_a_bad_setting_names_the_field_the_value_and_the_remedy():
    with pytest.raises(ValueError, match="recurrent_layers.*2"):
        small(recurrent_layers=(2,))


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
    with recording(Trainable()) as activity:
        assert activity() == {}
    with recording(network) as activity:
        network(2 * x)
        assert activity()["synaptic_operations"]["effective_macs"] == pytest.approx(float(x.sum()) / 3 * 6)
