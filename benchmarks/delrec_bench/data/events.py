"""Spike files in the layout of the Spiking Heidelberg Datasets, read in blocks and checked event by event.

Layout (Cramer et al. 2020, arXiv:1910.07407): `spikes/times` (seconds) and `spikes/units` (channel), one list a sample;
`labels`; and, where known, `extra/speaker` (who spoke) and `extra/keys` (name of each class).
"""

import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from delrec_bench.data.files import reading, saving
from delrec_bench.errors import BenchError

BLOCK = 256
CHANNELS = 700
LAYOUT = "spikes/times, spikes/units and labels, as in SHD"

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


@dataclass(frozen=True)
class Block:
    """Consecutive samples: times in seconds (float64) and units (int64) of all, and the spikes of each."""

    first: int
    times: np.ndarray
    units: np.ndarray
    lengths: np.ndarray


class EventFile:
    """An open, checked spike file; make it by `open_events`."""

    def __init__(self, path: Path, file: Any) -> None:
        self.path = path
        self._file = file
        self.header = self._read_header()
        self.sorted_samples = 0

    def _need(self, name: str) -> Any:
        if name not in self._file:
            raise BenchError(f"{self.path}: no dataset '{name}'; the layout is {LAYOUT}")
        return self._file[name]

    def _read_header(self) -> Header:
        labels = np.asarray(self._need("labels")[()])
        counts = {name: len(self._need(name)) for name in ("spikes/times", "spikes/units")}
        if labels.ndim != 1 or {len(labels)} != set(counts.values()):
            found = ", ".join(f"{name} {count}" for name, count in counts.items())
            raise BenchError(f"{self.path}: labels of shape {labels.shape} but {found}; one of each a sample")
        if len(labels) == 0:
            raise BenchError(f"{self.path}: holds no sample; give a file with some")
        whole = labels.astype(np.float64)
        bad = np.flatnonzero(~np.isfinite(whole) | (whole != np.floor(whole)) | (whole < 0))
        if len(bad):
            raise BenchError(
                f"{self.path}: sample {bad[0]} has label {labels[bad[0]]}; labels are whole numbers from 0"
            )
        names = None
        if "extra/keys" in self._file:
            names = tuple(_text(key) for key in self._file["extra/keys"][()])
        limit = len(names) if names else len(labels)
        bad = np.flatnonzero(whole >= limit)
        if len(bad):
            known = f"{limit} classes in extra/keys" if names else f"{limit} samples and no extra/keys"
            raise BenchError(
                f"{self.path}: sample {bad[0]} has label {labels[bad[0]]}, but there are {known}; "
                f"labels run from 0 to classes - 1"
            )
        speakers = None
        if "extra/speaker" in self._file:
            speakers = np.asarray(self._file["extra/speaker"][()]).astype(np.int64)
            if speakers.shape != labels.shape:
                raise BenchError(f"{self.path}: extra/speaker has {len(speakers)} entries for {len(labels)} samples")
        return Header(labels.astype(np.int64), speakers, names)

    def __len__(self) -> int:
        return len(self.header.labels)

    def blocks(self) -> Iterator[Block]:
        """All samples in order, checked and sorted by time; one warning if any had to be sorted.

        Raises:
            BenchError: Naming file, sample and value: unequal lengths, a time that is NaN, infinite or negative, a
                unit that is not a channel.
        """
        times, units = self._file["spikes/times"], self._file["spikes/units"]
        for first in range(0, len(self), BLOCK):
            with _whole(self.path):
                some_times, some_units = times[first : first + BLOCK], units[first : first + BLOCK]
            yield self._checked(first, some_times, some_units)
        if self.sorted_samples:
            log.warning("%s: %d samples had unsorted events; they were sorted", self.path, self.sorted_samples)

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
        bad = np.flatnonzero(~((u >= 0) & (u < CHANNELS)))
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
        BenchError: Not readable as HDF5 (missing, truncated, something else), or not of the layout.
    """
    if path.suffix != ".gz":
        with _hdf5(path, path) as file:
            yield file
        return
    with saving(scratch.parent):
        scratch.mkdir(parents=True, exist_ok=True)
        copy = tempfile.NamedTemporaryFile(dir=scratch, prefix="gunzip-", suffix=".h5")  # noqa: SIM115
    with copy:
        with saving(scratch.parent), reading(path) as packed:
            shutil.copyfileobj(packed, copy, 1 << 20)
            copy.flush()
        with _hdf5(Path(copy.name), path) as file:
            yield file


@contextmanager
def _hdf5(path: Path, shown: Path) -> Iterator[EventFile]:
    with _whole(shown):
        file = h5py.File(path, "r")
    with file:
        with _whole(shown):
            events = EventFile(shown, file)
        yield events


@contextmanager
def _whole(shown: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise BenchError(f"{shown}: no such file; put it there or name its folder by --data") from error
    except (OSError, RuntimeError, KeyError) as error:
        raise BenchError(
            f"{shown}: not a whole HDF5 file ({_line(error)}); it may be cut off: copy or fetch it again"
        ) from error


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
