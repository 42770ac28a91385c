"""Our bins against tonic's own frames, and batches against the published way of making them."""

import time

import h5py
import numpy as np
import pytest
import torch
from delrec_bench.data.generated import RECIPES, generate, write
from delrec_bench.data.task_data import TaskOptions
from delrec_bench.tasks.base import find_tasks
from delrec_bench.workspace import workspace_at

SAMPLES = 250
STEP_MS = 10


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Parts of the embedded corpora in a folder of their own, as tonic and we would find them."""
    folder = tmp_path_factory.mktemp("spoken")
    for task in RECIPES:
        for name in RECIPES[task].splits:
            path = folder / ("SHD" if task == "formants-20" else "SSC") / name
            write(path, next(generate(RECIPES[task], name)), tuple(map(str, range(35))))
    return folder


def ours(corpus, task, folder, **options):
    workspace = workspace_at(corpus / "work")
    return find_tasks()[task].load(TaskOptions(**options), 0, 0, corpus / folder, workspace)


def test_tonics_frames_are_ours_but_for_their_origin_and_their_last_partial_frame(corpus):
    """tonic's ToFrame counts from the first event and leaves out the last window that is not full.

    So its frames hold fewer spikes, and the bins of two samples do not mean the same time. Given 0 as the start, T
    steps as the end, and times as the whole microseconds that tonic makes of them, its frames are ours.
    """
    from tonic.datasets import SHD
    from tonic.transforms import ToFrame

    (corpus / "SHD" / "shd_test.h5.zip").touch()  # tonic fetches unless a file of this name lies there
    spoken = SHD(str(corpus), train=False)
    data = ours(corpus, "shd", "SHD", step_ms=float(STEP_MS), channels=700)
    assert len(spoken) == len(data.test) == SAMPLES
    window = STEP_MS * 1000
    end = data.steps * window
    plain = ToFrame(sensor_size=(700, 1, 1), time_window=window)
    fixed = ToFrame(sensor_size=(700, 1, 1), time_window=window, start_time=0, end_time=end)
    lost = 0
    for number in range(0, SAMPLES, 10):
        events, label = spoken[number]
        frames = data.test.batch(torch.tensor([number]))[:, 0].numpy()
        assert int(label) == int(data.test.targets[number]) and len(events) == frames.sum()
        np.testing.assert_array_equal(fixed(events.copy())[:, 0], frames)
        lost += len(events) - plain(events.copy()).sum()
        # Ours, counted from the first event, is tonic's, up to the partial frame.
        steps = (events["t"] - events["t"][0]) // window
        theirs = plain(events.copy())[:, 0]
        whole = np.zeros((max(len(theirs), steps.max() + 1), 700), int)
        np.add.at(whole, (steps, events["x"]), 1)
        np.testing.assert_array_equal(whole[: len(theirs)], theirs)
    assert lost > 0


def published_batch(times, units, rows, steps=250, groups=5):
    """A batch as DelRec's loader for SSC builds it: coordinates as lists, a sparse tensor, channels summed."""
    edges = np.linspace(0, 1.4, steps)
    batch, step, unit = [], [], []
    for place, row in enumerate(rows):
        batch.extend([place] * len(times[row]))
        step.extend(np.digitize(times[row], edges))
        unit.extend(units[row])
    where = torch.LongTensor([batch, step, unit])
    shape = (len(rows), steps, 700)
    dense = torch.sparse_coo_tensor(where, torch.ones(len(batch)), shape, check_invariants=True).to_dense()
    return torch.stack([part.sum(-1) for part in dense.split(groups, -1)], -1).transpose(0, 1)


def test_batches_equal_the_published_loaders_and_come_much_faster(corpus, record_property):
    data = ours(corpus, "ssc", "SSC")
    with h5py.File(corpus / "SSC" / "ssc_test.h5") as file:
        times, units = file["spikes/times"], file["spikes/units"]
        rows = list(range(128))
        started = time.perf_counter()
        slow = published_batch(times, units, rows)
        published = time.perf_counter() - started
    indices = torch.tensor(rows)
    assert torch.equal(data.test.batch(indices), slow)
    rounds = []
    for _ in range(5):
        started = time.perf_counter()
        data.test.batch(indices)
        rounds.append(time.perf_counter() - started)
    record_property("published_samples_per_second", round(128 / published))
    record_property("our_samples_per_second", round(128 / min(rounds)))
    print(f"published {128 / published:.0f} samples/s, ours {128 / min(rounds):.0f}")
    assert min(rounds) < published / 5
