"""Spike files in the layout of the Spiking Heidelberg Datasets, read in blocks and checked event by event.

Layout (Cramer et al. 2020, arXiv:1910.07407): `spikes/times` (seconds) and `spikes/units` (channel), one list a sample;
`labels`; and, where known, `extra/speaker` (who spoke) and `extra/keys` (name of each class).

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

from delrec_bench.data.files import need_space, reading, saving
from delrec_bench.environment import need_memory
from delrec_bench.errors import BenchError

BLOCK = 256
CHANNELS = 700
CLASSES = 1 << 16  # labels below this: a network has an output for each
LAYOUT = "spikes/times, spikes/units and labels, as in SHD"
# The most that deflate, the only compression in use, makes of a byte.
DEFLATE = 1032
MOST_GROWTH = 50  # of a .gz: spike files shrink to a third or a half
COPY = 1 << 20

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Header:
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


@dataclass(frozen=True)
class Block:
    """Consecutive samples: times in seconds (float64) and units (int64) of all, and the spikes of each."""

    first: int
    times: np.ndarray
    units: np.ndarray
    lengths: np.ndarray


class EventFile:
    """An open, checked spike file; make it by `open_hdf5`.

    Attributes:
        path: The file's name for messages.
        opened: The file itself: `path`, or its unpacked copy.
        header: Labels, speakers, names of classes.
        sorted_samples: Samples whose events had to be sorted, of those read so far.
        warns: Whether that is said.
    """

    def __init__(self, path: Path, file: Any) -> None:
        self.path = path
        self.opened = Path(file.filename)
        self._file = file
        with _whole(path):
            self._times, self._units = self._lists("spikes/times"), self._lists("spikes/units")
            self.header = self._read_header()
        self.sorted_samples = 0
        self.warns = True

    def _need(self, name: str) -> Any:
        """A dataset of one dimension whose values are there, and fit into memory."""
        if name not in self._file:
            raise BenchError(f"{self.path}: no dataset '{name}'; the layout is {LAYOUT}")
        found = self._file[name]
        if not isinstance(found, h5py.Dataset):
            raise BenchError(f"{self.path}: '{name}' is a group; it must be a dataset, the layout is {LAYOUT}")
        if found.is_virtual or found.external or Path(found.file.filename) != Path(self._file.filename):
            raise BenchError(f"{self.path}: '{name}' lies in another file; a corpus holds its own events")
        if found.ndim != 1:
            raise BenchError(f"{self.path}: '{name}' has shape {found.shape}; it must have one entry a sample")
        declared, stored = found.size * found.dtype.itemsize, found.id.get_storage_size()
        if declared > stored * DEFLATE:
            raise BenchError(
                f"{self.path}: '{name}' declares {found.size} entries ({declared} bytes), and {stored} bytes of it are "
                "in the file; copy or fetch it again"
            )
        need_memory(declared, f"{self.path}: '{name}' with {found.size} entries")
        return found

    def _lists(self, name: str) -> Any:
        found = self._need(name)
        kind = h5py.check_vlen_dtype(found.dtype)
        if kind is None or np.dtype(kind).kind not in "uif":
            raise BenchError(f"{self.path}: '{name}' holds {found.dtype}; it must hold a list of numbers a sample")
        return found

    def _numbers(self, name: str, least: float = 0) -> np.ndarray:
        """A dataset of whole numbers, `least` or more, as int64."""
        found = self._need(name)
        if found.dtype.kind not in "uif":
            raise BenchError(f"{self.path}: '{name}' holds {found.dtype}; it must hold whole numbers")
        raw = np.asarray(found[()])
        whole = raw.astype(np.float64)
        fits = np.isfinite(whole) & (whole == np.floor(whole)) & (whole >= least) & (whole < 2.0**53)
        bad = np.flatnonzero(~fits)
        if len(bad):
            what = "label" if name == "labels" else name
            raise BenchError(
                f"{self.path}: sample {bad[0]} has {what} {raw[bad[0]]}; {what}s are whole numbers from {least:g}"
            )
        return raw.astype(np.int64)

    def _read_header(self) -> Header:
        labels = self._numbers("labels")
        counts = {"spikes/times": len(self._times), "spikes/units": len(self._units)}
        if {len(labels)} != set(counts.values()):
            found = ", ".join(f"{name} {count}" for name, count in counts.items())
            raise BenchError(f"{self.path}: labels of shape {labels.shape} but {found}; one of each a sample")
        if len(labels) == 0:
            raise BenchError(f"{self.path}: holds no sample; give a file with some")
        names = None
        if "extra/keys" in self._file:
            names = tuple(_text(key) for key in np.ravel(self._need("extra/keys")[()]))
        limit = min(len(names) if names else len(labels), CLASSES)
        bad = np.flatnonzero(labels >= limit)
        if len(bad):
            known = f"{limit} classes in extra/keys" if names else f"{limit} samples and no extra/keys"
            raise BenchError(
                f"{self.path}: sample {bad[0]} has label {labels[bad[0]]}, but there are {known}; "
                f"labels run from 0 to classes - 1"
            )
        speakers = None
        if "extra/speaker" in self._file:
            speakers = self._numbers("extra/speaker", least=-(2.0**53))
            if speakers.shape != labels.shape:
                raise BenchError(f"{self.path}: extra/speaker has {len(speakers)} entries for {len(labels)} samples")
        return Header(labels, speakers, names)

    def __len__(self) -> int:
        return len(self.header.labels)

    def blocks(self) -> Iterator[Block]:
        """All samples in order, checked and sorted by time; one warning if any had to be sorted.

        Raises:
            BenchError: Naming file, sample and value: unequal lengths, a time that is NaN, infinite or negative, a
                unit that is not a channel.
        """
        for first in range(0, len(self), BLOCK):
            yield self.samples(first, first + BLOCK)
        if self.sorted_samples and self.warns:
            log.warning("%s: %d samples had unsorted events; they were sorted", self.path, self.sorted_samples)

    def samples(self, first: int, end: int) -> Block:
        """The samples from `first` to before `end`, checked and sorted by time.

        Raises:
            BenchError: As `blocks`.
        """
        with _whole(self.path):
            times, units = self._times[first:end], self._units[first:end]
        return self._checked(first, times, units)

    def _checked(self, first: int, times: Any, units: Any) -> Block:
        lengths = np.array([len(part) for part in times], np.int64)
        others = np.array([len(part) for part in units], np.int64)
        bad = np.flatnonzero(lengths != others)
        if len(bad):
            at = bad[0]
            raise BenchError(
                f"{self.path}: sample {first + at} has {lengths[at]} times but {others[at]} units; "
                "every spike needs both"
            )
        t = np.concatenate([np.asarray(part) for part in times]).astype(np.float64)
        u = np.concatenate([np.asarray(part) for part in units])
        owner = np.repeat(np.arange(len(lengths)), lengths)
        bad = np.flatnonzero(~(np.isfinite(t) & (t >= 0)))
        if len(bad):
            raise BenchError(
                f"{self.path}: sample {first + owner[bad[0]]} has time {t[bad[0]]}; "
                "times are seconds, finite and not negative"
            )
        bad = np.flatnonzero(~((u >= 0) & (u < CHANNELS) & (u == np.floor(u))))
        if len(bad):
            raise BenchError(
                f"{self.path}: sample {first + owner[bad[0]]} has unit {u[bad[0]]}, outside 0 to "
                f"{CHANNELS - 1}; renumber its channels from 0"
            )
        u = u.astype(np.int64)
        back = np.flatnonzero((np.diff(t) < 0) & (np.diff(owner) == 0))
        if len(back):
            self.sorted_samples += len(np.unique(owner[back]))
            new = np.lexsort((t, owner))
            t, u = t[new], u[new]
        return Block(first, t, u, lengths)


@contextmanager
def open_events(path: Path, scratch: Path) -> Iterator[EventFile]:
    """Open a .h5 file, or a .h5.gz through a copy in `scratch` that lives as long as it is open.

    Raises:
        BenchError: Not readable as HDF5 (missing, truncated, something else), not of the layout, or a .gz that grows
            beyond `MOST_GROWTH` times its size.
    """
    if path.suffix != ".gz":
        with open_hdf5(path) as file:
            yield file
        return
    with saving(scratch.parent):
        scratch.mkdir(parents=True, exist_ok=True)
        copy = tempfile.NamedTemporaryFile(dir=scratch, prefix="gunzip-", suffix=".h5")  # noqa: SIM115
    with copy:
        with saving(scratch.parent), reading(path) as packed:
            left = MOST_GROWTH * path.stat().st_size
            while block := packed.read(COPY):
                if (left := left - len(block)) < 0:
                    raise BenchError(f"{path}: grows to more than {MOST_GROWTH} times its size; no spike file does")
                need_space(scratch, len(block))
                copy.write(block)
            copy.flush()
        with open_hdf5(Path(copy.name), path) as file:
            yield file


@contextmanager
def open_hdf5(path: Path, shown: Path | None = None) -> Iterator[EventFile]:
    """Open a .h5 file.

    Args:
        path: The file.
        shown: Its name in messages, where `path` is an unpacked copy.

    Raises:
        BenchError: Not readable as HDF5 (missing, truncated, something else), or not of the layout.
    """
    shown = shown or path
    with _whole(shown):
        file = h5py.File(path, "r")
    with file:
        yield EventFile(shown, file)


@contextmanager
def _whole(shown: Path) -> Iterator[None]:
    """What HDF5 and h5py say of a broken file, as one line; nothing else happens inside."""
    try:
        yield
    except FileNotFoundError as error:
        raise BenchError(f"{shown}: no such file; put it there or name its folder by --data") from error
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError, SystemError) as error:
        raise BenchError(
            f"{shown}: not a whole HDF5 file ({_line(error)}); it may be cut off: copy or fetch it again"
        ) from error


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
