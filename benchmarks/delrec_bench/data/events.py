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
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from delrec_bench.data.files import MOST_GROWTH, reading
from delrec_bench.data.transforms import EventBlock
from delrec_bench.environment import need_memory
from delrec_bench.errors import BenchError

BLOCK = 256  # samples
CHANNELS = 700
CLASSES = 1 << 16  # labels below this: a network has an output for each
LAYOUT = "SHD's layout is spikes/times and spikes/units, lists of numbers, and labels, numbers; all in this one file"
COPY = 1 << 20

log = logging.getLogger(__name__)


class EventFile:
    """An open, checked spike file; made by `recordings`.

    Attributes:
        path: The file's name for messages.
        classes: Number of names in extra/keys, or the largest label + 1.
    """

    def __init__(self, path: Path, file: Any) -> None:
        self.path, self._file = path, file
        self._times, self._units = self._dataset("spikes/times"), self._dataset("spikes/units")
        self._labels = self._numbers("labels")
        self._speakers = self._numbers("extra/speaker") if "extra/speaker" in file else None
        names = self._dataset("extra/keys", "SOUuif").size if "extra/keys" in file else 0
        if not len(self._labels):
            raise BenchError(f"{path}: contains no samples")
        limit = min(names or len(self._labels), CLASSES)
        known = f"{limit} classes in extra/keys" if names else f"{limit} samples and no extra/keys"
        bad = (self._labels < 0) | (self._labels >= limit)
        self._refuse(bad, f"label {{}}, but there are {known}; labels run from 0 to classes - 1", self._labels)
        self.classes = names or int(self._labels.max()) + 1

    def blocks(self) -> Iterator[EventBlock]:
        """All samples in order, checked and sorted by time, with one warning if any had to be sorted.

        A `BenchError` names file, sample and value: unequal lengths, a time that is NaN, infinite or negative, a unit
        that is not a channel.
        """
        unsorted = 0
        for first in range(0, len(self._labels), BLOCK):
            part = slice(first, first + BLOCK)
            with _whole(self.path):
                times, units = self._times[part], self._units[part]
            lengths, others = (np.array([len(one) for one in lists], np.int64) for lists in (times, units))
            each = np.arange(first, first + len(lengths))
            self._refuse(lengths != others, "{} times but {} units; give one of each", lengths, others, owner=each)
            owner = np.repeat(each, lengths)
            t = np.concatenate([np.asarray(one) for one in times]).astype(np.float64)
            u = np.concatenate([np.asarray(one) for one in units])
            self._refuse(~(np.isfinite(t) & (t >= 0)), "time {}; times are finite seconds from 0", t, owner=owner)
            known = (u >= 0) & (u < CHANNELS) & (u == np.floor(u))
            self._refuse(~known, f"unit {{}}, outside 0 to {CHANNELS - 1}; renumber its channels", u, owner=owner)
            back = np.flatnonzero((np.diff(t) < 0) & (np.diff(owner) == 0))
            if len(back):
                new = np.lexsort((t, owner))
                t, u = t[new], u[new]
                unsorted += len(np.unique(owner[back]))
            speakers = None if self._speakers is None else self._speakers[part]
            yield EventBlock(first, t, u.astype(np.int64), lengths, self._labels[part], speakers)
        if unsorted:
            log.warning("%s: %d samples had unsorted events; they were sorted", self.path, unsorted)

    def _refuse(self, bad: np.ndarray, said: str, *values: Any, owner: np.ndarray | None = None) -> None:
        """Refuse what the first bad sample has, or, given the sample that owns each value, the first bad value."""
        if bad.any():
            at = int(np.flatnonzero(bad)[0])
            sample = at if owner is None else owner[at]
            raise BenchError(f"{self.path}: sample {sample} has {said.format(*(value[at] for value in values))}")

    def _dataset(self, name: str, kinds: str = "uif") -> Any:
        """A dataset of one number per sample (a list of them, of spikes), in this file and small enough for memory."""
        found = self._file.get(name)
        usable = isinstance(found, h5py.Dataset) and found.ndim == 1 and not found.is_virtual and not found.external
        if usable and Path(found.file.filename) == Path(self._file.filename):
            lists = h5py.check_vlen_dtype(found.dtype)
            kind = lists if name.startswith("spikes/") and lists is not None else found.dtype
            if np.dtype(kind).kind in kinds and (kind is lists) == name.startswith("spikes/"):
                need_memory(found.size * found.dtype.itemsize, f"{self.path}: '{name}' with {found.size} entries")
                return found
        raise BenchError(f"{self.path}: has {found} for '{name}'; {LAYOUT}")

    def _numbers(self, name: str) -> np.ndarray:
        """A dataset of whole numbers as int64, one per sample."""
        counts = {of: len(self._dataset(of)) for of in (name, "spikes/times", "spikes/units")}
        if len(set(counts.values())) > 1:
            said = ", ".join(f"{count} of {of}" for of, count in counts.items())
            raise BenchError(f"{self.path}: it contains {said}; give one of each per sample")
        raw = np.asarray(self._dataset(name)[()])
        number = raw.astype(np.float64)
        whole = np.isfinite(number) & (number == np.floor(number)) & (np.abs(number) < 2.0**53)
        self._refuse(~whole, f"{name.removesuffix('s')} {{}}; it must be a whole number below 2^53", raw)
        return raw.astype(np.int64)


@contextmanager
def recordings(path: Path, scratch: Path | None = None) -> Iterator[EventFile]:
    """Open a .h5 file, or a .h5.gz through a copy in the folder `scratch` that lives as long as it is open."""
    with _unpacked(path, scratch) as plain:
        with _whole(path):
            file = h5py.File(plain, "r")
        with file:
            with _whole(path):
                found = EventFile(path, file)
            yield found


@contextmanager
def _unpacked(path: Path, scratch: Path | None) -> Iterator[Path]:
    if path.suffix != ".gz":
        yield path
        return
    with tempfile.NamedTemporaryFile(dir=scratch, prefix=".gunzip-") as copy:
        left = MOST_GROWTH * path.stat().st_size
        try:
            with reading(path) as packed:
                while (block := packed.read(COPY)) and (left := left - len(block)) >= 0:
                    copy.write(block)
                copy.flush()
        except OSError as error:
            error.filename = error.filename or copy.name  # a full disk does not say what was being written
            raise
        if left < 0:
            raise BenchError(f"{path}: expands to more than {MOST_GROWTH} times its size, which no spike file does")
        yield Path(copy.name)


@contextmanager
def _whole(shown: Path) -> Iterator[None]:
    """What HDF5 and h5py say of a broken file, as one line."""
    try:
        yield
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError, SystemError) as error:
        said = " ".join(str(error).split())
        raise BenchError(f"{shown}: incomplete HDF5 file ({said}); copy or fetch it again") from error
