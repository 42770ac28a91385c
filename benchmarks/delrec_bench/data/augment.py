"""The published augmentation of SHD: three times the training set (DelRec's code for SHD; Nowotny et al. 2022).

Of n samples, item i < n is sample i as it is; n <= i < 2 n is sample i - n with every channel shifted in time on its
own by a whole number of steps from -100 to 100; the rest is the sum of sample i - 2 n and another of its class, the
other moved so that the centres of mass agree, each thinned binomially with p = 0.5. What leaves the T steps is lost.
The published shift is in steps, whatever their length: at 10 ms it moves most channels of a spoken digit by half its
length or more. That is the recipe, not an oversight here.
"""

import numpy as np
from delrec_bench.data.samples import CountSamples, Samples, to_batch
from torch import Tensor

SHIFT = 100
KEPT = 0.5


class Tripled(Samples):
    """A training set and its two augmented copies; random parts are fixed by (seed, epoch, item)."""

    def __init__(self, base: CountSamples, shift: int = SHIFT, kept: float = KEPT) -> None:
        self.base = base
        self.shift = shift
        self.kept = kept
        self.targets = base.targets.repeat(3)
        self.speakers = None if base.speakers is None else np.tile(base.speakers, 3)
        labels = base.targets.numpy()
        self._alike = {int(label): np.flatnonzero(labels == label) for label in np.unique(labels)}
        self.begin_epoch(0, 0)

    def begin_epoch(self, seed: int, epoch: int) -> None:
        """Draw shifts, partners and thinning anew."""
        self._seed = (seed, epoch)

    def batch(self, indices: Tensor) -> Tensor:
        """Inputs (T, B, C) of the items `indices`, which run from 0 to 3 n - 1."""
        items = indices.numpy()
        count = len(self.base)
        frames = self.base.frames(items % count)
        for at, item in enumerate(items):
            if item < count:
                continue
            generator = np.random.default_rng([*self._seed, int(item)])
            position = int(item % count)
            partner = self._partner(position, generator) if item >= 2 * count else None
            if partner is None:
                frames[at] = self._shifted(frames[at], generator)
            else:
                frames[at] = self._blended(frames[at], self.base.frames(np.array([partner]))[0], generator)
        return to_batch(np.minimum(frames, 1) if self.base.binary else frames)

    def _partner(self, position: int, generator: np.random.Generator) -> int | None:
        alike = self._alike[int(self.base.targets[position])]
        if len(alike) < 2:
            return None  # as published: a class of one is shifted instead
        others = alike[alike != position]
        return int(others[generator.integers(len(others))])

    def _shifted(self, frame: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        steps, channels = frame.shape
        shifts = generator.integers(-self.shift, self.shift + 1, channels)
        came_from = np.arange(steps)[:, None] - shifts
        inside = (came_from >= 0) & (came_from < steps)
        moved = np.take_along_axis(frame, np.clip(came_from, 0, steps - 1), axis=0)
        return np.where(inside, moved, 0).astype(frame.dtype)

    def _blended(self, one: np.ndarray, other: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        by = round(_centre(one) - _centre(other))
        steps = len(other)
        moved = np.zeros_like(other)
        first, last = max(0, by), min(steps, steps + by)
        if last > first:
            moved[first:last] = other[first - by : last - by]
        thinned = [generator.binomial(frame, self.kept) for frame in (one, moved)]
        return np.minimum(thinned[0] + thinned[1], np.iinfo(one.dtype).max).astype(one.dtype)


def _centre(frame: np.ndarray) -> float:
    """Centre of mass in steps; the middle of an empty sample."""
    mass = frame.sum(axis=1, dtype=np.float64)
    total = mass.sum()
    return float((np.arange(len(mass)) * mass).sum() / total) if total else (len(mass) - 1) / 2
