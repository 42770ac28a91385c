"""`export`: a trained network as NIR and as safetensors, which is read back to the same logits."""

import io
import struct
from collections import defaultdict
from graphlib import TopologicalSorter

import numpy as np
import pytest
import torch
from delrec import deployed
from delrec_bench import app
from delrec_bench.config import Request
from delrec_bench.errors import BenchError
from delrec_bench.export import Model, find_model, load_network
from delrec_bench.export.models import Header
from delrec_bench.export.nir_graph import export_nir, readers, to_nir
from delrec_bench.networks import Network, NetworkConfig
from delrec_bench.workspace import workspace_at
from short_runs import METHODS, TINY, done

nir = pytest.importorskip("nir")
SHD = {"batch_norm": True, "reset": "hard", "tau": 1.05, "recurrent": "axonal", "recurrent_layers": [1]}
SHD |= {"readout": "leaky", "delay_init": "uniform", "sigma": 3.0}
AXONAL = {"feedforward": "v1", "feedforward_form": "axonal"}


def network(double=True, **changes):
    torch.manual_seed(0)
    made = Network(NetworkConfig(inputs=9, classes=4, **({"hidden": (12, 11)} | SHD | changes)))
    with torch.no_grad():
        for name, value in made.state_dict().items():  # the tensors of the network themselves
            if "running" in name:
                value.add_(0.2 * torch.rand_like(value))
            elif "norm" in name and value.is_floating_point():
                value.add_(0.3 * torch.randn_like(value))
            elif "connection.weight" in name:
                value.mul_(4)
    return (made.double() if double else made).eval()


def drawn(dtype=torch.float64):
    return 2 * (torch.rand(60, 3, 9, generator=torch.Generator().manual_seed(1)) < 0.3).to(dtype)


def hidden(made, x):
    spikes = []
    with deployed(made), torch.no_grad():
        for block in made.blocks:
            x = block(x)
            spikes.append(x.numpy())
        return spikes, made._read(x).numpy()


def back(made):
    content = io.BytesIO()
    nir.write(content, to_nir(made, 0.01))
    return nir.read(content)


SAYABLE = {
    "SHD": {},
    "SHD without batch norm": {"batch_norm": False},
    "shared": {"recurrent": "shared", "recurrent_layers": None},
    "no recurrence, linear readout": {"recurrent": "none", "readout": "linear", "bias": False},
    "another rest, learned tau": {"v_reset": -0.4, "tau": 3.0, "learn_tau": "neuron", "threshold": 0.7},
    "no self-connections": {"self_connections": False, "tau": 1.0, "readout_tau": 5.0, "readout_gain": "complement"},
    "norm in the readout": {"readout_norm": True, "delay_init": "constant", "delay_low": 0.0},
    "axonal feedforward delays": AXONAL | {"window": 9},
    "in every connection": AXONAL
    | {"feedforward": "gauss", "feedforward_readout": True, "feedforward_spread": 2.0, "window": 8},
}


def simulated(graph, x, step):
    """What each node of a graph says, by NIR's equations in Euler steps; a loop's spikes arrive a step later."""
    loops = {edge for edge in graph.edges if edge[0].startswith("recurrent")}
    before = {name: [a for a, b in set(graph.edges) - loops if b == name] for name in graph.nodes}
    said = defaultdict(list)
    voltage = {name: node.v_leak for name, node in graph.nodes.items() if hasattr(node, "v_leak")}
    for t in range(len(x)):
        for name in TopologicalSorter(before).static_order():
            node = graph.nodes[name]
            got = x[t] if name == "input" else sum(said[source][t] for source in before[name])
            got = got + sum(said[source][t - 1] for source, receiver in loops if receiver == name and t)
            if name in voltage:
                voltage[name] = got = voltage[name] + step / node.tau * (node.v_leak - voltage[name] + node.r * got)
            if hasattr(node, "v_threshold"):
                got = (got > node.v_threshold).astype(float)
                voltage[name] = np.where(got > 0, node.v_reset, voltage[name])
            elif hasattr(node, "weight"):
                got = got @ node.weight.T + getattr(node, "bias", 0)
            elif hasattr(node, "delay"):
                past, lag = np.array([*said[name + " in"], got]), t - np.rint(node.delay / step).astype(int)
                said[name + " in"].append(got)
                got = np.stack([past[when, :, i] if when >= 0 else 0 * got[:, i] for i, when in enumerate(lag)], -1)
            said[name].append(got)
    return {name: np.array(values) for name, values in said.items()}


