"""What training a network comes to, counted in the terms that its time is made of, and what each of them costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

Size = tuple[int, int, int]  # training samples, steps, channels
HeldOut = tuple[int, int]  # validation and test samples
USUAL_SIZE: Size = (2000, 100, 100)  # of a task of which nothing is known
PRODUCTS_OF_A_WINDOW = 0.05  # of feedforward delays, by products a weight and step
SCORED = 1 / 3  # of a training sample's cost: no way back
HELD_OUT = 0.2  # validation and test samples, each, to one of training, where only that number is known

# Seconds of one core for each of `Load.terms`: found on runs and training steps of all methods, from 64 to 1,024
# neurons a layer. A method's own records move them as far as they speak (`fitted`).
USUAL = np.array([0.7, 1.5e-3, 0.6e-5, 1.8e-8, 1.4e-8, 5e-12, 3e-11, 6e-9, 2e-3])
TRUST = 0.1  # in USUAL, to one in every record
Costs = NDArray[np.float64]


@dataclass(frozen=True)
class Load:
    """What training a network comes to.

    Attributes:
        widths: Channels, then the neurons of each layer.
        steps, batch, updates: Of a sample, an update, the training.
        scored: Samples that are only scored, in all.
        window: Steps of feedforward delays; 0 without.
        starts: Trainings that begin: 0 of a step alone, and of a network that is scored once more.
        disturbed: Samples whose events are changed and binned anew.
    """

    widths: tuple[int, ...]
    steps: int
    batch: int
    updates: float
    scored: float = 0.0
    window: int = 0
    starts: int = 1
    disturbed: int = 0

    @property
    def layers(self) -> int:
        """Hidden layers."""
        return len(self.widths) - 1

    @property
    def forward(self) -> int:
        """Weights from layer to layer."""
        return sum(a * b for a, b in pairwise(self.widths))

    @property
    def recurrent(self) -> int:
        """Weights within layers, where there are any."""
        return sum(width**2 for width in self.widths[1:])

    @property
    def operations(self) -> float:
        """Floating-point operations of the training: 6 a weight, sample and step (forward and backward)."""
        dense = 1 + PRODUCTS_OF_A_WINDOW * self.window
        return 6.0 * (self.forward + self.recurrent) * dense * self.steps * self.batch * self.updates

    @property
    def terms(self) -> Costs:
        """What time grows with: starts, updates, steps of a layer, of a channel, of a neuron, of a weight between and
        within layers, updates of a weight at every place of the window, and samples disturbed."""
        updates = self.updates + SCORED * self.scored / self.batch
        steps, samples = updates * self.steps, updates * self.steps * self.batch
        layer, channel, neuron = steps * self.layers, samples * self.widths[0], samples * sum(self.widths[1:])
        weights = samples * self.forward, samples * self.recurrent
        places = self.forward * max(1, self.window) + self.recurrent
        return np.array([self.starts, updates, layer, channel, neuron, *weights, updates * places, self.disturbed])

    @property
    def bytes(self) -> float:
        """Memory that grows with the batch."""
        return 4.0 * 6 * self.batch * self.steps * sum(self.widths)


def load_of(
    configuration: Mapping[str, Any], size: Size, held_out: HeldOut | None = None, step: int = 0
) -> Load | None:
    """The load of a run by its settings; None without a network.

    Args:
        configuration: As in a record.
        size: Of the data that it is trained on.
        held_out: Samples of validation and test; None where they are not known.
        step: Not of a run but of one update, of so many samples.
    """
    training, network = configuration.get("training"), configuration.get("network")
    if not training or network is None:
        return None
    samples, steps, channels = size
    hidden = _within(configuration.get("budget"), channels, network.get("hidden") or [128])
    epochs, batch = training["epochs"], training["batch"]
    valid, test = held_out or (HELD_OUT * samples, HELD_OUT * samples)
    under = configuration.get("evaluation")  # of a trained network, which is scored once more
    epochs = epochs if under is None else 0
    widths, window = (channels, *hidden), network.get("window") or 0
    if step:
        return Load(widths, steps, step, updates=1.0, window=window, starts=0)
    scored = epochs * valid + (0 if configuration.get("kind") == "trial" else test)
    disturbed = round(test) if under and under.get("condition") else 0
    return Load(widths, steps, batch, epochs * samples / batch, scored, window, int(under is None), disturbed)


def _within(budget: Any, channels: int, hidden: Sequence[int]) -> tuple[int, ...]:
    """Widths of no more weights than a budget."""
    first = channels * hidden[0]
    square = sum(a * b for a, b in pairwise(hidden)) + sum(width**2 for width in hidden)
    if not budget or not isinstance(budget, int) or first + square <= budget:
        return tuple(hidden)
    scale = (sqrt(first**2 + 4 * square * budget) - first) / (2 * square)
    return tuple(max(1, round(scale * width)) for width in hidden)


def fitted(seen: Sequence[tuple[Load, float]], usual: Costs) -> Costs:
    """Seconds a term by what was seen to take so long: least squares of relative errors, none negative, near `usual`.

    min over x >= 0 of  sum_i (terms_i x / seconds_i - 1)^2 + TRUST^2 sum_j (x_j / usual_j - 1)^2
    """
    if not seen:
        return usual
    rows = [load.terms / seconds for load, seconds in seen]
    found, _ = nnls(
        np.vstack([*rows, np.diag(TRUST / usual)]), np.concatenate([np.ones(len(rows)), np.full(len(usual), TRUST)])
    )
    return np.asarray(found)


def scaled(seen: Sequence[tuple[Load, float]]) -> Costs:
    """The usual costs on a machine of another speed."""
    return USUAL * median(seconds / (load.terms @ USUAL) for load, seconds in seen) if seen else USUAL
