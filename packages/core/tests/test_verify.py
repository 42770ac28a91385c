"""`python -m delrec.verify`: every golden file agrees, and a wrong one cannot pass."""

import math
import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from delrec.engines.cpu import Cpu
from delrec.engines.triton import ENGINE
from delrec.verify import main

GOLDEN = Path(__file__).parent / "golden"
FILES = sorted(GOLDEN.glob("*.npz"))
ONE = GOLDEN / "delrec_synaptic_atan_soft_det0_sig0.7_p1.npz"
NARROW = GOLDEN / "delrec_axonal_atan_soft_det1_sig0.7_p0.npz"
CONV = GOLDEN / "dcls1d_v1_K25_shd.npz"


def altered(path, folder, change, name=None):
    with np.load(path) as file:
        arrays = {key: file[key] for key in file.files}
    arrays = change(arrays) or arrays
    target = folder / (name or path.name)
    np.savez(target, **arrays)
    return target


def test_the_golden_files_hold_every_three_settings_together():
    """Layer, surrogate, reset, detached reset, sigma, learned spread: what goes wrong, goes wrong by two or three."""
    plain = [f.stem.split("_")[1:] for f in FILES if re.fullmatch(r"delrec(_[a-z]+){3}_det\d_sig[\d.]+_p\d", f.stem)]
    for three in combinations(zip(*plain, strict=True), 3):
        values = [set(column) for column in three]
        assert len(set(zip(*three, strict=True))) == math.prod(map(len, values)), values
    assert len(FILES) == len(plain) + 8 + 3  # eight edge cases, three of DCLS


@pytest.mark.parametrize(
    ("engine", "dtype", "files"),
    [("reference", dtype, FILES) for dtype in ("float64", "float32")]
    + [("auto", "float64", FILES[::3]), ("auto", "float32", FILES[::11])]
    + [pytest.param("auto", dtype, FILES, marks=pytest.mark.slow) for dtype in ("float64", "float32")],  # a minute each
    ids=lambda value: len(value) if isinstance(value, list) else value,
)
def test_golden_files_agree(engine, dtype, files, capsys):
    assert main([*map(str, files), "--engine", engine, "--dtype", dtype]) == 0
    assert capsys.readouterr().out.strip().splitlines()[-1] == f"{len(files)} passed, 0 failed"


@pytest.mark.parametrize(
    "path, key",
    [(ONE, k) for k in "spikes v_seq grad_x grad_W grad_d grad_p_spread mask loss d W x cot_s".split()]
    + [(CONV, k) for k in ("y", "kernel", "grad_x", "grad_weight", "grad_P", "grad_bias", "weight", "P")],
)
def test_one_number_changed_by_a_millionth_fails(path, key, tmp_path, capsys):
    def change(arrays):
        arrays[key].flat[0] += 1e-6

    assert main([str(altered(path, tmp_path, change))]) == 1
    assert "0 passed, 1 failed" in capsys.readouterr().out


@pytest.mark.parametrize(
    "change",
    [
        lambda a: {("grad_w" if k == "grad_W" else k): v for k, v in a.items()},
        lambda a: {k: v for k, v in a.items() if k != "tau"},
        lambda a: {**a, "extra": np.zeros(3)},
        lambda a: {**a, "x": a["x"] * np.nan},
        lambda a: {**a, "W": a["W"][:3]},
        lambda a: {**a, "W": np.array(1.0)},
        lambda a: {**a, "surrogate": np.array("spline")},
        lambda a: {**a, "grad_x": a["grad_x"][:, :1]},
        lambda a: {**a, "spikes": a["spikes"][:1]},
        lambda a: {**a, "cot_s": np.zeros(1)},
        lambda a: {**a, "W": a["W"].astype(complex)},
        lambda a: {**a, "sigma": np.array(1e300)},
        lambda a: {**a, "sigma": np.ones(2)},
    ],
    ids="renamed, missing, unknown, nan, shape, number, surrogate, gradient, spikes, cotangent, complex, sigma, "
    "sigmas".split(", "),
)
def test_an_unusable_file_is_not_a_disagreement(change, tmp_path, capsys):
    assert main([str(altered(ONE, tmp_path, change))]) == 2
    line, count = capsys.readouterr().out.splitlines()
    assert line.startswith("ERROR delrec_") and count == "0 passed, 1 failed"


