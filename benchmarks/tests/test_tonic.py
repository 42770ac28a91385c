"""tonic at work: its transforms disturb corpora, its datasets become tasks."""

import inspect
import shutil

import numpy as np
import pytest
import tonic
import torch
from delrec_bench.data.events import recordings
from delrec_bench.data.generated import RECIPES, generate, write
from delrec_bench.data.task_data import TaskOptions
from delrec_bench.data.transforms import (
    CONDITIONS,
    EVENT,
    AddedNoise,
    ChannelJitter,
    ChannelShift,
    Merge,
    seeded,
    structured,
    transform_of,
)
from delrec_bench.errors import BenchError
from delrec_bench.tasks import nmnist
from delrec_bench.tasks.base import find_tasks
from delrec_bench.workspace import workspace_at

SAMPLES = 250


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spoken")
    for name in RECIPES["formants-20"].splits:
        write(folder / name, next(generate(RECIPES["formants-20"], name)), tuple(map(str, range(20))))
    for name in RECIPES["formants-35"].splits:
        write(folder / name, next(generate(RECIPES["formants-35"], name)), tuple(map(str, range(35))))
    return folder


@pytest.fixture
def no_network(monkeypatch):
    def fetched(*args, **kwargs):
        pytest.fail("went to the network")

    monkeypatch.setattr("urllib.request.urlopen", fetched)


def shd(corpus, **options):
    return find_tasks()["shd"].load(TaskOptions(**options), 0, 0, corpus, workspace_at(corpus / "work"))


def test_events_in_tonics_form_are_what_tonic_reads_from_the_same_file(corpus, tmp_path, no_network, monkeypatch):
    monkeypatch.setattr(tonic.datasets.SHD, "_check_exists", lambda self: True)
    (tmp_path / "SHD").mkdir()
    shutil.copy(corpus / "shd_test.h5", tmp_path / "SHD")
    theirs = tonic.datasets.SHD(str(tmp_path), train=False)
    with recordings(corpus / "shd_test.h5") as file:
        block = next(file.blocks())
    ends = np.cumsum(block.lengths)
    for number in (0, 3, SAMPLES - 1):
        part = slice(ends[number] - block.lengths[number], ends[number])
        events, label = theirs[number]
        np.testing.assert_array_equal(structured(block.times[part], block.units[part]), events)
        assert label == file.header.labels[number]


def events_of(times, channels):
    events = np.ones(len(times), EVENT)
    events["t"], events["x"] = times, channels
    return events


def test_channel_jitter_moves_channels_and_nothing_else():
    before = events_of(np.arange(4000), 350)
    with seeded(1):
        after = ChannelJitter(700, 10.0)(before)
    np.testing.assert_array_equal(after["t"], before["t"])
    moved = after["x"] - 350
    assert abs(moved.mean()) < 1 and 9 < moved.std() < 11 and (before["x"] == 350).all()
    with seeded(1):
        at_edge = ChannelJitter(700, 10.0)(events_of(np.arange(4000), 0))
    assert 1500 < len(at_edge) < 2500 and at_edge["x"].min() >= 0


def test_added_noise_is_a_share_of_the_events_sorted_by_time():
    before = events_of(np.arange(0, 10_000, 10), 5)
    with seeded(2):
        after = AddedNoise(700, 0.5)(before)
    assert len(after) == 1500 and (np.diff(after["t"]) >= 0).all() and after["x"].max() < 700
    assert (after["x"] == 5).sum() >= 1000


def test_the_shift_moves_a_channel_as_a_whole_and_loses_what_leaves():
    before = events_of(np.tile(np.arange(40, 60), 3), np.repeat([0, 1, 2], 20))
    with seeded(3):
        after = ChannelShift(3, by=100, end=100)(before)
    for channel in range(3):
        there = after["t"][after["x"] == channel]
        assert len(there) == 0 or (np.diff(there) == 1).all()
        assert len(there) in (0, 20) or there.min() == 0 or there.max() == 99


