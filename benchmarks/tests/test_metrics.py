"""A metric is one file: its direction chooses the epoch, and records, statistics and tables read the same object."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from delrec import Trainable
from delrec_bench.config import TrainingConfig
from delrec_bench.config.searched import Draw
from delrec_bench.data.samples import DenseSamples
from delrec_bench.errors import BenchError, RunError
from delrec_bench.metrics.metric import MINUS, find_metrics, metric_named
from delrec_bench.studies.searching import ranked
from delrec_bench.training import Optimisation, fit
from torch import nn

from benchmarks.tests.test_contributing import block


class Scripted(Trainable):
    """A network that says, epoch by epoch, what it was told to."""

    def __init__(self, *epochs):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.register_buffer("epoch", torch.tensor(-1))
        self.said = epochs

    def begin_epoch(self, epoch, epochs):
        self.epoch.fill_(epoch)

    def classify(self, inputs):
        return self.said[int(self.epoch)] + self.weight


@pytest.fixture
def balanced(tmp_path, monkeypatch):
    """The metric of the documentation, by this name."""
    (tmp_path / "balanced.py").write_text(block("metric"))
    monkeypatch.setenv("DELREC_BENCH_METRICS", str(tmp_path))


def test_a_new_metric_where_more_is_better_does_not_select_its_worst_epoch(balanced):
    targets = torch.tensor([0, 1, 1, 1])
    samples = DenseSamples(torch.zeros(4, 2).numpy(), targets.numpy())
    right = torch.eye(2)[targets]
    config = TrainingConfig(epochs=2, batch=4, lr_weights=0.0, lr_delays=0.0)
    fitted = fit(Scripted(right, 1 - right), samples, samples, config, metric="balanced")
    assert [entry["valid_balanced"] for entry in fitted.history] == pytest.approx([1.0, 0.0])
    assert fitted.best_epoch == 1


def test_a_score_that_is_almost_0_is_not_shown_as_0():
    shown = {value: metric_named("nmse").format(value) for value in (3.66e-5, -3.66e-5, 0.00351, -1e-7, 0.0)}
    assert list(shown.values()) == ["0.00004", f"{MINUS}0.00004", "0.0035", "0.0000", "0.0000"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"score": lambda *_: "0.5"}, "its score is '0.5'; it must be a number within its limits"),
        ({"score": lambda *_: np.nan}, "its score is nan"),
        ({"score": lambda *_: np.inf, "limits": (None, None)}, "its score is inf"),
        ({"limits": (0.0, 0.5)}, "its score is 0.75"),
        ({"score": lambda *_: 1 / 0}, r"it raised ZeroDivisionError: division by zero \(test_metrics.py, line"),
        (
            {"per_sample": lambda *_: None},
            "per_sample gives None; give one number per sample, whose mean is the score, 0.75",
        ),
        ({"per_sample": lambda *_: np.ones(4)}, r"per_sample gives \[1.0, 1.0, 1.0, 1.0\]; give one"),
    ],
)
def test_a_metric_that_contradicts_itself_is_named(changes, message):
    metric = replace(metric_named("accuracy"), name="mine", **changes)
    with pytest.raises((BenchError, RunError), match=f"metric 'mine': {message}"):
        metric.measured(np.array([0, 1, 1, 1]), np.array([0, 1, 1, 0]))


@pytest.mark.parametrize("targets", [[0.1, 0.1, 0.1], [0.0, 1e-200, 0.0]])  # numpy's variances are 2e-34 and 0
def test_what_a_metric_refuses_is_said_in_its_own_words(targets):
    with pytest.raises(BenchError, match="^nmse of 3 targets of variance 0 is undefined"):
        metric_named("nmse").measured(np.zeros(3), np.array(targets))


@pytest.mark.parametrize("name", sorted(find_metrics()))
def test_every_metric_agrees_with_itself(name):
    metric = metric_named(name)
    targets = [0, 1, 1, 0, 1]
    perfect, worse = metric.score(targets, targets), metric.score([1, 1, 1, 0, 1], targets)
    assert metric.better(perfect, worse) and not metric.better(worse, perfect) and not metric.better(worse, worse)
    assert metric.rank(perfect) < metric.rank(worse)
    draws = [Draw(number=number, settings={}, scores=[score]) for number, score in enumerate((worse, perfect))]
    assert [draw.number for draw in ranked(draws, name)] == [1, 0]
    assert metric.per_sample([1, 1, 1, 0, 1], targets).mean() == pytest.approx(worse)
    assert metric.format_difference(worse - perfect).startswith(MINUS if metric.more_is_better else "+")


def test_a_plateau_is_watched_in_the_metrics_own_direction(balanced):
    config = TrainingConfig(epochs=2, schedule_weights="plateau")
    modes = {name: Optimisation(Scripted(), config, name, 1).schedules["weights"].mode for name in find_metrics()}
    assert modes == {"accuracy": "max", "balanced": "max", "nmse": "min"}
