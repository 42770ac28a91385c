"""Spike files in the layout of the Spiking Heidelberg Datasets, read in blocks and checked event by event.

Layout (Cramer et al. 2020, arXiv:1910.07407): `spikes/times` (seconds) and `spikes/units` (channel), one list per
sample; `labels`; and, where known, `extra/speaker` (who spoke) and `extra/keys` (name of each class).

Files are trusted as far as the HDF5 library is: its errors become one line, but a file made to hang or crash that
library is not defended against.
"""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from delrec_bench.data.files import MOST_GROWTH, reading
from delrec_bench.data.transforms import EVENT, Transform, seeded
from delrec_bench.environment import need_memory
from delrec_bench.errors import BenchError

BLOCK = 256  # samples
CHANNELS = 700
CLASSES = 1 << 16  # labels below this: a network has an output for each
LAYOUT = "SHD's layout is spikes/times and spikes/units, lists of numbers, and labels, numbers; all in this one file"
COPY = 1 << 20
# What HDF5 and h5py raise for a broken file.
HDF5_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError, SystemError)
# Times that tonic gives are whole microseconds but for rounding; those of files are cut to whole ones, as tonic does.
SLACK = 1e-6

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EventBlock:
    """Consecutive samples, their events one after the other."""

    path: Path  # the file or folder they come from, for messages
    classes: int | None  # number of classes that it names; None where the largest label tells
    first: int  # number of the first sample
    times: np.ndarray  # seconds (float64) of all events
    units: np.ndarray  # channels (int64) of all events
    lengths: np.ndarray  # (n,) events of each sample
    labels: np.ndarray  # (n,) class (int64)
    speakers: np.ndarray | None = None  # (n,)

    def samples(self) -> Iterator[np.ndarray]:
        """The events of each sample in tonic's form."""
        events = np.ones(len(self.times), EVENT)
        events["t"], events["x"] = self.times * 1e6 + SLACK, self.units
        yield from np.split(events, np.cumsum(self.lengths)[:-1])

    def through(self, transform: Transform, seed: int) -> "EventBlock":
        """The block after a transform, which each sample meets with a stream fixed by the seed and its number."""
        made = []
        for number, events in enumerate(self.samples(), self.first):
            with seeded(seed, number):
                made.append(transform(events) if len(events) else events)
        events = np.concatenate(made)
        lengths = np.array([len(events) for events in made], np.int64)
        return replace(self, times=events["t"] / 1e6, units=events["x"].astype(np.int64), lengths=lengths)


def recordings(path: Path, scratch: Path | None = None) -> Iterator[EventBlock]:
    """All samples of a file in order, checked and sorted by time, with one warning if any had to be sorted.

    A .h5.gz is read through a copy in the folder `scratch` that lives as long as the iterator. A `BenchError` names
    file, sample and value: unequal lengths, a time that is NaN, infinite or negative, a unit that is not a channel.
    """
    with _unpacked(path, scratch) as plain:
        try:
            with h5py.File(plain, "r") as file:
                yield from _blocks(path, file)
        except HDF5_ERRORS as error:
            said = " ".join(str(error).split())
            raise BenchError(f"{path}: incomplete HDF5 file ({said}); copy or fetch it again") from error


