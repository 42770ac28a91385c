"""Samples in memory: compact stores and the fast way from indices to a batch."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from delrec_bench.data.transforms import EVENT


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
    stored = torch.from_numpy(frames.astype(np.int32) if frames.dtype == np.uint16 else frames)  # torch has no uint16
    return stored.to(device).transpose(0, 1).contiguous().to(torch.float32)
