"""The generated corpora: the same everywhere, and fair by classifiers that are no method."""

import hashlib
from functools import partial
from itertools import islice

import h5py
import numpy as np
import pytest
import torch
from delrec_bench.data import generated
from delrec_bench.data.binning import Bins, Recordings, bin_events, recordings
from delrec_bench.data.generated import RECIPES, Events, generate, joined
from delrec_bench.data.samples import CountSamples, DenseSamples, Tripled
from delrec_bench.data.shelf import listed, make
from delrec_bench.data.task_data import TaskData, TaskOptions
from delrec_bench.errors import BenchError
from delrec_bench.methods.floors import counts_only, features, time_slices
from delrec_bench.metrics.accuracy import accuracy
from delrec_bench.tasks.task import find_tasks
from delrec_bench.workspace import find_workspace, workspace_at
from sklearn.neighbors import KNeighborsClassifier

# Of the first block of each file; data.dvc holds those of the whole files.
FIRST_BLOCKS = {
    ("formants-20", "shd_train.h5"): "5621e61b90203eff",
    ("formants-20", "shd_test.h5"): "df26b69caeb21520",
    ("formants-35", "ssc_train.h5"): "20e1ef9150103d95",
    ("formants-35", "ssc_valid.h5"): "818d51d1d6f51fb9",
    ("formants-35", "ssc_test.h5"): "51b7ee2bf57dac2d",
}


@pytest.mark.parametrize(("corpus", "name"), FIRST_BLOCKS)
def test_the_first_block_of_each_file_is_the_known_one(corpus, name):
    assert next(generate(RECIPES[corpus], name)).digest()[:16] == FIRST_BLOCKS[corpus, name]


def corpus_of(task, folder, train, test):
    """A corpus of the first blocks of the training and test files."""
    recipe = RECIPES[task]
    parts = {}
    for name, limit in zip([next(iter(recipe.splits)), list(recipe.splits)[-1]], (train, test), strict=True):
        path = folder / name
        generated.write(path, joined(islice(generate(recipe, name), limit)), recipe.words)
        parts[name] = bin_events(Recordings(name, "", partial(recordings, path)), Bins("clean", 140, 0.01, 140, 700))
    steps = max(part.longest for part in parts.values())
    splits = [CountSamples(part, np.arange(len(part.labels)), steps) for part in parts.values()]
    shape = {"classes": len(recipe.words), "channels": 140, "steps": steps}
    parts = {"train": splits[0], "valid": splits[1], "test": splits[1]}
    return TaskData(name=task, kind="EMBEDDED", representation="counts", digest="-", **shape, **parts)


WHOLE = [pytest.param(task, None, None, marks=pytest.mark.slow) for task in RECIPES]


@pytest.mark.parametrize(("task", "train", "test"), [("formants-20", 7, 3), *WHOLE])
def test_counts_do_not_suffice_slices_help_and_a_neighbour_does_not_solve_it(task, train, test, tmp_path):
    data = corpus_of(task, tmp_path, train, test)
    wanted = data.test.targets.numpy()
    counts, slices = accuracy(counts_only(data), wanted), accuracy(time_slices(data), wanted)
    assert counts < 0.60
    assert slices >= counts + 0.15
    nearest = KNeighborsClassifier(1, metric="cosine").fit(features(data.train, 20), data.train.targets.numpy())
    assert accuracy(nearest.predict(features(data.test, 20)), wanted) < 0.97


@pytest.mark.slow
@pytest.mark.parametrize("task", RECIPES)
def test_whole_files_have_the_digests_of_data_dvc_and_load(tmp_path, task):
    workspace = workspace_at(tmp_path)
    (tmp_path / "data.dvc").write_text((find_workspace().root / "data.dvc").read_text())
    make(workspace, task)
    for name in RECIPES[task].splits:
        entry = listed(workspace)[f"data/{task}/{name}"]
        path = workspace.data / task / name
        assert generated.read_content(path) == entry.content
    found = find_tasks()[task]
    data = found.load(TaskOptions(**found.quick), 0, 0, None, workspace)
    assert data.kind == "EMBEDDED" and data.name == task and data.dropped_events == 0
    assert (len(data.train), len(data.test)) == (found.quick["limit"], found.quick["test_limit"])


