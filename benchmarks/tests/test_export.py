"""`export`: a trained network as NIR and as safetensors, which is read back to the same logits."""

import copy
import io
import json
import struct
import sys

import numpy as np
import pytest
import torch
from delrec import deployed
from delrec_bench import app
from delrec_bench.config import Request, resolve
from delrec_bench.errors import BenchError
from delrec_bench.export import find_model, load_network
from delrec_bench.export.nir_graph import export_nir, readers, to_nir
from delrec_bench.export.weights import OfMethod, read_weights, weights_bytes
from delrec_bench.methods.base import find_methods
from delrec_bench.networks import Network, NetworkConfig
from delrec_bench.runs.single import perform
from delrec_bench.tasks.base import find_tasks
from delrec_bench.workspace import workspace_at

nir = pytest.importorskip("nir")
METHODS, TASKS = find_methods(), find_tasks()
SHD = {
    "batch_norm": True,
    "reset": "hard",
    "tau": 1.05,
    "recurrent": "axonal",
    "recurrent_layers": [1],
    "readout": "leaky",
    "delay_init": "uniform",
    "sigma": 3.0,
}
TINY = (("network.hidden", [6, 6]), ("task.limit", 40), ("task.test_limit", 30), ("training.epochs", 1))


def network(double=True, **changes):
    torch.manual_seed(0)
    made = Network(NetworkConfig(inputs=9, classes=4, **({"hidden": (12, 11)} | SHD | changes)))
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "norm" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
            if "connection.weight" in name:
                parameter.mul_(4)
        for name, buffer in made.named_buffers():
            if "running" in name:
                buffer.add_(0.2 * torch.rand_like(buffer))
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


def back(made, step=0.01):
    content = io.BytesIO()
    nir.write(content, to_nir(made, step))
    return nir.read(content)


SAYABLE = {
    "SHD": {},
    "SHD without batch norm": {"batch_norm": False},
    "shared": {"recurrent": "shared", "recurrent_layers": None},
    "plain recurrence": {"recurrent": "plain", "recurrent_layers": None},
    "no recurrence, linear readout": {"recurrent": "none", "readout": "linear", "bias": False},
    "another rest, learned tau": {"v_reset": -0.4, "tau": 3.0, "learn_tau": "neuron", "threshold": 0.7},
    "no self-connections": {"self_connections": False, "tau": 1.0, "readout_tau": 5.0, "readout_gain": "complement"},
    "norm in the readout": {"readout_norm": True, "delay_init": "constant", "delay_low": 0.0},
    "axonal feedforward delays": {"feedforward": "v1", "feedforward_form": "axonal", "window": 9},
    "in every connection": {
        "feedforward": "gauss",
        "feedforward_form": "axonal",
        "feedforward_readout": True,
        "feedforward_spread": 2.0,
        "window": 8,
    },
}


def test_the_graph_is_the_one_that_nirs_equations_give_by_hand():
    made = network(hidden=(7,), recurrent_layers=None)
    graph, step = back(made), 0.01
    assert float(graph.metadata["dt"]) == step and set(graph.nodes) == {
        *("input", "hidden_1", "spikes_1", "delay_1", "recurrent_1", "readout", "leak", "output")
    }
    lif, affine = graph.nodes["spikes_1"], graph.nodes["hidden_1"]
    delays = np.rint(graph.nodes["delay_1"].delay / step).astype(int)
    assert np.array_equal(delays, np.round(made.blocks[0].spiking.delay.detach().numpy())) and delays.max() > 5
    x, v, z = drawn().numpy(), np.tile(lif.v_reset, (3, 1)), np.zeros((60, 3, 7))
    for t in range(60):
        current = x[t] @ affine.weight.T + affine.bias
        for sender in range(7):
            sent = t - 1 - delays[sender]
            if sent >= 0:
                current = current + np.outer(z[sent, :, sender], graph.nodes["recurrent_1"].weight[:, sender])
        v = v + step / lif.tau * ((lif.v_leak - v) + lif.r * current)
        z[t] = v > lif.v_threshold
        v = np.where(z[t] > 0, lif.v_reset, v)
    assert z.mean() > 0.01 and np.array_equal(z, hidden(made, drawn())[0][0])


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


