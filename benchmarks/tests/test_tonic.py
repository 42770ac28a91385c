"""tonic at work: its transforms disturb corpora, its datasets become tasks."""

import os
from dataclasses import replace

import h5py
import numpy as np
import pytest
import tonic
import torch
from delrec_bench.config import Request, resolve
from delrec_bench.data.binning import recordings
from delrec_bench.data.from_tonic import TonicCorpus, from_first
from delrec_bench.data.generated import RECIPES, generate, write
from delrec_bench.data.samples import merged
from delrec_bench.data.task_data import TaskOptions
from delrec_bench.data.transforms import CONDITIONS, EVENT, jitter_channels, seeded
from delrec_bench.errors import BenchError
from delrec_bench.methods.method import find_methods
from delrec_bench.tasks import nmnist
from delrec_bench.tasks.task import find_tasks
from delrec_bench.workspace import workspace_at


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Parts of the embedded corpora, where tonic and we would find those of SHD and SSC."""
    folder = tmp_path_factory.mktemp("spoken")
    for task, name in (("formants-20", "SHD"), ("formants-35", "SSC")):
        for file in RECIPES[task].splits:
            write(folder / name / file, next(generate(RECIPES[task], file)), RECIPES[task].words)
    spoken_digits(folder)
    (folder / "SHD" / "shd_test.h5.zip").touch()  # tonic fetches unless a file of this name lies there
    return folder


@pytest.fixture
def no_network(monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", lambda *args, **kwargs: pytest.fail("went to the network"))


def ours(corpus, name="SHD", **options):
    return find_tasks()[name.lower()].load(TaskOptions(**options), 0, 0, corpus / name, workspace_at(corpus / "work"))


def test_events_in_tonics_form_are_what_tonic_reads_from_the_same_file(corpus, no_network):
    theirs = tonic.datasets.SHD(str(corpus), train=False)
    block = next(recordings(corpus / "SHD" / "shd_test.h5"))
    samples = []
    block.through(lambda events: samples.append(events) or events, seed=0)
    for number, events in enumerate(samples):
        wanted, label = theirs[number]
        np.testing.assert_array_equal(events, wanted)
        assert label == block.labels[number]
    late = replace(block, times=np.full_like(block.times, 1e14)).through(lambda events: events, seed=0)
    assert late.times.min() > 1e8, "later than any step, and no negative number"


def events_of(times, channels):
    events = np.ones(len(times), EVENT)
    events["t"], events["x"] = times, channels
    return events


def test_channel_jitter_moves_channels_and_nothing_else():
    with seeded(1):
        after = jitter_channels(10.0, 700, events_of(np.arange(4000), np.repeat([350, 0], 2000)))
    middle = after[after["x"] > 175]
    np.testing.assert_array_equal(middle["t"], np.arange(2000))
    assert abs(middle["x"].mean() - 350) < 1 and 9 < middle["x"].std() < 11
    assert 800 < len(after) - 2000 < 1200 and after["x"].min() >= 0  # half of those at the edge are lost


def test_the_merge_aligns_the_centres_and_keeps_the_share():
    one, other = events_of(np.arange(50, 150), 1), events_of(np.arange(0, 100), 2)
    with seeded(4):
        after, half = merged(one, other, 200, kept=1.0), merged(one, other, 200)
    assert len(after) == 200 and after["t"][after["x"] == 2].tolist() == list(range(50, 150))
    assert 70 < len(half) < 130


def total(samples):
    return float(samples.batch(torch.arange(len(samples))).sum())


def test_every_condition_disturbs_the_test_set_by_its_level_and_seed_alone(corpus):
    data = ours(corpus, test_limit=40)
    clean = data.test.batch(torch.arange(40))
    counts = {}
    for name in CONDITIONS:
        low, high = (5.0, 40.0) if name.endswith("jitter") else (0.1, {"deletion": 0.7, "gap": 0.4, "noise": 3.0}[name])
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
    for name in CONDITIONS.keys() - {"gap"}:
        assert torch.equal(data.under(f"{name}=0", 0).batch(torch.arange(40)), clean), name


RANDOM = np.random.default_rng(1)


def made_events(width, height, count=40, first=0):
    """Columns t (in us, sorted), x, y, p."""
    columns = [np.sort(RANDOM.integers(first, first + 200_000, count))]
    return [*columns, *(RANDOM.integers(0, top, count) for top in (width, height, 2))]


def write_encoded(path, columns):
    """Events as the authors of N-MNIST write them, in five bytes each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    events = zip(*(np.asarray(column).tolist() for column in columns), strict=True)
    five = (bytes([x, y, (p << 7) | (t >> 16 & 127), t >> 8 & 255, t & 255]) for t, x, y, p in events)
    path.write_bytes(b"".join(five))


