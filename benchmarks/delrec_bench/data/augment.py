"""The published augmentation of SHD: three times the training set (DelRec's code for SHD; Nowotny et al. 2022).

Of n samples, item i < n is sample i as it is; n <= i < 2 n is sample i - n with every channel shifted in time on its
own by a whole number of steps from -100 to 100 (`ChannelShift`); the rest is sample i - 2 n merged with another of its
class, the other moved so that the centres of mass agree, each spike kept with p = 0.5 (`Merge`). What leaves the T
steps is lost. The published shift is in steps, whatever their length: at 10 ms it moves most channels of a spoken digit
by half its length or more. That is the recipe, not an oversight here.
"""

import numpy as np
from torch import Tensor

from delrec_bench.data.samples import CountSamples, Samples, to_batch
from delrec_bench.data.transforms import ChannelShift, Merge, Transform, seeded

SHIFT = 100
KEPT = 0.5


class Tripled(Samples):
    """A training set and its two augmented copies; random parts are fixed by (seed, epoch, item)."""

    def __init__(self, base: CountSamples, shift: int = SHIFT, kept: float = KEPT) -> None:
        self.base = base
        self.kept = kept
        self.targets = base.targets.repeat(3)
        self.speakers = None if base.speakers is None else np.tile(base.speakers, 3)
        self._shift = ChannelShift(base.counts.channels, shift, base.steps)
        labels = base.targets.numpy()
        self._alike = {int(label): np.flatnonzero(labels == label) for label in np.unique(labels)}
        self.begin_epoch(0, 0)

    def begin_epoch(self, seed: int, epoch: int) -> None:
        """Draw shifts, partners and thinning anew."""
        self._seed = (seed, epoch)

    def batch(self, indices: Tensor, device: str = "cpu") -> Tensor:
        """Inputs (T, B, C) of the items `indices`, which run from 0 to 3 n - 1."""
        items = indices.numpy()
        count = len(self.base)
        frames = self.base.frames(items % count)
        for at, item in enumerate(items):
            if item >= count:
                with seeded(*self._seed, int(item)):
                    transform = self._transform(int(item % count), merges=item >= 2 * count)
                    frames[at] = self._framed(transform(self.base.events(int(item % count))))
        return to_batch(np.minimum(frames, 1) if self.base.binary else frames, device)

    def _transform(self, position: int, merges: bool) -> Transform:
        alike = self._alike[int(self.base.targets[position])]
        if not merges or len(alike) < 2:
            return self._shift  # as published: a class of one is shifted instead
        others = alike[alike != position]
        return Merge(self.base.events(int(others[np.random.randint(len(others))])), self.kept, self.base.steps)

    def _framed(self, events: np.ndarray) -> np.ndarray:
        """Counts (T, C) of events whose t is a step."""
        steps, channels = self.base.steps, self.base.counts.channels
        frame = np.bincount(events["t"] * channels + events["x"], minlength=steps * channels)
        kind = self.base.counts.values.dtype
        return np.minimum(frame, np.iinfo(kind).max).astype(kind).reshape(steps, channels)
