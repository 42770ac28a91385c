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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from delrec_bench.data.files import reading, saving
from delrec_bench.data.transforms import EventBlock, Transform, structured, through
from delrec_bench.environment import need_memory
from delrec_bench.errors import BenchError

BLOCK = 256  # samples
CHANNELS = 700
CLASSES = 1 << 16  # labels below this: a network has an output for each
LAYOUT = "spikes/times, spikes/units and labels, as in SHD"
MOST_GROWTH = 50  # of a .gz: spike files shrink to a third or a half
COPY = 1 << 20

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CorpusHeader:
    """What a file says of its samples as a whole.

    Attributes:
        labels: (n,) int64.
        speakers: (n,) int64, or None.
        names: Name of each class, or None.
    """

    labels: np.ndarray
    speakers: np.ndarray | None
    names: tuple[str, ...] | None

    @property
    def classes(self) -> int:
        """Those named, or the largest label + 1."""
        return len(self.names) if self.names else int(self.labels.max()) + 1


class EventFile:
    """An open, checked spike file; made by `recordings`.

    Attributes:
        path: The file's name for messages.
        header: Labels, speakers, names of classes.
    """

    def __init__(self, path: Path, file: Any, transform: Transform | None = None, seed: int = 0) -> None:
        self.path = path
        self._file = file
        self._transform, self._seed = transform, seed
        with _whole(path):
            self._times, self._units = self._dataset("spikes/times"), self._dataset("spikes/units")
            self.header = self._read_header()

    def __len__(self) -> int:
        return len(self.header.labels)

    def blocks(self) -> Iterator[EventBlock]:
        """All samples in order, checked and sorted by time, with one warning if any had to be sorted.

        Raises:
            BenchError: Naming file, sample and value: unequal lengths, a time that is NaN, infinite or negative, a
                unit that is not a channel.
        """
        unsorted = 0
        for first in range(0, len(self), BLOCK):
            with _whole(self.path):
                times, units = self._times[first : first + BLOCK], self._units[first : first + BLOCK]
            block, moved = self._checked(first, times, units)
            unsorted += moved
            yield through(block, structured, self._transform, self._seed) if self._transform else block
        if unsorted:
            log.warning("%s: %d samples had unsorted events; they were sorted", self.path, unsorted)

    def _checked(self, first: int, times: Any, units: Any) -> tuple[EventBlock, int]:
        """The block, and how many of its samples had to be sorted."""
        lengths, others = (np.array([len(part) for part in parts], np.int64) for parts in (times, units))
        owner = np.repeat(np.arange(len(lengths)), lengths)

        def refuse(bad: np.ndarray, samples: np.ndarray, what: str, *values: np.ndarray) -> None:
            if bad.any():
                at = int(np.flatnonzero(bad)[0])
                shown = what.format(*(value[at] for value in values))
                raise BenchError(f"{self.path}: sample {first + samples[at]} has {shown}")

        each = np.arange(len(lengths))
        refuse(lengths != others, each, "{} times but {} units; every spike needs both", lengths, others)
        t = np.concatenate([np.asarray(part) for part in times]).astype(np.float64)
        u = np.concatenate([np.asarray(part) for part in units])
        refuse(~(np.isfinite(t) & (t >= 0)), owner, "time {}; times are seconds, finite and not negative", t)
        outside = f"outside 0 to {CHANNELS - 1}; renumber its channels from 0"
        refuse(~((u >= 0) & (u < CHANNELS) & (u == np.floor(u))), owner, "unit {}, " + outside, u)
        u = u.astype(np.int64)
        back = np.flatnonzero((np.diff(t) < 0) & (np.diff(owner) == 0))
        if len(back):
            new = np.lexsort((t, owner))
            t, u = t[new], u[new]
        return EventBlock(first, t, u, lengths), len(np.unique(owner[back]))

    def _dataset(self, name: str) -> Any:
        """A dataset of one entry per sample, in this file and small enough for the memory."""
        if name not in self._file:
            raise BenchError(f"{self.path}: no dataset '{name}'; the layout is {LAYOUT}")
        found = self._file[name]
        if not isinstance(found, h5py.Dataset):
            raise BenchError(f"{self.path}: '{name}' is a group; it must be a dataset, the layout is {LAYOUT}")
        if found.is_virtual or found.external or Path(found.file.filename) != Path(self._file.filename):
            raise BenchError(f"{self.path}: '{name}' lies in another file; a corpus holds its own events")
        if found.ndim != 1:
            raise BenchError(f"{self.path}: '{name}' has shape {found.shape}; it must have one entry per sample")
        kind = h5py.check_vlen_dtype(found.dtype)
        if name.startswith("spikes/") and (kind is None or np.dtype(kind).kind not in "uif"):
            raise BenchError(f"{self.path}: '{name}' holds {found.dtype}; it must hold a list of numbers per sample")
        need_memory(found.size * found.dtype.itemsize, f"{self.path}: '{name}' with {found.size} entries")
        return found

    def _numbers(self, name: str, least: float = 0) -> np.ndarray:
        """A dataset of whole numbers, `least` or more, as int64: one per sample."""
        found = self._dataset(name)
        if found.dtype.kind not in "uif":
            raise BenchError(f"{self.path}: '{name}' holds {found.dtype}; it must hold whole numbers")
        counts = {of: len(dataset) for of, dataset in (("spikes/times", self._times), ("spikes/units", self._units))}
        if {len(found)} != set(counts.values()):
            others = ", ".join(f"{of} {count}" for of, count in counts.items())
            raise BenchError(f"{self.path}: {name} of shape {found.shape} but {others}; give one of each per sample")
        raw = np.asarray(found[()])
        whole = raw.astype(np.float64)
        bad = np.flatnonzero(~(np.isfinite(whole) & (whole == np.floor(whole)) & (least <= whole) & (whole < 2.0**53)))
        if len(bad):
            what = "label" if name == "labels" else name
            raise BenchError(
                f"{self.path}: sample {bad[0]} has {what} {raw[bad[0]]}; {what}s are whole numbers from {least:g}"
            )
        return raw.astype(np.int64)

    def _read_header(self) -> CorpusHeader:
        labels = self._numbers("labels")
        if len(labels) == 0:
            raise BenchError(f"{self.path}: holds no sample; give a file with some")
        names = None
        if "extra/keys" in self._file:
            keys = np.ravel(self._dataset("extra/keys")[()])
            names = tuple(key.decode(errors="replace") if isinstance(key, bytes) else str(key) for key in keys)
        limit = min(len(names) if names else len(labels), CLASSES)
        bad = np.flatnonzero(labels >= limit)
        if len(bad):
            known = f"{limit} classes in extra/keys" if names else f"{limit} samples and no extra/keys"
            raise BenchError(
                f"{self.path}: sample {bad[0]} has label {labels[bad[0]]}, but there are {known}; "
                f"labels run from 0 to classes - 1"
            )
        speakers = self._numbers("extra/speaker", least=-(2.0**53)) if "extra/speaker" in self._file else None
        return CorpusHeader(labels, speakers, names)


