"""Layers beside those of snntorch, spikingjelly, norse and DCLS: `nox -s bench-peers`, skipped where these are absent.

A neuron inside our layers is held against its own library run step by step, without recurrence; then it streams,
trains, and is copied. snntorch and norse read our networks as NIR.
"""

import copy
import io
import pickle
from functools import partial
from importlib import import_module

import pytest
import torch
from delrec import DelayInit, RecurrentDelays, SpikingLayer, deployed, parameter_groups
from delrec_bench.export.nir_graph import readers, to_nir
from delrec_bench.networks import Network, NetworkConfig

pytest.importorskip("snntorch", reason="nox -s bench-peers has the other libraries")

from benchmarks.latency.bench_peers import SIZE as WIDTH
from benchmarks.latency.bench_peers import STEPS, pair, spikes

SIZE = 6


def neuron(library, name, *sizes, **settings):
    homes = {"spikingjelly": ["spikingjelly.activation_based.neuron"], "snntorch": ["snntorch"]}
    norse = [f"norse.torch.module.{name}" for name in ("lif", "lif_adex", "lif_box", "lif_refrac", "lsnn")]
    home = next(m for m in map(import_module, homes.get(library, norse)) if hasattr(m, name))
    return getattr(home, name)(*sizes, **settings)


NEURONS = {
    "snntorch Leaky": {"beta": 0.8, "learn_beta": True},
    "snntorch Leaky, reset at once": {"beta": 0.8, "reset_mechanism": "zero", "reset_delay": False},
    "snntorch Synaptic": {"alpha": 0.5, "beta": 0.8},
    "snntorch Alpha": {"alpha": 0.8, "beta": 0.5},
    "snntorch Lapicque": {"beta": 0.8},
    "spikingjelly LIFNode": {"tau": 2.0, "decay_input": False},
    "spikingjelly IFNode": {"v_reset": None},
    "spikingjelly ParametricLIFNode": {"init_tau": 2.0},
    "spikingjelly EIFNode": {},
    "spikingjelly IzhikevichNode": {},
    **{f"norse {name}": {} for name in ("LIFCell", "LIFBoxCell", "LIFAdExCell", "LIFRefracCell", "LSNNCell")},
}
BAD = {
    "RLeaky.*recurrent": partial(neuron, "snntorch", "RLeaky", beta=0.8, linear_features=SIZE),
    "RSynaptic.*recurr": partial(neuron, "snntorch", "RSynaptic", alpha=0.5, beta=0.8, linear_features=SIZE),
    "Leaky.*init_hidden=False": partial(neuron, "snntorch", "Leaky", beta=0.8, init_hidden=True),
    "LIFNode.*step_mode='s'": partial(neuron, "spikingjelly", "LIFNode", step_mode="m"),
    "LIFRecurrentCell.*recurrent": partial(neuron, "norse", "LIFRecurrentCell", SIZE, SIZE),
}


@pytest.fixture(params=NEURONS)
def peer(request):
    """What makes a neuron, and an input that it answers with spikes."""
    library, _, name = request.param.partition(",")[0].partition(" ")
    scale = 40.0 if library == "norse" or "Izhikevich" in name else 4.0
    x = scale * torch.rand(40, 4, SIZE, generator=torch.Generator().manual_seed(0))
    return partial(neuron, library, name, **NEURONS[request.param]), x


def by_itself(neuron, x):
    """Spikes in the library's own way: its state handed back to it, or kept inside."""
    state, spikes = (), []
    for current in x:
        out = neuron(current, *state)
        spike, *state = out if isinstance(out, tuple) else (out,)
        spikes.append(spike)
    return torch.stack(spikes)


def recurrent(neuron):
    torch.manual_seed(1)
    start = DelayInit("uniform", low=0, high=5)
    return RecurrentDelays(SIZE, neuron=neuron, sigma=1.0, delay_init=start, engine="reference")


