"""Tasks of values and pixels: digits, Yin-Yang, Mackey-Glass, and MNIST from its four files."""

import gzip
import struct

import numpy as np
import pytest
import torch
from delrec_bench.data.files import read_idx
from delrec_bench.data.samples import order
from delrec_bench.data.task_data import TaskOptions
from delrec_bench.errors import BenchError
from delrec_bench.methods.floors import RIDGE, linear_forecast
from delrec_bench.metrics.nmse import nmse
from delrec_bench.tasks import mackey_glass
from delrec_bench.tasks.mackey_glass import series
from delrec_bench.tasks.task import find_tasks
from delrec_bench.tasks.yin_yang import points, spike_times
from delrec_bench.workspace import workspace_at
from fuzzing import damaged, fuzz
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
def load(tmp_path):
    def call(task="digits", split_seed=0, permutation_seed=0, folder=None, **options):
        found, workspace = find_tasks()[task], workspace_at(tmp_path)
        return found.load(TaskOptions(**options), split_seed, permutation_seed, folder, workspace)

    return call


def test_digits_are_permuted_pixels_and_each_seed_changes_only_its_own_axis(load):
    data, split, permutation = load(), load(split_seed=1), load(permutation_seed=1)
    assert (data.kind, data.classes, data.channels, data.steps) == ("EMBEDDED", 10, 1, 64)
    assert [len(part) for part in (data.train, data.valid, data.test)] == [1150, 287, 360]
    shown, redrawn, permuted = (each.train.batch(torch.arange(1150)) for each in (data, split, permutation))
    assert shown.shape == (64, 1150, 1) and shown.dtype == torch.float32 and shown.is_contiguous()
    assert shown.min() >= 0 and shown.max() <= 1
    assert not torch.equal(shown, redrawn) and not torch.equal(shown, permuted)
    assert torch.equal(shown.sort(dim=0).values, permuted.sort(dim=0).values)
    assert torch.equal(data.train.targets, permutation.train.targets)
    assert torch.equal(data.test.batch(torch.arange(9)), split.test.batch(torch.arange(9)))
    assert data.digest == split.digest == permutation.digest
    assert data.digest.startswith("9c89b0a9f3db"), "scikit-learn ships other images than before"


@pytest.mark.parametrize(("task", "valid", "test"), [("digits", 25, 360), ("yin-yang", 20, 1000)])
def test_a_limit_shrinks_training_and_validation_but_not_the_test(load, task, valid, test):
    data = load(task, limit=100)
    assert [len(part) for part in (data.train, data.valid, data.test)] == [100, valid, test]
    assert len(load(task, test_limit=7).test) == 7


def test_times_arrive_as_one_step_of_four_values_the_same_in_every_repetition(load):
    data = load("yin-yang", binning="times")
    assert (data.representation, data.steps, data.channels, data.classes) == ("times", 1, 4, 3)
    batch = data.train.batch(torch.tensor([3, 0]))
    assert batch.shape == (1, 2, 4)
    x = points(5000, 42)[0][[3, 0]]
    assert x[1].tolist() == pytest.approx([0.68030754, 0.45049925], abs=1e-8)  # as published
    np.testing.assert_allclose(batch[0].numpy(), 0.15 + 1.85 * np.concatenate([x, 1 - x], axis=1), rtol=1e-6)
    assert data.train.targets[:5].tolist() == [2, 1, 2, 1, 1]
    other = load("yin-yang", split_seed=3, binning="times")
    assert torch.equal(data.train.batch(torch.arange(5000)), other.train.batch(torch.arange(5000)))
    assert data.digest.startswith("21a3aedd0d5c"), "numpy draws other points than before"


def test_bins_hold_one_spike_a_channel_at_its_time(load):
    data = load("yin-yang")
    assert (data.representation, data.steps, data.step_ms) == ("binary", 60, 0.5)
    batch = data.test.batch(torch.arange(50))
    assert bool((batch.sum(0) == 1).all())
    times = spike_times(points(1000, 40)[0][:50]) * 10
    assert np.array_equal(batch.argmax(0).numpy(), np.floor(times / 0.5))


def test_the_series_follows_the_equation(monkeypatch):
    """The first values against a plain Euler integration; the whole by its digest, which no machine may change."""
    past = [1.2] * 171
    for _ in range(20_000):
        delayed = past[-171]
        past.append(past[-1] + 0.1 * (0.2 * delayed / (1 + delayed**10) - 0.1 * past[-1]))
    monkeypatch.setattr(mackey_glass, "KEPT", 100)
    monkeypatch.setattr(mackey_glass, "DISCARDED", 0)
    np.testing.assert_allclose(series(17), past[171 + 9 :: 10][:100], rtol=1e-9)


def test_mackey_glass_windows_end_before_their_target(load):
    data = load("mackey-glass")
    assert (data.metric, data.classes, data.channels, data.steps) == ("nmse", 1, 1, 150)
    assert [len(part) for part in (data.train, data.valid, data.test)] == [3431, 1031, 1031]
    assert data.digest == "6ec628e8cd79538f6bf13f759d80225fcf0073fbc51a981d62cab1052787a7b1"
    windows, targets = data.test.batch(torch.arange(1031))[:, :, 0], data.test.targets
    assert torch.equal(windows[-1, 20:], targets[:-20])  # the end of window i + 20 is what window i aims at
    assert torch.equal(windows[1:, 0], windows[:-1, 1])
    assert load("mackey-glass", tau=30, horizon=50).name == "mackey-glass:tau30-h50"  # another row