def tiny(value=0):
    pair, times = np.array([0, 1], np.uint16), np.array([0.1, 0.2], np.float16)
    return Events(pair, pair, np.array([1, 1]), times, np.array([value, 5], np.uint16))


def test_content_decides_not_bytes_and_other_content_is_refused(tmp_path):
    """A file written by another HDF5 may differ in bytes; its digest of content is the row's all the same."""
    folder = tmp_path / "data" / "formants-20"
    for name in ("shd_train.h5", "shd_test.h5"):
        generated.write(folder / name, tiny(), ("a", "b"))
    assert (folder / "shd_train.h5").read_bytes() == (folder / "shd_test.h5").read_bytes()
    entry = "- {{path: data/formants-20/{0}, md5: {1}, meta: {{content: {2}}}}}\n"
    content = tiny().digest()

    def listing(md5, content):
        lines = (entry.format(name, md5, content) for name in ("shd_train.h5", "shd_test.h5"))
        (tmp_path / "data.dvc").write_text("outs:\n" + "".join(lines))

    def digest():
        return find_tasks()["formants-20"].load(TaskOptions(), 0, 0, None, workspace_at(tmp_path)).digest

    listing(hashlib.md5((folder / "shd_train.h5").read_bytes()).hexdigest(), content)
    right = digest()
    listing("f" * 32, content)
    assert digest() == right
    listing("f" * 32, tiny(value=1).digest())
    for _ in range(2):
        with pytest.raises(BenchError, match="shd_train.h5: md5 .* data.dvc says ffff.*make or fetch"):
            digest()
        with h5py.File(folder / "shd_train.h5", "w") as other:  # of another layout
            other["spikes/times"] = other["spikes/units"] = np.zeros(3)


def test_a_floor_takes_negative_values():
    values = np.array([[[-4.0, 9.0]], [[0.0, -1.0]]], np.float32)
    assert features(DenseSamples(values, np.arange(2)), 1).tolist() == [[-2.0, 3.0], [0.0, -1.0]]


def test_augmentation_triples_the_training_set_and_is_fixed_by_seed_and_epoch(tmp_path):
    base = corpus_of("formants-20", tmp_path, 1, 1).train
    items = torch.tensor([3, 250 + 3, 500 + 3])
    tripled = Tripled(base)
    assert len(tripled) == 750 and tripled.targets[items].unique().numel() == 1
    tripled.begin_epoch(1, 2)
    one, again = tripled.batch(items), tripled.batch(items.flip(0)).flip(1)
    assert torch.equal(one, again)
    assert torch.equal(one[:, :1], base.batch(torch.tensor([3])))
    tripled.begin_epoch(1, 3)
    other = tripled.batch(items)
    assert torch.equal(one[:, 0], other[:, 0])
    assert not torch.equal(one[:, 1], other[:, 1]) and not torch.equal(one[:, 2], other[:, 2])
    small = Tripled(base, shift=3)  # each channel moves as a whole; the blend keeps half of either
    plain, shifted = (small.batch(torch.tensor([item]))[:, 0] for item in (7, 257))
    for channel in range(plain.shape[1]):
        fits = [torch.equal(torch.roll(plain[:, channel], by), shifted[:, channel]) for by in range(-3, 4)]
        assert any(fits) or plain[:3, channel].sum() + plain[-3:, channel].sum() > 0
    blended = small.batch(torch.arange(500, 750)).sum()
    assert 0.9 < blended / base.batch(torch.arange(250)).sum() < 1.05