def test_the_longest_tap_is_that_of_float64(tmp_path, capsys):
    def change(arrays):  # 1 + 12.3 + 1.7 is 15, but more in float32
        arrays["d"].flat[0] = 12.3
        return arrays | {"d": arrays["d"].clip(max=12.3), "L": np.array(16), "mask": np.zeros((*arrays["d"].shape, 16))}

    assert main([str(altered(NARROW, tmp_path, change)), "--dtype", "float32"]) == 1, "the others disagree"
    assert "L off" not in capsys.readouterr().out


@pytest.mark.parametrize(("key", "value"), [("K", 1e30), ("K", 25.7), ("left_padding", 24.5)])
def test_a_window_that_is_not_whole_or_too_long_is_unusable(key, value, tmp_path, capsys):
    assert main([str(altered(CONV, tmp_path, lambda a: {**a, key: np.array(value)}))]) == 2
    assert capsys.readouterr().out.startswith("ERROR dcls1d_")


def test_a_convolution_of_no_sample_is_unusable(tmp_path, capsys):
    none = lambda a: {**a, **{key: a[key][:0] for key in ("x", "y", "cot_y", "grad_x")}}  # noqa: E731
    assert main([str(altered(CONV, tmp_path, none))]) == 2
    assert capsys.readouterr().out.startswith("ERROR dcls1d_")


def test_nothing_to_check_unreadable_or_of_neither_kind(tmp_path, capsys, monkeypatch):
    assert main([str(tmp_path)]) == 2
    assert "nothing to check" in capsys.readouterr().out
    assert main([str(tmp_path / "delrec_absent.npz")]) == 2
    broken = tmp_path / "delrec_broken.npz"
    broken.write_bytes(ONE.read_bytes()[:2000])
    assert main([str(broken)]) == 2
    assert main([str(altered(ONE, tmp_path, lambda a: a, "other.npz"))]) == 2
    assert main([str(CONV), str(broken)]) == 2, "one bad file among good ones decides"
    objects = tmp_path / "delrec_objects.npz"
    np.savez(objects, x=np.array([{}], dtype=object))
    assert main([str(objects)]) == 2 and "allow_pickle" not in capsys.readouterr().out
    with objects.open("wb") as file:
        np.save(file, np.zeros(3))
    assert main([str(objects)]) == 2
    broken.write_bytes(ONE.read_bytes().replace(b"PK\x01\x02", b"PK\x01\x02\xff\xff\xff\xff\xff\xff"))
    assert main([str(broken)]) == 2
    monkeypatch.setenv("DELREC_ENGINE", "foo")
    with pytest.raises(SystemExit, match="2"):
        main([str(ONE)])


def test_an_engine_without_gradients_is_held_against_the_reference_as_deployed(capsys):
    assert main([str(ONE), str(CONV), "--engine", "events"]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert "spikes as deployed, against the reference engine" in lines[0] and lines[1].startswith("skip")
    assert lines[-1] == "1 passed, 0 failed, 1 skipped"
    assert main([str(CONV), "--engine", "events"]) == 2
    assert capsys.readouterr().out.strip().splitlines()[-1] == "0 passed, 0 failed, 1 skipped"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a device")
def test_a_device_that_is_not_there_is_nothing_to_check(monkeypatch, capsys):
    assert main([str(ONE), "--device", "cuda"]) == 2
    assert "no CUDA device" in capsys.readouterr().out
    monkeypatch.setattr(ENGINE, "broken", "needs a card")
    assert main([str(ONE), str(CONV), "--engine", "triton"]) == 2
    assert capsys.readouterr().out.strip().splitlines()[-1] == "0 passed, 0 failed, 2 skipped"


def test_a_convolution_that_an_engine_leaves_to_torch_is_not_counted_for_it(monkeypatch, capsys):
    assert main([str(CONV), "--engine", "cpu"]) == 0
    capsys.readouterr()
    for name in ("delayed_linear", "convolution"):
        monkeypatch.setattr(Cpu, name, lambda *parts: None)
    assert main([str(CONV), "--engine", "cpu"]) == 2
    assert capsys.readouterr().out.startswith(f"skip  {CONV.name}: the cpu engine leaves this convolution to torch")
    assert main([str(CONV)]) == 0
