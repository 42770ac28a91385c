"""Spike corpora: read, checked, binned with every spike kept, cached once, split by the seeds."""

import dataclasses
import gzip
import math
import shutil

import h5py
import numpy as np
import pytest
import torch
from delrec_bench.data import binning
from delrec_bench.data.generated import Events, write
from delrec_bench.data.task_data import TaskOptions
from delrec_bench.errors import BenchError
from delrec_bench.tasks.task import find_tasks
from delrec_bench.workspace import workspace_at

CLASSES = 4
NAMES = tuple("abcd")


def events(samples=24, spikes=60, seed=0, longest=1.0, top=700):
    random = np.random.default_rng(seed)
    lengths = random.integers(1, spikes, samples)
    owner = np.repeat(np.arange(samples), lengths)
    times = random.uniform(0, longest, len(owner)).astype(np.float16)
    new = np.lexsort((times, owner))
    labels = (np.arange(samples) % CLASSES).astype(np.uint16)
    units = random.integers(0, top, len(owner)).astype(np.uint16)
    return Events(labels, (np.arange(samples) % 6).astype(np.uint16), lengths, times[new], units)


@pytest.fixture
def corpus(tmp_path):
    folder = tmp_path / "mine"
    for number, name in enumerate(("shd_train", "shd_test", "ssc_train", "ssc_valid", "ssc_test")):
        write(folder / f"{name}.h5", events(seed=number), NAMES)
    return folder


@pytest.fixture
def load(tmp_path, corpus):
    def call(task="shd", folder=corpus, split_seed=0, **options):
        workspace = workspace_at(tmp_path / "work")
        return find_tasks()[task].load(TaskOptions(**options), split_seed, 0, folder, workspace)

    return call


def change(path, name, values):
    """Put other values in a dataset, perhaps of another type; None leaves it out; a function of the file makes it."""
    with h5py.File(path, "r+") as file:
        del file[name]
        if callable(values):
            values(file)
        elif isinstance(values, list):
            put_lists(file, name, values, values[0].dtype)
        elif values is not None:
            file[name] = values


def put_lists(file, name, values, kind):
    parts = np.empty(len(values), object)
    parts[:] = [np.asarray(part, kind) for part in values]
    file.create_dataset(name, data=parts, dtype=h5py.vlen_dtype(np.dtype(kind)))


def lists(path, name):
    with h5py.File(path) as file:
        return list(file[name][()])


def every_frame(samples):
    return samples.batch(torch.arange(len(samples)))


def test_a_corpus_is_named_by_folder_and_digest_and_its_shape_read_from_the_files(load):
    data = load()
    assert data.name == f"shd:mine@{data.digest[:8]}" and data.kind == "STAND-IN"
    assert (data.classes, data.channels, data.step_ms) == (CLASSES, 140, 10.0)
    assert [len(part) for part in (data.train, data.valid, data.test)] == [19, 5, 24]
    assert data.steps == 100  # the longest training sample, not 1.4 s
    batch = data.train.batch(torch.tensor([3, 0]))
    assert batch.shape == (100, 2, 140) and batch.dtype == torch.float32 and batch.is_contiguous()


