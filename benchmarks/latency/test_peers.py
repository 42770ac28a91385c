"""Neurons of snntorch, spikingjelly and norse inside our layers: `nox -s bench-peers`, skipped where absent.

Each is held against its own library run step by step, without recurrence; then it streams, trains, and is copied. At
the end snntorch and norse read our networks as NIR.
"""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from delrec import DelayInit, RecurrentDelays, SpikingLayer, deployed, parameter_groups
from delrec_bench.export.nir_graph import readers, to_nir
from delrec_bench.networks import Network, NetworkConfig
from torch import Tensor, nn

SIZE = 6


def _snntorch(name: str, **settings: Any) -> nn.Module:
    return getattr(pytest.importorskip("snntorch"), name)(**settings)


def _spikingjelly(name: str, **settings: Any) -> nn.Module:
    pytest.importorskip("spikingjelly")
    from spikingjelly.activation_based import neuron

    return getattr(neuron, name)(**settings)


def _norse(name: str, *sizes: int) -> nn.Module:
    pytest.importorskip("norse.torch")
    import norse.torch.module as modules
    from norse.torch.module import lif, lif_adex, lif_box, lif_refrac, lsnn

    home = next(m for m in (lif, lif_adex, lif_box, lif_refrac, lsnn, modules) if hasattr(m, name))
    return getattr(home, name)(*sizes)


NEURONS: dict[str, Callable[[], nn.Module]] = {
    "snntorch Leaky": lambda: _snntorch("Leaky", beta=0.8, learn_beta=True),
    "snntorch Leaky, reset at once": lambda: _snntorch("Leaky", beta=0.8, reset_mechanism="zero", reset_delay=False),
    "snntorch Synaptic": lambda: _snntorch("Synaptic", alpha=0.5, beta=0.8),
    "snntorch Alpha": lambda: _snntorch("Alpha", alpha=0.8, beta=0.5),
    "snntorch Lapicque": lambda: _snntorch("Lapicque", beta=0.8),
    "spikingjelly LIFNode": lambda: _spikingjelly("LIFNode", tau=2.0, decay_input=False),
    "spikingjelly IFNode": lambda: _spikingjelly("IFNode", v_reset=None),
    "spikingjelly ParametricLIFNode": lambda: _spikingjelly("ParametricLIFNode", init_tau=2.0),
    "spikingjelly EIFNode": lambda: _spikingjelly("EIFNode"),
    "spikingjelly IzhikevichNode": lambda: _spikingjelly("IzhikevichNode"),
    "norse LIFCell": lambda: _norse("LIFCell"),
    "norse LIFBoxCell": lambda: _norse("LIFBoxCell"),
    "norse LIFAdExCell": lambda: _norse("LIFAdExCell"),
    "norse LIFRefracCell": lambda: _norse("LIFRefracCell"),
    "norse LSNNCell": lambda: _norse("LSNNCell"),
}
EVERY = pytest.mark.parametrize("name", NEURONS)
BAD: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "snntorch RLeaky": (lambda: _snntorch("RLeaky", beta=0.8, linear_features=SIZE), "RLeaky.*recurrent"),
    "snntorch RSynaptic": (
        lambda: _snntorch("RSynaptic", alpha=0.5, beta=0.8, linear_features=SIZE),
        "RSynaptic.*recurr",
    ),
    "snntorch hidden": (lambda: _snntorch("Leaky", beta=0.8, init_hidden=True), "Leaky.*init_hidden=False"),
    "spikingjelly many steps": (lambda: _spikingjelly("LIFNode", step_mode="m"), "LIFNode.*step_mode='s'"),
    "norse LIFRecurrentCell": (lambda: _norse("LIFRecurrentCell", SIZE, SIZE), "LIFRecurrentCell.*recurrent"),
}


def _input(scale: float = 3.0) -> Tensor:
    return scale * torch.rand(40, 4, SIZE, generator=torch.Generator().manual_seed(0))


