"""How far one gets without any method: logistic regression on spike counts (no time, or ten slices of it) where there
are classes, ridge regression on all values where one is forecast.

Inputs of the classifiers are square roots of counts (of summed values, where a task has no spikes), standardised.
Nothing is selected, so the regression learns from the training samples and from the validation samples that were drawn
from the same file; a corpus' own validation file is not used. A network that does not beat the first floor has used
nothing but counts; one that does not beat the second has used time only coarsely; one that does not beat the linear
forecast has no use for being a network.
"""

import warnings

import numpy as np
import torch

from delrec_bench.data.augment import Tripled
from delrec_bench.data.samples import CountSamples, Samples
from delrec_bench.data.task_data import TaskData
from delrec_bench.errors import BenchError
from delrec_bench.methods.base import Method
from delrec_bench.tasks.base import Task

SLICES = 10
REGULARISATION = 0.1  # scikit-learn's C
ITERATIONS = 300
RIDGE = 1.0  # scikit-learn's alpha


def not_applicable(data: TaskData) -> str | None:
    """Why a task has no such floor, or None."""
    return None if data.classifies else f"floors classify; {data.name} is scored by {data.metric}"


def counts_only(data: TaskData) -> np.ndarray:
    """Predicted class (int64) of every test sample from its spikes per channel.

    Raises:
        BenchError: A task that has no classes.
    """
    return _predict(data, 1)


def time_slices(data: TaskData) -> np.ndarray:
    """Predicted class (int64) of every test sample from its spikes per channel in ten equal parts of the T steps.

    Raises:
        BenchError: A task that has no classes.
    """
    return _predict(data, SLICES)


def linear_forecast(data: TaskData) -> np.ndarray:
    """Forecast (float64) of every test sample, linear in its T * C values.

    Raises:
        BenchError: A task that has classes.
    """
    if data.classifies:
        raise BenchError(f"linear-forecast forecasts a value; {data.name} has classes: take counts-only, time-slices")
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), Ridge(alpha=RIDGE))
    model.fit(_values(data.train), data.train.targets.numpy())
    return np.asarray(model.predict(_values(data.test)), np.float64).reshape(len(data.test))


def _values(samples: Samples) -> np.ndarray:
    """All values of a sample, (n, T * C)."""
    pieces = (samples.batch(indices).numpy() for indices in torch.arange(len(samples)).split(256))
    return np.concatenate([p.transpose(1, 0, 2).reshape(p.shape[1], -1) for p in pieces]).astype(np.float64)


def features(samples: Samples, slices: int) -> np.ndarray:
    """Square roots of the spikes per slice and channel, (n, slices * C)."""
    plain = samples.base if isinstance(samples, Tripled) else samples
    if isinstance(plain, CountSamples):
        return np.sqrt(plain.totals(slices))
    pieces = []
    for indices in torch.arange(len(plain)).split(256):
        values = plain.batch(indices).numpy()  # (T, B, C)
        edges = np.unique((np.arange(slices) * len(values)) // slices)
        totals = np.add.reduceat(values, edges, axis=0, dtype=np.float64)
        pieces.append(totals.transpose(1, 0, 2).reshape(len(indices), -1))
    return np.sqrt(np.concatenate(pieces))


def _predict(data: TaskData, slices: int) -> np.ndarray:
    reason = not_applicable(data)
    if reason:
        raise BenchError(f"{reason}; leave the floors out for this task")
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    learned = _learned(data)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=REGULARISATION, max_iter=ITERATIONS, random_state=0))
    with warnings.catch_warnings():
        # A floor may stop early: what matters is that it is always the same one.
        warnings.simplefilter("ignore")
        model.fit(
            np.concatenate([features(part, slices) for part in learned]),
            np.concatenate([part.targets.numpy() for part in learned]),
        )
    return np.asarray(model.predict(features(data.test, slices)), np.int64)


def _learned(data: TaskData) -> list[Samples]:
    train = data.train.base if isinstance(data.train, Tripled) else data.train
    if not isinstance(train, CountSamples):
        return [train]
    parts = [part for part in (train, data.valid) if isinstance(part, CountSamples)]
    return [part for part in parts if part.counts is train.counts]


def _classes_only(task: Task) -> str | None:
    return None if task.classifies else "floors classify, and this task forecasts a value"


def _values_only(task: Task) -> str | None:
    return "a linear forecast is of a value, and this task has classes" if task.classifies else None


METHODS = [
    Method(
        name="counts-only",
        title="No network: regression on channel counts",
        family="no network",
        summary="floor: logistic regression on a sample's input per channel, without time",
        source="scikit-learn's LogisticRegression; rule 11 of the protocol",
        learned="a linear classifier",
        board=True,
        floor=counts_only,
        applicable=_classes_only,
    ),
    Method(
        name="time-slices",
        title="No network: regression on ten time slices",
        family="no network",
        summary="floor: logistic regression on the input per channel in ten time slices",
        source="scikit-learn's LogisticRegression; rule 11 of the protocol",
        learned="a linear classifier",
        board=True,
        floor=time_slices,
        applicable=_classes_only,
    ),
    Method(
        name="linear-forecast",
        title="No network: linear forecast",
        family="no network",
        summary="floor: ridge regression on all values of a sample",
        source="scikit-learn's Ridge",
        learned="a linear forecast",
        board=True,
        floor=linear_forecast,
        applicable=_values_only,
    ),
]
