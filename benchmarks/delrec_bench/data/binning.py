"""Spikes of files, and into bins: recordings read in blocks, checked event by event, and counted per step and channel.

Layout of the Spiking Heidelberg Datasets (Cramer et al. 2020, arXiv:1910.07407): `spikes/times` (seconds) and
`spikes/units` (channel), one list per sample; `labels`; and, where known, `extra/speaker` (who spoke) and `extra/keys`
(name of each class). Files are trusted as far as the HDF5 library is: its errors become one line, but a file made to
hang or crash that library is not defended against.

Two binnings of a time t (seconds):

- clean: step k holds k step <= t < (k + 1) step, k from 0;
- published: the edges are T equally spaced points from 0 to 1.4 s and step k holds edge[k-1] <= t < edge[k], as
  DelRec's code for SSC bins (numpy.digitize). So a step is 1.4 s / (T - 1), step 0 is always empty, and an event at
  1.4 s or later has no step (the published code would stop there with an index error; here it is dropped and
  counted).

Spikes are conserved: each is in exactly one bin, or counted as dropped. Neighbouring channels are summed.
"""

import hashlib
import json
import math
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from scipy.sparse import csr_array, vstack

from delrec_bench.data.files import MOST_GROWTH, reading
from delrec_bench.data.samples import Counts
from delrec_bench.data.transforms import EVENT, Transform, seeded
from delrec_bench.environment import need_memory, say, say_once
from delrec_bench.errors import BenchError
from delrec_bench.workspace import Workspace, write_atomic

BLOCK = 256  # samples
CHANNELS = 700
CLASSES = 1 << 16  # labels below this: a network has an output for each
LAYOUT = "SHD's layout, in one file: spikes/times and spikes/units, lists of numbers; labels and extra/speaker, numbers"
COPY = 1 << 20
# What HDF5 and h5py raise for a broken file.
HDF5_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError, SystemError)
# Times that tonic gives are whole microseconds but for rounding; those of files are cut to whole ones, as tonic does.
MICROSECOND_SLACK = 1e-6
LONGEST = 1.4  # seconds: the longest sample any of these tasks looks at
VERSION = 6  # raise it when the arrays of the cache change their meaning
_SPARSE = ("data", "indices", "indptr")
# A time written in decimal may lie a rounding error below the edge that it means.
SLACK = 1e-9


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
    names: tuple[str, ...] = ()  # of the classes, by label, where the file lists them

    def through(self, transform: Transform, seed: int) -> "EventBlock":
        """The block after a transform, which each sample meets with a stream fixed by the seed and its number."""
        events, made = np.ones(len(self.times), EVENT), []
        events["t"], events["x"] = np.minimum(self.times, 1e9) * 1e6 + MICROSECOND_SLACK, self.units
        for number, sample in enumerate(np.split(events, np.cumsum(self.lengths)[:-1]), self.first):
            with seeded(seed, number):
                made.append(transform(sample) if len(sample) else sample)
        events, lengths = np.concatenate(made), np.array([len(sample) for sample in made], np.int64)
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
            why = f"not an HDF5 file, or an incomplete one ({said})"
            raise BenchError(f"{path}: {why}; copy or fetch it again") from error


def _blocks(path: Path, file: Any) -> Iterator[EventBlock]:
    names = ["spikes/times", "spikes/units", "labels", *(["extra/speaker"] if "extra/speaker" in file else [])]
    found = {name: _dataset(path, file, name) for name in names}
    if len({len(dataset) for dataset in found.values()}) > 1:
        said = ", ".join(f"{len(dataset)} of {name}" for name, dataset in found.items())
        raise BenchError(f"{path}: it contains {said}; give one of each per sample")
    labels = _numbers(path, found["labels"], "label")
    speakers = _numbers(path, found["extra/speaker"], "extra/speaker") if "extra/speaker" in found else None
    if not len(labels):
        raise BenchError(f"{path}: contains no samples; copy or fetch it again")
    keys = np.asarray(_dataset(path, file, "extra/keys", "SOUuif")[()]) if "extra/keys" in file else np.empty(0)
    named = tuple(key.decode(errors="replace") if isinstance(key, bytes) else str(key) for key in keys.tolist())
    classes = len(named)
    limit = min(classes or (len(labels) if "train" in path.name else CLASSES), CLASSES)
    known = f"{limit} classes in extra/keys" if classes else f"at most {limit} classes without extra/keys"
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
        yield EventBlock(path, classes or None, first, t, u.astype(np.int64), lengths, labels[part], who, named)
    if unsorted:
        say_once(f"warning: {path}: {unsorted} samples have unsorted events; they are sorted")


def _dataset(path: Path, file: Any, name: str, kinds: str = "uif") -> Any:
    """A dataset of one number per sample (a list of them, of spikes), in this file and small enough for memory."""
    found = file.get(name)
    usable = isinstance(found, h5py.Dataset) and found.ndim == 1 and not found.is_virtual and not found.external
    if usable and Path(found.file.filename) == Path(file.filename):
        lists, wanted = h5py.check_vlen_dtype(found.dtype), name.startswith("spikes/")
        kind = lists if wanted else found.dtype
        # h5py gives lists of big-endian numbers with their bytes as they are
        if kind is not None and np.dtype(kind).kind in kinds and not (lists and np.dtype(kind).byteorder == ">"):
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
    with tempfile.NamedTemporaryFile(dir=scratch, prefix=".gunzip", suffix=f".{secrets.token_hex(4)}") as copy:
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


