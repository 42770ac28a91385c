"""Checkpoints of DelRec's code of 2025 run to that code's logits; all else is refused in a line."""

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import published_code
import pytest
import torch
from delrec import deployed
from delrec_bench.errors import BenchError
from delrec_bench.export.state_dicts import read_published
from delrec_bench.training import tensor_files as files

FOLDER = Path(__file__).parent / "checkpoints"
NAMES = sorted(path.stem for path in FOLDER.glob("*.pth"))
SETTINGS = {"shd": published_code.SHD, "ssc": published_code.SSC}


def saved(path, net, **more):
    torch.save({"net": net, "acc": np.float64(81.25), "epoch": 12, **more}, path)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_gives_the_logits_and_rates_of_the_code_that_made_it(name):
    network = read_published(FOLDER / f"{name}.pth", name.split("_")[1])
    right = np.load(FOLDER / f"{name}.expected.npz")
    values, rates = torch.from_numpy(right["x"]).float(), []
    with torch.no_grad():
        logits = network(values).numpy()
        for block in network.blocks:
            values = block(values)
            rates.append(float(values.mean()))
    assert np.abs(logits - right["logits"]).max() < 2e-6 * max(1.0, np.abs(right["logits"]).max())
    assert rates == pytest.approx(right["rates"].tolist(), abs=1e-6) and min(rates) > 0.01
    net = files.load_checkpoint(FOLDER / f"{name}.pth")["net"]  # and plain loops are that code
    outputs, rates = published_code.run(net, right["x"], SETTINGS[name.split("_")[1]])
    assert np.abs(outputs - right["logits"]).max() < 1e-4
    assert rates == pytest.approx(right["rates"].tolist(), abs=1e-6)


OTHERS = {
    "synaptic with spread": ("ssc", (9, 7, 6, 3), {"recurrent": (0, 1), "delays": "synaptic", "spread": True}),
    "shared": ("ssc", (6, 9, 9, 4), {"recurrent": (1,), "delays": "shared"}),
    "plain recurrence": ("ssc", (6, 9, 9, 4), {"recurrent": (0, 1), "delays": "none", "spread": True}),
    "no recurrence": ("ssc", (6, 9, 9, 4), {}),
    "delays in every connection": ("ssc", (4, 6, 5, 3), {"recurrent": (0, 1), "delayed": (0, 1, 2), "spread": True}),
    "SHD of three layers": ("shd", (8, 10, 6, 9, 5), {"norm": True, "recurrent": (1, 2), "delayed": (2,)}),
    "SHD without bias": ("shd", (8, 10, 6, 5), {"norm": True, "recurrent": (1,), "bias": False}),
    "equal parameters": ("shd-equi-parameter", (8, 12, 12, 5), {"bias": False, "recurrent": (1,), "delayed": (1,)}),
    "PS-MNIST": ("ps-mnist", (1, 12, 16, 12, 10), {"recurrent": (0, 1, 2), "delayed": (0, 1, 2, 3), "window": 31}),
}


@pytest.mark.parametrize("name", OTHERS)
def test_networks_of_other_forms_run_as_plain_loops_do_at_the_sigma_asked_and_deployed_at_0(tmp_path, name):
    setting, widths, form = OTHERS[name]
    net = published_code.state(widths, **form)
    network = read_published(saved(tmp_path / "net.pth", net), setting, sigma=2.0).double()
    x = np.random.default_rng(1).poisson(0.4, (35, 3, widths[0])) * (6.0 if widths[0] == 1 else 1.0)
    rules = {"ps-mnist": published_code.PS_MNIST, "shd-equi-parameter": published_code.EQUAL, **SETTINGS}[setting]
    with torch.no_grad():
        outputs = {2.0: network(torch.from_numpy(x)).numpy()}
        with deployed(network):
            outputs[0.0] = network(torch.from_numpy(x)).numpy()
    for sigma, ours in outputs.items():
        right, rates = published_code.run(net, x, rules, sigma)
        assert min(rates) > 0.01 and ours.shape == right.shape
        assert np.abs(ours - right).max() < 1e-5 * np.abs(right).max()