@contextmanager
def recordings(
    path: Path, scratch: Path | None = None, *, transform: Transform | None = None, seed: int = 0
) -> Iterator[EventFile]:
    """Open a .h5 file, or a .h5.gz through a copy that lives as long as it is open.

    Args:
        path: The file.
        scratch: Folder of that copy; None for the system's own.
        transform: What every sample goes through.
        seed: What the transform draws is fixed by this and the sample's number.

    Raises:
        BenchError: Not readable as HDF5 (missing, truncated, something else), not of the layout, or a .gz that grows
            beyond `MOST_GROWTH` times its size.
    """
    with _unpacked(path, scratch) as plain:
        with _whole(path):
            file = h5py.File(plain, "r")
        with file:
            yield EventFile(path, file, transform, seed)


@contextmanager
def _unpacked(path: Path, scratch: Path | None) -> Iterator[Path]:
    if path.suffix != ".gz":
        yield path
        return
    with saving(scratch or path):
        if scratch is not None:
            scratch.mkdir(parents=True, exist_ok=True)
        copy = tempfile.NamedTemporaryFile(dir=scratch, prefix=".gunzip-")  # noqa: SIM115
    with copy:
        place = Path(copy.name)
        with saving(place), reading(path) as packed:
            left = MOST_GROWTH * path.stat().st_size
            while block := packed.read(COPY):
                if (left := left - len(block)) < 0:
                    raise BenchError(f"{path}: grows to more than {MOST_GROWTH} times its size; no spike file does")
                copy.write(block)
            copy.flush()
        yield place


@contextmanager
def _whole(shown: Path) -> Iterator[None]:
    """What HDF5 and h5py say of a broken file, as one line; nothing else happens inside."""
    try:
        yield
    except FileNotFoundError as error:
        raise BenchError(f"{shown}: no such file; put it there or name its folder by --data") from error
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError, SystemError) as error:
        said = " ".join(str(error).split())
        raise BenchError(
            f"{shown}: not a whole HDF5 file ({said}); it may be cut off: copy or fetch it again"
        ) from error
