"""Samples in memory: compact stores and the fast way from indices to a batch."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from delrec_bench.data.transforms import EVENT, seeded

SHIFT = 100  # steps, see `Tripled`
KEPT = 0.5


def order(count: int, *seeds: int) -> np.ndarray:
    """A permutation of range(count) fixed by the seeds.

    It sorts raw 64-bit words of PCG64, so that it depends on no distribution of numpy's and is the same under every
    version.
    """
    words = np.random.PCG64(np.random.SeedSequence(list(seeds))).random_raw(count)
    return np.argsort(words, kind="stable")


class Samples(ABC):
    """One split of a task.

    Attributes:
        targets: int64 class (n,), or float32 value (n,) where the metric is not accuracy.
        speakers: Who spoke, (n,), or None.
    """

    targets: Tensor
    speakers: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.targets)

    @abstractmethod
    def batch(self, indices: Tensor, device: str = "cpu") -> Tensor:
        """Inputs of the samples `indices` (B,) as contiguous float32 (T, B, C) on a device."""

    def begin_epoch(self, seed: int, epoch: int) -> None:  # noqa: B027
        """Fix what is random in the samples (augmentation) by (seed, epoch); nothing without augmentation."""


class DenseSamples(Samples):
    """Every value stored: (n, T) or (n, T, C), of any number type. A batch is the stored number times `scale`."""

    def __init__(self, values: np.ndarray, targets: np.ndarray, scale: float = 1.0) -> None:
        self.values = torch.from_numpy(np.ascontiguousarray(values))
        if self.values.dim() == 2:
            self.values = self.values.unsqueeze(-1)
        self.targets = torch.from_numpy(np.ascontiguousarray(targets))
        self.scale = scale

    def batch(self, indices: Tensor, device: str = "cpu") -> Tensor:
        """Inputs (T, B, C) of the samples `indices`."""
        chosen = self.values[indices].to(device).transpose(0, 1)
        chosen = chosen.to(torch.float32, memory_format=torch.contiguous_format)
        return chosen if self.scale == 1.0 else chosen * self.scale


@dataclass(frozen=True)
class Counts:
    """Binned spikes of many samples, compressed: sample i owns entries starts[i] to starts[i + 1].

    Attributes:
        steps: Steps a place may reach (T, or more before a cut).
        channels: C.
        longest: Steps up to the last spike of any sample, within `steps`.
        classes: Classes that the file names, or its largest label + 1.
        top: Its largest unit + 1, before neighbouring channels are summed.
        starts: (n + 1,) int64.
        places: Step * channels + channel of each non-zero bin, ascending within a sample.
        values: Spikes in that bin.
        labels: (n,) class.
        beyond: (n,) spikes after the last step.
        speakers: (n,), or None.
    """

    steps: int
    channels: int
    longest: int
    classes: int
    top: int
    starts: np.ndarray
    places: np.ndarray
    values: np.ndarray
    labels: np.ndarray
    beyond: np.ndarray
    speakers: np.ndarray | None = None

    def frames(self, rows: np.ndarray, steps: int) -> np.ndarray:
        """Counts of the samples `rows` as (B, steps, C) of the stored number type; what lies later is cut."""
        dense = np.zeros(len(rows) * steps * self.channels, self.values.dtype)
        places, values = self.entries(rows, steps)
        dense[places] = values
        return dense.reshape(len(rows), steps, self.channels)

    def entries(self, rows: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """What is not zero in `frames`: places in it, flattened (int64), and counts."""
        size = steps * self.channels
        begins = self.starts[rows]
        lengths = self.starts[rows + 1] - begins
        ends = np.cumsum(lengths)
        # Entry number within the flat list of chosen entries -> entry number in the store.
        where = np.arange(lengths.sum()) + np.repeat(begins - (ends - lengths), lengths)
        places = self.places[where].astype(np.int64)
        values = self.values[where]
        target = places + np.repeat(np.arange(len(rows)) * size, lengths)
        if steps < self.steps:
            inside = places < size
            target, values = target[inside], values[inside]
        return target, values

    def after(self, rows: np.ndarray, steps: int) -> int:
        """Spikes of the samples `rows` that lie after the first `steps` steps, those beyond the last one included."""
        late = int(self.beyond[rows].sum())
        if steps < self.steps:
            cut = self.values * (self.places >= steps * self.channels)
            running = np.concatenate([[0], np.cumsum(cut, dtype=np.int64)])
            late += int((running[self.starts[rows + 1]] - running[self.starts[rows]]).sum())
        return late


class CountSamples(Samples):
    """Spike counts (or, if `binary`, their presence) of chosen rows of a compressed store."""

    def __init__(self, counts: Counts, rows: np.ndarray, steps: int, binary: bool = False) -> None:
        self.counts = counts
        self.rows = np.asarray(rows, np.int64)
        self.steps = steps
        self.binary = binary
        self.targets = torch.from_numpy(counts.labels[self.rows].astype(np.int64))
        self.speakers = None if counts.speakers is None else counts.speakers[self.rows]

    def frames(self, indices: np.ndarray) -> np.ndarray:
        """Stored counts (B, T, C) before any conversion."""
        frames = self.counts.frames(self.rows[indices], self.steps)
        return np.minimum(frames, 1) if self.binary else frames

    def events(self, index: int) -> np.ndarray:
        """Spikes of a sample in tonic's form, its t a step: one entry for each, sorted by t."""
        places, values = self.counts.entries(self.rows[[index]], self.steps)
        places = places if self.binary else np.repeat(places, values)
        events = np.ones(len(places), EVENT)
        events["t"], events["x"] = np.divmod(places, self.counts.channels)
        return events

    def batch(self, indices: Tensor, device: str = "cpu") -> Tensor:
        """Inputs (T, B, C) of the samples `indices`."""
        return to_batch(self.frames(indices.numpy()), device)

    def totals(self, slices: int) -> np.ndarray:
        """Spikes per sample in `slices` equal parts of the sample and per channel, (n, slices * C)."""
        edges = (np.arange(slices) * self.steps) // slices
        pieces = (self.counts.frames(self.rows[i : i + 256], self.steps) for i in range(0, len(self), 256))
        sums = [np.add.reduceat(frames, edges, axis=1, dtype=np.float64) for frames in pieces]
        return np.concatenate(sums).reshape(len(self), -1)