def changed(**entries):
    net = published_code.state((6, 8, 8, 4), recurrent=(0, 1), spread=True, delayed=(1,))
    net |= {name.replace("__", "."): value for name, value in entries.items()}
    return {name: value for name, value in net.items() if value is not None}


SHARED = torch.zeros(64, 64)
WRONG = {
    "another code": ({"fc1.weight": torch.zeros(3, 3)}, "not one of its parameters"),
    "nothing": ({}, "not a network's state"),
    "NaN": (changed(layers__0__bias=torch.full((8,), float("nan"))), "layers.0.bias' contains NaN"),
    "inputs that do not meet": (changed(layers__10__weight=torch.zeros(4, 7)), "size mismatch"),
    "axonal and synaptic": (changed(layers__7__recurrent_delays=torch.zeros(8, 8)), "mixes kinds of recurrent delays"),
    "positions beyond the window": (changed(layers__5__P=torch.full((1, 8, 8, 1), 14.6)), "window of 25"),
    "complex numbers": (changed(layers__0__weight=torch.zeros(8, 6, dtype=torch.complex64)), "numbers were expected"),
    "one number and a huge shape": (changed(layers__0__weight=torch.zeros(1).expand(2**20, 2**20)), "than is stored"),
    "many names of one storage": (dict.fromkeys((f"layers.{i}.weight" for i in range(800)), SHARED), "than is stored"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_state_is_refused_by_name(tmp_path, name):
    net, message = WRONG[name]
    with pytest.raises(BenchError, match=message):
        read_published(saved(tmp_path / "net.pth", net), "ssc")


class Harmful:
    def __reduce__(self):
        return print, ("executed",)


class Large:
    def __reduce__(self):
        return bytearray, (12 << 30,)


def test_nothing_in_a_file_is_executed_and_torchs_advice_is_not_passed_on(tmp_path, capsys):
    for content in (Harmful(), {"net": Harmful()}, {"net": {}, "acc": Harmful()}, {"net": Large()}):
        torch.save(content, tmp_path / "net.pth")
        with pytest.raises(BenchError, match="neither a tensor nor a number") as caught:
            read_published(tmp_path / "net.pth", "ssc")
        assert "weights_only" not in str(caught.value)
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Harmful()))
    torch.save({"net": {}}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for name in ("plain.pth", "old.pth"):
        with pytest.raises(BenchError, match="cannot be read as tensors and numbers"):
            read_published(tmp_path / name, "ssc")
    assert "executed" not in capsys.readouterr().out


def test_a_numpy_number_is_read_whichever_numpy_wrote_it_and_no_other_object_is(tmp_path):
    net = published_code.state((6, 8, 4))
    data = saved(tmp_path / "net.pth", net).read_bytes()
    assert b"numpy._core.multiarray" in data
    old = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as new, zipfile.ZipFile(old, "w") as archive:
        for member in new.infolist():
            archive.writestr(member, new.read(member).replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    (tmp_path / "old.pth").write_bytes(old.getvalue())
    assert files.load_checkpoint(tmp_path / "old.pth")["acc"] == 81.25
    for value in (np.array([1.0]), np.str_("a"), np.void(b"abc")):
        with pytest.raises(BenchError):
            files.load_checkpoint(saved(tmp_path / "odd.pth", net, acc=value))


def test_a_file_that_is_too_large_or_unfolds_is_refused_unread(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/data.pkl", bytes(10_000_000))
    with pytest.raises(BenchError, match="compressed members"):
        read_published(tmp_path / "bomb.pth", "shd")
    with (tmp_path / "huge.pth").open("wb") as file:
        file.truncate(files.LARGEST + 1)
    with pytest.raises(BenchError, match="more than .* bytes"):
        read_published(tmp_path / "huge.pth", "shd")
    for odd in (tmp_path, tmp_path / "absent.pth"):
        with pytest.raises(BenchError):
            read_published(odd, "shd")
