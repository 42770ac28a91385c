"""How far one gets without any method: logistic regression on spike counts (no time, or ten slices of it) where there
are classes, ridge regression on all values where one is forecast.

Inputs of the classifiers are square roots of counts (of summed values, where a task has no spikes), standardised.
Nothing is selected, so the regression learns from the training samples and from the validation samples that were drawn
from the same file; a corpus' own validation file is not used. A network that does not beat the first floor has used
nothing but counts; one that does not beat the second has used time only coarsely; one that does not beat the linear
forecast has no use for being a network.
"""

import warnings
from functools import partial
from typing import Any

import numpy as np
import torch

from delrec_bench.data.samples import CountSamples, Samples, Tripled
from delrec_bench.data.task_data import TaskData
from delrec_bench.methods.method import Method

SLICES = 10
REGULARISATION = 0.1  # scikit-learn's C
ITERATIONS = 300
RIDGE = 1.0  # scikit-learn's alpha


def _fitted(model: Any, inputs: np.ndarray, targets: np.ndarray) -> Any:
    """The model behind a standardisation of its inputs, fitted."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    with warnings.catch_warnings():
        # A floor may stop early: what matters is that it is always the same one.
        warnings.simplefilter("ignore")
        return make_pipeline(StandardScaler(), model).fit(inputs, targets)


def classified(data: TaskData, slices: int) -> np.ndarray:
    """Predicted class (int64) of every test sample from its spikes per channel in equal parts of the T steps."""
    from sklearn.linear_model import LogisticRegression

    learned = _learned(data)
    model = _fitted(
        LogisticRegression(C=REGULARISATION, max_iter=ITERATIONS, random_state=0),
        np.concatenate([features(part, slices) for part in learned]),
        np.concatenate([part.targets.numpy() for part in learned]),
    )
    return np.asarray(model.predict(features(data.test, slices)), np.int64)


counts_only = partial(classified, slices=1)
time_slices = partial(classified, slices=SLICES)


def linear_forecast(data: TaskData) -> np.ndarray:
    """Forecast (float64) of every test sample, linear in its T * C values."""
    from sklearn.linear_model import Ridge

    model = _fitted(Ridge(alpha=RIDGE), _values(data.train), data.train.targets.numpy())
    return np.asarray(model.predict(_values(data.test)), np.float64).reshape(len(data.test))


def _values(samples: Samples) -> np.ndarray:
    """All values of a sample, (n, T * C)."""
    pieces = (samples.batch(indices).numpy() for indices in torch.arange(len(samples)).split(256))
    return np.concatenate([p.transpose(1, 0, 2).reshape(p.shape[1], -1) for p in pieces]).astype(np.float64)


def features(samples: Samples, slices: int) -> np.ndarray:
    """Square roots of the spikes per slice and channel, (n, slices * C); a negative sum keeps its sign."""
    pieces = []
    for indices in torch.arange(len(samples)).split(256):
        values = samples.batch(indices).numpy()  # (T, B, C)
        edges = np.unique((np.arange(slices) * len(values)) // slices)
        totals = np.add.reduceat(values, edges, axis=0, dtype=np.float64)
        pieces.append(totals.transpose(1, 0, 2).reshape(len(indices), -1))
    sums = np.concatenate(pieces)
    return np.sign(sums) * np.sqrt(np.abs(sums))


def _learned(data: TaskData) -> list[Samples]:
    train = data.train.base if isinstance(data.train, Tripled) else data.train
    valid = data.valid
    both = isinstance(train, CountSamples) and isinstance(valid, CountSamples) and valid.counts is train.counts
    return [train, valid] if both else [train]


def _method(name: str, title: str, how: str, floor: Any) -> Method:
    forecast = floor is linear_forecast
    other = "this floor forecasts a value" if forecast else "this floor classifies"
    return Method(
        name=name,
        title=f"No network: {title}",
        family="no network",
        summary=f"non-neural baseline: {how}",
        source=f"scikit-learn's {'Ridge' if forecast else 'LogisticRegression'}",
        learned=f"a linear {'forecast' if forecast else 'classifier'}",
        board=True,
        floor=floor,
        applicable=lambda task: other if task.classifies == forecast else None,
    )


SUMMED = "logistic regression on the summed input of each channel"
METHODS = [
    _method("counts-only", "regression on channel counts", SUMMED, counts_only),
    _method("time-slices", "regression on ten time slices", f"{SUMMED} in ten time slices", time_slices),
    _method("linear-forecast", "linear forecast", "ridge regression on all values of a sample", linear_forecast),
]