def _blocks(path: Path, file: Any) -> Iterator[EventBlock]:
    names = ["spikes/times", "spikes/units", "labels", *(["extra/speaker"] if "extra/speaker" in file else [])]
    found = {name: _dataset(path, file, name) for name in names}
    if len({len(dataset) for dataset in found.values()}) > 1:
        said = ", ".join(f"{len(dataset)} of {name}" for name, dataset in found.items())
        raise BenchError(f"{path}: it contains {said}; give one of each per sample")
    labels = _numbers(path, found["labels"], "label")
    speakers = _numbers(path, found["extra/speaker"], "extra/speaker") if "extra/speaker" in found else None
    if not len(labels):
        raise BenchError(f"{path}: contains no samples")
    classes = _dataset(path, file, "extra/keys", "SOUuif").size if "extra/keys" in file else 0
    limit = min(classes or len(labels), CLASSES)
    known = f"{limit} classes in extra/keys" if classes else f"{limit} samples and no extra/keys"
    bad = (labels < 0) | (labels >= limit)
    _refuse(path, bad, f"label {{}}, but there are {known}; labels run from 0 to classes - 1", labels)

    unsorted = 0
    for first in range(0, len(labels), BLOCK):
        part = slice(first, first + BLOCK)
        times, units = found["spikes/times"][part], found["spikes/units"][part]
        lengths, others = (np.array([len(one) for one in lists], np.int64) for lists in (times, units))
        each = np.arange(first, first + len(lengths))
        _refuse(path, lengths != others, "{} times but {} units; give one of each", lengths, others, owner=each)
        owner = np.repeat(each, lengths)
        t = np.concatenate([np.asarray(one) for one in times]).astype(np.float64)
        u = np.concatenate([np.asarray(one) for one in units])
        _refuse(path, ~(np.isfinite(t) & (t >= 0)), "time {}; times are finite seconds from 0", t, owner=owner)
        channel = (u >= 0) & (u < CHANNELS) & (u == np.floor(u))
        _refuse(path, ~channel, f"unit {{}}, outside 0 to {CHANNELS - 1}; renumber its channels", u, owner=owner)
        back = np.flatnonzero((np.diff(t) < 0) & (np.diff(owner) == 0))
        if len(back):
            new = np.lexsort((t, owner))
            t, u = t[new], u[new]
            unsorted += len(np.unique(owner[back]))
        who = None if speakers is None else speakers[part]
        yield EventBlock(path, classes or None, first, t, u.astype(np.int64), lengths, labels[part], who)
    if unsorted:
        log.warning("%s: %d samples had unsorted events; they were sorted", path, unsorted)


def _dataset(path: Path, file: Any, name: str, kinds: str = "uif") -> Any:
    """A dataset of one number per sample (a list of them, of spikes), in this file and small enough for memory."""
    found = file.get(name)
    usable = isinstance(found, h5py.Dataset) and found.ndim == 1 and not found.is_virtual and not found.external
    if usable and Path(found.file.filename) == Path(file.filename):
        lists, wanted = h5py.check_vlen_dtype(found.dtype), name.startswith("spikes/")
        kind = lists if wanted else found.dtype
        if kind is not None and np.dtype(kind).kind in kinds:
            need_memory(found.size * found.dtype.itemsize, f"{path}: '{name}' with {found.size} entries")
            return found
    raise BenchError(f"{path}: has {found} for '{name}'; {LAYOUT}")


def _numbers(path: Path, dataset: Any, name: str) -> np.ndarray:
    """A dataset of whole numbers as int64."""
    raw = np.asarray(dataset[()])
    number = raw.astype(np.float64)
    whole = np.isfinite(number) & (number == np.floor(number)) & (np.abs(number) < 2.0**53)
    _refuse(path, ~whole, f"{name} {{}}; it must be a whole number below 2^53", raw)
    return raw.astype(np.int64)


def _refuse(path: Path, bad: np.ndarray, said: str, *values: Any, owner: np.ndarray | None = None) -> None:
    """Refuse what the first bad sample has, or, given the sample that owns each value, the first bad value."""
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        sample = at if owner is None else owner[at]
        raise BenchError(f"{path}: sample {sample} has {said.format(*(value[at] for value in values))}")


@contextmanager
def _unpacked(path: Path, scratch: Path | None) -> Iterator[Path]:
    if path.suffix != ".gz":
        yield path
        return
    with tempfile.NamedTemporaryFile(dir=scratch, prefix=".gunzip-") as copy:
        try:
            with reading(path) as packed:
                while block := packed.read(COPY):
                    copy.write(block)
                    if copy.tell() > MOST_GROWTH * path.stat().st_size:
                        said = f"expands to more than {MOST_GROWTH} times its size, which no spike file does"
                        raise BenchError(f"{path}: {said}")
                copy.flush()
        except OSError as error:
            error.filename = error.filename or copy.name  # a full disk does not say what was being written
            raise
        yield Path(copy.name)