def _scale(name: str) -> float:
    return 40.0 if "norse" in name or "Izhikevich" in name else 4.0


def _by_itself(neuron: nn.Module, x: Tensor) -> Tensor:
    """The library's own way: its state handed back to it, or kept inside."""
    state: tuple[Any, ...] = ()
    spikes = []
    for current in x:
        out = neuron(current, *state)
        spike, *after = out if isinstance(out, tuple) else (out,)
        state = tuple(after)
        spikes.append(spike)
    return torch.stack(spikes)


def _layer(neuron: nn.Module) -> RecurrentDelays:
    torch.manual_seed(1)
    start = DelayInit("uniform", low=0, high=5)
    return RecurrentDelays(SIZE, neuron=neuron, sigma=1.0, delay_init=start, engine="reference")


@EVERY
def test_a_foreign_neuron_is_the_neuron_of_its_library(name: str) -> None:
    x = _input(_scale(name))
    ours = SpikingLayer(SIZE, neuron=NEURONS[name](), engine="reference")(x)
    assert ours.any(), "silence would prove nothing"
    torch.testing.assert_close(ours, _by_itself(NEURONS[name](), x))


@EVERY
def test_it_streams_trains_and_is_copied(name: str) -> None:
    layer, x = _layer(NEURONS[name]()), _input(_scale(name)).requires_grad_()
    whole = layer(x)
    first = layer(x[:9], return_state=True)
    assert torch.equal(torch.cat([first.spikes, layer(x[9:], first.state)]), whole)
    held = layer(x, lengths=[40, 9, 9, 40], return_state=True)
    assert torch.equal(held.state.states[0][1:3], first.state.states[0][1:3]) and not held.spikes[9:, 1:3].any()
    optimiser = torch.optim.Adam(parameter_groups(layer, lr=1e-3, delay_lr=0.1))
    before = layer.delay.detach().clone()
    (whole * torch.arange(SIZE)).sum().backward()
    optimiser.step()
    assert layer.delay.grad.isfinite().all() and (layer.delay != before).any()
    assert torch.equal(copy.deepcopy(layer)(x), layer(x))
    assert layer(x.detach()[:, :2]).shape == (40, 2, SIZE), "another batch: nothing was left behind"
    if "spikingjelly" in name:  # the others' cells hold functions made inside functions, which nobody can pickle
        assert torch.equal(pickle.loads(pickle.dumps(layer))(x), layer(x))


@EVERY
def test_it_is_told_what_its_membrane_is(name: str) -> None:
    out = _layer(NEURONS[name]())(_input(_scale(name)), return_membrane=True)
    assert out.membrane.shape == out.spikes.shape and out.membrane.isfinite().all()


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_taken_is_refused_by_name(name: str) -> None:
    make, words = BAD[name]
    neuron = make()
    with pytest.raises(ValueError, match=words):
        RecurrentDelays(SIZE, neuron=neuron)


def _read_by_snntorch(graph: Any) -> nn.Module:
    pytest.importorskip("snntorch")
    from snntorch.import_nir import import_from_nir

    return import_from_nir(graph)


def _read_by_norse(graph: Any) -> nn.Module:
    return pytest.importorskip("norse.torch").from_nir(graph, dt=graph.metadata["dt"])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("read", "recurrent", "step"),
    [(_read_by_snntorch, "none", 1e-4), (_read_by_norse, "none", 0.01), (_read_by_norse, "plain", 0.01)],
)
def test_others_read_our_nir_as_the_same_network(read: Callable[[Any], nn.Module], recurrent: str, step: float) -> None:
    nir = pytest.importorskip("nir")
    torch.manual_seed(0)
    config = NetworkConfig(inputs=9, classes=4, hidden=(12, 11), reset="hard", batch_norm=True, recurrent=recurrent)
    network = Network(config).eval()
    with torch.no_grad():
        for block in network.blocks:
            block.connection.weight.mul_(4)
    content = io.BytesIO()
    graph = to_nir(network, step)
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
