"""`import`: checkpoints of DelRec's code of 2025 run to that code's logits; all else is refused in a line."""

import io
import json
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import published_code
import pytest
import torch
from delrec import deployed
from delrec_bench import app
from delrec_bench.errors import BenchError
from delrec_bench.interchange import checkpoint, load_network
from delrec_bench.interchange.expected import Expected, compare_logits
from delrec_bench.interchange.published import import_published

FOLDER = Path(__file__).parent / "checkpoints"
NAMES = sorted(path.stem for path in FOLDER.glob("*.pth"))
SETTINGS = {"shd": published_code.SHD, "ssc": published_code.SSC}


def saved(path, net, **more):
    torch.save({"net": net, "acc": np.float64(81.25), "epoch": 12, **more}, path)
    return path


def expected(name):
    return np.load(FOLDER / f"{name}.expected.npz")


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_gives_the_logits_and_rates_of_the_code_that_made_it(name):
    found, right = import_published(FOLDER / f"{name}.pth"), expected(name)
    agreement = compare_logits(found.network, Expected.read(FOLDER / f"{name}.expected.npz"))
    assert agreement.agrees and agreement.difference < 2e-6 * agreement.scale, str(agreement)
    values, rates = torch.from_numpy(right["x"]), []
    with torch.no_grad():
        for block in found.network.blocks:
            values = block(values)
            rates.append(float(values.mean()))
    assert rates == pytest.approx(right["rates"].tolist(), abs=1e-6) and min(rates) > 0.01
    assert found.setting == name.split("_")[1] and (found.epoch, found.accuracy) == (12, 81.25)
    assert found.described()["layers"][-1]["neurons"] == right["hidden"][-1]


@pytest.mark.parametrize("name", NAMES)
def test_plain_loops_are_that_code(name):
    net = import_state(FOLDER / f"{name}.pth")
    outputs, rates = published_code.run(net, expected(name)["x"], SETTINGS[name.split("_")[1]])
    assert np.abs(outputs - expected(name)["logits"]).max() < 1e-4
    assert rates == pytest.approx(expected(name)["rates"].tolist(), abs=1e-6)


def import_state(path):
    return checkpoint.load_checkpoint(path)["net"]


OTHERS = {
    "four layers, synaptic": ("ssc", (9, 7, 5, 6, 8, 3), {"recurrent": (0, 1, 2, 3), "delays": "synaptic"}),
    "synaptic with spread": ("ssc", (9, 7, 6, 3), {"recurrent": (0, 1), "delays": "synaptic", "spread": True}),
    "one layer": ("ssc", (5, 20, 4), {"recurrent": (0,), "spread": True}),
    "shared": ("ssc", (6, 9, 9, 4), {"recurrent": (1,), "delays": "shared"}),
    "plain recurrence": ("ssc", (6, 9, 9, 4), {"recurrent": (0, 1), "delays": "none", "spread": True}),
    "no recurrence": ("ssc", (6, 9, 9, 4), {}),
    "delays in every connection": ("ssc", (4, 6, 5, 3), {"recurrent": (0, 1), "delayed": (0, 1, 2), "spread": True}),
    "delays in the readout alone": ("ssc", (4, 6, 5, 3), {"delayed": (2,)}),
    "SHD of three layers": ("shd", (8, 10, 6, 9, 5), {"norm": True, "recurrent": (1, 2), "delayed": (2,)}),
    "SHD, synaptic": ("shd", (8, 10, 6, 5), {"norm": True, "recurrent": (1,), "delays": "synaptic"}),
    "SHD without bias": ("shd", (8, 10, 6, 5), {"norm": True, "recurrent": (1,), "bias": False}),
    "equal parameters": ("shd-equi-parameter", (8, 12, 12, 5), {"bias": False, "recurrent": (1,), "delayed": (1,)}),
    "PS-MNIST": ("ps-mnist", (1, 12, 16, 12, 10), {"recurrent": (0, 1, 2), "delayed": (0, 1, 2, 3), "window": 31}),
}


@pytest.mark.parametrize("name", OTHERS)
def test_networks_of_other_forms_and_sizes_run_as_plain_loops_do(tmp_path, name):
    setting, widths, form = OTHERS[name]
    net = published_code.state(widths, **form)
    found = import_published(saved(tmp_path / "net.pth", net))
    assert found.setting == setting
    x = np.random.default_rng(1).poisson(0.4, (35, 3, widths[0])) * (6.0 if widths[0] == 1 else 1.0)
    rules = {"ps-mnist": published_code.PS_MNIST, "shd-equi-parameter": published_code.EQUAL, **SETTINGS}[setting]
    right, rates = published_code.run(net, x, rules)
    with torch.no_grad():
        ours = found.network.double()(torch.from_numpy(x)).numpy()
    assert min(rates) > 0.01 and ours.shape == right.shape and np.abs(ours - right).max() < 1e-5 * np.abs(right).max()