def test_a_foreign_neuron_is_the_neuron_of_its_library(peer):
    make, x = peer
    ours = SpikingLayer(SIZE, neuron=make(), engine="reference")(x)
    assert ours.any(), "silence would prove nothing"
    torch.testing.assert_close(ours, by_itself(make(), x))


def test_it_streams_trains_and_is_copied(peer):
    make, x = peer
    layer = recurrent(make())
    whole = layer(x, return_membrane=True)
    assert whole.membrane.shape == whole.spikes.shape and whole.membrane.isfinite().all()
    first = layer(x[:9], return_state=True)
    assert torch.equal(torch.cat([first.spikes, layer(x[9:], first.state)]), whole.spikes)
    held = layer(x, lengths=[40, 9, 9, 40], return_state=True)
    assert torch.equal(held.state.states[0][1:3], first.state.states[0][1:3]) and not held.spikes[9:, 1:3].any()
    optimiser = torch.optim.Adam(parameter_groups(layer, lr=1e-3, delay_lr=0.1))
    before = layer.delay.detach().clone()
    (whole.spikes * torch.arange(SIZE)).sum().backward()
    optimiser.step()
    assert layer.delay.grad.isfinite().all() and (layer.delay != before).any()
    assert torch.equal(copy.deepcopy(layer)(x), layer(x))
    assert layer(x[:, :2]).shape == (40, 2, SIZE), "another batch: nothing was left behind"
    if make.args[0] == "spikingjelly":  # others' cells hold local functions, which cannot be pickled
        assert torch.equal(pickle.loads(pickle.dumps(layer))(x), layer(x))


@pytest.mark.parametrize("words", BAD)
def test_what_cannot_be_taken_is_refused_by_name(words):
    with pytest.raises(ValueError, match=words):
        RecurrentDelays(SIZE, neuron=BAD[words]())


def read_by_snntorch(graph):
    return import_module("snntorch.import_nir").import_from_nir(graph)


def read_by_norse(graph):
    return import_module("norse.torch").from_nir(graph, dt=graph.metadata["dt"])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("read", "recurrent", "step"),
    [(read_by_snntorch, "none", 1e-4), (read_by_norse, "none", 0.01), (read_by_norse, "plain", 0.01)],
)
def test_others_read_our_nir_as_the_same_network(read, recurrent, step):
    nir = pytest.importorskip("nir")
    torch.manual_seed(0)
    config = NetworkConfig(inputs=9, classes=4, hidden=(12, 11), reset="hard", batch_norm=True, recurrent=recurrent)
    network = Network(config).eval()
    with torch.no_grad():
        for block in network.blocks:
            block.connection.weight.mul_(4)
    content, graph = io.BytesIO(), to_nir(network, step)
    assert not any("cannot" in told for told in readers(graph) if read.__name__.endswith(told.split()[0].strip(":")))
    nir.write(content, graph)
    theirs, state, outputs = read(nir.read(content)).eval(), (), []
    x = 2 * (torch.rand(60, 3, 9) < 0.3).float()
    with torch.no_grad(), deployed(network):
        assert network.hidden_spikes(x).any(), "silence would prove nothing"
        for values in x:
            out = theirs(values, *state)
            state = (out[1],) if isinstance(out, tuple) else ()
            outputs.append(out[0] if isinstance(out, tuple) else out)
        torch.testing.assert_close(torch.stack(outputs), network(x))


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("kernel", ["v1", "gauss", "max"])
def test_feedforward_delays_have_outputs_and_gradients_of_dcls(kernel, count):
    theirs, ours = pair(kernel, count)
    x = spikes(4)
    weights = torch.randn(STEPS, 4, WIDTH, generator=torch.Generator().manual_seed(1))
    for layer in (theirs, ours):
        (layer(x) * weights).sum().backward()
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.weight.grad, theirs.layer.weight.grad, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(ours.position.grad, theirs.layer.P.grad[0].permute(2, 0, 1), rtol=1e-3, atol=1e-3)
