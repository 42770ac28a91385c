"""Samples in memory: compact stores and the fast way from indices to a batch."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_array
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
        speakers: Number of who spoke, (n,), or None.
    """

    targets: Tensor
    speakers: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.targets)

    @abstractmethod
    def batch(self, indices: Tensor, device: str = "cpu") -> Tensor:
        """Inputs of the samples `indices` (B,) as float32 (T, B, C) on a device."""

    def content(self) -> dict[str, Tensor | np.ndarray]:
        """What determines the batches, by name. If it changes, a run on a task of your own is a new run.

        A class of your own adds what it holds besides targets and speakers.
        """
        return {"targets": self.targets} | ({} if self.speakers is None else {"speakers": np.asarray(self.speakers)})

    def begin_epoch(self, seed: int, epoch: int) -> None:  # noqa: B027
        """Fix what is random in the samples (augmentation) by (seed, epoch); nothing without augmentation."""


def to_batch(stored: Tensor, device: str = "cpu") -> Tensor:
    """(B, T, C) of any number type -> float32 (T, B, C) on a device, to which it goes as it is stored."""
    stored = stored.int() if stored.dtype == torch.uint16 else stored  # of which torch knows little
    return stored.to(device).transpose(0, 1).to(torch.float32, memory_format=torch.contiguous_format)


class DenseSamples(Samples):
    """Every value stored: (n, T) or (n, T, C), of any number type. A batch is the stored number times `scale`."""

    def __init__(self, values: np.ndarray, targets: np.ndarray, scale: float = 1.0) -> None:
        self.values = torch.from_numpy(np.ascontiguousarray(values))
        if self.values.dim() == 2:
            self.values = self.values.unsqueeze(-1)
        self.targets = torch.from_numpy(np.ascontiguousarray(targets))
        self.scale = scale

    def content(self) -> dict[str, Tensor | np.ndarray]:
        """What determines the batches: stored numbers, their scale, targets and speakers."""
        return super().content() | {"values": self.values, "scale": np.asarray(self.scale)}

    def batch(self, indices: Tensor, device: str = "cpu") -> Tensor:
        """Inputs (T, B, C) of the samples `indices`."""
        chosen = to_batch(self.values[indices], device)
        return chosen if self.scale == 1.0 else chosen * self.scale


@dataclass(frozen=True)
class Counts:
    """Binned spikes of many samples."""

    name: str  # the file they come from
    steps: int  # of the store (T, or more before a cut)
    channels: int
    longest: int  # steps up to the last spike of any sample, within `steps`
    classes: int  # that the file names, or its largest label + 1
    top: int  # its largest unit + 1, before neighbouring channels are summed
    spikes: csr_array  # (n, steps * channels) spikes in each bin, step after step; sparse, in ascending order
    labels: np.ndarray  # (n,) class
    beyond: np.ndarray  # (n,) spikes after the last step
    speakers: np.ndarray | None = None  # (n,)
    names: np.ndarray | None = None  # those of the classes that the file lists: UTF-8, a line each


class CountSamples(Samples):
    """Spike counts (or, if `binary`, their presence) in the first T `steps` of chosen rows of a store."""

    def __init__(self, counts: Counts, rows: np.ndarray, steps: int, binary: bool = False) -> None:
        self.counts, self.rows, self.steps, self.binary = counts, np.asarray(rows, np.int64), steps, binary
        self.targets = torch.from_numpy(counts.labels[self.rows].astype(np.int64))
        self.speakers = None if counts.speakers is None else counts.speakers[self.rows]

    def content(self) -> dict[str, Tensor | np.ndarray]:
        """What determines the batches: spikes, shape, targets and speakers of the chosen rows."""
        spikes = self.counts.spikes[self.rows]
        held = {"spikes": spikes.data, "bins": spikes.indices, "ends": spikes.indptr}
        return super().content() | held | {"shape": np.array([self.steps, self.counts.channels, self.binary])}

    def frames(self, indices: np.ndarray) -> np.ndarray:
        """Stored counts (B, T, C) before any conversion."""
        bins = self.counts.spikes[self.rows[indices]][:, : self.steps * self.counts.channels]
        frames: np.ndarray = bins.toarray().reshape(len(indices), self.steps, -1)
        return np.minimum(frames, 1) if self.binary else frames

    def events(self, index: int) -> np.ndarray:
        """Spikes of a sample in tonic's form, its t a step: one entry for each, sorted by t."""
        spikes, row = self.counts.spikes, self.rows[index]
        here = slice(spikes.indptr[row], spikes.indptr[row + 1])
        places = spikes.indices[here] if self.binary else np.repeat(spikes.indices[here], spikes.data[here])
        places = places[places < self.steps * self.counts.channels]
        events = np.ones(len(places), EVENT)
        events["t"], events["x"] = np.divmod(places, self.counts.channels)
        return events

    def batch(self, indices: Tensor, device: str = "cpu") -> Tensor:
        """Inputs (T, B, C) of the samples `indices`."""
        return to_batch(torch.from_numpy(self.frames(indices.numpy())), device)

    def total(self) -> int:
        """Spikes of all samples, those after the T steps, too."""
        return int(self.counts.beyond[self.rows].sum() + self.counts.spikes[self.rows].data.sum(dtype=np.int64))

    def dropped(self) -> int:
        """Spikes that lie after the T steps."""
        late = self.counts.spikes[self.rows][:, self.steps * self.counts.channels :]
        return int(self.counts.beyond[self.rows].sum() + late.data.sum(dtype=np.int64))


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

    def content(self) -> dict[str, Tensor | np.ndarray]:
        """What determines the batches: the samples that are augmented, and the largest shift."""
        return self.base.content() | {"shift": np.array(self.shift)}

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
        frames = np.minimum(frames, 1) if self.base.binary else frames
        return to_batch(torch.from_numpy(frames), device)

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
        kind = self.base.counts.spikes.dtype
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