class Recordings(NamedTuple):
    """One part of a corpus."""

    name: str  # of its file, in messages and exported splits
    identity: str  # what decides its events, for the cache: a digest
    blocks: Callable[[], Iterator[EventBlock]]  # reads all samples in order, checked


@dataclass(frozen=True)
class Bins:
    """How events are binned."""

    mode: str  # "clean" or "published"
    steps: int  # of the store (T, or the most that T can become)
    step: float  # seconds
    channels: int  # after summing neighbours
    source: int  # channels of the file; a multiple of `channels`

    @classmethod
    def clean(cls, step: float, steps: int | str, channels: int, source: int) -> "Bins":
        """Clean bins over 1.4 s, or over more where more steps are asked for ("auto": not known yet)."""
        cap = max(1, math.ceil(LONGEST / step - 1e-9))
        return cls("clean", cap if steps == "auto" else max(cap, int(steps)), step, channels, source)

    def step_of(self, times: np.ndarray) -> np.ndarray:
        """Step of each time (seconds); `steps` or more where it lies after the end."""
        if self.mode == "published":
            return np.digitize(times, np.linspace(0, LONGEST, self.steps))
        return np.minimum(np.floor(times / self.step + SLACK), self.steps).astype(np.int64)  # no int64 holds 1e20


def bin_events(part: Recordings, bins: Bins, transform: Transform | None = None, seed: int = 0) -> Counts:
    """Bin every sample, after a transform where there is one."""
    size, share = bins.steps * bins.channels, bins.source // bins.channels
    parts: list[tuple[Any, ...]] = []
    longest = top = 0
    for whole in part.blocks():
        block = whole.through(transform, seed) if transform else whole
        count = len(block.lengths)
        owner = np.repeat(np.arange(count), block.lengths)
        step = bins.step_of(block.times)
        inside = step < bins.steps
        place = step[inside] * bins.channels + block.units[inside] // share
        spikes = csr_array((np.ones(len(place), np.uint32), (owner[inside], place)), (count, size))
        if spikes.data.max(initial=0) > np.iinfo(np.uint16).max:
            raise BenchError(f"{block.path}: over 65535 spikes in one bin; use a shorter step_ms or more channels")
        beyond = np.bincount(owner[~inside], minlength=count)
        parts.append((spikes.astype(np.uint16), block.labels, beyond, block.speakers))
        longest = max(longest, int(step[inside].max(initial=0)) + 1)
        top = max(top, int(block.units.max(initial=-1)) + 1)
    rows, labels, after, speakers = zip(*parts, strict=True)
    spikes = vstack(rows, format="csr")
    spikes = spikes.astype(np.uint8) if spikes.data.max(initial=0) <= np.iinfo(np.uint8).max else spikes
    classes = block.classes or int(np.concatenate(labels).max()) + 1
    known = None if block.speakers is None else np.concatenate(speakers)
    names = np.frombuffer("\n".join(block.names).encode(), np.uint8).copy() if block.names else None
    kept = spikes, np.concatenate(labels), np.concatenate(after), known, names
    return Counts(part.name, bins.steps, bins.channels, longest, classes, top, *kept)


def binned(parts: Mapping[str, Recordings], bins: Bins, workspace: Workspace) -> dict[str, Counts]:
    """Splits by name, binned; from the cache where the same content was binned the same way before.

    A file of the cache appears whole or not at all; one that cannot be read is made again.
    """
    digests = {split: part.identity for split, part in parts.items()}
    identity = {"version": VERSION, "digests": digests, "bins": asdict(bins)}
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:24]
    path = workspace.cache / f"bins-{key}.safetensors"
    if path.exists():
        try:
            return _read(path, parts)
        except (OSError, LookupError, TypeError, ValueError, SafetensorError) as error:
            say(f"warning: {path}: damaged ({error}); it is made again")
    arrays: dict[str, torch.Tensor] = {}
    for split, part in parts.items():
        counts = bin_events(part, bins)
        held = vars(counts) | {name: getattr(counts.spikes, name) for name in _SPARSE}
        for name, value in held.items():
            if name not in ("name", "spikes") and value is not None:
                arrays[f"{split}-{name}"] = torch.as_tensor(value)
    write_atomic(path, save(arrays))
    return _read(path, parts)


def _read(path: Path, parts: Mapping[str, Recordings]) -> dict[str, Counts]:
    # Mapped, not read: processes on one machine share the pages.
    splits: dict[str, dict[str, Any]] = {split: {"name": part.name} for split, part in parts.items()}
    with safe_open(path, framework="pt") as file:
        for place in file.keys():  # noqa: SIM118
            split, _, name = place.partition("-")
            array = file.get_tensor(place)
            splits[split][name] = array.numpy() if array.dim() else array.item()
    for of in splits.values():
        shape = len(of["labels"]), of["steps"] * of["channels"]
        of["spikes"] = csr_array(tuple(of.pop(name) for name in _SPARSE), shape)
    return {split: Counts(**of) for split, of in splits.items()}