@pytest.fixture
def moving_digits(tmp_path):
    folder = tmp_path / "mine"
    for part, count in (("Train", 12), ("Test", 4)):
        for label in (0, 1, 7):
            for number in range(count):
                write_encoded(folder / "NMNIST" / part / str(label) / f"{number:05}.bin", made_events(34, 34, 50))
    return folder


def load(folder, tmp_path, corpus=nmnist.CORPUS, seed=0):
    return corpus.load(TaskOptions(), seed, seed, folder, workspace_at(tmp_path / "work"))


def test_a_file_that_is_replaced_below_a_folder_is_read_again(moving_digits, tmp_path):
    keys, file = set(), moving_digits / "NMNIST" / "Train" / "7" / "00000.bin"
    for time in (0, 1000):
        write_encoded(file, made_events(34, 34, 50))
        os.utime(file, (time, time))
        request = Request("lif", "nmnist", data=str(moving_digits))
        keys.add(resolve(request, find_methods(), find_tasks(), workspace_at(tmp_path)).key)
    assert len(keys) == 2


def test_a_dataset_of_tonic_is_a_task_whose_bins_are_its_events(moving_digits, tmp_path, no_network, monkeypatch):
    data = load(moving_digits, tmp_path)
    assert data.kind == "STAND-IN" and data.name == f"nmnist:mine@{data.digest[:8]}"
    assert (data.channels, data.step_ms, data.classes) == (288, 5.0, 10) and 30 < data.steps <= 40
    assert [len(part) for part in (data.train, data.valid, data.test)] == [29, 7, 12]
    assert total(data.train) + total(data.valid) == 36 * 50 and total(data.test) <= 600
    assert total(data.test) + data.dropped_events == 600
    assert set(data.test.targets.tolist()) == {0, 1, 7}
    plain = type("NMNIST", (tonic.datasets.NMNIST,), {"_check_exists": lambda self: True})
    theirs = plain(str(moving_digits), train=False)
    for number in (0, 5, 11):
        events, label = theirs[number]
        wanted = np.zeros((data.steps, 288))
        inside = events[events["t"] < data.steps * 5000]
        np.add.at(wanted, (inside["t"] // 5000, (inside["p"] * 12 + inside["y"] // 3) * 12 + inside["x"] // 3), 1)
        np.testing.assert_array_equal(data.test.batch(torch.tensor([number]))[:, 0], wanted)
        assert label == data.test.targets[number]
    assert total(data.under("deletion=0.5", 0)) == pytest.approx(total(data.test) / 2, abs=8)
    monkeypatch.setattr("delrec_bench.data.binning.bin_events", None)
    assert total(load(moving_digits, tmp_path).test) == total(data.test)


def test_missing_cut_off_and_foreign_files_are_one_clear_line(moving_digits, tmp_path):
    with pytest.raises(BenchError, match=r"no .*data/nmnist/NMNIST/Train, for tonic.datasets.NMNIST\(train=True\)"):
        load(None, tmp_path)
    path = moving_digits / "NMNIST" / "Test" / "1" / "00002.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[:-2])
    with pytest.raises(BenchError, match="Test: sample 6: tonic cannot read it"):
        load(moving_digits, tmp_path)
    write_encoded(path, ([5], [99], [3], [1]))
    with pytest.raises(BenchError, match="Test: sample 6 has x 99, outside 0 to 33"):
        load(moving_digits, tmp_path)


# Datasets of tonic that have other arguments than `train`, or none, on small files in their own layouts.

MADE = 6  # samples of each class and part


def caltech(folder):
    for label in ("airplanes", "ant", "zebra"):
        for number in range(MADE):
            path = folder / "NCALTECH101" / "Caltech101" / label / f"image_{number}.bin"
            write_encoded(path, made_events(200, 150, first=4_000_000))


def spoken_digits(folder):
    (folder / "NTIDIGITS18").mkdir(parents=True)
    with h5py.File(folder / "NTIDIGITS18" / "n-tidigits.hdf5", "w") as file:
        for part in ("train", "test"):
            names = [f"man-{number}-{digit}" for number in range(MADE) for digit in ("o", "1", "z", "1z")]
            file[f"{part}_labels"] = [name.encode() for name in names]
            for name in names:
                t, x, _, _ = made_events(64, 1)
                file[f"{part}_timestamps/{name}"], file[f"{part}_addresses/{name}"] = t / 1e6, x


@pytest.mark.parametrize(
    ("name", "declared", "train", "test"),
    [
        ("NTIDIGITS18", {"options": {"single_digits": True}}, 18, 18),
        ("SSC", {"parts": {part: {"split": part} for part in ("train", "valid", "test")}, "label": int}, 500, 250),
    ],
)
def test_every_kind_of_event_dataset_of_tonic_is_a_task(name, declared, train, test, corpus, tmp_path, no_network):
    data = load(corpus, tmp_path, TonicCorpus("theirs", name, **declared))
    assert (len(data.train) + len(data.valid), len(data.test)) == (train, test)
    assert data.name.startswith(f"theirs:{corpus.name}@")
    assert total(data.train) > 0 and 1 < len(set(data.test.targets.tolist()))
    assert data.test.targets.max() < data.classes


def test_a_transform_of_tonic_belongs_to_the_data(moving_digits, tmp_path):
    def transformed(**options):
        return load(moving_digits, tmp_path, TonicCorpus("nmnist", "NMNIST", pool=3, options=options))

    denoise = tonic.transforms.Denoise
    found = [transformed(), transformed(transform=denoise(100_000)), transformed(transform=denoise(5_000))]
    plain, few, fewer = (total(data.test) for data in found)
    assert plain > few > fewer and len({data.digest for data in found}) == 3
    with pytest.raises(BenchError, match="transform has no text that is the same in every process"):
        transformed(transform=lambda events: events)


def test_a_held_out_share_is_the_same_in_every_repetition_and_leaves_no_sample_out(tmp_path, no_network):
    caltech(tmp_path / "mine")
    corpus = TonicCorpus("images", "NCALTECH101", held_out=0.34, sensor=(240, 180, 2), pool=20, events=from_first)
    data, again = (load(tmp_path / "mine", tmp_path, corpus, seed) for seed in (0, 1))
    assert data.notes[0].endswith("test set: 34% of each class, drawn once") and data.steps <= 20
    assert torch.equal(*(each.test.batch(torch.arange(6)) for each in (data, again)))
    assert sorted(data.test.targets.tolist()) == [0, 0, 1, 1, 2, 2] and total(data.test) > 0
    rows = [row for _, part in data.rows.values() for row in part.tolist()]
    assert sorted(rows) == [*range(18)] and {name for name, _ in data.rows.values()} == {"NCALTECH101"}


def without_polarity(item):
    return from_first(item)[["t", "x", "y"]]


def test_what_must_be_declared_is_said(tmp_path):
    caltech(tmp_path / "mine")
    sized = {"held_out": 0.3, "sensor": (240, 180, 2)}
    for declared, words in (
        ({}, "unexpected keyword argument 'train'.*declare `parts` or `held_out`"),
        ({"held_out": 0.3}, "does not state its sensor size; declare `sensor`"),
        ({"held_out": 0.3, "sensor": (9, 9, 2)}, "outside 0 to 8"),
        (sized | {"events": without_polarity}, "has no p; declare `sensor`, `events`"),
        (sized | {"label": list}, "which is not a class .*; declare `label`"),
    ):
        with pytest.raises(BenchError, match=words):
            load(tmp_path / "mine", tmp_path, TonicCorpus("c", "NCALTECH101", **declared))
