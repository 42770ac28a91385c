"""Yin-Yang: the known points, their classes, and the two forms in which they reach a network."""

from pathlib import Path

import numpy as np
import pytest
import torch
from delrec_bench.data.files import content_digest
from delrec_bench.data.task_data import TaskData, TaskOptions
from delrec_bench.errors import BenchError
from delrec_bench.tasks import yin_yang
from delrec_bench.tasks.yin_yang import SIZES, class_of, points, spike_times
from delrec_bench.workspace import workspace_at


def load(tmp_path: Path, split_seed: int = 0, **options: object) -> TaskData:
    return yin_yang.load(TaskOptions(**options), split_seed, 0, None, workspace_at(tmp_path))  # type: ignore[arg-type]


def test_golden_hash_of_the_published_samples() -> None:
    arrays = {}
    for split, (count, seed) in SIZES.items():
        arrays[f"{split}_x"], arrays[f"{split}_y"] = points(count, seed)
    assert content_digest(arrays) == "21a3aedd0d5c3a013bf145afae2d48393952e7ea17a066d48d0bf297dbacb38b"
    assert {split: (len(arrays[f"{split}_y"]), seed) for split, (_, seed) in SIZES.items()} == {
        "train": (5000, 42),
        "valid": (1000, 41),
        "test": (1000, 40),
    }
    assert np.bincount(arrays["test_y"]).tolist() == [350, 316, 334]
    assert arrays["train_x"][0].tolist() == pytest.approx([0.68030754, 0.45049925], abs=1e-8)


def test_classes_of_the_figure() -> None:
    assert class_of(0.25, 0.5) == 2
    assert class_of(0.75, 0.59) == 2
    assert class_of(0.25, 0.65) == 1  # around the left dot
    assert class_of(0.75, 0.65) == 0  # around the right dot
    assert class_of(0.5, 0.9) == 1  # above
    assert class_of(0.5, 0.1) == 0  # below
    where, classes = points(300, 7)
    for (x, y), label in zip(where, classes, strict=True):
        assert (x - 0.5) ** 2 + (y - 0.5) ** 2 <= 0.25
        if label != 2:  # the figure turned by half a turn swaps yin and yang
            assert class_of(1 - x, 1 - y) == 1 - label


def test_encoding() -> None:
    times = spike_times(np.array([[0.0, 1.0], [0.5, 0.2]]))
    np.testing.assert_allclose(times, [[0.15, 2.0, 2.0, 0.15], [1.075, 0.52, 1.075, 1.63]], rtol=1e-12)


def test_times_arrive_as_one_step_of_four_values(tmp_path: Path) -> None:
    data = load(tmp_path, binning="times")
    assert (data.representation, data.steps, data.channels, data.classes) == ("times", 1, 4, 3)
    batch = data.train.batch(torch.tensor([3, 0]))
    assert batch.shape == (1, 2, 4)
    expected = spike_times(points(5000, 42)[0][[3, 0]])
    np.testing.assert_allclose(batch[0].numpy(), expected, rtol=1e-6)
    assert data.train.targets[:5].tolist() == [2, 1, 2, 1, 1]


def test_bins_hold_one_spike_a_channel_at_its_time(tmp_path: Path) -> None:
    data = load(tmp_path)
    assert (data.representation, data.steps, data.step_ms) == ("binary", 60, 0.5)
    batch = data.test.batch(torch.arange(50))
    assert bool((batch.sum(0) == 1).all())
    times = spike_times(points(1000, 40)[0][:50]) * 10
    assert np.array_equal(batch.argmax(0).numpy(), np.floor(times / 0.5))


def test_splits_do_not_depend_on_the_repetition_and_limits_cut_them(tmp_path: Path) -> None:
    first, second = load(tmp_path, binning="times"), load(tmp_path, split_seed=3, binning="times")
    everything = torch.arange(5000)
    assert torch.equal(first.train.batch(everything), second.train.batch(everything))
    small = load(tmp_path, limit=500, test_limit=20)
    assert (len(small.train), len(small.valid), len(small.test)) == (500, 100, 20)


def test_bad_requests_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="is generated"):
        yin_yang.load(TaskOptions(), 0, 0, tmp_path, workspace_at(tmp_path))
    with pytest.raises(BenchError, match="last input spike"):
        load(tmp_path, steps=20)
    with pytest.raises(BenchError, match="one step"):
        load(tmp_path, binning="times", steps=60)