@pytest.mark.parametrize("name", SAYABLE)
def test_the_graph_is_the_network_by_nirs_equations(name):
    made = network(**SAYABLE[name])
    graph = back(made)
    assert float(graph.metadata["dt"]) == 0.01
    ours, readout = hidden(made, drawn())
    theirs = simulated(graph, drawn().numpy(), 0.01)
    for i, spikes in enumerate(ours, 1):
        assert spikes.mean() > 0.01 and np.array_equal(theirs[f"spikes_{i}"], spikes)
    np.testing.assert_allclose(theirs["output"], readout, rtol=1e-9, atol=1e-9)


def test_ours_fires_at_the_threshold_and_so_does_the_graph():
    made = network(double=False, hidden=(3,), batch_norm=False, recurrent="none", recurrent_layers=None, tau=2.0)
    with torch.no_grad():
        made.blocks[0].connection.weight.fill_(0.25)
        made.blocks[0].connection.bias.zero_()
    x = torch.zeros(4, 1, 9)
    x[0, 0, :4] = 1.0  # H is 1 exactly
    assert hidden(made, x)[0][0][0].tolist() == [[1, 1, 1]]
    nodes = back(made).nodes
    lif, current = nodes["spikes_1"], 4 * nodes["hidden_1"].weight[:, 0]
    assert np.all(lif.r * current * (0.01 / lif.tau) > lif.v_threshold), "H is 1 there, and the rule is a strict one"


@pytest.mark.parametrize(
    ("changes", "snntorch", "norse"),
    [
        ({"recurrent": "none", "readout": "linear"}, "write the file with --step-ms 0.1", "from_nir(graph, dt=0.01)"),
        ({"recurrent": "plain", "readout": "linear"}, "no such loop", "from_nir(graph, dt=0.01)"),
        ({}, "has no Delay, LI", "has no Delay, LI"),
        ({"recurrent": "none", "readout": "linear", "v_reset": -0.4}, "voltage of 0 only", "resets to 0"),
    ],
)
def test_what_other_libraries_would_make_of_it_is_said(changes, snntorch, norse):
    ours, theirs = readers(back(network(**changes)))
    assert snntorch in ours and norse in theirs


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("silif", "neuron is .*NIR only has leaky"),
        *((method, "cannot (be )?express") for method in ("gru", "asrc")),
        ({"reset": "soft"}, r"hidden layer 1: .* subtracts the threshold \(reset='soft'\)"),
        ({"recurrent": "synaptic"}, "hidden layer 2: its delays are synaptic"),
        ({"rounding": "none"}, "hidden layer 2: a delay of .* steps"),
        ({"feedforward": "v1"}, "hidden layer 1: its delays are synaptic"),
        (AXONAL | {"kernel_count": 2}, "2 delays per connection"),
        (AXONAL | {"right_padding": 4}, "4 steps of right padding"),
    ],
)
def test_what_nir_has_no_word_for_is_refused_by_name_and_nothing_is_written(tmp_path, what, message):
    if isinstance(what, dict):
        made = network(**what)
    else:
        made = METHODS[what].network({**METHODS[what].settings, "hidden": [5, 5], "engine": "auto"}, 9, 4)
    with pytest.raises(BenchError, match=message):
        export_nir(tmp_path / "net.nir", made, 0.01)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module", autouse=True)
