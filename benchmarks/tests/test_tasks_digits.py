"""Tasks are found by folder, and the digits are what they claim."""

import numpy as np
import pytest
import torch
from delrec_bench.data.task_data import TaskOptions
from delrec_bench.errors import BenchError
from delrec_bench.tasks.task import find_tasks
from delrec_bench.workspace import workspace_at


@pytest.fixture
def load(tmp_path):
    def call(split_seed=0, permutation_seed=0, data_dir=None, **options):
        return find_tasks()["digits"].load(
            TaskOptions(**options), split_seed, permutation_seed, data_dir, workspace_at(tmp_path)
        )

    return call


def test_digits_are_permuted_pixels_in_three_disjoint_splits(load):
    data = load()
    assert (data.kind, data.classes, data.channels, data.steps) == ("EMBEDDED", 10, 1, 64)
    assert [len(part) for part in (data.train, data.valid, data.test)] == [1150, 287, 360]
    batch = data.train.batch(torch.arange(5))
    assert batch.shape == (64, 5, 1) and batch.dtype == torch.float32 and batch.is_contiguous()
    assert batch.min() >= 0 and batch.max() <= 1
    plain = np.sort(batch[:, :, 0].numpy(), axis=0)
    other = np.sort(load(permutation_seed=1).train.batch(torch.arange(5))[:, :, 0].numpy(), axis=0)
    np.testing.assert_array_equal(plain, other)


def test_the_two_seeds_of_a_task_change_only_their_own_axis(load):
    first, split, permutation = load(), load(split_seed=1), load(permutation_seed=1)
    everything = torch.arange(len(first.train))
    assert not torch.equal(first.train.batch(everything), split.train.batch(everything))
    assert torch.equal(first.test.batch(torch.arange(9)), split.test.batch(torch.arange(9)))
    assert torch.equal(first.train.targets, permutation.train.targets)
    assert not torch.equal(first.train.batch(everything), permutation.train.batch(everything))
    assert first.digest == split.digest == permutation.digest


def test_a_limit_shrinks_training_and_validation_but_not_the_test(load):
    data = load(limit=100)
    assert [len(part) for part in (data.train, data.valid, data.test)] == [100, 25, 360]
    assert len(load(test_limit=7).test) == 7


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"step_ms": 0.0}, "step_ms"),
        ({"step_ms": "ten"}, "step_ms"),
        ({"steps": 0}, "steps"),
        ({"steps": "longest"}, "steps"),
        ({"channels": 0}, "channels"),
        ({"limit": 0}, "limit"),
        ({"binary": 1}, "binary"),
        ({"validation": "speakers"}, "did you mean 'speaker'"),
        ({"binning": "cleen"}, "did you mean 'clean'"),
    ],
)
def test_a_bad_option_names_field_and_remedy(options, field):
    with pytest.raises(BenchError, match=field):
        TaskOptions(**options)


def test_digits_refuses_what_it_cannot_do(load, tmp_path):
    with pytest.raises(BenchError, match="--data"):
        load(data_dir=tmp_path)
    with pytest.raises(BenchError, match="steps = 32"):
        load(steps=32)