def test_sigma_is_what_is_asked_and_deployed_sets_it_to_0(tmp_path):
    net = published_code.state((6, 12, 4), recurrent=(0,))
    x = np.random.default_rng(1).poisson(0.5, (30, 2, 6)).astype(float)
    found = import_published(saved(tmp_path / "net.pth", net), sigma=2.0)
    with torch.no_grad():
        wide = found.network.double()(torch.from_numpy(x)).numpy()
        with deployed(found.network):
            none = found.network(torch.from_numpy(x)).numpy()
    assert np.abs(wide - published_code.run(net, x, published_code.SSC, 2.0)[0]).max() < 1e-5
    assert np.abs(none - published_code.run(net, x, published_code.SSC, 0.0)[0]).max() < 1e-5
    assert np.abs(wide - none).max() > 0.1


@pytest.mark.parametrize("name", NAMES)
def test_what_is_saved_is_loaded_again_to_the_same_logits(tmp_path, capsys, name):
    out = tmp_path / "net.safetensors"
    words = ["import", str(FOLDER / f"{name}.pth"), "--check", str(FOLDER / f"{name}.expected.npz"), "--out", str(out)]
    assert app.main([*words, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["agrees"] and said["setting"] == name.split("_")[1] and said["parameters"]["delays"] >= 12
    x = torch.from_numpy(expected(name)["x"])
    with torch.no_grad():
        assert torch.equal(load_network(out)(x), import_published(FOLDER / f"{name}.pth").network(x))
    first = out.read_bytes()
    assert app.main(words) == 0 and out.read_bytes() == first
    told = capsys.readouterr().out
    assert "the same logits" in told and "hidden layer 2" in told and "axonal delays of" in told


def test_other_logits_exit_1_and_inputs_that_do_not_fit_exit_2(tmp_path, capsys):
    arrays = dict(expected(NAMES[0]))
    np.savez(tmp_path / "off.npz", **(arrays | {"logits": arrays["logits"] + 0.01}))
    words = ["import", str(FOLDER / f"{NAMES[0]}.pth"), "--check"]
    assert app.main([*words, str(tmp_path / "off.npz")]) == 1 and "other logits" in capsys.readouterr().out
    np.savez(tmp_path / "long.npz", **(arrays | {"logits": arrays["logits"][1:]}))
    assert app.main([*words, str(tmp_path / "long.npz")]) == 1 and "(39, 4, 5)" in capsys.readouterr().out
    np.savez(tmp_path / "narrow.npz", **(arrays | {"x": arrays["x"][..., 1:]}))
    assert app.main([*words, str(tmp_path / "narrow.npz")]) == 2
    (tmp_path / "no.npz").write_bytes(b"garbage")
    assert app.main([*words, str(tmp_path / "no.npz")]) == 2
    np.savez(tmp_path / "objects.npz", x=np.array([{}], dtype=object), logits=arrays["logits"])
    assert app.main([*words, str(tmp_path / "objects.npz")]) == 2


def changed(**entries):
    net = published_code.state((6, 8, 8, 4), recurrent=(0, 1), spread=True, delayed=(1,))
    net |= {name.replace("__", "."): value for name, value in entries.items()}
    return {name: value for name, value in net.items() if value is not None}


NAN = torch.tensor([float("nan"), *[0.0] * 7])
WRONG = {
    "another code": ({"fc1.weight": torch.zeros(3, 3)}, "is no parameter of DelRec's code of 2025"),
    "nothing": ({}, "no network's state"),
    "a number for a tensor": (changed(layers__0__bias=0.5), "layers.0.bias' is a float"),
    "NaN": (changed(layers__0__bias=NAN), "layers.0.bias holds 1 values that are NaN"),
    "infinity": (changed(layers__2__recurrent_delays=NAN.nan_to_num(float("inf"))), "NaN or infinite"),
    "a layer too wide": (changed(layers__0__weight=torch.zeros(9, 6)), r"layers.0.bias is \(8,\).* needs \(9,\)"),
    "inputs that do not meet": (changed(layers__10__weight=torch.zeros(4, 7)), "takes 7 inputs, but .* has 8 neurons"),
    "recurrence of another size": (changed(layers__2__recurrent_weights=torch.zeros(8, 7)), r"needs \(8, 8\)"),
    "delays of another size": (changed(layers__2__recurrent_delays=torch.zeros(5)), r"recurrent_delays is \(5,\)"),
    "delays of three axes": (changed(layers__2__recurrent_delays=torch.zeros(8, 8, 1)), "recurrent_delays is"),
    "positions of another size": (changed(layers__5__P=torch.zeros(8, 8, 1)), "layers.5.P is"),
    "no readout": (
        {k: v for k, v in changed().items() if not k.startswith("layers.10.")},
        r"ends with a hidden layer \(layers.5\)",
    ),
    "weights alone missing": (changed(layers__2__recurrent_weights=None), "layers.2 .*is no layer of that code"),
    "spread in one layer only": (changed(layers__7__p_spread=None), "mixes layers with and without a learned spread"),
    "axonal and synaptic": (
        changed(layers__7__recurrent_delays=torch.zeros(8, 8)),
        r"mixes forms of recurrent delays \(axonal, synaptic\)",
    ),
    "positions beyond the window": (
        changed(layers__5__P=torch.full((1, 8, 8, 1), 14.6)),
        "reaches 14.6 steps .* a window of 25 reaches 12; give the window .*--window",
    ),
    "whole numbers": (changed(layers__0__weight=torch.zeros(8, 6, dtype=torch.int64)), "torch.int64"),
    "complex numbers": (changed(layers__0__weight=torch.zeros(8, 6, dtype=torch.complex64)), "numbers were expected"),
    "a sparse tensor": (changed(layers__0__weight=torch.zeros(8, 6).to_sparse()), "numbers were expected|as numbers"),
    "a tensor without memory": (changed(layers__0__weight=torch.zeros(8, 6, device="meta")), "meta"),
    "a tensor of one number and huge shape": (
        changed(layers__0__weight=torch.zeros(1).expand(2**20, 2**20)),
        "more than is stored of it",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_state_is_refused_by_name(tmp_path, name):
    net, message = WRONG[name]
    with pytest.raises(BenchError, match=message):
        import_published(saved(tmp_path / "net.pth", net))


class Harmful:
    def __reduce__(self):
        return print, ("executed",)


def test_nothing_in_a_file_is_executed(tmp_path, capsys):
    for content in (Harmful(), {"net": Harmful()}, {"net": {}, "acc": Harmful()}):
        torch.save(content, tmp_path / "net.pth")
        with pytest.raises(BenchError, match="cannot be read as numbers alone .*nothing was run"):
            import_published(tmp_path / "net.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Harmful()))
    torch.save({"net": {}}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for name in ("plain.pth", "old.pth"):
        with pytest.raises(BenchError, match="no checkpoint of torch.save, or was cut short"):
            import_published(tmp_path / name)
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
    assert import_published(tmp_path / "old.pth").accuracy == 81.25
    for value in (np.array([1.0]), np.str_("a"), np.datetime64("2020-01-01"), np.void(b"abc")):
        with pytest.raises(BenchError, match="as numbers alone"):
            import_published(saved(tmp_path / "odd.pth", net, acc=value))
    assert import_published(saved(tmp_path / "nan.pth", net, acc=np.float64("nan"))).accuracy is None


def test_a_file_cut_anywhere_or_garbled_is_an_error_of_ours(tmp_path):
    data = (FOLDER / f"{NAMES[0]}.pth").read_bytes()
    path = tmp_path / "cut.pth"
    for length in range(0, len(data), 397):
        path.write_bytes(data[:length])
        with pytest.raises(BenchError):
            import_published(path)
    rng = np.random.default_rng(0)
    for _ in range(60):
        garbled = bytearray(data)
        for place in rng.integers(0, len(data), 8):
            garbled[place] = rng.integers(256)
        path.write_bytes(garbled)
        try:
            import_published(path)
        except BenchError as error:
            assert len(str(error).splitlines()) == 1


def test_a_file_that_is_too_large_or_unfolds_is_refused_unread(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/data.pkl", bytes(10_000_000))
    with pytest.raises(BenchError, match="compressed members"):
        import_published(tmp_path / "bomb.pth")
    with (tmp_path / "huge.pth").open("wb") as file:
        file.truncate(checkpoint.LARGEST + 1)
    with pytest.raises(BenchError, match="more than .* bytes, the most that is taken"):
        import_published(tmp_path / "huge.pth")
    monkeypatch.setattr(checkpoint, "MOST", 5)
    with pytest.raises(BenchError, match="members, of at most 5"):
        import_published(FOLDER / f"{NAMES[0]}.pth")
    for odd in (tmp_path, tmp_path / "absent.pth"):
        with pytest.raises(BenchError):
            import_published(odd)


def test_wrong_requests_are_told_in_one_line(tmp_path, capsys):
    shutil.copy(FOLDER / f"{NAMES[0]}.pth", tmp_path / "net.pth")
    for words, said in (
        (["--setting", "shdd"], "did you mean 'shd'"),
        (["--out", "net.pt"], "a network is written as .safetensors"),
        (["--sigma", "-1"], "sigma"),
        (["--sigma", "nan"], "sigma"),
        (["--window", "0"], "window"),
    ):
        assert app.main(["import", str(tmp_path / "net.pth"), *words]) == 2
        assert said in capsys.readouterr().err
    assert app.main(["import", str(tmp_path / "none.pth")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
