"""The published augmentation of SHD: three times the training set (DelRec's code for SHD; Nowotny et al. 2022).

Of n samples, item i < n is sample i as it is; n <= i < 2 n is sample i - n with every channel shifted in time on its
own by a whole number of steps from -100 to 100; the rest is sample i - 2 n merged with another of its class, the other
moved so that the centres of mass agree, each spike kept with p = 0.5. What leaves the T steps is lost. The published
shift is in steps, whatever their length: at 10 ms it moves most channels of a spoken digit by half its length or more.
That is the recipe, not an oversight here.
"""

import numpy as np
from torch import Tensor

from delrec_bench.data.samples import CountSamples, Samples, to_batch
from delrec_bench.data.transforms import seeded

SHIFT = 100
KEPT = 0.5


class Tripled(Samples):
    """A training set and its two augmented copies; random parts are fixed by (seed, epoch, item)."""

    def __init__(self, base: CountSamples, shift: int = SHIFT) -> None:
        self.base, self.shift = base, shift
        self.targets = base.targets.repeat(3)
        self.speakers = None if base.speakers is None else np.tile(base.speakers, 3)
        labels = base.targets.numpy()
        self._alike = {int(label): np.flatnonzero(labels == label) for label in np.unique(labels)}
        self.begin_epoch(0, 0)

    def begin_epoch(self, seed: int, epoch: int) -> None:
        """Draw shifts, partners and thinning anew."""
        self._seed = (seed, epoch)

    def batch(self, indices: Tensor, device: str = "cpu") -> Tensor:
        """Inputs (T, B, C) of the items `indices`, which run from 0 to 3 n - 1."""
        items = indices.numpy()
        frames = self.base.frames(items % len(self.base))
        for at, item in enumerate(items.tolist()):
            if item >= len(self.base):
                with seeded(*self._seed, item):
                    frames[at] = self._framed(self._augmented(item))
        return to_batch(np.minimum(frames, 1) if self.base.binary else frames, device)

    def _augmented(self, item: int) -> np.ndarray:
        """The events of an item of one of the two copies."""
        copy, position = divmod(item, len(self.base))
        events = self.base.events(position)
        alike = self._alike[int(self.base.targets[position])]
        if copy == 1 or len(alike) < 2:  # as published: a class of one is shifted instead
            events["t"] += np.random.randint(-self.shift, self.shift + 1, self.base.counts.channels)[events["x"]]
            return events
        others = alike[alike != position]
        return merged(events, self.base.events(int(others[np.random.randint(len(others))])), self.base.steps)

    def _framed(self, events: np.ndarray) -> np.ndarray:
        """Counts (T, C) of those events whose t is a step of the sample."""
        steps, channels = self.base.steps, self.base.counts.channels
        inside = events[(events["t"] >= 0) & (events["t"] < steps)]
        frame = np.bincount(inside["t"] * channels + inside["x"], minlength=steps * channels)
        kind = self.base.counts.values.dtype
        return np.minimum(frame, np.iinfo(kind).max).astype(kind).reshape(steps, channels)


def merged(events: np.ndarray, other: np.ndarray, steps: int, kept: float = KEPT) -> np.ndarray:
    """Merge with another sample, moved so that the centres of mass agree, each event kept with a probability.

    The centre of an empty sample is the middle of its `steps` steps.
    """
    centre, other_centre = (float(e["t"].mean()) if len(e) else (steps - 1) / 2 for e in (events, other))
    other = other.copy()
    other["t"] += round(centre - other_centre)
    both = np.concatenate([events, other])
    return both[np.random.random_sample(len(both)) < kept]