def reference():
    """Nothing is compiled for networks of six neurons."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DELREC_ENGINE", "reference")
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    workspace = workspace_at(tmp_path_factory.mktemp("made"))
    (workspace.root / "data.dvc").write_text("outs: []\n")
    hard = (("network.reset", "hard"), ("network.readout", "leaky"), ("network.batch_norm", True))
    requests = {
        "hard": Request("delrec-axonal", "digits", overrides=(*TINY, *hard)),
        "gru": Request("gru", "digits", overrides=TINY),
        "double": Request("silif", "digits", overrides=(*TINY, ("dtype", "float64"))),
    }
    return workspace, {name: done(request, workspace) for name, request in requests.items()}


@pytest.mark.parametrize("name", ["hard", "gru", "double"])
def test_a_run_leaves_as_safetensors_and_comes_back_to_equal_logits(made, tmp_path, command, name):
    workspace, records = made
    record = records[name]
    root, out = ["--root", str(workspace.root)], tmp_path / "net.safetensors"
    words = ["export", "safetensors", record.key[:16], *root, "--out", str(out)]
    assert command(*words)[0]["file"] == str(out)
    ours = find_model(str(workspace.runs / record.key), workspace, METHODS).network
    there = load_network(out)
    x = torch.rand(record.data["steps"], 3, record.data["channels"], dtype=next(ours.parameters()).dtype)
    with torch.no_grad():
        assert torch.equal(there(x), ours(x))
        with there.deployed(), ours.deployed():
            assert torch.equal(there.classify(x), ours.classify(x))
    again = tmp_path / "again.safetensors"
    assert app.main(["export", "safetensors", str(out), *root, "--out", str(again)]) == 0
    assert again.read_bytes() == out.read_bytes()
    with pytest.raises(BenchError, match="neither a run's folder, nor a file in one, nor a .safetensors file"):
        find_model(__file__, workspace, METHODS)


def test_a_run_leaves_as_nir_or_says_why_not(made, tmp_path, capsys):
    workspace, records = made
    root = ["--root", str(workspace.root)]
    assert app.main(["export", "nir", records["hard"].key, *root, "--out", str(tmp_path / "net.nir")]) == 0
    assert str(nir.read(tmp_path / "net.nir").metadata["key"]) == records["hard"].key
    weights = tmp_path / "net.safetensors"
    assert app.main(["export", "safetensors", records["hard"].key, *root, "--out", str(weights)]) == 0
    weights.write_bytes(weights.read_bytes().replace(b'\\"step_ms\\":0.0', b'\\"step_ms\\":9.0'))
    capsys.readouterr()
    assert app.main(["export", "nir", str(weights), *root, "--out", str(tmp_path / "again.nir")]) == 0
    assert "again.nir (9 ms per step)" in capsys.readouterr().out
    assert app.main(["export", "nir", records["gru"].key, *root]) == 2
    assert "cannot be expressed" in capsys.readouterr().err
    assert not (workspace.root / "out" / "models").exists()
    assert app.main(["export", "nir", "0123", *root]) == 2


def written(path, method="gru", content=None, spoilt=None, **changes):
    """Write a GRU of five neurons as a file whose header says what is asked."""
    settings = {**METHODS["gru"].settings, "hidden": [5]}
    made = METHODS["gru"].build({**settings, "engine": "auto"}, 9, 4)
    if spoilt:
        with torch.no_grad():
            next(made.parameters()).view(-1)[0] = spoilt
    shape = {"inputs": 9, "classes": 4, "dtype": "float32"}
    header = Header(method=method, settings=settings | changes, about={"key": "k"}, **shape)
    whole = Model("net", made, header).weights()
    path.write_bytes(whole if content is None else content(whole))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"method": "lif"}, "do not match the network described in its header"),
        ({"method": "grru"}, "did you mean 'gru'"),
        ({"method": "counts-only"}, "has no network"),
        ({"hidden": [30_000]}, "do not match"),  # before 10 GB are asked for
        # at once, not after building 100,000 layers
        *(({"hidden": wrong}, "layers in the header") for wrong in ([1] * 100_000, [10**9], [5] * 3 + [10**7])),
        ({"spoilt": float("nan")}, "contains NaN"),
        *(({"content": lambda whole, n=n: whole[:n]}, "is not a network") for n in (0, 7, 8, 200, 900, -1)),
        *(({"content": lambda w, n=n: struct.pack("<Q", n) + w[8:]}, "is not a network") for n in (2**63, 2**31, 2000)),
        ({"content": lambda whole: whole.replace(b'\\"inputs\\":9', b'\\"inputs\\":0')}, "its header"),
        ({"content": lambda whole: whole.replace(b"delrec-bench", b"another-code")}, "is not a network"),
    ],
)
def test_a_wrong_file_of_weights_is_refused(tmp_path, how, message):
    path = tmp_path / "net.safetensors"
    written(path, **how)
    with pytest.raises(BenchError, match=message) as caught:
        load_network(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(BenchError, match="cannot be read"):
        load_network(path.with_name("absent.safetensors"))