class Tripled(Samples):
    """A training set and its two augmented copies; random parts are fixed by (seed, epoch, item).

    The published augmentation of SHD (DelRec's code for SHD; Nowotny et al. 2022). Of n samples, item i < n is sample i
    as it is; n <= i < 2 n is sample i - n with every channel shifted in time on its own by a whole number of steps from
    -100 to 100; the rest is sample i - 2 n merged with another of its class, the other moved so that the centres of
    mass agree, each spike kept with p = 0.5. What leaves the T steps is lost. The published shift is in steps, whatever
    their length: at 10 ms it moves most channels of a spoken digit by half its length or more.
    """

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


class Cast(Samples):
    """Samples whose batches have another floating-point type."""

    def __init__(self, samples: Samples, dtype: str) -> None:
        self._samples = samples
        self._dtype = torch.float64 if dtype == "float64" else torch.float32
        self.targets = samples.targets

    def batch(self, indices: Tensor, device: str = "cpu") -> Tensor:
        """As of the samples, in the other type."""
        return self._samples.batch(indices, device).to(self._dtype)

    def begin_epoch(self, seed: int, epoch: int) -> None:
        """As of the samples."""
        self._samples.begin_epoch(seed, epoch)


def to_batch(frames: np.ndarray, device: str = "cpu") -> Tensor:
    """(B, T, C) of any number type -> contiguous float32 (T, B, C) on a device, to which it goes as it is stored."""
    stored = torch.from_numpy(frames.astype(np.int32) if frames.dtype == np.uint16 else frames)  # not uint16
    return stored.to(device).transpose(0, 1).contiguous().to(torch.float32)