@pytest.mark.parametrize("options", [{}, {"step_ms": 7.3}, {"channels": 700}])
@pytest.mark.parametrize("task", ["shd", "ssc"])
def test_a_clean_bin_holds_its_own_spikes_and_every_spike_has_one(load, corpus, task, options):
    data = load(task, **{"binning": "clean"} | options)
    frames = every_frame(data.test).numpy()
    times, units = (lists(corpus / f"{task}_test.h5", f"spikes/{name}") for name in ("times", "units"))
    for number in range(len(times)):
        wanted = np.zeros(frames.shape[::2])
        step = np.floor(times[number].astype(float) * 1000 / data.step_ms + 1e-9).astype(int)
        np.add.at(wanted, (step, units[number] // (700 // data.channels)), 1)
        np.testing.assert_array_equal(frames[:, number], wanted)
    assert data.dropped_events == 0
    binary = load(task, binary=True, **{"binning": "clean"} | options)
    assert torch.equal(every_frame(data.test).clamp(max=1), every_frame(binary.test))
    if "step_ms" in options:  # setting step_ms selects the clean binning
        assert torch.equal(every_frame(load(task, **options).test), every_frame(data.test))


def test_the_published_bins_are_numpys_digitize_and_leave_step_0_empty(load, corpus):
    data = load("ssc")
    assert (data.steps, data.step_ms) == (250, pytest.approx(1400 / 249))
    frames = every_frame(data.test).numpy()
    assert frames[0].sum() == 0
    edges = np.linspace(0, 1.4, 250)
    for number, times in enumerate(lists(corpus / "ssc_test.h5", "spikes/times")):
        wanted = np.bincount(np.digitize(times, edges), minlength=250)
        np.testing.assert_array_equal(frames[:, number].sum(1), wanted)
    clean = load("ssc", binning="clean", steps=249)
    np.testing.assert_array_equal(every_frame(clean.test).numpy(), frames[1:])


def test_spikes_after_the_last_step_are_counted_and_said(load, corpus):
    late = [part.copy() for part in lists(corpus / "ssc_test.h5", "spikes/times")]
    late[5][-1] = 1.5
    change(corpus / "ssc_test.h5", "spikes/times", late)
    data = load("ssc")
    assert data.dropped_events == 1 and "1 spikes after the last step" in data.notes[-1]


@pytest.mark.parametrize("options", [{}, {"channels": 175, "step_ms": 10.0}])
def test_a_spike_later_than_any_number_of_steps_is_after_the_last_one(load, corpus, options):
    late = [part.astype(np.float64) for part in lists(corpus / "shd_test.h5", "spikes/times")]
    late[5][-1] = 1e20
    change(corpus / "shd_test.h5", "spikes/times", late)
    assert load("shd", **options).dropped_events == 1


def test_times_in_other_units_are_refused_or_said(load, corpus, capsys):
    path = corpus / "shd_train.h5"
    seconds = [part.astype(np.float64) for part in lists(path, "spikes/times")]
    load("shd")
    assert "warning" not in capsys.readouterr().err
    change(path, "spikes/times", [part * 1e3 for part in seconds])
    data = load("shd")
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert f"{data.dropped_events:,} of" in said and "shd:mine@" in said and "seconds" in said
    change(path, "spikes/times", [part * 1e6 + 2e6 for part in seconds])
    with pytest.raises(BenchError, match=r"mine/shd_train.h5 has no spike in any step; times must be in seconds"):
        load("shd")


@pytest.mark.parametrize(("top", "channels"), [(32, 32), (140, 140), (141, 71), (256, 128), (560, 140), (561, 140)])
def test_no_more_channels_are_summed_than_fit_the_inputs(load, tmp_path, top, channels):
    for name in ("shd_train", "shd_test"):
        write(tmp_path / "few" / f"{name}.h5", events(top=top, samples=200), NAMES)
    data = load(folder=tmp_path / "few")
    assert data.channels == channels
    assert every_frame(data.train)[..., -1].any() == (top < 561), "the last input is used, unless 700 are meant"


def test_an_unpacked_copy_that_a_kill_leaves_is_swept_as_a_draft(corpus, tmp_path):
    (packed := tmp_path / "a.h5.gz").write_bytes(gzip.compress(b"events"))
    with binning._unpacked(packed, tmp_path) as copy:
        assert copy.read_bytes() == b"events" and copy in tmp_path.glob(f".*.{'[0-9a-f]' * 8}")


def test_gz_gives_the_same_row_and_data(load, corpus):
    plain = load()
    for name in ("shd_train.h5", "shd_test.h5"):
        (corpus / f"{name}.gz").write_bytes(gzip.compress((corpus / name).read_bytes()))
        (corpus / name).unlink()
    packed = load()
    assert packed.name == plain.name
    assert torch.equal(every_frame(packed.test), every_frame(plain.test))


def test_unsorted_events_are_sorted_with_one_warning_none_are_silence_and_300_in_a_bin_are_300(load, corpus, capsys):
    times, units = (lists(corpus / "shd_test.h5", f"spikes/{name}") for name in ("times", "units"))
    before = every_frame(load().test)
    for number in (2, 7):
        times[number], units[number] = times[number][::-1].copy(), units[number][::-1].copy()
    times[4], units[4] = times[4][:0], units[4][:0]
    times[5], units[5] = np.zeros(300, np.float16), np.zeros(300, np.uint16)
    change(corpus / "shd_test.h5", "spikes/times", times)
    change(corpus / "shd_test.h5", "spikes/units", units)
    after = every_frame(load().test)
    load(step_ms=20.0)
    assert capsys.readouterr().err.count("shd_test.h5: 2 samples have unsorted events; they are sorted") == 1
    before[:, 4:6] = 0
    before[0, 5, 0] = 300
    assert torch.equal(after, before)


def test_a_seed_splits_and_limits_the_same_way_every_time(load):
    one, same, other = (load(limit=8, test_limit=5, split_seed=seed) for seed in (0, 0, 1))
    assert one.used == {"train": 8, "valid": 2, "test": 5}
    assert torch.equal(every_frame(one.train), every_frame(same.train))
    assert not torch.equal(every_frame(one.train), every_frame(other.train))
    assert torch.equal(every_frame(one.test), every_frame(other.test))


def test_validation_by_speaker_takes_nobody_who_speaks_elsewhere_if_it_can(load, corpus):
    change(corpus / "shd_test.h5", "extra/speaker", np.full(24, 5, np.uint16))
    for seed in range(6):
        assert 5 not in load(validation="speaker", split_seed=seed).valid.speakers
    change(corpus / "shd_test.h5", "extra/speaker", np.arange(24, dtype=np.uint16) % 6)  # everybody, as in SHD
    seen = {int(s) for seed in range(12) for s in load(validation="speaker", split_seed=seed).valid.speakers}
    assert seen == set(range(6))


def test_in_sscs_layout_other_speakers_validate_each_repetition_and_no_speaker_is_in_two_splits(load, corpus):
    for name, first, count in (("train", 0, 6), ("valid", 6, 2), ("test", 8, 2)):  # each speaker is in one file only
        change(corpus / f"ssc_{name}.h5", "extra/speaker", (first + np.arange(24) % count).astype(np.uint16))
    joined = [corpus / f"ssc_{part}.h5" for part in ("train", "valid")]
    lengths = np.array([len(one) for path in joined for one in lists(path, "spikes/times")])
    labels = np.concatenate([lists(path, "labels") for path in joined])
    drawn = []
    for seed in (0, 1, 2, 3, 3):
        data = load("ssc", split_seed=seed)
        train, valid, test = (set(part.speakers.tolist()) for part in (data.train, data.valid, data.test))
        assert not train & valid and not train & test and not valid & test
        assert train | valid == set(range(8)) and len(valid) == 2
        assert len(data.train) + len(data.valid) == 48 and len(data.test) == 24
        for part in ("train", "valid"):
            file, rows = data.rows[part]
            assert file == "ssc_train.h5+ssc_valid.h5"
            assert every_frame(getattr(data, part)).sum((0, 2)).tolist() == lengths[rows].tolist()
            assert getattr(data, part).targets.tolist() == labels[rows].tolist()
        drawn.append(valid)
    assert drawn[4] == drawn[3] and any(one != drawn[0] for one in drawn)


def test_a_validation_file_is_kept_if_asked_and_where_one_or_nobody_known_speaks(load, corpus):
    assert load("ssc", validation="file").used == dict.fromkeys(("train", "valid", "test"), 24)
    for speakers in (np.zeros(24, np.uint16), None):
        for part in ("train", "valid", "test"):
            change(corpus / f"ssc_{part}.h5", "extra/speaker", speakers)
        assert load("ssc").used == dict.fromkeys(("train", "valid", "test"), 24)
    with pytest.raises(BenchError, match="'file': shd:mine@.* has no validation file"):
        load(validation="file")


def test_the_second_load_comes_from_the_cache_and_a_damaged_one_is_made_again(load, tmp_path, capsys, monkeypatch):
    first = load()
    with monkeypatch.context() as patch:
        patch.setattr(binning, "bin_events", None)
        assert torch.equal(every_frame(load().test), every_frame(first.test))
    (path,) = (tmp_path / "work" / "cache").glob("bins-*")
    content = path.read_bytes()
    for damaged in (b"no arrays", content[:-10]):
        path.unlink()  # not in place: it is mapped
        path.write_bytes(damaged)
        again = load()
        assert "damaged" in capsys.readouterr().err
        assert torch.equal(every_frame(again.test), every_frame(first.test)) and again.steps == first.steps


@pytest.mark.parametrize("step_ms", [10.0, 3.3])
def test_a_foreign_corpus_has_the_length_of_its_longest_training_sample_at_most_1400_ms(load, corpus, step_ms):
    data = load(step_ms=step_ms)
    last = max(float(part.max()) for part in lists(corpus / "shd_train.h5", "spikes/times"))
    assert data.steps == int(last * 1000 / step_ms) + 1
    # Every sample is padded to it, whichever batch it is in.
    alone, together = data.test.batch(torch.tensor([5])), every_frame(data.test)
    assert alone.shape[0] == together.shape[0] == data.steps and torch.equal(alone[:, 0], together[:, 5])
    times = [part.astype(float) * 3 for part in lists(corpus / "shd_train.h5", "spikes/times")]
    change(corpus / "shd_train.h5", "spikes/times", times)
    data = load(step_ms=step_ms)
    late = sum(int((part >= data.steps * step_ms / 1000).sum()) for part in times)
    assert data.steps == math.ceil(1400 / step_ms) and data.dropped_events == late > 0
    assert sum(every_frame(part).sum() for part in (data.train, data.valid)) == sum(map(len, times)) - late


def test_official_shd_has_ceil_of_1400_ms_and_less_than_the_whole_is_a_subset(corpus, tmp_path):
    from delrec_bench.tasks.shd import CORPUS

    own = dataclasses.replace(CORPUS, official={"train": 24, "test": 24})
    workspace = workspace_at(tmp_path / "work")
    shutil.copytree(corpus, workspace.data / "shd")

    def official(folder=None, **options):
        return own.load(TaskOptions(**options), 0, 0, folder, workspace)

    assert [official(step_ms=step).steps for step in (10.0, 14.0, 3.0)] == [140, 100, 467]
    assert official(corpus, step_ms=3.0).steps == 467, "--data names official files, too"
    whole, part, tested = official(augment=True), official(limit=5), official(test_limit=7)
    assert whole.stamp == "OFFICIAL" and whole.used == dict(whole.whole) == {"train": 19, "valid": 5, "test": 24}
    assert part.stamp == "OFFICIAL SUBSET" and part.used["train"] == 5 and part.whole["train"] == 19
    assert tested.stamp == "OFFICIAL SUBSET" and tested.used["test"] == 7


def test_files_that_name_one_label_differently_are_refused(load, corpus):
    path = corpus / "shd_test.h5"
    change(path, "extra/keys", lambda file: file.create_dataset("extra/keys", data=[b"a", b"b", b"c", b"d", b"e"]))
    assert load().classes == CLASSES, "one more name contradicts nothing"
    change(path, "extra/keys", lambda file: file.create_dataset("extra/keys", data=[b"a", b"c", b"b", b"d"]))
    with pytest.raises(BenchError, match=r"shd_test.h5 calls label 1 'c', .*mine/shd_train.h5 .* 'b'; .*extra/keys"):
        load()


def test_without_names_of_classes_the_training_labels_decide(load, corpus):
    for name in ("shd_train", "shd_test"):
        change(corpus / f"{name}.h5", "extra/keys", None)
    assert load().classes == CLASSES
    change(corpus / "shd_test.h5", "labels", np.arange(24) % 5)
    with pytest.raises(BenchError, match="mine/shd_test.h5: sample 4 has label 4, the .* file has classes 0 to 3"):
        load()
    change(corpus / "shd_test.h5", "labels", np.arange(24) % 4)
    change(corpus / "shd_train.h5", "labels", np.arange(24) % 2 * 3)
    assert load().notes[-1] == "2 of 4 classes, such as 1, have no training sample"
    change(corpus / "shd_train.h5", "labels", np.ones(24, int))
    with pytest.raises(BenchError, match="mine/shd_train.h5: every sample has label 1; two classes are needed"):
        load()


def test_a_missing_or_truncated_file_or_a_gz_that_grows_without_end_is_one_clear_line(load, corpus, tmp_path):
    path, packed = corpus / "shd_test.h5", corpus / "shd_test.h5.gz"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(BenchError, match="shd_test.h5: not an HDF5 file, or an incomplete one"):
        load()
    path.unlink()
    with pytest.raises(BenchError, match=r"no .*mine/shd_test.h5 \(nor .gz\); --data"):
        load()
    whole = gzip.compress(content)
    for damaged, message in (
        (whole[: len(whole) // 2], "damaged or incomplete gzip"),
        (gzip.compress(bytes(1 << 22)), "expands to more than 50 times its size"),
    ):
        packed.write_bytes(damaged)
        with pytest.raises(BenchError, match=f"shd_test.h5.gz: {message}"):
            load()
    assert not list((tmp_path / "work" / "cache").glob(".gunzip*"))


def test_options_that_do_not_fit_are_refused(load):
    for options, message in (
        ({"steps": 1_000_000}, "256 samples of 1,000,000 steps and 140 channels needs .* bytes of memory"),
        ({"channels": 141}, "channels = 141 does not divide the file's 700; 70, 140"),
        ({"binning": "published"}, "binning = 'published': shd has 'clean'"),
        ({"binning": "times"}, "binning = 'times': shd has 'clean'"),
        ({"task": "ssc", "step_ms": 5.0, "binning": "published"}, "'published' derives the step from T"),
    ):
        with pytest.raises(BenchError, match=message):
            load(**options)