def test_the_merge_aligns_the_centres_and_keeps_the_share():
    one, other = events_of(np.arange(50, 150), 1), events_of(np.arange(0, 100), 2)
    with seeded(4):
        after = Merge(other, kept=1.0, end=200)(one)
    assert len(after) == 200 and after["t"][after["x"] == 2].tolist() == list(range(50, 150))
    with seeded(4):
        half = Merge(other, kept=0.5, end=200)(one)
    assert 70 < len(half) < 130


def test_seeded_gives_the_same_draws_and_leaves_the_stream_as_it_was():
    before = np.random.get_state()[1].tolist()
    with seeded(7, 1):
        one = np.random.random_sample(3).tolist()
    with seeded(7, 1):
        assert np.random.random_sample(3).tolist() == one
    with seeded(7, 2):
        assert np.random.random_sample(3).tolist() != one
    assert np.random.get_state()[1].tolist() == before


def total(samples):
    return float(samples.batch(torch.arange(len(samples))).sum())


LEVELS = {
    "deletion": (0.1, 0.7),
    "gap": (0.1, 0.4),
    "time-jitter": (5.0, 40.0),
    "channel-jitter": (5.0, 40.0),
    "noise": (0.1, 3.0),
}


def test_every_condition_disturbs_the_test_set_by_its_level_and_seed_alone(corpus):
    data = shd(corpus, test_limit=40)
    clean = data.test.batch(torch.arange(40))
    counts = {}
    assert LEVELS.keys() == CONDITIONS.keys()
    for name, (low, high) in LEVELS.items():
        levels = [data.under(f"{name}={level}", seed=1) for level in (low, high)]
        near, far = (part.batch(torch.arange(40)) for part in levels)
        assert near.shape == clean.shape and torch.equal(levels[0].targets, data.test.targets)
        assert 0 < (near - clean).abs().sum() < (far - clean).abs().sum(), name
        assert torch.equal(near, data.under(f"{name}={low}", seed=1).batch(torch.arange(40)))
        assert not torch.equal(near, data.under(f"{name}={low}", seed=2).batch(torch.arange(40)))
        counts[name] = float(far.sum() / clean.sum())
    assert counts["deletion"] == pytest.approx(0.3, abs=0.01)
    assert counts["noise"] == pytest.approx(4.0, abs=0.01)
    assert counts["channel-jitter"] > 0.9 and counts["gap"] < 0.95 and counts["time-jitter"] > 0.9


def test_a_condition_without_effect_gives_the_clean_set(corpus):
    data = shd(corpus, test_limit=40)
    for text in ("deletion=0", "noise=0", "channel-jitter=0", "time-jitter=0"):
        assert torch.equal(data.under(text, 0).batch(torch.arange(40)), data.test.batch(torch.arange(40))), text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("deletoin=0.1", "no condition 'deletoin'; did you mean 'deletion'"),
        ("deletion", "condition 'deletion': the level is a number from 0 to 1"),
        ("deletion=1.5", "the level is a number from 0 to 1"),
        ("noise=nan", "the level is a number from 0 to 100"),
    ],
)
def test_a_wrong_condition_is_named(text, message):
    with pytest.raises(BenchError, match=message):
        transform_of(text, 700)


def test_pixels_have_no_events_to_disturb():
    digits = find_tasks()["digits"].load(TaskOptions(), 0, 0, None, workspace_at(find_root()))
    with pytest.raises(BenchError, match="digits is not made of events"):
        digits.under("deletion=0.1", 0)


def find_root():
    from delrec_bench.workspace import find_workspace

    return find_workspace().root


# N-MNIST, made up: five bytes an event, as its authors write them.


def encoded(x, y, t, p):
    return b"".join(
        bytes([a, b, (d << 7) | (c >> 16 & 127), c >> 8 & 255, c & 255]) for a, b, c, d in zip(x, y, t, p, strict=True)
    )


