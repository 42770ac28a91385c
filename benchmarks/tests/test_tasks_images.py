"""Permuted MNIST from its four files."""

import gzip
import struct

import numpy as np
import pytest
import torch
from delrec_bench.data.files import read_idx
from delrec_bench.data.samples import order
from delrec_bench.data.task_data import TaskOptions
from delrec_bench.errors import BenchError
from delrec_bench.tasks import ps_mnist
from delrec_bench.tasks.task import find_tasks
from delrec_bench.workspace import workspace_at
from fuzzing import fuzz
from hypothesis import given
from hypothesis import strategies as st

SIDE = 28


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
        pixels = random.integers(0, 256, (count, SIDE, SIDE))
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(pixels)))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.arange(count) % 10))
    return folder


@pytest.fixture
def load(tmp_path, images):
    def call(folder=images, split_seed=0, permutation_seed=0, **options):
        workspace = workspace_at(tmp_path / "work")
        return find_tasks()["ps-mnist"].load(TaskOptions(**options), split_seed, permutation_seed, folder, workspace)

    return call


def test_images_are_shown_pixel_by_pixel_in_one_fixed_order(load, images):
    data = load(permutation_seed=3)
    assert (data.classes, data.channels, data.steps) == (10, 1, 784)
    assert data.name == f"ps-mnist:pictures@{data.digest[:8]}" and data.kind == "STAND-IN"
    assert [len(part) for part in (data.train, data.valid, data.test)] == [83, 17, 20]
    raw = ps_mnist.read_idx(images / "t10k-images-idx3-ubyte.gz", 3).reshape(20, -1)
    wanted = raw[:, order(784, 3, 784)].astype(np.float32) * np.float32(1 / 255)
    np.testing.assert_array_equal(data.test.batch(torch.arange(20))[:, :, 0].numpy().T, wanted)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("t10k-labels-idx1-ubyte", lambda c: c[:-3], "20 bytes, as its header says, are missing"),
        ("t10k-labels-idx1-ubyte", lambda c: b"\0\0\0\0" + c[4:], "it is not an MNIST file"),
        ("t10k-labels-idx1-ubyte", lambda c: c[:2], "it is not an MNIST file"),
        ("t10k-labels-idx1-ubyte", lambda c: c[:-1] + b"\x0b", "sample 19 has label 11"),
        ("t10k-labels-idx1-ubyte", lambda c: idx(np.zeros(19)), "has 20 images, .* 19 labels"),
        ("t10k-images-idx3-ubyte.gz", lambda c: c[:200], "damaged or incomplete gzip"),
        ("t10k-images-idx3-ubyte.gz", lambda c: gzip.compress(idx(np.zeros((20, 8, 8)))), "must be the same size"),
    ],
)
def test_bad_image_files_are_one_clear_line(load, images, name, change, message):
    path = images / name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(BenchError, match=message) as caught:
        load()
    assert "\n" not in str(caught.value)


def test_missing_and_foreign_files_in_the_own_folder_are_refused(load, images, tmp_path):
    with pytest.raises(BenchError, match=r"work/data/ps-mnist/.*data fetch ps-mnist"):
        load(folder=None)
    own = tmp_path / "work" / "data" / "ps-mnist"
    own.parent.mkdir(parents=True)
    images.rename(own)
    with pytest.raises(BenchError, match="its content has md5 .* MNIST's is"):
        load(folder=None)
    (own / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(BenchError, match="no .*t10k-labels-idx1-ubyte"):
        load(folder=own)


@fuzz(200)
@given(data=st.data())
def test_whatever_an_image_file_holds_only_our_own_error_comes(tmp_path, data):
    content = bytearray(struct.pack(">IIII", 0x803, 3, 2, 2) + bytes(range(12)))
    packed = data.draw(st.booleans())
    if packed:
        content = bytearray(gzip.compress(bytes(content)))
    at = data.draw(st.integers(0, len(content)))
    content[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=6))
    path = tmp_path / ("images.gz" if packed else "images")
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        assert read_idx(path, 3).ndim == 3
    except BenchError as error:
        assert str(path) in str(error) and "\n" not in str(error)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1 << 31, 1 << 10, 1 << 10), "2147483648x1024x1024 bytes, as its header says,.* needs .* bytes of memory"),
        ((2**32 - 1, 2**32 - 1, 0), "4294967295x4294967295x0 bytes, as its header says, are missing"),
    ],
)
def test_a_header_that_no_file_can_keep_is_refused_before_more_is_read(tmp_path, shape, message):
    (tmp_path / "images").write_bytes(struct.pack(">IIII", 0x803, *shape))
    with pytest.raises(BenchError, match=message):
        read_idx(tmp_path / "images", 3)