def test_a_linear_forecast_is_ridge_regression_on_the_window(load):
    data = load("mackey-glass", limit=1000)
    x, y = data.train.batch(torch.arange(1000))[..., 0].T.double(), data.train.targets.double()
    mean, scale = x.mean(0), x.std(0, correction=0)
    z = (x - mean) / scale
    weights = torch.linalg.solve(z.T @ z + RIDGE * torch.eye(150, dtype=torch.float64), z.T @ (y - y.mean()))
    test = (data.test.batch(torch.arange(len(data.test)))[..., 0].T.double() - mean) / scale
    found = linear_forecast(data)
    torch.testing.assert_close(torch.from_numpy(found), test @ weights + y.mean(), rtol=1e-6, atol=1e-6)
    assert 0.05 < nmse(found, data.test.targets.numpy()) < 0.2


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("digits", {"steps": 32}, "steps = 32: T of digits is 64"),
        ("mackey-glass", {"steps": 100}, "steps = 100"),
        ("mackey-glass", {"horizon": 5000}, "horizon = 5000"),
        ("yin-yang", {"steps": 20}, "last input spike"),
        ("yin-yang", {"steps": 60, "binning": "times"}, "steps = 60: T of yin-yang is 1"),
    ],
)
def test_what_cannot_be_is_refused(load, task, options, message):
    with pytest.raises(BenchError, match=message):
        load(task, **options)


LABELS, IMAGES = "t10k-labels-idx1-ubyte", "t10k-images-idx3-ubyte.gz"
HUGE = gzip.compress(struct.pack(">IIII", 0x803, 1 << 31, 1 << 10, 1 << 10))
EMPTY = gzip.compress(struct.pack(">IIII", 0x803, 2**32 - 1, 2**32 - 1, 0))


def idx(array):
    head = struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape)
    return head + array.astype(np.uint8).tobytes()


@pytest.fixture
def images(tmp_path):
    """A folder of the four files with few random images, packed and not."""
    random = np.random.default_rng(0)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for part, count in (("train", 100), ("t10k", 20)):
        pixels = random.integers(0, 256, (count, 28, 28))
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(pixels)))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.arange(count) % 10))
    return folder


def test_images_are_shown_pixel_by_pixel_in_one_fixed_order(load, images):
    data = load("ps-mnist", permutation_seed=3, folder=images)
    assert (data.classes, data.channels, data.steps) == (10, 1, 784)
    assert data.name == f"ps-mnist:pictures@{data.digest[:8]}" and data.kind == "STAND-IN"
    assert [len(part) for part in (data.train, data.valid, data.test)] == [83, 17, 20]
    raw = read_idx(images / IMAGES, 3).reshape(20, -1)
    wanted = raw[:, order(784, 3, 784)].astype(np.float32) * np.float32(1 / 255)
    np.testing.assert_array_equal(data.test.batch(torch.arange(20))[:, :, 0].numpy().T, wanted)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (LABELS, lambda c: c[:-3], "holds 17 bytes, but its header says 20"),
        (LABELS, lambda c: c + b"xx", "holds more than the 20 bytes that its header says"),
        (LABELS, lambda c: b"\0\0\0\0" + c[4:], "it is not an MNIST file"),
        (LABELS, lambda c: c[:2], "it is not an MNIST file"),
        (LABELS, lambda c: c[:-1] + b"\x0b", "sample 19 has label 11"),
        (LABELS, lambda c: idx(np.zeros(19)), "has 20 images, .* 19 labels"),
        (IMAGES, lambda c: c[:200], "damaged or incomplete gzip"),
        (IMAGES, lambda c: gzip.compress(idx(np.zeros((20, 8, 8)))), "must be the same size"),
        (IMAGES, lambda c: EMPTY, "x4294967295x0 bytes that its header says are none"),
        (IMAGES, lambda c: HUGE, "x1024x1024 bytes, as its header says,.* needs .* bytes of memory"),
    ],
)
def test_bad_image_files_are_one_clear_line(load, images, name, change, message):
    path = images / name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(BenchError, match=message) as caught:
        load("ps-mnist", folder=images)
    assert "\n" not in str(caught.value)


def test_missing_and_foreign_files_in_the_own_folder_are_refused(load, images, tmp_path):
    with pytest.raises(BenchError, match=r"data/ps-mnist/.*data fetch ps-mnist"):
        load("ps-mnist")
    own = tmp_path / "data" / "ps-mnist"
    own.parent.mkdir(parents=True)
    images.rename(own)
    with pytest.raises(BenchError, match="its content has md5 .* MNIST's is"):
        load("ps-mnist")
    (own / LABELS).unlink()
    with pytest.raises(BenchError, match=f"no .*{LABELS}"):
        load("ps-mnist", folder=own)


@fuzz(200)
@given(data=st.data())
def test_whatever_an_image_file_holds_only_our_own_error_comes(tmp_path, data):
    content = struct.pack(">IIII", 0x803, 3, 2, 2) + bytes(range(12))
    packed = data.draw(st.booleans())
    path = tmp_path / ("images.gz" if packed else "images")
    path.write_bytes(damaged(data, gzip.compress(content) if packed else content))
    try:
        assert read_idx(path, 3).ndim == 3
    except BenchError as error:
        assert str(path) in str(error) and "\n" not in str(error)