@pytest.fixture
def moving_digits(tmp_path):
    random = np.random.default_rng(0)
    folder = tmp_path / "mine"
    for part, count in (("Train", 12), ("Test", 4)):
        for label in (0, 1, 7):
            for number in range(count):
                t = np.sort(random.integers(0, 300_000, 50))
                x, y, p = (random.integers(0, top, 50) for top in (34, 34, 2))
                path = folder / "NMNIST" / part / str(label) / f"{number:05}.bin"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(encoded(x.tolist(), y.tolist(), t.tolist(), p.tolist()))
    return folder


def load(folder, tmp_path, **options):
    return find_tasks()["nmnist"].load(TaskOptions(**options), 0, 0, folder, workspace_at(tmp_path / "work"))


def test_a_dataset_of_tonic_is_a_task_in_ten_lines(moving_digits, tmp_path, no_network):
    lines = [line for line in inspect.getsource(nmnist).splitlines() if line.strip()]
    assert len(lines) <= 10
    data = load(moving_digits, tmp_path)
    assert data.kind == "STAND-IN" and data.name == f"nmnist:mine@{data.digest[:8]}"
    assert (data.channels, data.step_ms, data.classes) == (288, 5.0, 10) and 50 <= data.steps <= 60
    assert [len(part) for part in (data.train, data.valid, data.test)] == [29, 7, 12]
    assert total(data.train) + total(data.valid) == 36 * 50 and total(data.test) <= 600
    assert total(data.test) + data.dropped_events == 600
    assert set(data.test.targets.tolist()) == {0, 1, 7}


def test_its_bins_are_tonics_events_pooled_and_cached(moving_digits, tmp_path, monkeypatch):
    data = load(moving_digits, tmp_path)
    plain = type("NMNIST", (tonic.datasets.NMNIST,), {"_check_exists": lambda self: True})
    theirs = plain(str(moving_digits), train=False)
    for number in (0, 5, 11):
        events, label = theirs[number]
        wanted = np.zeros((data.steps, 288))
        inside = events[events["t"] < data.steps * 5000]
        np.add.at(wanted, (inside["t"] // 5000, (inside["p"] * 12 + inside["y"] // 3) * 12 + inside["x"] // 3), 1)
        np.testing.assert_array_equal(data.test.batch(torch.tensor([number]))[:, 0], wanted)
        assert label == data.test.targets[number]
    monkeypatch.setattr("delrec_bench.data.binning.bin_events", None)
    assert total(load(moving_digits, tmp_path).test) == total(data.test)


def test_its_events_are_disturbed_as_those_of_speech(moving_digits, tmp_path):
    data = load(moving_digits, tmp_path)
    assert total(data.under("deletion=0.5", 0)) == pytest.approx(total(data.test) / 2, abs=8)


def test_missing_cut_off_and_foreign_files_are_one_clear_line(moving_digits, tmp_path):
    with pytest.raises(BenchError, match="no .*data/nmnist/NMNIST/Train, the train part of tonic.datasets.NMNIST"):
        load(None, tmp_path)
    path = moving_digits / "NMNIST" / "Test" / "1" / "00002.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[:-2])
    with pytest.raises(BenchError, match="Test: sample 6: tonic cannot read it"):
        load(moving_digits, tmp_path)
    path.write_bytes(encoded([99], [3], [5], [1]))
    with pytest.raises(BenchError, match="Test: sample 6 has x 99, outside 0 to 33"):
        load(moving_digits, tmp_path)
    path.write_bytes(whole)
    path.rename(path.parent.parent / "1" / "x.bin")
    (path.parent.parent / "words").mkdir()
    (path.parent.parent / "words" / "0.bin").write_bytes(whole)
    with pytest.raises(BenchError, match="tonic cannot read it .*invalid literal"):
        load(moving_digits, tmp_path)