REFUSED = {
    "soft reset": ({"reset": "soft"}, r"hidden layer 1: .* subtracts the threshold \(reset='soft'\)"),
    "synaptic delays": ({"recurrent": "synaptic"}, "hidden layer 2: its recurrent delays are synaptic"),
    "delays not rounded": ({"rounding": "none"}, "hidden layer 2: a delay of .* steps"),
    "synaptic feedforward": ({"feedforward": "v1"}, "hidden layer 1: feedforward delays are synaptic"),
    "dendritic": ({"feedforward": "v1", "feedforward_form": "dendritic"}, "feedforward delays are dendritic"),
    "two elements": ({"feedforward": "v1", "feedforward_form": "axonal", "kernel_count": 2}, "2 a connection"),
    "right padding": ({"feedforward": "v1", "feedforward_form": "axonal", "right_padding": 4}, "pad .* on the right"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_nir_has_no_word_for_is_refused_by_name_and_nothing_is_written(tmp_path, name):
    changes, message = REFUSED[name]
    with pytest.raises(BenchError, match=message):
        export_nir(tmp_path / "net.nir", network(**changes), 0.01)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("method", "said"),
    [("silif", "neuron is .*NIR has leaky"), ("gru", "no stack of layers"), ("asrc", "no stack|no word")],
)
def test_networks_of_other_methods_are_refused_by_name(method, said):
    assert METHODS[method].build is not None
    made = METHODS[method].build({**METHODS[method].settings, "hidden": [5, 5], "engine": "auto"}, 9, 4)
    with pytest.raises(BenchError, match=said):
        to_nir(made, 0.01)


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if method.build is not None])
def test_every_methods_network_is_kept_whole_in_a_file_of_weights(method):
    settings = {**METHODS[method].settings, "hidden": [5] * len(METHODS[method].settings["hidden"])}
    made = METHODS[method].build({**settings, "engine": "auto"}, 6, 3).float()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.01)
    build = OfMethod(method=method, settings=settings, inputs=6, classes=3, dtype="float32")
    there, _ = read_weights(weights_bytes(made, build, {}), "net", METHODS)
    assert type(there) is type(made) and not there.training
    ours, theirs = made.state_dict(), there.state_dict()
    assert list(ours) == list(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "nir", None)
    with pytest.raises(BenchError, match=r"pip install 'delrec-bench\[nir\]'"):
        to_nir(network(), 0.01)


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
        "soft": Request("delrec-synaptic", "digits", overrides=TINY),
        "gru": Request("gru", "digits", overrides=(("network.hidden", [6]), *TINY[1:])),
        "double": Request("silif", "digits", overrides=(*TINY, ("dtype", "float64"))),
        "forecast": Request("lif", "mackey-glass", overrides=TINY),
    }
    return workspace, {k: perform(resolve(r, METHODS, TASKS, workspace), workspace).record for k, r in requests.items()}


@pytest.mark.parametrize("name", ["hard", "soft", "gru", "double", "forecast"])
def test_a_run_leaves_as_safetensors_and_comes_back_to_equal_logits(made, tmp_path, capsys, name):
    workspace, records = made
    record = records[name]
    root, out = ["--root", str(workspace.root)], tmp_path / "net.safetensors"
    words = ["export", "safetensors", record.key[:16], *root, "--out", str(out)]
    assert app.main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["file"] == str(out)
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


def test_a_run_leaves_as_nir_or_says_why_not(made, tmp_path, capsys):
    workspace, records = made
    root = ["--root", str(workspace.root)]
    assert app.main(["export", "nir", records["hard"].key, *root, "--out", str(tmp_path / "net.nir")]) == 0
    graph = nir.read(tmp_path / "net.nir")
    text = graph.metadata["key"]
    assert (text.decode() if isinstance(text, bytes) else text) == records["hard"].key
    for name, said in (("soft", "subtracts the threshold"), ("gru", "no stack of layers")):
        assert app.main(["export", "nir", records[name].key, *root]) == 2
        assert said in capsys.readouterr().err
    assert not (workspace.root / "out" / "models").exists()
    assert app.main(["export", "nir", "0123", *root]) == 2


def test_a_run_without_its_checkpoint_is_told_how_to_make_it(made, tmp_path, capsys):
    workspace, records = made
    copy_ = tmp_path / records["gru"].key
    copy_.mkdir()
    (copy_ / "record.json").write_bytes((workspace.runs / records["gru"].key / "record.json").read_bytes())
    assert app.main(["export", "safetensors", str(copy_), "--root", str(workspace.root)]) == 2
    assert "is not there; run it again: delrec-bench run gru digits" in capsys.readouterr().err


def test_files_of_weights_that_are_wrong_are_refused(tmp_path):
    made = network(double=False, hidden=(5,), recurrent_layers=None).float()
    build = OfMethod(
        method="gru", settings={**METHODS["gru"].settings, "hidden": [5]}, inputs=9, classes=4, dtype="float32"
    )
    data = weights_bytes(made, build, {})
    with pytest.raises(BenchError, match="do not fit the network that its header describes"):
        read_weights(data, "net")
    unknown = weights_bytes(made, build.model_copy(update={"method": "grru"}), {})
    with pytest.raises(BenchError, match="did you mean 'gru'"):
        read_weights(unknown, "net")
    with pytest.raises(BenchError, match="does not fit|do not fit"):  # before 10 GB are asked for
        huge = build.model_copy(update={"settings": {**METHODS["gru"].settings, "hidden": [30_000]}})
        read_weights(weights_bytes(made, huge, {}), "net")
    for wrong in ([1] * 100_000, [10**9], [5] * 3 + [10**7]):  # at once, not after building 100,000 layers
        deep = nothing_but_core(made)
        deep = deep.model_copy(update={"network": deep.network | {"hidden": wrong}})
        with pytest.raises(BenchError, match="layers were described"):
            read_weights(weights_bytes(made, deep, {}), "net")
    good = weights_bytes(made, nothing_but_core(made), {"key": "k"})
    network_, header = read_weights(good, "net")
    assert header.about == {"key": "k"} and torch.equal(network_(drawn(torch.float32)), made(drawn(torch.float32)))
    broken = copy.deepcopy(made)
    with torch.no_grad():
        broken.readout.weight[0, 0] = float("nan")
    with pytest.raises(BenchError, match="'readout.weight' holds values that are NaN"):
        read_weights(weights_bytes(broken, nothing_but_core(made), {}), "net")
    for length in (*range(0, len(good), 211), len(good) - 1):
        with pytest.raises(BenchError):
            read_weights(good[:length], "net")
    for lie in (2**63, 2**31, len(good)):
        with pytest.raises(BenchError):
            read_weights(struct.pack("<Q", lie) + good[8:], "net")
    (tmp_path / "net.safetensors").write_bytes(good)
    with pytest.raises(BenchError, match="cannot be read"):
        load_network(tmp_path / "absent.safetensors")


def nothing_but_core(made):
    from delrec_bench.export.weights import build_of

    return build_of(made)
